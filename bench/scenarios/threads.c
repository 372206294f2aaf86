/* Scenarios of many threads. Each thread's work depends on its number alone, and live bytes are the same at each
 * tick's end, whatever order the threads ran in. */
#include "population.h"
#include "scenario.h"
#include "system.h"
#include "team.h"

static const struct sizes web = {&web_mix, 1}, key_value = {&key_value_mix, 1};

/* --- threads that worked and now block --- */

enum { IDLE_THREADS = 200 };

struct idle {
    struct population heaps[IDLE_THREADS];
    struct random random[IDLE_THREADS];
    uint64_t level; /* bytes, a thread */
};

static void fill_own(unsigned number, void *argument) {
    struct idle *idle = argument;
    population_level(&idle->heaps[number], idle->level, web, &idle->random[number]);
}

static void empty_own(unsigned number, void *argument) {
    struct idle *idle = argument;
    population_clear(&idle->heaps[number]);
}

void scenario_idle_threads(struct run *run) {
    enum { STEPS = 10, ROUNDS_IN_3_S = 5 };
    uint64_t most = run_scaled(run, 64 * MIB) / IDLE_THREADS + 1;
    unsigned rounds = ROUNDS_IN_3_S * run->ticks / (3 * TICKS_PER_SECOND), round_ticks = run->ticks / rounds;
    struct idle *idle = map_memory(sizeof *idle);
    struct team *team = team_make(IDLE_THREADS);
    for (unsigned i = 0; i < IDLE_THREADS; i++) {
        population_make_for(&idle->heaps[i], most, web);
        idle->random[i] = random_stream(run->seed, i);
    }
    team_start(team);
    run_start(run);

    for (unsigned round = 1; round <= rounds; round++) {
        run_phase_number("cycle", round);
        for (unsigned step = 1; step <= STEPS; step++) {
            idle->level = most * step / STEPS;
            team_step(team, fill_own, idle);
            run_tick(run);
        }
        for (unsigned tick = 0; tick < round_ticks / 3; tick++)
            run_tick(run); /* they wait for something, with what they have */
        team_step(team, empty_own, idle);
        unsigned rounds_left = rounds - round;
        while (run->ticks - run->ticks_done > rounds_left * round_ticks)
            run_tick(run);
    }
    run_silence(run);
}

/* --- a thread a connection --- */

enum { THREADS_AT_ONCE = 8, LATER = 64, HANDLED = 10, REQUEST_OBJECTS = 120, LEFT_OBJECTS = 600 };

struct connections {
    struct population left[LATER][THREADS_AT_ONCE]; /* behind by the thread of that number, 64 waves ago or less */
    struct population own[THREADS_AT_ONCE];
    size_t requests, left_objects;
    uint64_t seed;
    unsigned wave;
    bool leaves;
};

/* Frees what a thread left that is long gone, serves its requests, and leaves objects in its turn. */
static void serve_connection(unsigned number, void *argument) {
    struct connections *connections = argument;
    struct population *left = &connections->left[connections->wave % LATER][number];
    struct population *own = &connections->own[number];
    struct random random =
        random_stream(connections->seed, (uint64_t)connections->wave * THREADS_AT_ONCE + number);
    population_clear(left);
    for (size_t request = 0; request < connections->requests; request++) {
        enum { BUFFER = 16384 };
        population_add(own, BUFFER);
        for (unsigned i = 0; i < REQUEST_OBJECTS; i++)
            population_add_drawn(own, web, &random);
        population_clear(own);
    }
    for (size_t i = 0; connections->leaves && i < connections->left_objects; i++)
        population_add_drawn(left, web, &random);
}

void scenario_thread_per_connection(struct run *run) {
    enum { CYCLES = 10 };
    struct connections *connections = map_memory(sizeof *connections);
    struct team *team = team_make(THREADS_AT_ONCE);
    connections->requests = HANDLED;
    connections->left_objects = (size_t)run_scaled(run, LEFT_OBJECTS);
    connections->seed = run->seed;
    connections->leaves = true;
    for (unsigned i = 0; i < THREADS_AT_ONCE; i++) {
        population_make(&connections->own[i], REQUEST_OBJECTS + 1);
        for (unsigned wave = 0; wave < LATER; wave++)
            population_make(&connections->left[wave][i], connections->left_objects);
    }
    unsigned cycle_ticks = (run->ticks - 2 * LATER) / CYCLES;
    run_start(run);

    run_phase("warm");
    for (; connections->wave < run->ticks; connections->wave++) {
        unsigned served = connections->wave;
        if (served >= LATER && served < LATER + CYCLES * cycle_ticks && (served - LATER) % cycle_ticks == 0)
            run_phase_number("cycle", (served - LATER) / cycle_ticks + 1);
        if (served == run->ticks - LATER) {
            run_phase("drained"); /* those that leave nothing free what there is */
            connections->leaves = false;
        }
        team_run(team, serve_connection, connections);
        run_tick(run);
    }
    run_silence(run);
}

/* --- producers and consumers --- */

enum { PAIRS = 2 };

struct pairs {
    struct population queues[PAIRS];
    struct random random[PAIRS]; /* the producers' */
    size_t produced, consumed;   /* in this tick, by each */
};

/* Even numbers produce, odd ones consume what was there when the tick began: malloc and free run at the same time.
 */
static void produce_or_consume(unsigned number, void *argument) {
    struct pairs *pairs = argument;
    struct population *queue = &pairs->queues[number / 2];
    if (number % 2 == 0)
        for (size_t i = 0; i < pairs->produced; i++)
            population_add_drawn(queue, key_value, &pairs->random[number / 2]);
    else
        for (size_t i = 0; i < pairs->consumed; i++)
            population_drop_oldest(queue);
}

/* So many messages in each queue, after so many ticks. */
static void move_backlog(struct run *run, struct team *team, struct pairs *pairs, size_t backlog, unsigned ticks,
                         size_t rate) {
    size_t start = population_count(&pairs->queues[0]);
    for (unsigned tick = 1; tick <= ticks; tick++) {
        size_t now = population_count(&pairs->queues[0]);
        size_t wanted =
            start < backlog ? start + (backlog - start) * tick / ticks : start - (start - backlog) * tick / ticks;
        pairs->produced = rate + (wanted > now ? wanted - now : 0);
        pairs->consumed = now + pairs->produced - wanted;
        if (pairs->consumed > now) { /* not what is only being made */
            pairs->consumed = now;
            pairs->produced = wanted;
        }
        team_step(team, produce_or_consume, pairs);
        run_tick(run);
    }
}

void scenario_producer_consumer(struct run *run) {
    enum { ROUNDS = 3 };
    size_t most = (size_t)run_scaled(run, 75000), least = most / 20 + 1, rate = most / 40 + 1;
    unsigned round_ticks = run->ticks / ROUNDS, part = round_ticks / 10;
    struct pairs *pairs = map_memory(sizeof *pairs);
    struct team *team = team_make(2 * PAIRS);
    for (unsigned i = 0; i < PAIRS; i++) {
        population_make(&pairs->queues[i], most + 2 * rate + most / (2 * part) + 1);
        pairs->random[i] = random_stream(run->seed, i);
    }
    team_start(team);
    run_start(run);

    for (unsigned round = 1; round <= ROUNDS; round++) {
        run_phase_number("cycle", round);
        move_backlog(run, team, pairs, least, part, rate);
        move_backlog(run, team, pairs, most, 3 * part, rate); /* the consumers are too slow */
        move_backlog(run, team, pairs, least, 3 * part, rate);
        run_phase_number("low", round);
        unsigned rounds_left = ROUNDS - round;
        unsigned ticks = run->ticks - run->ticks_done - rounds_left * round_ticks;
        move_backlog(run, team, pairs, least, ticks - 1, rate);
        move_backlog(run, team, pairs, round == ROUNDS ? 0 : least, 1, round == ROUNDS ? 0 : rate);
    }
    run_silence(run);
}
