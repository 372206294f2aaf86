/* Runs the dynamic loader without running the program: see loader.h. glibc's loader does so when
 * LD_TRACE_LOADED_OBJECTS is set, which is what ldd(1) is made of; LD_WARN with LD_BIND_NOW makes it bind
 * every symbol, and LD_DEBUG makes it say to what. A loader that does not know the variable would run the
 * program: hence the test for glibc's.
 *
 * SPDX-License-Identifier: MIT */
#include "loader.h"

#include "elf_file.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_NOT_STARTED = 127 };

static bool is_own_loader(const struct stat *status) {
    struct elf_file own;
    if (elf_open(&own, "/proc/self/exe"))
        return false;
    const char *path = elf_interpreter(&own);
    elf_close(&own);
    struct stat own_status;
    return path && stat(path, &own_status) == 0 && own_status.st_dev == status->st_dev &&
           own_status.st_ino == status->st_ino;
}

const char *loader_refusal(const char *loader) {
    struct stat status;
    if (stat(loader, &status) != 0)
        return text_format("cannot be read: %s", strerror(errno));
    struct elf_file elf;
    const char *reason = elf_open(&elf, loader);
    if (reason)
        return reason;
    uint64_t value;
    bool is_glibc = elf_dynamic_symbol(&elf, "_rtld_global", &value);
    elf_close(&elf);
    if (!is_glibc)
        return "is not glibc's, and only glibc's has a dry run that tells bindings";
    if (!is_own_loader(&status) && (status.st_uid != 0 || (status.st_mode & (S_IWGRP | S_IWOTH))))
        return "is not the system's, and running it would be running a stranger's program";
    return NULL;
}

static _Noreturn void become_loader(const char *loader, const char *program, const char *preload,
                                    enum loader_report report, int output) {
    /* Those that make the loader run foreign code, or write something else or elsewhere. */
    static const char *const unwanted[] = {"LD_AUDIT",    "LD_DEBUG",          "LD_DEBUG_OUTPUT", "LD_SHOW_AUXV",
                                           "LD_PROFILE",  "LD_PROFILE_OUTPUT", "LD_VERBOSE",      "LD_WARN",
                                           "LD_BIND_NOW", "LD_BIND_NOT"};
    for (size_t i = 0; i < sizeof(unwanted) / sizeof(unwanted[0]); i++)
        unsetenv(unwanted[i]);
    setenv("LD_TRACE_LOADED_OBJECTS", "1", 1);
    setenv("LD_PRELOAD", preload, 1);
    if (report == LOADER_BINDINGS) {
        setenv("LD_WARN", "yes", 1);
        setenv("LD_BIND_NOW", "1", 1);
        setenv("LD_DEBUG", "bindings", 1);
    }
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        dup2(output, STDERR_FILENO) < 0)
        _exit(EXIT_NOT_STARTED);
    execl(loader, loader, program, (char *)NULL);
    _exit(EXIT_NOT_STARTED);
}

bool loader_dry_run(const char *loader, const char *program, const char *preload, enum loader_report report,
                    loader_line *take_line, void *context) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    pid_t child = fork();
    if (child == 0)
        become_loader(loader, program, preload, report, ends[1]);
    close(ends[1]);
    FILE *output = child > 0 ? fdopen(ends[0], "r") : NULL;
    if (!output) {
        close(ends[0]);
        return false;
    }
    char *line = NULL;
    size_t room = 0;
    bool has_spoken = false;
    for (ssize_t length; (length = getline(&line, &room, output)) > 0;) {
        if (line[length - 1] == '\n')
            line[length - 1] = '\0';
        take_line(context, line);
        has_spoken = true;
    }
    free(line);
    fclose(output);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (!has_spoken && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_STARTED) {
        errno = ENOEXEC;
        return false;
    }
    return true;
}

char *loader_listed_file(const char *line) {
    const char *end = strstr(line, " (0x");
    if (line[0] != '\t' || !end)
        return NULL;
    const char *start = strstr(line, " => ");
    start = start && start < end ? start + 4 : line + 1;
    return text_copy(start, (size_t)(end - start));
}

bool loader_binding(const char *line, const char *symbol, char **from, char **to) {
    static const char opening[] = "\tbinding file ";
    const char *start = strstr(line, opening);
    const char *symbol_at = strstr(line, " symbol `");
    if (!start || !symbol_at)
        return false;
    const char *name = symbol_at + strlen(" symbol `");
    size_t length = strlen(symbol);
    if (strncmp(name, symbol, length) != 0 || name[length] != '\'')
        return false;
    start += sizeof(opening) - 1;
    const char *middle = strstr(start, "] to ");
    if (!middle || middle > symbol_at)
        return false;
    /* Both names are followed by " [N]", the number of their namespace. */
    const char *from_end = middle;
    while (from_end > start && *from_end != '[')
        from_end--;
    const char *to_start = middle + strlen("] to ");
    const char *to_end = symbol_at;
    while (to_end > to_start && *to_end != '[')
        to_end--;
    if (from_end <= start || to_end <= to_start)
        return false;
    *from = text_copy(start, (size_t)(from_end - start - 1));
    *to = text_copy(to_start, (size_t)(to_end - to_start - 1));
    return true;
}
