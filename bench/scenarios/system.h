/* What the scenarios need of the system, without a byte from malloc: their own state must not be in the heap that
 * is measured, and must not grow while it is. */
#ifndef BENCH_SYSTEM_H
#define BENCH_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

enum exit_status { STATUS_GOOD = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_CANNOT_RUN = 3 };

/* Ends the process with a line on stderr. */
_Noreturn void stop(enum exit_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line on stdout, at once. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Zeroed memory that is resident from the first. Ends the process with STATUS_CANNOT_RUN where there is none. */
void *map_memory(size_t bytes);
void unmap_memory(void *memory, size_t bytes);

uint64_t now_ns(void); /* CLOCK_MONOTONIC */
void sleep_until_ns(uint64_t when);

#endif
