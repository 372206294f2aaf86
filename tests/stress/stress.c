/* Random work on the prefixed build, checked against a shadow: every object is filled with bytes that only it has,
 * and looked through before it is resized or freed. Threads hand objects to each other, come and go, and fork.
 *
 *   stress [--seconds N] [--threads N] [--seed N] [--no-fork] [--jitter N] [--revoke] [--scopes N]
 *          [--survivors PERCENT]
 *
 * With --scopes the threads enter and leave so many scopes in turn, end them and make others; so many of the
 * objects that a thread has when it ends a scope live on.
 *
 * --revoke: one more thread takes all caches back, all the time.
 * Ends with status 1 and a message on the first wrong byte, alignment or size. */
#include "../unit/scavenger.h"

#include "cache/revoke.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 600, MAILBOXES = 256, SCOPES_MAX = 1024 };

struct object {
    unsigned char *p;
    size_t size;
    uint64_t mark;
};

struct worker {
    uint64_t random;
    struct object slots[SLOTS];
    size_t operations;
};

static struct object mailboxes[MAILBOXES];
static pthread_mutex_t mail = PTHREAD_MUTEX_INITIALIZER;
static _Atomic neap_scope scopes[SCOPES_MAX];
static unsigned long scope_count, survivors;
static double deadline;
static bool forks = true;
static _Atomic uint64_t next_mark = 1;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t draw(struct worker *w) { /* xorshift64*, Vigna 2014 */
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return w->random * 2685821657736338717u;
}

static void fail(const char *what, const struct object *o) {
    fprintf(stderr, "stress: %s: object %p of %zu bytes\n", what, (void *)o->p, o->size);
    abort();
}

static unsigned char expected(const struct object *o, size_t i) {
    return (unsigned char)((o->mark * 0x9e3779b97f4a7c15u >> (i % 8 * 8)) + i / 8);
}

/* Large objects are touched at both ends and once a page, else nothing but memset would be tested. */
static size_t stride(size_t size, size_t i) {
    return size <= 2048 || i < 64 || i + 64 >= size ? 1 : i + 509 < size - 64 ? 509 : size - 64 - i;
}

static void fill(struct object *o) {
    o->mark = atomic_fetch_add_explicit(&next_mark, 1, memory_order_relaxed);
    for (size_t i = 0; i < o->size; i += stride(o->size, i))
        o->p[i] = expected(o, i);
}

static void check(const struct object *o, size_t size) {
    for (size_t i = 0; i < size; i += stride(o->size, i))
        if (o->p[i] != expected(o, i))
            fail("wrong byte", o);
}

static size_t draw_size(struct worker *w) {
    uint64_t r = draw(w);
    switch (r % 64) {
    case 0:
        return r >> 32 & 0x3fffff; /* to 4 MiB */
    case 1:
        return r >> 32 & 0x1ffff;
    case 2: /* few sizes, so that threads keep some for their next request */
        return (size_t)65536 << (r >> 32 & 3);
    case 3:
    case 4:
    case 5:
        return r >> 32 & 0x7fff;
    default:
        return (r >> 32) % 600;
    }
}

static void allocate(struct worker *w, struct object *o) {
    o->size = draw_size(w);
    uint64_t r = draw(w);
    size_t alignment = 16;
    switch (r % 8) {
    case 0:
        o->p = neap_calloc(o->size, 1);
        for (size_t i = 0; o->p != NULL && i < o->size; i++)
            if (o->p[i] != 0)
                fail("calloc is not zero", o);
        break;
    case 1:
        alignment = (size_t)8 << (r >> 8) % 14;
        if (neap_posix_memalign((void **)&o->p, alignment, o->size) != 0)
            o->p = NULL;
        break;
    case 2:
        o->p = neap_realloc(NULL, o->size);
        break;
    default:
        o->p = neap_malloc(o->size);
    }
    if (o->p == NULL)
        fail("no memory", o);
    if ((uintptr_t)o->p % alignment != 0)
        fail("wrong alignment", o);
    if (neap_malloc_usable_size(o->p) < o->size)
        fail("usable size too small", o);
    fill(o);
}

static void release(struct object *o) {
    check(o, o->size);
    errno = 77;
    neap_free(o->p);
    if (errno != 77)
        fail("free changed errno", o);
    *o = (struct object){0};
}

static void resize(struct worker *w, struct object *o) {
    size_t size = draw(w) % 3 == 0 ? o->size + 1 + draw(w) % 512 : draw_size(w) + 1;
    check(o, o->size);
    unsigned char *p = neap_realloc(o->p, size);
    if (p == NULL)
        fail("no memory for realloc", o);
    struct object moved = {p, o->size, o->mark};
    for (size_t i = 0; i < o->size && i < size; i += stride(o->size, i))
        if (p[i] != expected(&moved, i))
            fail("realloc lost a byte", &moved);
    o->p = p;
    o->size = size;
    fill(o);
}

static void mail_exchange(struct worker *w, struct object *o) {
    struct object *box = &mailboxes[draw(w) % MAILBOXES];
    pthread_mutex_lock(&mail);
    struct object got = *box;
    *box = *o;
    pthread_mutex_unlock(&mail);
    *o = got;
}

static void tick(struct worker *w) {
    bool all = draw(w) % 4 == 0;
    bins_tick(&heap.bins, all);
    regions_tick(&heap.scopes.regions, all);
    runs_tick(&heap.runs, all);
}

/* Whoever finds a scope that nobody has entered may work in it; errors are those of a race that another has won.
 */
static neap_scope enter_any(struct worker *w) {
    neap_scope scope = atomic_load(&scopes[draw(w) % scope_count]);
    int error = neap_scope_enter(scope);
    if (error != 0 && error != EBUSY && error != EINVAL)
        abort();
    return error == 0 ? scope : 0;
}

static void end_any(struct worker *w) {
    _Atomic neap_scope *place = &scopes[draw(w) % scope_count];
    neap_scope old = atomic_load(place);
    for (int i = 0; i < SLOTS; i++)
        if (w->slots[i].p != NULL && draw(w) % 100 >= survivors)
            release(&w->slots[i]);
    int error = neap_scope_end(old);
    if (error == EBUSY || (error == EINVAL && old != 0))
        return;
    neap_scope fresh = neap_scope_create(&(struct neap_scope_options){.label = "stress"});
    if (fresh == 0)
        abort();
    if (!atomic_compare_exchange_strong(place, &old, fresh) && neap_scope_end(fresh) != 0)
        abort();
}

static void fork_child(struct worker *w) {
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < SLOTS; i += 3)
            if (w->slots[i].p != NULL)
                release(&w->slots[i]);
        for (unsigned long i = 0; i < scope_count; i++) {
            int error = neap_scope_end(atomic_load(&scopes[i])); /* those of other threads are left */
            if (error != 0 && error != EINVAL && (error != EBUSY || neap_scope_current() == 0))
                abort();
        }
        for (int i = 0; i < SLOTS; i += 3)
            allocate(w, &w->slots[i]);
        neap_malloc_trim(0);
        tick(w);
        heap_check();
        _exit(0);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        fprintf(stderr, "stress: forked child: status %#x\n", pid < 0 ? 0 : status);
        abort();
    }
}

static void work(struct worker *w, size_t operations) {
    for (size_t n = 0; n < operations && now() < deadline; n++) {
        neap_scope scope = scope_count > 0 ? enter_any(w) : 0,
                   inner = scope != 0 && draw(w) % 4 == 0 ? enter_any(w) : 0;
        int token = draw(w) % 8 == 0 ? neap_exempt_begin() : 0;
        for (int i = 0; i < 200; i++) {
            struct object *o = &w->slots[draw(w) % SLOTS];
            uint64_t r = draw(w) % 16;
            if (r == 0)
                mail_exchange(w, o);
            else if (o->p == NULL)
                allocate(w, o);
            else if (r < 3)
                resize(w, o);
            else
                release(o);
            w->operations++;
        }
        neap_exempt_end(token);
        if ((inner != 0 && neap_scope_leave(inner) != 0))
            abort();
        uint64_t r = draw(w) % 2048;
        if (r == 0 && forks)
            fork_child(w);
        else if (r < 8)
            neap_malloc_trim(0);
        else if (r < 10)
            heap_check();
        else if (r < 60)
            tick(w);
        else if (r < 200 && scope_count > 0)
            end_any(w);
        if (scope != 0 && neap_scope_leave(scope) != 0)
            abort();
    }
}

static void *run_thread(void *argument) {
    struct worker *w = argument;
    work(w, 2000);
    if (draw(w) % 2 == 0) /* else the next thread takes over what is left */
        for (int i = 0; i < SLOTS; i++)
            if (w->slots[i].p != NULL)
                release(&w->slots[i]);
    return NULL;
}

/* Keeps one place filled with threads, one after the other. */
static void *run_place(void *argument) {
    while (now() < deadline) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run_thread, argument) != 0)
            abort();
        pthread_join(thread, NULL);
    }
    return NULL;
}

static void *run_revoker(void *unused) {
    (void)unused;
    while (now() < deadline) {
        caches_tick(&heap.caches, true);
        caches_tick(&heap.caches, false);
    }
    return NULL;
}

#ifdef __SANITIZE_THREAD__
/* A forked child may start the thread that returns memory. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return "die_after_fork=0";
}
#endif

int main(int argc, char **argv) {
    static const struct option options[] = {{"seconds", required_argument, NULL, 's'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"seed", required_argument, NULL, 'r'},
                                            {"jitter", required_argument, NULL, 'j'},
                                            {"scopes", required_argument, NULL, 'c'},
                                            {"survivors", required_argument, NULL, 'l'},
                                            {"no-fork", no_argument, NULL, 'n'},
                                            {"revoke", no_argument, NULL, 'v'},
                                            {0}};
    double seconds = 5;
    unsigned long threads = 4, seed = 1, jitter = 0;
    bool revoke = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 's')
            seconds = atof(optarg);
        else if (c == 't')
            threads = strtoul(optarg, NULL, 10);
        else if (c == 'r')
            seed = strtoul(optarg, NULL, 10);
        else if (c == 'j')
            jitter = strtoul(optarg, NULL, 10);
        else if (c == 'c')
            scope_count = min_size(strtoul(optarg, NULL, 10), SCOPES_MAX);
        else if (c == 'l')
            survivors = strtoul(optarg, NULL, 10);
        else if (c == 'n')
            forks = false;
        else if (c == 'v')
            revoke = true;
        else
            return 2;
    }
#ifndef NDEBUG
    lock_jitter = (unsigned)jitter;
#else
    (void)jitter; /* release builds have none */
#endif
    deadline = now() + seconds;
    struct worker *workers = calloc(threads, sizeof *workers);
    pthread_t *places = calloc(threads, sizeof *places), revoker;
    neap_free(neap_malloc(1)); /* makes the heap */
    for (unsigned long t = 0; t < threads; t++) {
        workers[t].random = (seed * 1000003 + t + 1) * 0x9e3779b97f4a7c15u;
        if (pthread_create(&places[t], NULL, run_place, &workers[t]) != 0)
            return 2;
    }
    if (revoke && pthread_create(&revoker, NULL, run_revoker, NULL) != 0)
        return 2;
    size_t operations = 0;
    for (unsigned long t = 0; t < threads; t++) {
        pthread_join(places[t], NULL);
        for (int i = 0; i < SLOTS; i++)
            if (workers[t].slots[i].p != NULL)
                release(&workers[t].slots[i]);
        operations += workers[t].operations;
    }
    for (int i = 0; i < MAILBOXES; i++)
        if (mailboxes[i].p != NULL)
            release(&mailboxes[i]);
    if (revoke)
        pthread_join(revoker, NULL);
    for (unsigned long i = 0; i < scope_count; i++)
        if (scopes[i] != 0 && neap_scope_end(scopes[i]) != 0)
            abort();
    scavenger_hold(); /* what it has in its hands, and what it measures its prices on, is in use */
    neap_malloc_trim(0);
    heap_check();
    size_t used = counter_get(&heap.runs.used_units), allocated = 0;
    for (unsigned c = 1; c < CLASSES; c++)
        allocated += counter_get(&heap.bins.bin[c].allocated) - caches_count(&heap.caches, c);
    if (used != 0 || allocated != 0 || counter_get(&heap.scopes.open) != 0) {
        fprintf(stderr, "stress: lost memory: %zu units in use, %zu objects allocated\n", used, allocated);
        return 1;
    }
    size_t revocations = counter_get(&heap.caches.revocations);
    if (revoke && revocations == 0 && !heap.caches.refused) {
        fprintf(stderr, "stress: no cache was taken back\n");
        return 1;
    }
    printf("stress: seed %lu, %zu operations, %zu caches taken back, all well\n", seed, operations, revocations);
    free(workers);
    free(places);
    return 0;
}
