/* NEAP_OPTIONS, good and bad: what is said on stderr, to the letter, and that the program runs on. */
#include "preload.h"

#define COMPLAINT(what, item) "neap: NEAP_OPTIONS: " what ": \"" item "\" (ignored)\n"
#define TEN                   "0123456789"

static const struct {
    const char *options, *said;
    size_t page; /* that is in force; 0: the system's */
} cases[] = {
    {"", "", 0},
    {",", "", 0},
    {" , ,, ", "", 0},
    {"page_size:16384", "", 16384},
    {" page_size:65536 ", "", 65536},
    {"page_size:16384,page_size:65536", "", 65536},
    {"sized_check:on,page_size:32768,stats_exit:off", "", 32768},
    {"sized_check:off\npage_size:16384", "", 16384},
    {"# a comment, page_size:65536", "", 0},
    {"page_size:16384#, page_size:65536", "", 16384},
    {"nonsense:1", COMPLAINT("unknown option", "nonsense:1"), 0},
    {"nonsense:1,page_size:16384", COMPLAINT("unknown option", "nonsense:1"), 16384},
    {"page_size:16384,Page_Size:65536", COMPLAINT("unknown option", "Page_Size:65536"), 16384},
    {"a:b,c:d", COMPLAINT("unknown option", "a:b") COMPLAINT("unknown option", "c:d"), 0},
    {":", COMPLAINT("unknown option", ":"), 0},
    {":::", COMPLAINT("unknown option", ":::"), 0},
    {"page_size", COMPLAINT("option without a value", "page_size"), 0},
    {"on", COMPLAINT("option without a value", "on"), 0},
    {"page_size=16384", COMPLAINT("option without a value", "page_size=16384"), 0},
    {"page_size:", COMPLAINT("bad value for option", "page_size:"), 0},
    {"page_size:banana", COMPLAINT("bad value for option", "page_size:banana"), 0},
    {"page_size:1000", COMPLAINT("bad value for option", "page_size:1000"), 0},
    {"page_size:2048", COMPLAINT("bad value for option", "page_size:2048"), 0},
    {"page_size:12288", COMPLAINT("bad value for option", "page_size:12288"), 0},
    {"page_size:131072", COMPLAINT("bad value for option", "page_size:131072"), 0},
    {"page_size:-1", COMPLAINT("bad value for option", "page_size:-1"), 0},
    {"page_size:0x4000", COMPLAINT("bad value for option", "page_size:0x4000"), 0},
    {"page_size:16384k", COMPLAINT("bad value for option", "page_size:16384k"), 0},
    {"page_size:16384:1", COMPLAINT("bad value for option", "page_size:16384:1"), 0},
    {"page_size: 16384", COMPLAINT("bad value for option", "page_size: 16384"), 0},
    {"page_size:18446744073709568000", COMPLAINT("bad value for option", "page_size:18446744073709568000"), 0},
    {"page_size:0", COMPLAINT("bad value for option", "page_size:0"), 0},
    {"sized_check:maybe", COMPLAINT("bad value for option", "sized_check:maybe"), 0},
    {"sized_check:ON", COMPLAINT("bad value for option", "sized_check:ON"), 0},
    {"sized_check:1", COMPLAINT("bad value for option", "sized_check:1"), 0},
    {"page_size:65536,sized_check:", COMPLAINT("bad value for option", "sized_check:"), 65536},
    {TEN TEN TEN TEN TEN TEN "abcdefghij,page_size:16384",
     COMPLAINT("too long an option", TEN TEN TEN TEN TEN TEN "abc"), 16384},
    {"\x01\xff:%s%n%p", COMPLAINT("unknown option", "\x01\xff:%s%n%p"), 0},
};

/* Starts the program again with these options and returns what it says. */
static const char *run(const char *self, const char *how, const char *options) {
    static char said[16384];
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]), close(ends[1]);
        setenv("NEAP_OPTIONS", options, 1);
        execl(self, self, how, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t n;
    while ((n = read(ends[0], said + length, sizeof said - 1 - length)) > 0)
        length += (size_t)n;
    said[length] = '\0';
    close(ends[0]);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(status == 0, "with \"%s\" it ended with status %#x and said %s", options, (unsigned)status, said);
    return said;
}

int main(int argc, char **argv) {
    if (argc > 1) {
        size_t page = (size_t)strtoul(argv[1], NULL, 10);
        alarm(30);
        void *p = malloc(40000);
        CHECK(malloc_usable_size(p) == (40000 + page - 1) / page * page, "%zu usable, page %zu",
              malloc_usable_size(p), page);
        free(p);
        exercise(1, 2000);
        return 0;
    }
    unsetenv("NEAP_OPTIONS");
    begin(60);
    size_t system_page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (system_page != 4096 && strstr(cases[i].options, "page_size:") != NULL)
            continue; /* what is a good value depends on the system's */
        char page[32];
        snprintf(page, sizeof page, "%zu", cases[i].page != 0 ? cases[i].page : system_page);
        const char *said = run(argv[0], page, cases[i].options);
        CHECK(strcmp(said, cases[i].said) == 0, "with \"%s\" it said\n  %sinstead of\n  %s", cases[i].options,
              said, cases[i].said);
    }
    char page[32];
    snprintf(page, sizeof page, "%zu", system_page);
    const char *said = run(argv[0], page, "stats_exit:on");
    CHECK(strstr(said, "neap: ") == said && strstr(said, "live") != NULL, "stats_exit:on said \"%s\"", said);
    /* A long list of bad ones: one line each, nothing cut. */
    char many[20000] = "";
    for (size_t i = 0; i < 100; i++)
        strcat(many, "what_is_this:42,");
    said = run(argv[0], page, many);
    size_t lines = 0;
    for (const char *line = said; *line != '\0'; lines++) {
        const char *expected = COMPLAINT("unknown option", "what_is_this:42");
        CHECK(strncmp(line, expected, strlen(expected)) == 0);
        line += strlen(expected);
    }
    CHECK(lines == 100, "%zu lines", lines);
    return 0;
}
