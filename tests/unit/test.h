/* What every unit test needs: cmocka and its prerequisites, and a page size that the environment may override. */
#ifndef NEAP_TESTS_UNIT_TEST_H
#define NEAP_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <sys/wait.h>

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

static inline void test_child_succeeds(pid_t pid) {
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Skips the rest of a test where the emulator that the tests were built for is not Linux in this. On a kernel
 * nothing is ever skipped: what is missing there has failed. */
static inline void test_needs(bool works, const char *what) {
    if (works)
        return;
#ifdef TEST_EMULATED
    print_message("skipped: the emulator is not Linux in this: %s\n", what);
    skip();
#else
    fail_msg("the system is not Linux in this: %s", what);
#endif
}

/* For tests of what the system refuses to take back. qemu-user says that it took what it does not know to be
 * mapped. */
static inline void test_needs_refusals(void) {
    char *gone = mmap(NULL, os_page_size(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(gone, MAP_FAILED);
    assert_int_equal(munmap(gone, os_page_size()), 0);
    test_needs(madvise(gone, os_page_size(), MADV_DONTNEED) != 0, "MADV_DONTNEED fails where nothing is mapped");
}

#endif
