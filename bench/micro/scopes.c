/* What scopes cost, for the mallocs that have them: pairs and batches of calls inside of one, beside those of
 * benchmarks.c outside, and the calls that make, enter, leave, end and destroy one. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#include "micro.h"
#include "neap/neap.h"

enum { BATCH = 1000, MANY = 10000, SMALL = 64 };

static struct {
    neap_scope (*create)(const struct neap_scope_options *options);
    int (*enter)(neap_scope scope);
    int (*leave)(neap_scope scope);
    int (*end)(neap_scope scope);
    void *(*alloc)(neap_scope scope, size_t size);
    int (*destroy)(neap_scope scope);
} scopes;

static void touch(void *p) {
    *(volatile char *)p = 1;
}

static void pairs(struct micro *micro) {
    size_t size = micro_argument(micro, 0);
    neap_scope scope = scopes.create(NULL);
    scopes.enter(scope);
    while (micro_continue(micro, BATCH))
        for (size_t i = 0; i < BATCH; i++) {
            void *p = malloc(size);
            touch(p);
            free(p);
        }
    scopes.leave(scope);
    scopes.end(scope);
}

/* Freed in the order that they were allocated in. */
static void batch(struct micro *micro) {
    size_t size = micro_argument(micro, 0);
    void *objects[BATCH];
    neap_scope scope = scopes.create(NULL);
    scopes.enter(scope);
    while (micro_continue(micro, BATCH)) {
        for (size_t i = 0; i < BATCH; i++) {
            objects[i] = malloc(size);
            touch(objects[i]);
        }
        for (size_t i = 0; i < BATCH; i++)
            free(objects[i]);
    }
    scopes.leave(scope);
    scopes.end(scope);
}

/* A small request: a scope of its own, so many objects of mixed sizes in it, all freed. Time of one object. */
static void request(struct micro *micro) {
    size_t count = micro_argument(micro, 0);
    void *objects[MANY];
    while (micro_continue(micro, count)) {
        neap_scope scope = scopes.create(NULL);
        scopes.enter(scope);
        for (size_t i = 0; i < count; i++) {
            objects[i] = malloc(16 + i * 37 % 300);
            touch(objects[i]);
        }
        for (size_t i = 0; i < count; i++)
            free(objects[i]);
        scopes.leave(scope);
        scopes.end(scope);
    }
}

static void enter_leave(struct micro *micro) {
    neap_scope scope = scopes.create(NULL);
    while (micro_continue(micro, BATCH))
        for (size_t i = 0; i < BATCH; i++) {
            scopes.enter(scope);
            scopes.leave(scope);
        }
    scopes.end(scope);
}

static void create_end(struct micro *micro) {
    while (micro_continue(micro, BATCH))
        for (size_t i = 0; i < BATCH; i++)
            scopes.end(scopes.create(NULL));
}

/* All objects of a scope freed, one by one or at once; only that is timed, an object. */
static void all_freed(struct micro *micro, bool at_once) {
    static void *objects[MANY];
    size_t count = micro_argument(micro, 0);
    const struct neap_scope_options options = {.flags = NEAP_SCOPE_DESTROYABLE};
    while (micro_continue(micro, count)) {
        micro_pause(micro, true);
        neap_scope scope = scopes.create(&options);
        for (size_t i = 0; i < count; i++) {
            objects[i] = scopes.alloc(scope, SMALL);
            touch(objects[i]);
        }
        micro_pause(micro, false);
        for (size_t i = 0; i < count && !at_once; i++)
            free(objects[i]);
        scopes.destroy(scope);
    }
}

static void destroyed(struct micro *micro) {
    all_freed(micro, true);
}

static void freed(struct micro *micro) {
    all_freed(micro, false);
}

static bool find(void *function, const char *name) {
    *(void **)function = dlsym(RTLD_DEFAULT, name);
    return *(void **)function != NULL;
}

static void add(const char *name, void (*run)(struct micro *), size_t argument) {
    micro_add(name, run, &argument, argument != 0, 1);
}

void micro_add_scopes(void) {
    if (!find(&scopes.create, "neap_scope_create") || !find(&scopes.enter, "neap_scope_enter") ||
        !find(&scopes.leave, "neap_scope_leave") || !find(&scopes.end, "neap_scope_end") ||
        !find(&scopes.alloc, "neap_scope_malloc") || !find(&scopes.destroy, "neap_scope_destroy"))
        return;
    static const size_t sizes[] = {16, 64, 256, 1024, 4096};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        add("scope/pairs", pairs, sizes[i]);
    add("scope/batch-fifo", batch, SMALL);
    add("scope/request", request, 20);
    add("scope/request", request, BATCH);
    add("scope/enter-leave", enter_leave, 0);
    add("scope/create-end", create_end, 0);
    add("scope/freed", freed, MANY);
    add("scope/destroyed", destroyed, MANY);
}
