/* Functions that do nothing, in a file of their own so that the compiler cannot know: a benchmark's loop around
 * them is its overhead, to be taken off what it says of malloc. */
#ifndef BENCH_NOTHING_H
#define BENCH_NOTHING_H

#include <stddef.h>

void *nothing_malloc(size_t size); /* the same bytes each time */
void *nothing_array(size_t count, size_t size);
void nothing_free(void *p);

#endif
