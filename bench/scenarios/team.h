/* Threads, on stacks that are resident before the first object: a thread's stack is no memory of the allocator's.
 */
#ifndef BENCH_TEAM_H
#define BENCH_TEAM_H

#include <pthread.h>

/* What a thread is to do; number from 0. */
typedef void team_work(unsigned number, void *argument);

struct team;

/* Room for so many threads at once. */
struct team *team_make(unsigned threads);

/* Starts them all; they wait. */
void team_start(struct team *team);

/* All of them do the work, the caller waits for the last one. Then they block until the next step; never again,
 * after the last. */
void team_step(struct team *team, team_work *work, void *argument);

/* New threads do the work and end; of a team that is not started. */
void team_run(struct team *team, team_work *work, void *argument);

#endif
