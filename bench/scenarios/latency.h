/* How long malloc takes, in the rare case: the 99.9th percentile of a sample. */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

/* Measures what reading the clock costs; that is taken off. */
void latency_begin(void);

/* Whether the next call is one of the sample: one in 64, at random, so that no rhythm of the allocator's (a refill
 * every 32nd call, say) is hit or missed, and so seldom that the clock does not disturb: below 1 ns a call. */
bool latency_is_due(void);

void latency_add(uint64_t ns);

/* In ns, to a sixteenth; 0 before there are 1,000. */
uint64_t latency_p999(void);

#endif
