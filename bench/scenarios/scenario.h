/* The scenarios by name. */
#ifndef BENCH_SCENARIO_H
#define BENCH_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>

#include "run.h"

struct scenario {
    const char *name;
    const char *summary;
    void (*work)(struct run *run); /* from making its tables up to the silent phase */
    bool ends_empty;               /* the silent phase has no live object */
};

/* levels.c: one heap whose size goes up and down */
void scenario_burst(struct run *run);
void scenario_diurnal(struct run *run);
void scenario_size_shift(struct run *run);
void scenario_deep_shrink(struct run *run);
void scenario_steady_churn(struct run *run);

/* requests.c: objects that belong together */
void scenario_requests_0_1(struct run *run);
void scenario_requests_1(struct run *run);
void scenario_requests_5(struct run *run);
void scenario_connection_staircase(struct run *run);
void scenario_growing_buffers(struct run *run);

/* traffic.c: an hour of requests, without and with scopes */
void scenario_request_mix(struct run *run);
void scenario_request_mix_scopes(struct run *run);

/* threads.c */
void scenario_idle_threads(struct run *run);
void scenario_thread_per_connection(struct run *run);
void scenario_producer_consumer(struct run *run);

#endif
