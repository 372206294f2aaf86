/* neap check: says whether neap took over in a process, or would in a program, and if not, why.
 *
 * SPDX-License-Identifier: MIT */
#include "check.h"

#include "command.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: neap check PID\n"
    "       neap check [--library PATH] -- COMMAND [ARG...]\n"
    "\n"
    "Proves that neap serves malloc in the process PID, or says why it does not. With a COMMAND, says the "
    "same of\n"
    "what `neap run` would start, without running it: the program is examined, and the dynamic loader is "
    "asked\n"
    "what malloc and free bind to.\n"
    "\n"
    "  --library PATH  the library to use; else $NEAP_LIBRARY, else the one that came with this command\n"
    "\n"
    "Exit code: 0 neap took over (or would), 1 it did not, 2 that cannot be told, or a usage error.\n";

static pid_t parse_pid(const char *word) {
    char *end;
    errno = 0;
    long number = strtol(word, &end, 10);
    if (word[0] < '0' || word[0] > '9' || *end || errno || number < 1 || number > INT_MAX)
        usage_error(&check_command, "'%s' is not a process id; a command goes behind --", word);
    return (pid_t)number;
}

static int run(int argc, char **argv) {
    static const struct option_spec specs[] = {{"--library", 1}, {NULL, 0}};
    struct options walk = {&check_command, specs, argv, 1};
    const char *library = NULL;
    while (next_option(&walk, &library))
        ;
    const char *word = argv[walk.next];
    if (!word)
        usage_error(&check_command, "no process or command given");
    struct verdict verdict = {0};
    if (strcmp(word, "--") == 0) {
        if (walk.next + 1 >= argc)
            usage_error(&check_command, "no command given");
        check_command_line(&verdict, argv[walk.next + 1], library);
    } else {
        pid_t pid = parse_pid(word);
        if (library)
            usage_error(&check_command, "--library is for a command, not for a process");
        if (walk.next + 1 < argc)
            usage_error(&check_command, "one process at a time: '%s' is too many", argv[walk.next + 1]);
        check_process(&verdict, pid);
    }
    return verdict_print(&verdict);
}

const struct command check_command = {
    .name = "check",
    .summary = "tell whether neap took over in a process, or would in a program",
    .help = help,
    .run = run,
};
