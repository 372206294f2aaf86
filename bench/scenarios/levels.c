/* Scenarios of one thread and one heap, of which the size goes up and down. */
#include "population.h"
#include "scenario.h"

static const struct sizes web = {&web_mix, 1}, key_value = {&key_value_mix, 1};

/* Moves to that many bytes in so many ticks, in each of which further bytes are dropped and replaced. */
static void move_to(struct run *run, struct population *population, struct sizes sizes, uint64_t bytes,
                    unsigned ticks, uint64_t churn) {
    double start = (double)population_bytes(population), way = (double)bytes - start;
    for (unsigned i = 1; i <= ticks; i++) {
        uint64_t level = (uint64_t)(start + way * i / ticks);
        population_level(population, level, sizes, &run->random);
        population_churn(population, churn, level, sizes, &run->random);
        run_tick(run);
    }
}

static unsigned ticks_left(const struct run *run) {
    return run->ticks - run->ticks_done;
}

/* Burst then silence. */
void scenario_burst(struct run *run) {
    uint64_t base = run_scaled(run, 8 * MIB), high = run_scaled(run, 128 * MIB), churn = base / 32;
    unsigned part = run->ticks / 10;
    struct population steady, burst;
    population_make_for(&steady, base, web);
    population_make_for(&burst, high - base, web);
    run_start(run);

    run_phase("warm");
    move_to(run, &steady, web, base, 2 * part, churn);
    run_phase("peak");
    move_to(run, &burst, web, high - base, 3 * part, churn);
    move_to(run, &burst, web, high - base, part, 4 * churn);
    run_phase("drained");
    move_to(run, &burst, web, 0, 2 * part, 0);
    run_phase("low");
    move_to(run, &steady, web, base, ticks_left(run), churn);
    run_silence(run);
}

/* 100 → 15 → 100 %, twenty times. */
void scenario_diurnal(struct run *run) {
    enum { CYCLES = 20 };
    uint64_t high = run_scaled(run, 32 * MIB), low = high * 15 / 100, churn = low / 32;
    unsigned part = run->ticks / CYCLES / 5;
    struct population heap;
    population_make_for(&heap, high, key_value);
    run_start(run);

    for (unsigned cycle = 1; cycle <= CYCLES; cycle++) {
        run_phase_number("cycle", cycle);
        move_to(run, &heap, key_value, high, part, churn);
        move_to(run, &heap, key_value, high, part, 4 * churn);
        move_to(run, &heap, key_value, low, part, churn);
        run_phase_number("low", cycle);
        unsigned cycles_left = CYCLES - cycle;
        move_to(run, &heap, key_value, low, ticks_left(run) - cycles_left * (run->ticks / CYCLES), churn);
    }
    run_silence(run);
}

/* Fills one size, frees a random 7 in 8, fills a larger one. */
void scenario_size_shift(struct run *run) {
    static const size_t sizes[] = {64, 160, 400, 1000, 2500, 6250};
    enum { PHASES = sizeof sizes / sizeof *sizes };
    uint64_t full = run_scaled(run, 48 * MIB);
    unsigned part = run->ticks / PHASES / 6;
    struct population heaps[PHASES];
    for (unsigned i = 0; i < PHASES; i++)
        population_make(&heaps[i], full / sizes[i] + 1);
    run_start(run);

    for (unsigned i = 0; i < PHASES; i++) {
        run_phase_number("fill", i + 1);
        size_t count = full / sizes[i] + 1, per_tick = count / (2 * part) + 1;
        for (unsigned tick = 0; tick < 2 * part; tick++) {
            for (size_t n = 0; n < per_tick && population_count(&heaps[i]) < count; n++)
                population_add(&heaps[i], sizes[i]);
            run_tick(run);
        }
        run_phase_number("drain", i + 1);
        for (unsigned tick = 0; tick < 2 * part; tick++) {
            for (size_t n = 0; n < per_tick && population_count(&heaps[i]) > (count + 7) / 8; n++)
                population_drop_random(&heaps[i], &run->random);
            run_tick(run);
        }
        run_phase_number("low", i + 1);
        unsigned phases_left = PHASES - 1 - i;
        while (ticks_left(run) > phases_left * (run->ticks / PHASES))
            run_tick(run);
    }
    run_silence(run);
}

/* A random 5 % are kept. */
void scenario_deep_shrink(struct run *run) {
    uint64_t high = run_scaled(run, 128 * MIB), low = high / 20;
    unsigned part = run->ticks / 10;
    struct population heap;
    population_make_for(&heap, high, web);
    run_start(run);

    run_phase("peak");
    move_to(run, &heap, web, high, 3 * part, 0);
    run_phase("drained");
    move_to(run, &heap, web, low, 3 * part, 0);
    run_phase("low");
    move_to(run, &heap, web, low, ticks_left(run), low / 64);
    run_silence(run);
}

/* Objects come and go, live bytes stay, and sizes grow to three times what they were. */
void scenario_steady_churn(struct run *run) {
    enum { CYCLES = 10, GROWTH = 3 };
    uint64_t level = run_scaled(run, 64 * MIB);
    unsigned part = run->ticks / (CYCLES + 2);
    struct population heap;
    population_make_for(&heap, level, web);
    run_start(run);

    run_phase("warm");
    move_to(run, &heap, web, level, 2 * part, 0);
    unsigned first = run->ticks_done;
    for (unsigned cycle = 1; cycle <= CYCLES; cycle++) {
        run_phase_number("cycle", cycle);
        unsigned cycles_left = CYCLES - cycle;
        while (ticks_left(run) > cycles_left * part) {
            double done = (double)(run->ticks_done - first) / (run->ticks - first);
            struct sizes drifted = {&web_mix, 1 + (GROWTH - 1) * done};
            population_churn(&heap, level / 50, level, drifted, &run->random);
            run_tick(run);
        }
    }
    run_silence(run);
}
