/* The controller. Invariants: credit is at most BUDGET_ALLOWANCE; delay lies within its bounds. */
#include "purge/budget.h"

/* A return's price is learnt from looks that saw so many pages; no price is above a hundred microseconds. */
enum { LEARN_PAGES = 64, LEARN_SHARE = 8, PRICE_MAX = 100000 };

/* A process is silent that used less than this part of the time since the last look. */
enum { SILENT_PART = 50 };

/* In debt a pass comes after so many times the debt at the latest. It may cost as much again, and lead to a debt
 * that makes the next wait longer. */
enum { PATIENCE = 16 };

static uint64_t rise(uint64_t from, uint64_t to) {
    return to > from ? to - from : 0;
}

static uint64_t at_most(uint64_t bound, uint64_t x) {
    return x < bound ? x : bound;
}

void budget_init(struct budget *budget, uint64_t permille, uint64_t refault_price, uint64_t return_price,
                 const struct budget_sample *sample) {
    *budget = (struct budget){
        .seen = *sample,
        .permille = permille,
        .refault_price = at_most(PRICE_MAX, refault_price),
        .return_price = at_most(PRICE_MAX, return_price),
        .credit = (int64_t)BUDGET_ALLOWANCE,
        .delay = BUDGET_DELAY_MIN,
        .last_pass = sample->now,
    };
}

static uint64_t page_price(const struct budget *budget) {
    return budget->refault_price + budget->return_price;
}

/* What was spent beyond the price of the pages returned: visits that found little. */
static uint64_t overhead(struct budget *budget, uint64_t spent, uint64_t returned) {
    if (returned >= LEARN_PAGES) {
        uint64_t price = at_most(PRICE_MAX, spent / returned);
        budget->return_price = (budget->return_price * (LEARN_SHARE - 1) + price) / LEARN_SHARE;
    }
    return rise(returned * budget->return_price, spent);
}

static void settle(struct budget *budget, const struct budget_sample *sample) {
    const struct budget_sample *seen = &budget->seen;
    uint64_t spent = rise(seen->spent, sample->spent), used = rise(spent, rise(seen->cpu, sample->cpu));
    uint64_t cost = overhead(budget, spent, rise(seen->returned, sample->returned));
    cost += rise(seen->refaulted, sample->refaulted) * page_price(budget);
    budget->credit += (int64_t)(used / 1000 * budget->permille) - (int64_t)cost;
    if (budget->credit > (int64_t)BUDGET_ALLOWANCE)
        budget->credit = (int64_t)BUDGET_ALLOWANCE;
    budget->in_debt |= budget->credit < 0;
    budget->silent = used < rise(seen->now, sample->now) / SILENT_PART;
    budget->seen = *sample;
}

bool budget_look(struct budget *budget, const struct budget_sample *sample) {
    settle(budget, sample);
    uint64_t since = rise(budget->last_pass, sample->now);
    uint64_t debt = budget->credit < 0 ? (uint64_t)-budget->credit : 0;
    bool paid = debt == 0 && since >= budget->delay;
    bool late = since >= BUDGET_DELAY_MAX && since >= debt * PATIENCE;
    if (!paid && !late && !(budget->silent && debt <= BUDGET_OVERDRAFT))
        return false;
    /* What is freed and needed again within the time that it took to pay is not worth returning. Whether that is
     * still so is found out step by step. */
    if (paid || late) {
        uint64_t next = budget->in_debt ? since : budget->delay - budget->delay / 4;
        budget->delay = at_most(BUDGET_DELAY_MAX, next > BUDGET_DELAY_MIN ? next : BUDGET_DELAY_MIN);
    }
    budget->in_debt = false;
    budget->last_pass = sample->now;
    return true;
}

uint64_t budget_pages(const struct budget *budget) {
    return budget->credit > 0 ? (uint64_t)budget->credit / (page_price(budget) + 1) : 0;
}
