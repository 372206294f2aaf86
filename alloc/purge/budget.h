/* How eagerly free memory goes back, as arithmetic: no clock, no system call, no lock.
 *
 * Memory that is returned and needed again costs its return and a page fault. Both are counted, at measured
 * prices, against credit, which is earned as a share of the CPU time that the program uses. What is returned and
 * not needed again costs nothing here: that happens once a page, whatever the delay. With credit, passes follow
 * each other at the shortest delay; in debt they wait until it is paid. So the delay settles where the program's
 * own rhythm of freeing and allocating no longer costs more than the share.
 *
 * A program that uses no CPU time is silent: who waits for its debts to be paid waits for ever, and who has been
 * quiet is likely to stay so. It gets its passes without delay, as long as its debt is moderate.
 *
 * All times are in nanoseconds. The caller keeps other threads away. */
#ifndef NEAP_PURGE_BUDGET_H
#define NEAP_PURGE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define MILLISECONDS UINT64_C(1000000)

/* How often to look, and the bounds of the delay between two passes. What is free at one pass goes at the next,
 * after a cache has been taken back one later: in a silent process everything is gone after at most five looks. */
#define BUDGET_LOOK      (150 * MILLISECONDS)
#define BUDGET_DELAY_MIN (300 * MILLISECONDS)
#define BUDGET_DELAY_MAX (60000 * MILLISECONDS)

/* Credit there is at the start, and at most; and the debt up to which a silent process is served at once. */
#define BUDGET_ALLOWANCE (20 * MILLISECONDS)
#define BUDGET_OVERDRAFT (200 * MILLISECONDS)

/* Sums since the process began, of which all but `now` may be of slightly different moments. */
struct budget_sample {
    uint64_t now;
    uint64_t cpu;       /* CPU time of the process, with what we have spent */
    uint64_t spent;     /* CPU time that returning memory took */
    uint64_t returned;  /* pages */
    uint64_t refaulted; /* pages that were handed out again after they had been returned */
};

struct budget {
    struct budget_sample seen; /* at the last look */
    uint64_t permille;         /* of the program's CPU time */
    uint64_t refault_price;    /* of a page that is touched after it was returned */
    uint64_t return_price;     /* of a page; learnt */
    int64_t credit;            /* below zero: debt */
    uint64_t delay;            /* between two passes */
    uint64_t last_pass;
    bool in_debt; /* at some look since the last pass */
    bool silent;  /* since the last look */
};

void budget_init(struct budget *budget, uint64_t permille, uint64_t refault_price, uint64_t return_price,
                 const struct budget_sample *sample);

/* One look, BUDGET_LOOK or more after the last: whether a pass is due. The caller then makes one. */
bool budget_look(struct budget *budget, const struct budget_sample *sample);

/* How many more pages may be faulted in again before there is debt. */
uint64_t budget_pages(const struct budget *budget);

#endif
