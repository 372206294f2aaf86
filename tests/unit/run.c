/* page/: runs of units against a plain model, alignment, states, growth, limits. */
#include "test.h"

#include "page/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int setup(void **state) {
    struct runs *runs = test_calloc(1, sizeof *runs);
    *state = runs;
    return runs_init(runs, test_page_size()) ? 0 : -1;
}

/* A space is never unmade but here, so that the next test's finds room in the same window. */
static int teardown(void **state) {
    struct runs *runs = *state;
    struct space *space = &runs->space;
    struct space_array *arrays[] = {&space->kinds, &space->moved, &space->sparse,
                                    &space->metas, &space->bits,  &space->caches};
    os_unmap(space->map.base, atomic_load(&space->map.end) << UNIT_SHIFT);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (arrays[i]->mapped > 0)
            os_unmap(arrays[i]->base, arrays[i]->mapped);
    test_free(runs);
    return 0;
}

static size_t get(struct runs *runs, size_t units, size_t align, bool clean_first, bool *zeroed) {
    return run_alloc(runs,
                     &(struct run_request){.units = units,
                                           .align_units = align,
                                           .first_kind = UNIT_LARGE,
                                           .other_kind = UNIT_LARGE_BODY,
                                           .choice = clean_first ? RUN_CLEAN_FIRST : RUN_WARM_FIRST},
                     zeroed);
}

static char *at(struct runs *runs, size_t unit) {
    return (char *)unit_address(&runs->space.map, unit);
}

static void gives_and_takes(void **state) {
    struct runs *runs = *state;
    bool zeroed;
    size_t unit = get(runs, 3, 1, false, &zeroed);
    size_t units = align_up(3, runs->space.granule);
    assert_true(unit != 0 && zeroed);
    assert_int_equal(unit_kind_at(&runs->space.map, at(runs, unit)), UNIT_LARGE);
    assert_int_equal(unit_kind_at(&runs->space.map, at(runs, unit + 1) + 5), UNIT_LARGE_BODY);
    memset(at(runs, unit), 0xaa, units << UNIT_SHIFT);
    assert_int_equal(counter_get(&runs->used_units), units);
    run_free(runs, unit, 3, RUN_DIRTY);
    assert_int_equal(unit_kind_at(&runs->space.map, at(runs, unit)), UNIT_FREE);
    assert_int_equal(counter_get(&runs->used_units), 0);
    assert_int_equal(counter_get(&runs->free_units[RUN_DIRTY]), units);
    runs_check(runs);
    /* The warm run first; the clean one where that is asked for. */
    assert_int_equal(get(runs, 3, 1, false, &zeroed), unit);
    assert_false(zeroed);
    run_free(runs, unit, 3, RUN_DIRTY);
    size_t other = get(runs, 3, 1, true, &zeroed);
    assert_true(other != unit && zeroed);
    run_free(runs, other, 3, RUN_CLEAN);
    runs_check(runs);
    /* Purged, it reads as zeroes and joins its neighbours. */
    assert_int_equal(run_purge_oldest(runs, 1), units);
    assert_int_equal(run_purge_oldest(runs, 1), 0);
    assert_int_equal(get(runs, 3, 1, false, &zeroed), unit);
    assert_true(zeroed);
    for (size_t i = 0; i < units << UNIT_SHIFT; i++)
        assert_int_equal(at(runs, unit)[i], 0);
    run_free(runs, unit, 3, RUN_CLEAN);
    runs_check(runs);
}

static void warm_or_nothing(void **state) {
    struct runs *runs = *state;
    bool zeroed = true;
    struct run_request warm = {.units = 2,
                               .align_units = 1,
                               .first_kind = UNIT_LARGE,
                               .other_kind = UNIT_LARGE_BODY,
                               .choice = RUN_WARM_ONLY};
    assert_int_equal(run_alloc(runs, &warm, &zeroed), 0);
    size_t unit = get(runs, 2, 1, false, &zeroed);
    run_free(runs, unit, 2, RUN_DIRTY);
    assert_int_equal(run_alloc(runs, &warm, &zeroed), unit);
    assert_false(zeroed);
    run_free(runs, unit, 2, RUN_DIRTY);
    while (run_purge_oldest(runs, 1) != 0)
        ;
    assert_int_equal(run_alloc(runs, &warm, &zeroed), 0);
    runs_check(runs);
}

static void oldest_goes_first(void **state) {
    struct runs *runs = *state;
    bool zeroed;
    size_t granule = runs->space.granule, unit[7];
    for (int i = 0; i < 7; i++)
        unit[i] = get(runs, granule, 1, false, &zeroed);
    run_free(runs, unit[4], granule, RUN_DIRTY);
    run_free(runs, unit[0], granule, RUN_DIRTY);
    run_free(runs, unit[2], granule, RUN_DIRTY);
    assert_int_equal(run_purge_oldest(runs, 1), granule);
    assert_int_equal(get(runs, granule, 1, false, &zeroed), unit[0]); /* lowest of the dirty ones */
    assert_false(zeroed);
    assert_int_equal(get(runs, granule, 1, false, &zeroed), unit[2]);
    assert_false(zeroed);
    assert_int_equal(get(runs, granule, 1, false, &zeroed), unit[4]);
    assert_true(zeroed); /* it was the oldest: returned */
    for (int i = 0; i < 7; i++)
        run_free(runs, unit[i], granule, RUN_DIRTY);
    while (run_purge_oldest(runs, 1) != 0)
        ;
    runs_check(runs);
}

static void a_carved_run_keeps_its_age(void **state) {
    struct runs *runs = *state;
    bool zeroed;
    size_t granule = runs->space.granule;
    size_t old = get(runs, 4 * granule, 1, false, &zeroed), gap = get(runs, granule, 1, false, &zeroed);
    size_t young = get(runs, granule, 1, false, &zeroed), end = get(runs, granule, 1, false, &zeroed);
    run_free(runs, old, 4 * granule, RUN_DIRTY);
    run_free(runs, young, granule, RUN_DIRTY);
    assert_int_equal(get(runs, granule, 1, false, &zeroed), old);
    assert_int_equal(run_purge_oldest(runs, 1), 3 * granule);
    run_free(runs, old, granule, RUN_DIRTY);
    run_free(runs, gap, granule, RUN_DIRTY);
    run_free(runs, end, granule, RUN_DIRTY);
    while (run_purge_oldest(runs, 1) != 0)
        ;
    runs_check(runs);
}

/* What was free at the last tick goes, to the unit: also out of a run that has grown since. */
static void a_tick_returns_what_is_old(void **state) {
    struct runs *runs = *state;
    bool zeroed;
    size_t granule = runs->space.granule, unit[8];
    for (int i = 0; i < 8; i++) {
        unit[i] = get(runs, granule, 1, false, &zeroed);
        memset(at(runs, unit[i]), 1, granule << UNIT_SHIFT);
    }
    run_free(runs, unit[1], granule, RUN_DIRTY);
    run_free(runs, unit[2], granule, RUN_DIRTY);
    run_free(runs, unit[5], granule, RUN_DIRTY);
    assert_true(runs_pending(runs));
    assert_int_equal(runs_tick(runs, false), 0);
    run_free(runs, unit[0], granule, RUN_DIRTY); /* joins an old one */
    run_free(runs, unit[3], granule, RUN_DIRTY);
    assert_int_equal(get(runs, granule, 1, false, &zeroed), unit[0]);
    assert_int_equal(get(runs, granule, 1, false, &zeroed), unit[1]);
    run_free(runs, unit[1], granule, RUN_DIRTY); /* young again */
    runs_check(runs);
    size_t before = counter_get(&runs->purged_pages);
    assert_int_equal(runs_tick(runs, false), (2 * granule) << UNIT_SHIFT);
    assert_int_equal(counter_get(&runs->purged_pages) - before, space_pages(&runs->space, 2 * granule));
    runs_check(runs);
    unsigned char resident[8] = {0};
    for (int i = 0; i < 8; i++)
        assert_int_equal(mincore(at(runs, unit[i]), os_page_size(), &resident[i]), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(resident[i] & 1, i != 2 && i != 5);
    assert_int_equal(runs_tick(runs, false), (2 * granule) << UNIT_SHIFT);
    run_free(runs, unit[0], granule, RUN_DIRTY);
    assert_int_equal(runs_tick(runs, true), granule << UNIT_SHIFT);
    assert_false(runs_pending(runs));
    runs_check(runs);
}

static bool resident(uintptr_t addr) {
    unsigned char in = 0;
    assert_int_equal(mincore((void *)align_down(addr, os_page_size()), os_page_size(), &in), 0);
    return (in & 1) != 0;
}

/* Pages of metadata that describe nothing but the inside of a run that has gone go, too. */
static void metadata_goes_with_its_run(void **state) {
    struct runs *runs = *state;
    enum { UNITS = 4096 };
    static size_t unit[UNITS];
    bool zeroed;
    size_t granule = runs->space.granule, n = UNITS / granule;
    for (size_t i = 0; i < n; i++) {
        unit[i] = get(runs, granule, 1, false, &zeroed);
        memset(space_bits(&runs->space, unit[i]), 1, UNIT_BITS_BYTES);
    }
    uintptr_t meta = (uintptr_t)space_meta(&runs->space, unit[n / 2]);
    uintptr_t bits = (uintptr_t)space_bits(&runs->space, unit[n / 2]);
    for (size_t i = 0; i < n;
         i++) /* in small runs, and half of the heap only joins the other when that is clean */
        if (i % 3 != 0)
            run_free(runs, unit[i], granule, RUN_DIRTY);
    runs_tick(runs, true);
    assert_true(resident(meta) && resident(bits));
    for (size_t i = 0; i < n; i++)
        if (i % 3 == 0)
            run_free(runs, unit[i], granule, RUN_DIRTY);
    runs_tick(runs, true);
    runs_check(runs);
    assert_int_equal(counter_get(&runs->free_units[RUN_DIRTY]), 0);
    assert_false(resident(meta) || resident(bits));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(get(runs, granule, 1, false, &zeroed), unit[i]);
    runs_check(runs);
    for (size_t i = 0; i < n; i++)
        run_free(runs, unit[i], granule, RUN_DIRTY);
    runs_tick(runs, true);
}

/* Many ranges in one call; with a hole, one of them cannot be purged: it alone stays as it was. */
static void purge_ranges(bool hole) {
    enum { RANGES = 200 };
    size_t page = os_page_size(), bytes = 2 * RANGES * page, large = 9 << 20;
    char *p = mmap(NULL, bytes + large, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    struct os_range ranges[RANGES + 1];
    memset(p, 1, bytes + large);
    for (size_t i = 0; i < RANGES; i++)
        ranges[i] = (struct os_range){.addr = (uintptr_t)p + 2 * i * page, .bytes = page};
    ranges[RANGES] = (struct os_range){.addr = (uintptr_t)p + bytes, .bytes = large}; /* several calls' worth */
    if (hole)
        munmap(p + 2 * 70 * page, page);
    errno = 77;
    os_purge_ranges(ranges, RANGES + 1);
    assert_int_equal(errno, 77);
    for (size_t i = 0; i <= RANGES; i++) {
        assert_int_equal(ranges[i].purged, !hole || i != 70);
        assert_true(!ranges[i].purged ||
                    (*(char *)ranges[i].addr == 0 && *(char *)(ranges[i].addr + ranges[i].bytes - 1) == 0));
        assert_true(i == RANGES || *(char *)(ranges[i].addr + page) == 1);
    }
    munmap(p, bytes + large);
}

static void purges_several_ranges(void **state) {
    (void)state;
    purge_ranges(false);
}

static void purges_all_but_one_range(void **state) {
    (void)state;
    test_needs_refusals();
    purge_ranges(true);
}

static void alignment(void **state) {
    struct runs *runs = *state;
    size_t unit[20];
    for (size_t shift = 0; shift < 20; shift++) { /* to 8 GiB */
        bool zeroed;
        unit[shift] = get(runs, 5, (size_t)1 << shift, false, &zeroed);
        assert_int_not_equal(unit[shift], 0);
        assert_int_equal((uintptr_t)at(runs, unit[shift]) % ((size_t)UNIT_BYTES << shift), 0);
    }
    runs_check(runs);
    for (size_t shift = 0; shift < 20; shift++)
        run_free(runs, unit[shift], 5, RUN_CLEAN);
    runs_check(runs);
}

static void extends_in_place(void **state) {
    struct runs *runs = *state;
    bool zeroed;
    size_t granule = runs->space.granule;
    size_t a = get(runs, 2 * granule, 1, false, &zeroed), b = get(runs, 2 * granule, 1, false, &zeroed);
    size_t c = get(runs, 2 * granule, 1, false, &zeroed);
    assert_int_equal(b, a + 2 * granule);
    assert_false(run_extend(runs, a, 2 * granule, 3 * granule, UNIT_LARGE_BODY, &zeroed));
    run_free(runs, b, 2 * granule, RUN_DIRTY);
    zeroed = true;
    assert_true(run_extend(runs, a, 2 * granule, 3 * granule, UNIT_LARGE_BODY, &zeroed));
    assert_false(zeroed); /* what was added was dirty */
    assert_false(run_extend(runs, a, 3 * granule, 5 * granule, UNIT_LARGE_BODY, &zeroed));
    assert_int_equal(unit_kind_at(&runs->space.map, at(runs, a + 2 * granule)), UNIT_LARGE_BODY);
    assert_int_equal(unit_kind_at(&runs->space.map, at(runs, a + 3 * granule)), UNIT_FREE);
    /* Behind the last run the heap itself grows. */
    zeroed = true;
    assert_true(run_extend(runs, c, 2 * granule, 100000 * granule, UNIT_LARGE_BODY, &zeroed));
    assert_true(zeroed);
    runs_check(runs);
    run_free(runs, c, 100000 * granule, RUN_CLEAN);
    run_free(runs, a, 3 * granule, RUN_DIRTY);
    runs_check(runs);
}

/* What each unit is, told from the requests alone: what is taken, purged or refused has to agree to the unit. */
enum { MODEL_UNITS = 1 << 16, MODEL_USED = RUN_STATES };
static struct model {
    size_t end;
    uint8_t state[MODEL_UNITS];  /* enum run_state, or MODEL_USED */
    uint32_t young[MODEL_UNITS]; /* of a dirty one: when its run last grew */
    uint32_t clock;
} model;

static void model_grown(struct runs *runs) {
    size_t end = atomic_load(&runs->space.map.end);
    assert_true(end <= MODEL_UNITS);
    memset(model.state + model.end, RUN_CLEAN, end - model.end);
    model.end = end;
}

static size_t model_stretch(size_t from) {
    size_t to = from;
    while (to < model.end && model.state[to] == model.state[from])
        to++;
    return to - from;
}

static void model_free(size_t unit, size_t units, enum run_state state) {
    memset(model.state + unit, (int)state, units);
    while (model.state[unit - 1] == state)
        unit--;
    model.clock++;
    for (size_t u = unit; u < unit + model_stretch(unit); u++)
        model.young[u] = model.clock;
}

static size_t model_find(struct runs *runs, size_t units, size_t align, enum run_state state) {
    for (size_t u = 1, length; u < model.end; u += length) {
        length = model_stretch(u);
        size_t at = run_align_unit(&runs->space, u, align);
        if (model.state[u] == state && at + units <= u + length)
            return at;
    }
    return 0;
}

static void model_take(struct runs *runs, size_t units, size_t align, bool clean_first, size_t got, bool zeroed) {
    static const enum run_state orders[2][3] = {{RUN_DIRTY, RUN_CLEAN, RUN_UNMAPPED},
                                                {RUN_CLEAN, RUN_UNMAPPED, RUN_CLEAN}};
    size_t unit = 0;
    for (int i = 0; i < 3 && unit == 0; i++)
        unit = model_find(runs, units, align, orders[clean_first][i]);
    if (unit == 0) {
        model_grown(runs);
        unit = model_find(runs, units, align, RUN_CLEAN);
    }
    assert_int_equal(got, unit);
    assert_int_equal(zeroed, model.state[unit] != RUN_DIRTY);
    memset(model.state + unit, MODEL_USED, units);
}

static void model_purge_oldest(struct runs *runs) {
    size_t oldest = 0;
    for (size_t u = 1; u < model.end; u += model_stretch(u))
        if (model.state[u] == RUN_DIRTY && (oldest == 0 || model.young[u] < model.young[oldest]))
            oldest = u;
    size_t units = oldest != 0 ? model_stretch(oldest) : 0;
    assert_int_equal(run_purge_oldest(runs, 1), units);
    if (units > 0)
        model_free(oldest, units, RUN_CLEAN);
}

static void model_extend(struct runs *runs, size_t unit, size_t units, size_t *held) {
    bool zeroed = true, was_zero = true;
    size_t at = unit + *held, end = unit + units, reach = at;
    for (; reach < end && reach < model.end && model.state[reach] <= RUN_CLEAN; reach++)
        was_zero &= model.state[reach] == RUN_CLEAN;
    bool fits = reach == end || reach == model.end;
    assert_int_equal(run_extend(runs, unit, *held, units, UNIT_LARGE_BODY, &zeroed), fits);
    model_grown(runs);
    if (!fits)
        return;
    assert_int_equal(zeroed, was_zero);
    memset(model.state + at, MODEL_USED, end - at);
    *held = units;
}

/* Gives back, in a state drawn at random. */
static void model_give(struct runs *runs, size_t unit, size_t units, uint32_t draw) {
    enum run_state state = draw % 8 == 0 ? RUN_CLEAN : draw % 8 == 1 ? RUN_UNMAPPED : RUN_DIRTY;
    if (state == RUN_UNMAPPED)
        os_unmap((uintptr_t)at(runs, unit), units << UNIT_SHIFT);
    else if (state == RUN_CLEAN)
        assert_true(os_purge((uintptr_t)at(runs, unit), units << UNIT_SHIFT));
    run_free(runs, unit, units, state);
    model_free(unit, units, state);
}

static void random_against_model(void **state) {
    struct runs *runs = *state;
    enum { OBJECTS = 200, STEPS = 30000 };
    struct {
        size_t unit, units;
    } objects[OBJECTS] = {{0, 0}};
    uint64_t seed = 42;
    size_t granule = runs->space.granule;
    memset(&model, 0, sizeof model);
    model.end = atomic_load(&runs->space.map.end);
    memset(model.state, MODEL_USED, model.end);
    for (int step = 0; step < STEPS; step++) {
        size_t i = test_random(&seed) % OBJECTS;
        uint32_t r = test_random(&seed);
        size_t units = objects[i].units, before = units;
        if (units == 0) {
            bool zeroed, clean_first = (r >> 20) % 4 == 0;
            units = align_up(1 + r % (r % 7 == 0 ? 300 : 9), granule);
            size_t align = (size_t)1 << (r >> 9) % 6;
            objects[i].unit = get(runs, units, align, clean_first, &zeroed);
            model_take(runs, units, align, clean_first, objects[i].unit, zeroed);
            for (size_t u = objects[i].unit; u < objects[i].unit + units; u++)
                assert_true(!zeroed || *(at(runs, u) + r % UNIT_BYTES) == 0);
        } else if (r % 5 == 1) {
            model_extend(runs, objects[i].unit, units + align_up(1 + r % 9, granule), &units);
        } else {
            size_t keep = r % 5 == 0 && units > granule ? align_up(1 + r % (units - granule), granule) : 0;
            model_give(runs, objects[i].unit + keep, units - keep, r >> 8);
            units = keep;
        }
        for (size_t u = objects[i].unit + before; u < objects[i].unit + units; u++)
            *(at(runs, u) + r % UNIT_BYTES) = 1;
        objects[i].units = units;
        if (r % 64 == 0)
            model_purge_oldest(runs);
        if (step % 500 == 0)
            runs_check(runs);
    }
    for (int i = 0; i < OBJECTS; i++)
        if (objects[i].units != 0)
            run_free(runs, objects[i].unit, objects[i].units, RUN_DIRTY);
    runs_check(runs);
    assert_int_equal(counter_get(&runs->used_units), 0);
}

static void steps_over_foreign_mappings(void **state) {
    struct runs *runs = *state;
    bool zeroed;
    size_t end = atomic_load(&runs->space.map.end);
    size_t ahead = end + 1024;
    void *foreign = mmap(at(runs, ahead), UNIT_BYTES * 4, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    assert_ptr_equal(foreign, at(runs, ahead));
    memset(foreign, 0x5a, UNIT_BYTES * 4);
    size_t unit = get(runs, 8192, 1, false, &zeroed);
    assert_true(unit > ahead);
    memset(at(runs, unit), 1, (size_t)8192 << UNIT_SHIFT);
    for (size_t i = 0; i < UNIT_BYTES * 4; i++)
        assert_int_equal(((char *)foreign)[i], 0x5a);
    assert_int_equal(unit_kind_at(&runs->space.map, foreign), UNIT_NONE);
    runs_check(runs);
    run_free(runs, unit, 8192, RUN_DIRTY);
    while (run_purge_oldest(runs, 1) != 0)
        ;
    munmap(foreign, UNIT_BYTES * 4);
    runs_check(runs);
}

static void unmapped_runs_come_back(void **state) {
    struct runs *runs = *state;
    bool zeroed;
    size_t granule = runs->space.granule;
    size_t a = get(runs, 64 * granule, 1, false, &zeroed), b = get(runs, granule, 1, false, &zeroed);
    memset(at(runs, a), 7, (64 * granule) << UNIT_SHIFT);
    atomic_store(&runs->unmap, true);
    run_free(runs, a, 64 * granule, RUN_DIRTY);
    assert_int_equal(run_purge_oldest(runs, 1), 64 * granule);
    assert_int_equal(counter_get(&runs->free_units[RUN_UNMAPPED]), 64 * granule);
    assert_int_equal(unit_kind_at(&runs->space.map, at(runs, a)), UNIT_NONE);
    unsigned char resident;
    assert_int_equal(mincore(at(runs, a), os_page_size(), &resident), -1); /* ENOMEM: not mapped */
    runs_check(runs);
    /* Somebody maps into the hole: that part is lost, the rest is used. */
    void *foreign = mmap(at(runs, a), UNIT_BYTES * granule, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    assert_ptr_equal(foreign, at(runs, a));
    size_t clean = counter_get(&runs->free_units[RUN_CLEAN]);
    size_t filler = clean > 0 ? get(runs, clean, 1, true, &zeroed) : 0;
    size_t c = get(runs, granule, 1, false, &zeroed);
    assert_true(c != a && zeroed);
    assert_int_equal(at(runs, c)[0], 0);
    at(runs, c)[0] = 1;
    runs_check(runs);
    run_free(runs, c, granule, RUN_CLEAN);
    if (filler != 0)
        run_free(runs, filler, clean, RUN_CLEAN);
    run_free(runs, b, granule, RUN_CLEAN);
    munmap(foreign, UNIT_BYTES * granule);
    runs_check(runs);
    atomic_store(&runs->unmap, false);
}

static void refuses_when_memory_is_short(void **state) {
    struct runs *runs = *state;
    bool zeroed;
    assert_int_equal(get(runs, runs->space.capacity + 1, 1, false, &zeroed), 0);
    assert_int_equal(get(runs, 1, (size_t)1 << 62, false, &zeroed), 0);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__) /* whose shadows exceed any limit */
    pid_t pid = fork();
    if (pid == 0) {
        char statm[64] = ""; /* its first number: pages mapped now */
        os_read_file("/proc/self/statm", statm, sizeof statm - 1);
        size_t room = strtoul(statm, NULL, 10) * os_page_size() + (256 << 20);
        struct rlimit limit = {room, room};
        setrlimit(RLIMIT_AS, &limit);
        if (mmap(NULL, 1 << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
            _exit(2);
        bool refused = get(runs, (size_t)1 << (30 - UNIT_SHIFT), 1, false, &zeroed) == 0;
        size_t unit = get(runs, (size_t)1 << (26 - UNIT_SHIFT), 1, false, &zeroed); /* 64 MiB still fit */
        runs_check(runs);
        _exit(refused && unit != 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    test_needs(WIFEXITED(status) && WEXITSTATUS(status) != 2, "RLIMIT_AS is a limit");
    assert_int_equal(status, 0);
#endif
    runs_check(runs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gives_and_takes, setup, teardown),
        cmocka_unit_test_setup_teardown(warm_or_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(oldest_goes_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_carved_run_keeps_its_age, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tick_returns_what_is_old, setup, teardown),
        cmocka_unit_test_setup_teardown(metadata_goes_with_its_run, setup, teardown),
        cmocka_unit_test(purges_several_ranges),
        cmocka_unit_test(purges_all_but_one_range),
        cmocka_unit_test_setup_teardown(alignment, setup, teardown),
        cmocka_unit_test_setup_teardown(extends_in_place, setup, teardown),
        cmocka_unit_test_setup_teardown(random_against_model, setup, teardown),
        cmocka_unit_test_setup_teardown(steps_over_foreign_mappings, setup, teardown),
        cmocka_unit_test_setup_teardown(unmapped_runs_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_when_memory_is_short, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
