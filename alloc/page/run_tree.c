/* The treap. Locks: that of the runs, held by the caller.
 *
 * Invariants: nodes are in the order of their units, no node's priority is above its parent's; `widest` is the
 * largest `units` of a subtree. */
#include "page/run_tree.h"

#include "base/check.h"

static uint32_t widest(const struct space *space, uint32_t t) {
    return t != 0 ? run_at(space, t)->widest : 0;
}

static uint32_t widest_of(const struct space *space, const struct run *run) {
    uint32_t l = widest(space, run->left), r = widest(space, run->right), below = l > r ? l : r;
    return run->units > below ? run->units : below;
}

/* --- looking --------------------------------------------------------------------------------------------- */

/* The lowest run of the subtree that has so many units, or 0. */
static uint32_t lowest(const struct space *space, uint32_t t, size_t units) {
    if (widest(space, t) < units)
        return 0;
    for (;;) {
        const struct run *run = run_at(space, t);
        if (widest(space, run->left) >= units)
            t = run->left;
        else if (run->units >= units)
            return t;
        else
            t = run->right;
    }
}

/* The next run behind t that has so many units, or 0. */
static uint32_t next(const struct space *space, uint32_t t, size_t units) {
    const struct run *run = run_at(space, t);
    uint32_t found = lowest(space, run->right, units);
    for (uint32_t child; found == 0 && (child = t, t = run->parent) != 0;) {
        run = run_at(space, t);
        if (run->left == child)
            found = run->units >= units ? t : lowest(space, run->right, units);
    }
    return found;
}

uint32_t run_tree_find(const struct space *space, const struct run_tree *tree, size_t units, size_t align) {
    uint32_t t = lowest(space, tree->root, units);
    if (align > 1)
        while (t != 0 && run_align_unit(space, run_first(run_at(space, t)), align) + units > (size_t)t + 1)
            t = next(space, t, units);
    return t;
}

uint32_t run_tree_from(const struct space *space, const struct run_tree *tree, size_t unit) {
    uint32_t found = 0;
    for (uint32_t t = tree->root; t != 0;) {
        bool behind = t >= unit;
        found = behind ? t : found;
        t = behind ? run_at(space, t)->left : run_at(space, t)->right;
    }
    return found;
}

/* --- changing -------------------------------------------------------------------------------------------- */

/* Puts `t`, or nothing, where `old` was below its parent. */
static void replace(const struct space *space, struct run_tree *tree, uint32_t parent, uint32_t old, uint32_t t) {
    struct run *above = parent != 0 ? run_at(space, parent) : NULL;
    *(above == NULL ? &tree->root : above->left == old ? &above->left : &above->right) = t;
    if (t != 0)
        run_at(space, t)->parent = parent;
}

/* Rotates t above its parent. */
static void lift(const struct space *space, struct run_tree *tree, uint32_t t) {
    struct run *run = run_at(space, t);
    uint32_t down = run->parent;
    struct run *below = run_at(space, down);
    replace(space, tree, below->parent, down, t);
    uint32_t *from = below->left == t ? &run->right : &run->left;
    *(below->left == t ? &below->left : &below->right) = *from;
    if (*from != 0)
        run_at(space, *from)->parent = down;
    *from = down;
    below->parent = t;
    run->widest = below->widest;
    below->widest = widest_of(space, below);
}

void run_tree_resized(const struct space *space, uint32_t node) {
    for (struct run *run; node != 0; node = run->parent) {
        run = run_at(space, node);
        uint32_t now = widest_of(space, run);
        if (now == run->widest)
            break;
        run->widest = now;
    }
}

void run_tree_insert(const struct space *space, struct run_tree *tree, uint32_t node) {
    struct run *run = run_at(space, node);
    uint32_t parent = 0, *link = &tree->root;
    while (*link != 0) {
        parent = *link;
        struct run *above = run_at(space, parent);
        if (above->widest < run->units)
            above->widest = run->units;
        link = node < parent ? &above->left : &above->right;
    }
    *link = node;
    run->left = run->right = 0;
    run->parent = parent;
    run->widest = run->units;
    run->priority = mix32(++tree->drawn);
    while (run->parent != 0 && run_at(space, run->parent)->priority < run->priority)
        lift(space, tree, node);
}

void run_tree_erase(const struct space *space, struct run_tree *tree, uint32_t node) {
    struct run *run = run_at(space, node);
    while (run->left != 0 && run->right != 0) {
        bool left = run_at(space, run->left)->priority > run_at(space, run->right)->priority;
        lift(space, tree, left ? run->left : run->right);
    }
    replace(space, tree, run->parent, node, run->left | run->right);
    run_tree_resized(space, run->parent);
}

void run_tree_move(const struct space *space, struct run_tree *tree, uint32_t from, uint32_t to) {
    const struct run *old = run_at(space, from);
    struct run *run = run_at(space, to);
    run->left = old->left;
    run->right = old->right;
    run->priority = old->priority;
    run->widest = old->widest;
    replace(space, tree, old->parent, from, to);
    run->parent = old->parent;
    if (run->left != 0)
        run_at(space, run->left)->parent = to;
    if (run->right != 0)
        run_at(space, run->right)->parent = to;
}

/* --- checking -------------------------------------------------------------------------------------------- */

static size_t check(const struct space *space, uint32_t t, uint32_t parent, size_t low, size_t high) {
    if (t == 0)
        return 0;
    const struct run *run = run_at(space, t);
    VERIFY(run->parent == parent && (parent == 0 || run->priority <= run_at(space, parent)->priority));
    VERIFY(run->last == t && run->units > 0 && run_first(run) >= low && t < high);
    VERIFY(run->widest == widest_of(space, run));
    return run->units + check(space, run->left, t, low, run_first(run)) +
           check(space, run->right, t, (size_t)t + 1, high);
}

size_t run_tree_check(const struct space *space, const struct run_tree *tree) {
    return check(space, tree->root, 0, 1, atomic_load_explicit(&space->map.end, memory_order_relaxed));
}
