/* purge/budget: traces of simulated processes. Pages are used like a stack: what was freed last is used first. */
#include "test.h"

#include "purge/budget.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGES = 40000, STEP_MS = 10, REFAULT_NS = 2000, RETURN_NS = 300 };

#define SECOND (1000 * MILLISECONDS)

struct process {
    struct budget budget;
    struct budget_sample sums;
    uint64_t next_look, visit_ns; /* what a pass costs beside the pages it returns */
    size_t live, resident, passes;
    enum page { FRESH, IN_USE, FREE, IDLE, RETURNED } page[PAGES];
};

static struct process *start(uint64_t permille) {
    struct process *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->sums.now = 77 * SECOND; /* clocks start anywhere */
    p->sums.cpu = 5 * SECOND;
    budget_init(&p->budget, permille, REFAULT_NS, RETURN_NS * 2, &p->sums);
    p->next_look = p->sums.now + BUDGET_LOOK;
    return p;
}

static void spend(struct process *p, uint64_t ns, bool ours) {
    p->sums.cpu += ns;
    p->sums.spent += ours ? ns : 0;
}

static void use(struct process *p, size_t pages) {
    for (; p->live > pages; p->live--)
        p->page[p->live - 1] = FREE;
    for (; p->live < pages; p->live++) {
        enum page *page = &p->page[p->live];
        p->resident += *page == FRESH || *page == RETURNED;
        if (*page == RETURNED) {
            p->sums.refaulted++;
            spend(p, REFAULT_NS, false);
        }
        *page = IN_USE;
    }
}

static void pass(struct process *p) {
    p->passes++;
    spend(p, p->visit_ns, true);
    for (size_t i = p->live; i < PAGES; i++)
        if (p->page[i] == IDLE) {
            p->page[i] = RETURNED;
            p->resident--;
            p->sums.returned++;
            spend(p, RETURN_NS, true);
        } else if (p->page[i] == FREE) {
            p->page[i] = IDLE;
        }
}

/* One step, of which the program works that many percent. */
static void step(struct process *p, size_t pages, unsigned busy) {
    use(p, pages);
    p->sums.now += STEP_MS * MILLISECONDS;
    spend(p, STEP_MS * MILLISECONDS * busy / 100, false);
    if (p->sums.now >= p->next_look) {
        p->next_look = p->sums.now + BUDGET_LOOK;
        if (budget_look(&p->budget, &p->sums))
            pass(p);
    }
}

/* So many periods: in the first part of each, in percent, the program has `high` pages, then `low` of them. */
static void sawtooth(struct process *p, size_t periods, size_t ms, size_t part, size_t high, size_t low) {
    for (size_t i = 0; i < periods; i++)
        for (size_t at = 0; at < ms; at += STEP_MS)
            step(p, at * 100 < ms * part ? high : low, 100);
}

static void silence(struct process *p, size_t ms) {
    for (size_t at = 0; at < ms; at += STEP_MS)
        step(p, p->live, 0);
}

/* What the contract counts: CPU time for what was returned too early, and for looking. */
static uint64_t price(const struct process *p) {
    uint64_t once = (p->sums.returned - p->sums.refaulted) * RETURN_NS;
    return p->sums.spent - once + p->sums.refaulted * REFAULT_NS;
}

static void assert_price(const struct process *p, uint64_t permille, uint64_t beyond) {
    uint64_t work = p->sums.cpu - 5 * SECOND, may = work / 1000 * permille * 3 / 2 + beyond;
    if (price(p) > may)
        fail_msg("%zu ms of %zu ms of CPU time", (size_t)(price(p) / MILLISECONDS), (size_t)(work / MILLISECONDS));
}

static void assert_returned(const struct process *p) {
    if (p->resident > p->live + 256)
        fail_msg("%zu pages resident, %zu live", p->resident, p->live);
}

static void a_burst_is_gone_within_a_second(void **state) {
    (void)state;
    for (size_t phase = 0; phase < 300; phase += STEP_MS) {
        struct process *p = start(10);
        for (size_t ms = 0; ms < 500 + phase; ms += STEP_MS)
            step(p, 30000, 100);
        use(p, 300);
        silence(p, 900);
        assert_returned(p);
        assert_int_equal(p->sums.refaulted, 0);
        free(p);
    }
}

static void memory_in_constant_use_costs_nothing(void **state) {
    (void)state;
    struct process *p = start(10);
    sawtooth(p, 1, 60000, 100, 20000, 20000);
    assert_int_equal(p->sums.returned, 0);
    assert_int_equal(p->budget.delay, BUDGET_DELAY_MIN);
    free(p);
}

static void faster_than_the_delay_nothing_is_returned(void **state) {
    (void)state;
    struct process *p = start(10);
    sawtooth(p, 300, 200, 50, 20000, 1000);
    assert_int_equal(p->sums.returned, 0);
    silence(p, 900);
    assert_returned(p);
    free(p);
}

/* Troughs of half a second to five, of a quarter and of ten percent. */
static void near_the_delay_the_price_is_kept(void **state) {
    (void)state;
    for (size_t permille = 1; permille <= 100; permille *= 10)
        for (size_t ms = 600; ms <= 10000; ms += ms / 2)
            for (size_t part = 10; part <= 90; part += 40) {
                struct process *p = start(permille);
                sawtooth(p, 100000 / ms, ms, part, 30000, 1000);
                assert_price(p, permille, 2 * BUDGET_ALLOWANCE);
                silence(p, 900);
                if (p->budget.credit > -(int64_t)BUDGET_OVERDRAFT)
                    assert_returned(p);
                free(p);
            }
}

static void slowly_it_follows(void **state) {
    (void)state;
    struct process *p = start(10);
    for (int day = 0; day < 20; day++) {
        sawtooth(p, 1, 20000, 100, 20000, 20000);
        sawtooth(p, 1, 3000, 100, 3000, 3000);
        assert_returned(p);
        sawtooth(p, 1, 17000, 100, 3000, 3000);
    }
    assert_price(p, 10, 0);
    free(p);
}

/* The delay finds its place: from then on, neither does any window of twenty seconds cost much more than its
 * share, nor does the delay leave the neighbourhood of the trough that it has to outlast. */
static void it_converges(void **state) {
    (void)state;
    struct process *p = start(10);
    sawtooth(p, 30, 2000, 50, 30000, 1000);
    uint64_t least = UINT64_MAX, most = 0;
    for (int window = 0; window < 20; window++) {
        uint64_t before = price(p), cpu = p->sums.cpu;
        for (int period = 0; period < 10; period++) {
            sawtooth(p, 1, 2000, 50, 30000, 1000);
            least = p->budget.delay < least ? p->budget.delay : least;
            most = p->budget.delay > most ? p->budget.delay : most;
        }
        assert_true(price(p) - before <= (p->sums.cpu - cpu) / 100 * 3);
    }
    printf("delay from %zu to %zu ms\n", (size_t)(least / MILLISECONDS), (size_t)(most / MILLISECONDS));
    assert_true(most <= 10 * SECOND);
    free(p);
}

/* Short work, then sleep, again and again: what is returned in the sleep is always needed again. */
static void a_sleeper_is_served_until_it_is_in_debt(void **state) {
    (void)state;
    struct process *p = start(10);
    for (int i = 0; i < 300; i++) {
        sawtooth(p, 1, 100, 100, 10000, 10000);
        use(p, 1000);
        silence(p, 1900);
        if (i < 3)
            assert_returned(p);
    }
    uint64_t visit = 9000 * (REFAULT_NS + RETURN_NS); /* ten minutes have room for a few that come late */
    assert_price(p, 10, BUDGET_ALLOWANCE + BUDGET_OVERDRAFT + 11 * visit);
    for (int s = 0; s < 120; s++) /* and when it is quiet at last, all goes */
        silence(p, 1000);
    assert_returned(p);
    free(p);
}

static void costly_visits_become_rare(void **state) {
    (void)state;
    struct process *p = start(10);
    p->visit_ns = 20 * MILLISECONDS;
    sawtooth(p, 1, 100000, 100, 20000, 20000);
    assert_price(p, 10, BUDGET_ALLOWANCE);
    assert_true(p->passes > 30 && p->passes < 80);
    free(p);
}

/* A huge heap whose whole was once returned too early: it waits, but not for ever, and each time longer. */
static void great_debts_are_paid_slowly(void **state) {
    (void)state;
    struct process *p = start(10);
    p->budget.credit = -(int64_t)(10 * SECOND);
    use(p, 10000), use(p, 0);
    silence(p, 150000);
    assert_int_equal(p->sums.returned, 0);
    for (int i = 0; i < 300; i++)
        silence(p, 1000);
    assert_returned(p);
    free(p);
}

/* Sums of a forked child begin anew; clocks may stand still. */
static void odd_samples_do_no_harm(void **state) {
    (void)state;
    struct budget budget;
    struct budget_sample sample = {.now = SECOND, .cpu = SECOND};
    budget_init(&budget, 10, UINT64_MAX, UINT64_MAX, &sample);
    assert_false(budget_look(&budget, &(struct budget_sample){0}));
    assert_int_equal(budget.credit, BUDGET_ALLOWANCE);
    uint64_t random = 3;
    for (int i = 0; i < 100000; i++) {
        sample.now += test_random(&random) % (400 * MILLISECONDS);
        sample.cpu += test_random(&random) % (500 * MILLISECONDS);
        sample.spent += test_random(&random) % (10 * MILLISECONDS);
        sample.returned += test_random(&random) % 1000;
        sample.refaulted += test_random(&random) % 1000;
        budget_look(&budget, &sample);
        assert_in_range(budget.delay, BUDGET_DELAY_MIN, BUDGET_DELAY_MAX);
        assert_true(budget.credit <= (int64_t)BUDGET_ALLOWANCE);
        assert_true(budget.credit < 0 || budget_pages(&budget) * budget.refault_price <= BUDGET_ALLOWANCE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_is_gone_within_a_second),
        cmocka_unit_test(memory_in_constant_use_costs_nothing),
        cmocka_unit_test(faster_than_the_delay_nothing_is_returned),
        cmocka_unit_test(near_the_delay_the_price_is_kept),
        cmocka_unit_test(slowly_it_follows),
        cmocka_unit_test(it_converges),
        cmocka_unit_test(a_sleeper_is_served_until_it_is_in_debt),
        cmocka_unit_test(costly_visits_become_rare),
        cmocka_unit_test(great_debts_are_paid_slowly),
        cmocka_unit_test(odd_samples_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
