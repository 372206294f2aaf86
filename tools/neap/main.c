/* neap: the entry of the command-line tool. Holds the table of commands, help and version, and the option
 * walk that the commands share. A new command is one file with a `struct command`, and one row here.
 *
 * SPDX-License-Identifier: MIT */
#include "command.h"

#include "neap/neap.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command *const commands[] = {
    &run_command,
    &check_command,
    &bench_command,
    &symbolize_command,
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static const struct command *command_named(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static void print_usage(FILE *out) {
    fputs("usage: neap COMMAND [ARG...]\n"
          "       neap help [COMMAND]\n"
          "       neap --version\n"
          "\n"
          "neap is a malloc whose resident memory stays level. Commands:\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
}

/* The help text opens with the usage lines and an empty line. */
static void print_command_usage(FILE *out, const struct command *command) {
    const char *end = strstr(command->help, "\n\n");
    fprintf(out, "%.*s\n", end ? (int)(end - command->help) : (int)strlen(command->help), command->help);
}

_Noreturn void usage_error(const struct command *command, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("neap: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    if (command)
        print_command_usage(stderr, command);
    else
        print_usage(stderr);
    exit(EXIT_USAGE);
}

static int finish_output(int status) {
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("neap: standard output");
        return EXIT_USAGE;
    }
    return status;
}

static int print_help(const struct command *command) {
    if (command)
        fputs(command->help, stdout);
    else
        print_usage(stdout);
    return finish_output(EXIT_SUCCESS);
}

const char *next_option(struct options *options, const char **value) {
    const char *word = options->argv[options->next];
    if (!word || word[0] != '-' || word[1] == '\0' || strcmp(word, "--") == 0)
        return NULL;
    options->next++;
    *value = NULL;
    if (strcmp(word, "--help") == 0)
        exit(print_help(options->command));
    for (const struct option_spec *spec = options->specs; spec->name; spec++) {
        size_t length = strlen(spec->name);
        if (strncmp(word, spec->name, length) != 0 || (word[length] != '\0' && word[length] != '='))
            continue;
        if (spec->takes_value)
            *value = word[length] == '=' ? word + length + 1 : options->argv[options->next++];
        else if (word[length] == '=')
            usage_error(options->command, "%s takes no value", spec->name);
        if (spec->takes_value && !*value)
            usage_error(options->command, "%s needs a value", spec->name);
        return spec->name;
    }
    usage_error(options->command, "unknown option '%s'", word);
}

int main(int argc, char **argv) {
    if (argc < 2)
        usage_error(NULL, "no command given");
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0) {
        puts("neap " NEAP_VERSION);
        return finish_output(EXIT_SUCCESS);
    }
    if (strcmp(word, "--help") == 0)
        return print_help(NULL);
    if (strcmp(word, "help") == 0) {
        if (argc == 2)
            return print_help(NULL);
        const struct command *topic = command_named(argv[2]);
        if (!topic)
            usage_error(NULL, "unknown command '%s'", argv[2]);
        return print_help(topic);
    }
    if (word[0] == '-')
        usage_error(NULL, "unknown option '%s'", word);
    const struct command *command = command_named(word);
    if (!command)
        usage_error(NULL, "unknown command '%s'", word);
    return finish_output(command->run(argc - 1, argv + 1));
}
