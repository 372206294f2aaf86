/* neap bench: hands over to the runner, a Python package, which lies beside the built workloads: in the build
 * tree, or below the library's directory where it is installed. It is told of them and of the library by its
 * environment.
 *
 * SPDX-License-Identifier: MIT */
#include "command.h"
#include "library.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PYTHON "/usr/bin/python3"

enum { EXIT_CANNOT_START = 2 };

static const char help[] =
    "usage: neap bench [OPTION...]\n"
    "       neap bench list | compare A.json B.json | report RESULTS\n"
    "\n"
    "Runs server-like workloads under glibc, jemalloc, mimalloc, tcmalloc, neap and any other malloc, samples\n"
    "their resident memory, and says what each kept and what it cost: a table, JSON, CSV and report.html.\n"
    "\n"
    "  --profile quick|standard|full         2 minutes, 20 minutes, or everything\n"
    "  --allocator NAME=PATH[,VARIABLE=VALUE...]  a further allocator\n"
    "  --assert EXPR                         exit status 1 where it does not hold\n"
    "\n"
    "`neap bench --help` has all options and exit codes.\n";

/* The directory that holds the runner and the workloads; NULL where there is none. */
static const char *find_bench_directory(const char **installed, const char **build_tree) {
    *installed = library_own_path(NEAP_LIBDIR_FROM_BINDIR, "neap/bench");
    *build_tree = library_own_path("..", "bench");
    const char *candidates[] = {*installed, *build_tree};
    for (size_t i = 0; i < 2; i++)
        if (candidates[i] && access(text_format("%s/runner/__main__.py", candidates[i]), R_OK) == 0)
            return candidates[i];
    return NULL;
}

static int bench(int argc, char **argv) {
    const char *installed;
    const char *build_tree;
    const char *directory = find_bench_directory(&installed, &build_tree);
    if (!directory) {
        fprintf(stderr,
                "neap: the benchmark's runner is neither in %s nor in %s: configure with -DNEAP_BENCH=ON\n",
                installed ? installed : "?", build_tree ? build_tree : "?");
        return EXIT_CANNOT_START;
    }
    struct library library;
    const char *given = getenv("NEAP_LIBRARY");
    const char *error = library_find(&library, NULL);
    if (error && given && *given) {
        fprintf(stderr, "neap: %s\n", error);
        return EXIT_CANNOT_START;
    }
    if ((!error && setenv("NEAP_LIBRARY", library.path, 1) != 0) || setenv("NEAP_BENCH_DIR", directory, 1) != 0) {
        perror("neap");
        return EXIT_CANNOT_START;
    }
    /* Isolated: no module of the working directory or the user's stands in for one of ours. */
    const char *front[] = {PYTHON, "-I", "-B", text_format("%s/runner", directory)};
    enum { FRONT = sizeof(front) / sizeof(front[0]) };
    char **words = text_grow(NULL, (size_t)argc + FRONT, sizeof(*words));
    memcpy(words, front, sizeof(front));
    memcpy(words + FRONT, argv + 1, (size_t)argc * sizeof(*words)); /* argv[0] is not passed on, its NULL is */
    execv(PYTHON, words);
    fprintf(stderr, "neap: %s: %s\n", PYTHON, strerror(errno));
    return EXIT_CANNOT_START;
}

const struct command bench_command = {
    .name = "bench",
    .summary = "compare the resident memory of allocators under server-like work",
    .help = help,
    .run = bench,
};
