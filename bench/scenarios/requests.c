/* Scenarios in which objects belong together: requests, connections, buffers. */
#include "population.h"
#include "scenario.h"

static const struct sizes web = {&web_mix, 1};

/* Waves of requests that are under way at once, as before a slow database. Each has 128 objects; it ends, and a
 * few of them are kept in a cache or a session until four waves later. Between the waves only those live. */
static void requests(struct run *run, unsigned per_mille) {
    enum { OBJECTS = 128, KEPT_WAVES = 4, WAVES_IN_3_S = 8 };
    size_t at_once = run_scaled(run, 3200), in_all = at_once + at_once / 2;
    unsigned waves = WAVES_IN_3_S * run->ticks / (3 * TICKS_PER_SECOND), wave_ticks = run->ticks / waves;
    unsigned busy_ticks = wave_ticks * 2 / 3;
    struct population active, kept[KEPT_WAVES];
    population_make(&active, at_once * OBJECTS);
    for (unsigned i = 0; i < KEPT_WAVES; i++)
        population_make(&kept[i], in_all * OBJECTS * per_mille / 500 + 1000);
    run_start(run);

    for (unsigned wave = 1; wave <= waves; wave++) {
        struct population *survivors = &kept[wave % KEPT_WAVES];
        size_t begun = 0, ended = 0;
        run_phase_number("cycle", wave);
        population_clear(survivors); /* those of four waves ago */
        for (unsigned tick = 1; tick <= busy_ticks; tick++) {
            /* Requests come in the first half of the time, and end in the last two thirds. */
            size_t come = in_all * tick * 2 / busy_ticks, third = busy_ticks / 3;
            size_t go = tick <= third ? 0 : in_all * (tick - third) / (busy_ticks - third);
            for (; begun < in_all && begun < come; begun++) {
                for (; begun - ended == at_once; ended++)
                    population_drop_random_group(&active, OBJECTS, &run->random, survivors, per_mille);
                for (unsigned i = 0; i < OBJECTS; i++)
                    population_add_drawn(&active, web, &run->random);
            }
            for (; ended < go && ended < begun; ended++)
                population_drop_random_group(&active, OBJECTS, &run->random, survivors, per_mille);
            run_tick(run);
        }
        run_phase_number("low", wave);
        unsigned waves_left = waves - wave;
        while (run->ticks - run->ticks_done > waves_left * wave_ticks)
            run_tick(run);
    }
    run_silence(run);
}

void scenario_requests_0_1(struct run *run) {
    requests(run, 1);
}

void scenario_requests_1(struct run *run) {
    requests(run, 10);
}

void scenario_requests_5(struct run *run) {
    requests(run, 50);
}

/* Of an asyncio connection: transport, protocol, task, stream reader and their dictionaries, and two buffers with
 * sizes of their own. In all 20 KB. */
static const size_t connection_sizes[] = {64, 96, 232, 176, 480, 352, 1024, 136, 72, 1064};
enum {
    FIXED = sizeof connection_sizes / sizeof *connection_sizes,
    BUFFERS = 2,
    LEAST_BUFFER = 512,
    MOST_BUFFER = 16384,
    CONNECTION_OBJECTS = FIXED + BUFFERS
};

static void connect_one(struct population *connections, struct random *random) {
    for (unsigned i = 0; i < FIXED; i++)
        population_add(connections, connection_sizes[i]);
    for (unsigned i = 0; i < BUFFERS; i++)
        population_add(connections, LEAST_BUFFER + random_below(random, MOST_BUFFER - LEAST_BUFFER));
}

/* To so many connections in so many ticks, random ones closing. A tenth of the connections gets a message in each
 * tick: four objects of a short life. */
static void move_connections(struct run *run, struct population *connections, struct population *messages,
                             size_t target, unsigned ticks) {
    size_t start = population_count(connections) / CONNECTION_OBJECTS;
    for (unsigned tick = 1; tick <= ticks; tick++) {
        size_t wanted =
            start < target ? start + (target - start) * tick / ticks : start - (start - target) * tick / ticks;
        size_t now = population_count(connections) / CONNECTION_OBJECTS;
        for (; now < wanted; now++)
            connect_one(connections, &run->random);
        for (; now > wanted; now--)
            population_drop_random_group(connections, CONNECTION_OBJECTS, &run->random, NULL, 0);
        population_clear(messages); /* of the last tick */
        for (size_t i = 0; i < now / 10 * 4; i++)
            population_add_drawn(messages, web, &run->random);
        run_tick(run);
    }
}

/* Up in five steps and down to 5 % in five, twice. */
void scenario_connection_staircase(struct run *run) {
    enum { STEPS = 5, ROUNDS = 2, PARTS = STEPS * 2 + 2 };
    size_t most = run_scaled(run, 4000), least = most / 20;
    unsigned round_ticks = run->ticks / ROUNDS, part = round_ticks / PARTS;
    struct population connections, messages;
    population_make(&connections, most * CONNECTION_OBJECTS);
    population_make(&messages, most);
    run_start(run);

    for (unsigned round = 1; round <= ROUNDS; round++) {
        run_phase_number("up", round);
        for (unsigned step = 1; step <= STEPS; step++) {
            move_connections(run, &connections, &messages, most * step / STEPS, part / 2);
            move_connections(run, &connections, &messages, most * step / STEPS, part - part / 2);
        }
        run_phase_number("down", round);
        for (unsigned step = 1; step <= STEPS; step++) {
            size_t target = most - (most - least) * step / STEPS;
            move_connections(run, &connections, &messages, target, part / 2);
            move_connections(run, &connections, &messages, target, part - part / 2);
        }
        run_phase_number("low", round);
        unsigned rounds_left = ROUNDS - round;
        move_connections(run, &connections, &messages, least,
                         run->ticks - run->ticks_done - rounds_left * round_ticks);
    }
    run_silence(run);
}

/* Thirty-two buffers that grow by half again with each read, at the same time, to between 0.5 and 4 MiB, with
 * small objects in between; when all are complete there is a moment of work on them. Six of each cycle's are kept
 * until the next one's are complete. */
void scenario_growing_buffers(struct run *run) {
    enum {
        BUFFERS_AT_ONCE = 32,
        KEPT = 6,
        FIRST_SIZE = 4096,
        CYCLES_IN_3_S = 10,
        STEPS = 18,
        WORK = 5,
        SMALL = 200
    };
    unsigned cycles = CYCLES_IN_3_S * run->ticks / (3 * TICKS_PER_SECOND), cycle_ticks = run->ticks / cycles;
    size_t most = run_scaled(run, 4 * MIB), least = most / 8 + FIRST_SIZE;
    struct population buffers, kept, small;
    population_make(&buffers, BUFFERS_AT_ONCE);
    population_make(&kept, BUFFERS_AT_ONCE);
    population_make(&small, SMALL * STEPS);
    run_start(run);

    for (unsigned cycle = 1; cycle <= cycles; cycle++) {
        size_t final[BUFFERS_AT_ONCE];
        run_phase_number("cycle", cycle);
        for (unsigned i = 0; i < BUFFERS_AT_ONCE; i++) {
            final[i] = least + random_below(&run->random, most);
            population_add(&buffers, FIRST_SIZE);
        }
        for (unsigned step = 0; step < STEPS; step++) {
            for (unsigned i = 0; i < BUFFERS_AT_ONCE; i++) {
                size_t size = population_at(&buffers, i)->size, next = size + size / 2;
                if (size < final[i])
                    population_grow(&buffers, i, next < final[i] ? next : final[i]);
            }
            for (unsigned i = 0; i < SMALL; i++)
                population_add_drawn(&small, web, &run->random);
            run_tick(run);
        }
        for (unsigned tick = 0; tick < WORK; tick++)
            run_tick(run);
        population_clear(&kept);
        for (unsigned i = 0; i < KEPT; i++)
            population_move_oldest(&buffers, &kept);
        population_clear(&buffers);
        population_clear(&small);
        run_phase_number("low", cycle);
        unsigned cycles_left = cycles - cycle;
        while (run->ticks - run->ticks_done > cycles_left * cycle_ticks)
            run_tick(run);
    }
    run_silence(run);
}
