/* front/options: what is understood, and what is said of what is not. */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char said[4096];

/* Parses with stderr in a file, and keeps what was written there. */
static struct options parse(const char *text) {
    struct options options = options_default();
    char path[] = "/tmp/neap-options-XXXXXX";
    int file = mkstemp(path), stderr_was = dup(2);
    assert_true(file >= 0 && stderr_was >= 0);
    unlink(path);
    dup2(file, 2);
    options_parse(&options, text, "test");
    dup2(stderr_was, 2);
    ssize_t n = pread(file, said, sizeof said - 1, 0);
    said[n > 0 ? n : 0] = '\0';
    close(file);
    close(stderr_was);
    return options;
}

static void good_ones(void **state) {
    (void)state;
    struct options o = parse("sized_check:on,page_size:65536");
    assert_true(o.sized_check && !o.stats_exit && o.page_size == 65536);
    assert_string_equal(said, "");
    o = parse("  stats_exit:on \n# a comment, with a comma\n\tsized_check:on,sized_check:off\r\n,,\n");
    assert_true(o.stats_exit && !o.sized_check);
    assert_string_equal(said, "");
    o = parse("scavenger:off,purge_cpu:2.5,thp:system");
    assert_true(!o.scavenger && o.purge_permille == 25 && o.thp == THP_SYSTEM);
    assert_int_equal(parse("thp:dense").thp, THP_DENSE);
    o = parse("scavenger:on,purge_cpu:100,thp:never");
    assert_true(o.scavenger && o.purge_permille == 1000 && o.thp == THP_NEVER);
    assert_int_equal(parse("scope_survivors:1073741824").scope_survivors, 1 << 30);
    assert_int_equal(parse("scope_survivors:7,scope_survivors:off").scope_survivors, 0);
    assert_int_equal(parse("purge_cpu:0.1").purge_permille, 1);
    assert_string_equal(said, "");
    parse("");
    assert_string_equal(said, "");
}

static void bad_ones_are_reported_and_ignored(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"nonsense:1", "neap: test: unknown option: \"nonsense:1\" (ignored)\n"},
        {"sized_check", "neap: test: option without a value: \"sized_check\" (ignored)\n"},
        {"sized_check:", "neap: test: bad value for option: \"sized_check:\" (ignored)\n"},
        {"sized_check:yes", "neap: test: bad value for option: \"sized_check:yes\" (ignored)\n"},
        {"page_size:12345", "neap: test: bad value for option: \"page_size:12345\" (ignored)\n"},
        {"page_size:131072", "neap: test: bad value for option: \"page_size:131072\" (ignored)\n"},
        {"page_size:2048", "neap: test: bad value for option: \"page_size:2048\" (ignored)\n"},
        {"page_size:-1", "neap: test: bad value for option: \"page_size:-1\" (ignored)\n"},
        {"page_size:99999999999999999999999", "neap: test: bad value for option: "
                                              "\"page_size:99999999999999999999999\" (ignored)\n"},
        {"purge_cpu:0", "neap: test: bad value for option: \"purge_cpu:0\" (ignored)\n"},
        {"purge_cpu:0.0", "neap: test: bad value for option: \"purge_cpu:0.0\" (ignored)\n"},
        {"purge_cpu:100.1", "neap: test: bad value for option: \"purge_cpu:100.1\" (ignored)\n"},
        {"purge_cpu:1.25", "neap: test: bad value for option: \"purge_cpu:1.25\" (ignored)\n"},
        {"purge_cpu:1.", "neap: test: bad value for option: \"purge_cpu:1.\" (ignored)\n"},
        {"purge_cpu:.5", "neap: test: bad value for option: \"purge_cpu:.5\" (ignored)\n"},
        {"purge_cpu:1%", "neap: test: bad value for option: \"purge_cpu:1%\" (ignored)\n"},
        {"purge_cpu:12345678901", "neap: test: bad value for option: \"purge_cpu:12345678901\" (ignored)\n"},
        {"scavenger:never", "neap: test: bad value for option: \"scavenger:never\" (ignored)\n"},
        {"thp:always", "neap: test: bad value for option: \"thp:always\" (ignored)\n"},
        {"scope_survivors:0", "neap: test: bad value for option: \"scope_survivors:0\" (ignored)\n"},
        {"scope_survivors:on", "neap: test: bad value for option: \"scope_survivors:on\" (ignored)\n"},
        {"scope_survivors:1073741825",
         "neap: test: bad value for option: \"scope_survivors:1073741825\" (ignored)\n"},
        {":", "neap: test: unknown option: \":\" (ignored)\n"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1",
         "neap: test: too long an option: "
         "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" (ignored)\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct options o = parse(cases[i].text);
        assert_string_equal(said, cases[i].message);
        assert_true(!o.sized_check && !o.stats_exit && o.page_size == os_page_size());
        assert_true(o.scavenger && o.purge_permille == 10 && o.thp == THP_NEVER && o.scope_survivors == 0);
    }
    struct options o = parse("what:1,stats_exit:on,page_size:no"); /* good ones between bad ones count */
    assert_true(o.stats_exit);
}

static void bytes_of_any_kind_do_no_harm(void **state) {
    (void)state;
    uint64_t seed = 9;
    for (int round = 0; round < 300; round++) {
        char text[200];
        size_t length = test_random(&seed) % sizeof text;
        for (size_t i = 0; i < length; i++)
            text[i] = test_random(&seed) % 4 == 0 ? ",:#\n"[test_random(&seed) % 4]
                                                  : (char)(1 + test_random(&seed) % 255);
        text[length == 0 ? 0 : length - 1] = '\0';
        parse(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones),
        cmocka_unit_test(bad_ones_are_reported_and_ignored),
        cmocka_unit_test(bytes_of_any_kind_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
