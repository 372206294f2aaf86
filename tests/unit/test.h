/* What every unit test needs: cmocka and its prerequisites, and a page size that the environment may override. */
#ifndef NEAP_TESTS_UNIT_TEST_H
#define NEAP_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "front/options.h"
#include "os/os.h"

static inline size_t test_page_size(void) {
    struct options options = options_default();
    options_read(&options);
    return options.page_size;
}

/* A small repeatable generator (numerical recipes' LCG, upper bits). */
static inline uint32_t test_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

#endif
