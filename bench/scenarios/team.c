/* See team.h. */
#include "team.h"

#include <string.h>

#include "heap.h"
#include "system.h"

enum { STACK_BYTES = 128 << 10 };

struct member {
    struct team *team;
    pthread_t thread;
    unsigned number;
};

struct team {
    unsigned count;
    char *stacks;
    team_work *work;
    void *argument;
    pthread_barrier_t begins, ends; /* of a step: the members and the main thread */
    struct member members[];
};

struct team *team_make(unsigned threads) {
    struct team *team = map_memory(sizeof *team + threads * sizeof *team->members);
    team->count = threads;
    team->stacks = map_memory((size_t)threads * STACK_BYTES);
    pthread_barrier_init(&team->begins, NULL, threads + 1);
    pthread_barrier_init(&team->ends, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++)
        team->members[i] = (struct member){.team = team, .number = i};
    return team;
}

static void start(struct team *team, unsigned number, void *(*body)(void *)) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, team->stacks + (size_t)number * STACK_BYTES, STACK_BYTES);
    int error = pthread_create(&team->members[number].thread, &attributes, body, &team->members[number]);
    if (error != 0)
        stop(STATUS_CANNOT_RUN, "cannot start thread %u of %u: %s", number + 1, team->count, strerror(error));
    pthread_attr_destroy(&attributes);
}

static void *work_in_steps(void *argument) {
    const struct member *member = argument;
    struct team *team = member->team;
    for (;;) {
        pthread_barrier_wait(&team->begins);
        team->work(member->number, team->argument);
        heap_settle();
        pthread_barrier_wait(&team->ends);
    }
    return NULL;
}

void team_start(struct team *team) {
    for (unsigned i = 0; i < team->count; i++)
        start(team, i, work_in_steps);
}

void team_step(struct team *team, team_work *work, void *argument) {
    team->work = work;
    team->argument = argument;
    pthread_barrier_wait(&team->begins);
    pthread_barrier_wait(&team->ends);
}

static void *work_once(void *argument) {
    const struct member *member = argument;
    member->team->work(member->number, member->team->argument);
    heap_settle();
    return NULL;
}

void team_run(struct team *team, team_work *work, void *argument) {
    team->work = work;
    team->argument = argument;
    for (unsigned i = 0; i < team->count; i++)
        start(team, i, work_once);
    for (unsigned i = 0; i < team->count; i++)
        pthread_join(team->members[i].thread, NULL);
}
