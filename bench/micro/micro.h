/* Google Benchmark for benchmarks written in C: what they need of it. */
#ifndef BENCH_MICRO_H
#define BENCH_MICRO_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct micro; /* one thread's view of a benchmark that runs */

/* The loop: while (micro_continue(micro, n)) { n operations }. Time is taken from the first call, at which all
 * threads have arrived, to the one that returns false, and is reported for each operation. All threads go round
 * equally often. */
bool micro_continue(struct micro *micro, size_t operations);

/* Time that is not the operation's, within the loop. Costs some hundred nanoseconds. */
void micro_pause(struct micro *micro, bool pause);

size_t micro_argument(const struct micro *micro, size_t index);
unsigned micro_thread(const struct micro *micro); /* from 0 */

/* The benchmark is reported as failed; return after it, before the loop. */
void micro_fail(struct micro *micro, const char *why);

/* Registers a benchmark. With several threads, wall time is what counts. */
void micro_add(const char *name, void (*run)(struct micro *micro), const size_t *arguments, size_t argument_count,
               unsigned threads);

/* Registers all, in benchmarks.c, and those of scopes, in scopes.c; called by main. */
void micro_add_all(void);
void micro_add_scopes(void);

#ifdef __cplusplus
}
#endif

#endif
