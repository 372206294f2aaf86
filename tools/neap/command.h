/* The subcommands of neap: each is a row in the table of main.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef NEAP_TOOL_COMMAND_H
#define NEAP_TOOL_COMMAND_H

/* Exit codes that all commands share; each command's help names its own. */
enum { EXIT_USAGE = 2 };

struct command {
    const char *name;
    const char *summary;               /* for the list in `neap --help` */
    const char *help;                  /* the whole of `neap help NAME` */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit code */
};

extern const struct command run_command;
extern const struct command check_command;
extern const struct command bench_command;
extern const struct command symbolize_command;

/* Walks the options that stand before "--". next_option() answers the next one's name, with its value in
 * *value where the option is listed as taking one; NULL at "--", at a word that is no option, and at the end.
 * An option that is not listed, a value that is missing, or one too many end the program as a usage error. */
struct option_spec {
    const char *name; /* "--library" */
    int takes_value;
};
struct options {
    const struct command *command;
    const struct option_spec *specs; /* ends with a name of NULL */
    char **argv;
    int next; /* index of the first word not yet taken */
};
const char *next_option(struct options *options, const char **value);

/* Prints "neap: " and the message, then how the command is used, on stderr, and exits with EXIT_USAGE.
 * command may be NULL. */
_Noreturn void usage_error(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
