/* Finds the program behind a command: see program.h. The rules are the kernel's (`#!`, setuid, capabilities)
 * and execvp's (PATH, a script without `#!`). `#!/usr/bin/env NAME` is followed to NAME.
 *
 * SPDX-License-Identifier: MIT */
#include "program.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
    MAX_SCRIPT_DEPTH = 5, /* the kernel's limit */
    SCRIPT_LINE = 256,    /* what the kernel reads of a file to tell its kind */
};

static bool is_executable_file(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

/* The file that execvp would take; NULL where there is none. */
static const char *find_in_path(const char *command) {
    if (strchr(command, '/'))
        return command;
    const char *list = getenv("PATH");
    if (!list)
        list = "/bin:/usr/bin";
    for (;;) {
        size_t length = strcspn(list, ":");
        const char *path = text_format("%.*s/%s", length ? (int)length : 1, length ? list : ".", command);
        if (is_executable_file(path))
            return path;
        if (list[length] == '\0')
            return NULL;
        list += length + 1;
    }
}

/* The command behind `env NAME` or `env -S 'A=1 NAME …'`, given what stands behind env; NULL where that is
 * something else. */
static const char *env_command(const char *argument) {
    static const char split[] = "-S";
    if (strncmp(argument, split, sizeof(split) - 1) != 0)
        return *argument && *argument != '-' && !strchr(argument, '=') ? argument : NULL;
    const char *words = argument + sizeof(split) - 1;
    for (char *word; (word = text_next_entry(&words, " \t")) != NULL;)
        if (!strchr(word, '='))
            return *word != '-' ? word : NULL;
    return NULL;
}

/* The command that runs the file at path if that is a script: the interpreter of its `#!` line. NULL for a
 * file that is none. */
static const char *script_interpreter(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return NULL;
    char line[SCRIPT_LINE + 1];
    ssize_t length = read(fd, line, SCRIPT_LINE);
    close(fd);
    if (length < 2)
        return NULL;
    line[length] = '\0';
    if (strncmp(line, "#!", 2) != 0)
        return memchr(line, '\0', (size_t)length) ? NULL : "/bin/sh"; /* text: execvp has sh read it */
    line[strcspn(line, "\n")] = '\0';
    const char *rest = line + 2;
    const char *interpreter = text_next_entry(&rest, " \t");
    if (!interpreter)
        return "/bin/sh";
    rest += strspn(rest, " \t");
    size_t argument_length = strlen(rest);
    while (argument_length > 0 && strchr(" \t", rest[argument_length - 1]))
        argument_length--;
    if (strcmp(text_basename(interpreter), "env") != 0)
        return interpreter;
    const char *behind_env = env_command(text_copy(rest, argument_length));
    return behind_env ? behind_env : interpreter;
}

/* What the program would gain by being started here, by the kernel's rules: the bits count only where they
 * change who it is, and not under nosuid or no_new_privs. */
static const char *gained_privilege(const struct elf_file *elf, const char *path) {
    struct stat status;
    struct statvfs filesystem;
    if (fstat(elf->fd, &status) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return NULL;
    if (fstatvfs(elf->fd, &filesystem) == 0 && (filesystem.f_flag & ST_NOSUID))
        return NULL;
    if ((status.st_mode & S_ISUID) && status.st_uid != getuid())
        return "setuid";
    if ((status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && status.st_gid != getgid())
        return "setgid";
    if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
        return "file capabilities";
    return NULL;
}

static void examine(struct program *program) {
    uint64_t value;
    program->interpreter = elf_interpreter(&program->elf);
    program->is_loader = !program->interpreter && elf_dynamic_symbol(&program->elf, "_rtld_global", &value);
    program->is_static = !program->interpreter && !program->is_loader;
    program->privilege = gained_privilege(&program->elf, program->path);
}

const char *program_find(struct program *program, const char *command) {
    *program = (struct program){.elf.fd = -1};
    const char *name = command;
    for (int depth = 0; depth <= MAX_SCRIPT_DEPTH; depth++) {
        const char *path = find_in_path(name);
        if (!path)
            return depth ? text_format("%s: its interpreter '%s' is not in PATH", program->script, name)
                         : text_format("'%s' is not in PATH", name);
        if (!is_executable_file(path)) {
            struct stat status;
            const char *why = stat(path, &status) != 0  ? strerror(errno)
                              : S_ISREG(status.st_mode) ? strerror(EACCES)
                                                        : "not a regular file";
            return depth ? text_format("%s: its interpreter %s: %s", program->script, path, why)
                         : text_format("%s: %s", path, why);
        }
        const char *reason = elf_open(&program->elf, path);
        if (!reason) {
            char *resolved = realpath(path, NULL);
            program->path = resolved ? resolved : path;
            examine(program);
            return NULL;
        }
        name = script_interpreter(path);
        if (!name || strcmp(reason, "is not an ELF file") != 0)
            return text_format("%s %s", path, reason);
        if (!program->script)
            program->script = path;
    }
    return text_format("%s: too many interpreters of interpreters", program->script);
}
