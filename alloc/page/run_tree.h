/* The free runs of one state: a treap ordered by address, in which each node knows the widest run below it, so
 * that the lowest run that fits is found in one descent (a Cartesian tree as in C. J. Stephenson, "Fast Fits",
 * SOSP 1983, but balanced by random priorities: Seidel and Aragon, "Randomized Search Trees", 1996).
 *
 * A node lies in the metadata of its run's last unit and goes by that unit's number. Nearly all that is allocated
 * comes from the front of a run, which leaves the node where it is.
 *
 * The caller holds the lock of the runs. */
#ifndef NEAP_PAGE_RUN_TREE_H
#define NEAP_PAGE_RUN_TREE_H

#include "base/list.h"
#include "page/space.h"

struct run {
    uint32_t left, right, parent; /* 0: none */
    uint32_t priority;            /* at most the parent's */
    uint32_t widest;              /* units of the widest run of this subtree */
    uint32_t units;
    uint32_t last;   /* the run's last unit; valid in the first and the last unit */
    uint32_t state;  /* enum run_state; likewise */
    uint32_t purger; /* the thread that is purging it */
    struct list age; /* of a dirty one, or one being purged */
};
_Static_assert(sizeof(struct run) <= UNIT_META_BYTES, "a run's metadata fits its unit's");

struct run_tree {
    uint32_t root;  /* 0: empty */
    uint32_t drawn; /* priorities so far */
};

static inline struct run *run_at(const struct space *space, size_t unit) {
    return space_meta(space, unit);
}

static inline size_t run_first(const struct run *run) {
    return run->last + 1 - run->units;
}

/* The first unit at or behind `unit` whose address is a multiple of `align` units. */
static inline size_t run_align_unit(const struct space *space, size_t unit, size_t align) {
    size_t base = space->map.base >> UNIT_SHIFT;
    return align_up(base + unit, align) - base;
}

/* The lowest run in which `units`, at least one, fit at that alignment, or 0. */
uint32_t run_tree_find(const struct space *space, const struct run_tree *tree, size_t units, size_t align);

/* The lowest run that ends behind `unit`, or 0. */
uint32_t run_tree_from(const struct space *space, const struct run_tree *tree, size_t unit);

/* The node's `units` are set. */
void run_tree_insert(const struct space *space, struct run_tree *tree, uint32_t node);
void run_tree_erase(const struct space *space, struct run_tree *tree, uint32_t node);

/* The node's `units` have changed. */
void run_tree_resized(const struct space *space, uint32_t node);

/* The run ends elsewhere now, before and behind the same others: its node moves there, but for its age and its
 * `units`, which the caller sets. */
void run_tree_move(const struct space *space, struct run_tree *tree, uint32_t from, uint32_t to);

/* Walks everything; debug. Returns the sum of units. */
size_t run_tree_check(const struct space *space, const struct run_tree *tree);

#endif
