/* neap run: starts a program with the library in front of its malloc. All that can be known to go wrong is
 * said before the program starts; from then on the process is the program's.
 *
 * SPDX-License-Identifier: MIT */
#include "command.h"
#include "library.h"
#include "program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As env(1) has them. */
enum { EXIT_CANNOT_RUN = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

static const char help[] =
    "usage: neap run [--library PATH] [--python-malloc] [--options STRING] -- COMMAND [ARG...]\n"
    "\n"
    "Starts COMMAND with neap as its malloc, and that of the programs it starts: libneap.so goes in front "
    "in\n"
    "LD_PRELOAD, before what is there already.\n"
    "\n"
    "  --library PATH    the library to use; else $NEAP_LIBRARY, else the one that came with this command\n"
    "  --options STRING  sets NEAP_OPTIONS, \"key:value,...\"\n"
    "  --python-malloc   sets PYTHONMALLOC=malloc, so that CPython takes its small objects from malloc too\n"
    "\n"
    "Exit code: COMMAND's own; 125 where the library cannot be used, 126 where COMMAND cannot be executed, "
    "127\n"
    "where it is not found, 2 for a usage error.\n";

/* A word on what the preload will not reach; the program is run all the same. */
static void warn_of(const struct program *program) {
    if (program->is_static)
        fprintf(stderr, "neap: warning: %s is a static binary: the preload will not take\n", program->path);
    else if (program->privilege)
        fprintf(stderr, "neap: warning: %s has %s: the preload will not take\n", program->path,
                program->privilege);
}

/* NULL, or that the library is for another architecture than what it will be loaded into: the program where
 * that can be told, else this executable's. */
static int check_architecture(const struct library *library, const struct program *program) {
    struct elf_file own = {.fd = -1};
    const struct elf_file *loading = program ? &program->elf : &own;
    if (library->any_architecture || (!program && elf_open(&own, "/proc/self/exe")))
        return 0;
    bool same = elf_same_architecture(&library->elf, loading);
    if (!same)
        fprintf(stderr, "neap: library %s is for %s, but %s is for %s\n", library->path,
                elf_architecture(&library->elf), program ? program->path : "this system",
                elf_architecture(loading));
    elf_close(&own);
    return same ? 0 : EXIT_CANNOT_RUN;
}

static int run(int argc, char **argv) {
    static const struct option_spec specs[] = {
        {"--library", 1}, {"--options", 1}, {"--python-malloc", 0}, {NULL, 0}};
    struct options walk = {&run_command, specs, argv, 1};
    const char *given_library = NULL;
    const char *neap_options = NULL;
    bool python_malloc = false;
    const char *value;
    for (const char *option; (option = next_option(&walk, &value)) != NULL;) {
        if (strcmp(option, "--library") == 0)
            given_library = value;
        else if (strcmp(option, "--options") == 0)
            neap_options = value;
        else
            python_malloc = true;
    }
    if (walk.next < argc && strcmp(argv[walk.next], "--") != 0)
        usage_error(&run_command, "'%s' is no option; the command goes behind --", argv[walk.next]);
    char **command = argv + walk.next + 1;
    if (walk.next + 1 >= argc)
        usage_error(&run_command, "no command given");

    struct library library;
    const char *error = library_find(&library, given_library);
    if (error) {
        fprintf(stderr, "neap: %s\n", error);
        return EXIT_CANNOT_RUN;
    }
    struct program program;
    bool is_known = program_find(&program, command[0]) == NULL;
    bool is_dynamic = is_known && !program.is_static;
    int status = check_architecture(&library, is_dynamic ? &program : NULL);
    if (status)
        return status;
    if (is_known)
        warn_of(&program);

    if (setenv("LD_PRELOAD", library_preload_list(&library, getenv("LD_PRELOAD")), 1) != 0 ||
        (neap_options && setenv("NEAP_OPTIONS", neap_options, 1) != 0) ||
        (python_malloc && setenv("PYTHONMALLOC", "malloc", 1) != 0)) {
        perror("neap");
        return EXIT_CANNOT_RUN;
    }
    execvp(command[0], command);
    int exec_error = errno;
    fprintf(stderr, "neap: %s: %s\n", command[0], strerror(exec_error));
    return exec_error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

const struct command run_command = {
    .name = "run",
    .summary = "start a program with neap as its malloc",
    .help = help,
    .run = run,
};
