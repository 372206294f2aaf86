/* An hour of a web service's traffic, in the time that the profile has: requests that wait for others take turns
 * in one thread, as in an event loop. */
#include "neap/neap.h"
#include "population.h"
#include "scenario.h"
#include "system.h"

/* Found when the program starts, where neap is in front; else NULL. */
#pragma weak neap_scope_create
#pragma weak neap_scope_enter
#pragma weak neap_scope_leave
#pragma weak neap_scope_end

static const struct sizes web = {&web_mix, 1};

enum {
    IN_FLIGHT = 64,
    STEPS = 8,           /* of a request; one after the other until it waits */
    ADDED = 64,          /* objects in a step */
    DROPPED = 32,        /* of the request's objects, any, in the same step */
    KEPT_PER_MILLE = 20, /* of what a request holds when it ends: 1 % of all that it has allocated */
    REQUESTS = 72000,    /* in the hour: 20 a second */
    CYCLES = 12,         /* of five minutes */
};

/* What is kept goes to one of three caches, which keep it for half a minute, 3 and 15 minutes. */
static const size_t lifetimes[] = {REQUESTS / 120, REQUESTS / 20, REQUESTS / 4};
enum { CACHES = sizeof lifetimes / sizeof *lifetimes };

struct cache {
    struct population objects;
    size_t lifetime; /* in requests */
    size_t *tails;   /* number of the first object that came after the request: of the last `lifetime` requests */
};

struct request {
    struct population objects;
    neap_scope scope; /* 0: none */
    unsigned steps;   /* done */
};

struct traffic {
    struct run *run;
    bool scoped;
    size_t in_flight, ended;
    struct request *requests;
    struct cache caches[CACHES];
};

static void traffic_make(struct traffic *traffic, struct run *run, bool scoped) {
    *traffic = (struct traffic){
        .run = run,
        .scoped = scoped && neap_scope_create != NULL,
        .in_flight = run_scaled(run, IN_FLIGHT),
    };
    traffic->requests = map_memory(traffic->in_flight * sizeof *traffic->requests);
    for (size_t i = 0; i < traffic->in_flight; i++)
        population_make(&traffic->requests[i].objects, STEPS * ADDED);
    for (size_t i = 0; i < CACHES; i++) {
        struct cache *cache = &traffic->caches[i];
        cache->lifetime = run_scaled(run, lifetimes[i]);
        population_make(&cache->objects, cache->lifetime * STEPS * ADDED / 100 + 1000); /* three times the mean */
        cache->tails = map_memory(cache->lifetime * sizeof *cache->tails);
    }
}

/* Before a step: what is allocated from now on is the request's. */
static void enter(const struct traffic *traffic, struct request *request) {
    if (!traffic->scoped)
        return;
    if (request->scope == 0)
        request->scope = neap_scope_create(&(struct neap_scope_options){.label = "request"});
    if (request->scope == 0 || neap_scope_enter(request->scope) != 0)
        stop(STATUS_FAILED, "cannot enter a scope");
}

static void leave(const struct traffic *traffic, struct request *request) {
    if (traffic->scoped && neap_scope_leave(request->scope) != 0)
        stop(STATUS_FAILED, "cannot leave a scope");
}

static void end(const struct traffic *traffic, struct request *request) {
    if (traffic->scoped && neap_scope_end(request->scope) != 0)
        stop(STATUS_FAILED, "cannot end a scope");
    request->scope = 0;
    request->steps = 0;
}

/* The request's objects go, but for those that are put into a cache. */
static void finish(struct traffic *traffic, struct request *request) {
    struct random *random = &traffic->run->random;
    while (population_count(&request->objects) != 0)
        if (random_below(random, 1000) < KEPT_PER_MILLE)
            population_move_oldest(&request->objects, &traffic->caches[random_below(random, CACHES)].objects);
        else
            population_drop_oldest(&request->objects);
}

/* A cache drops what it has kept for its time. */
static void expire(struct traffic *traffic) {
    for (struct cache *cache = traffic->caches; cache < traffic->caches + CACHES; cache++) {
        size_t *tail = &cache->tails[traffic->ended % cache->lifetime];
        while (cache->objects.head < *tail)
            population_drop_oldest(&cache->objects);
        *tail = cache->objects.tail;
    }
    traffic->ended++;
}

static void step(struct traffic *traffic, struct request *request) {
    struct random *random = &traffic->run->random;
    bool is_last = ++request->steps == STEPS;
    enter(traffic, request);
    for (unsigned i = 0; i < ADDED; i++)
        population_add_drawn(&request->objects, web, random);
    for (unsigned i = 0; i < DROPPED; i++)
        population_drop_random(&request->objects, random);
    if (is_last)
        finish(traffic, request);
    leave(traffic, request);
    if (!is_last)
        return;
    end(traffic, request);
    expire(traffic);
}

static void request_mix(struct run *run, bool scoped) {
    struct traffic traffic;
    traffic_make(&traffic, run, scoped);
    run_start(run);

    size_t steps = run_scaled(run, REQUESTS) * STEPS, done = 0;
    for (unsigned tick = 0; tick < run->ticks; tick++) {
        unsigned cycle = tick * CYCLES / run->ticks + 1;
        if (tick == 0 || cycle != (tick - 1) * CYCLES / run->ticks + 1)
            run_phase_number("cycle", cycle);
        for (; done < steps * (tick + 1) / run->ticks; done++)
            step(&traffic, &traffic.requests[random_below(&run->random, traffic.in_flight)]);
        run_tick(run);
    }
    run_phase("drained");
    for (struct request *request = traffic.requests; request < traffic.requests + traffic.in_flight; request++)
        while (request->steps != 0)
            step(&traffic, request);
    run_silence(run);
}

void scenario_request_mix(struct run *run) {
    request_mix(run, false);
}

void scenario_request_mix_scopes(struct run *run) {
    request_mix(run, true);
}
