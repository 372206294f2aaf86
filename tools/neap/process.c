/* Reads a running process through /proc: see process.h.
 *
 * SPDX-License-Identifier: MIT */
#include "process.h"

#include "text.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *proc_path(const struct process *process, const char *name) {
    return text_format("/proc/%d/%s", (int)process->pid, name);
}

static void read_mappings(struct process *process, char *text) {
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        struct mapping mapping = {0};
        char execute;
        int path_at = 0;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*c%*c%c%*c %*x %*s %*u %n", &mapping.start, &mapping.end,
                   &execute, &path_at) < 3 ||
            path_at == 0)
            continue;
        mapping.is_executable = execute == 'x';
        mapping.path = line + path_at;
        process->mappings = text_grow(process->mappings, process->mapping_count + 1, sizeof(*process->mappings));
        process->mappings[process->mapping_count++] = mapping;
    }
}

/* The letter of its state in /proc/PID/stat, which stands behind the name in parentheses. */
static char run_state(const struct process *process) {
    size_t length;
    char *text = text_read_file(proc_path(process, "stat"), &length);
    const char *name_end = text ? strrchr(text, ')') : NULL;
    if (!name_end || name_end[1] != ' ')
        return '\0';
    return name_end[2];
}

static const char *short_name(const struct process *process) {
    size_t length;
    char *text = text_read_file(proc_path(process, "comm"), &length);
    if (!text)
        return "?";
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static const char *link_target(const char *path) {
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof(target));
    return length > 0 ? text_copy(target, (size_t)length) : "?";
}

enum process_status process_open(struct process *process, pid_t pid, const char **executable_reason) {
    *process = (struct process){.pid = pid, .executable.fd = -1};
    struct stat status;
    if ((kill(pid, 0) != 0 && errno == ESRCH) || stat(proc_path(process, ""), &status) != 0)
        return PROCESS_NONE;
    process->label = text_format("process %d (%s)", (int)pid, short_name(process));
    process->owner = status.st_uid;
    char state = run_state(process);
    if (state == 'Z' || state == 'X')
        return PROCESS_ENDED;
    size_t length;
    char *mappings = text_read_file(proc_path(process, "maps"), &length);
    if (!mappings)
        return errno == EACCES || errno == EPERM ? PROCESS_FORBIDDEN : PROCESS_NONE;
    if (length == 0)
        return PROCESS_KERNEL;
    read_mappings(process, mappings);
    process->auxiliary = text_read_file(proc_path(process, "auxv"), &process->auxiliary_length);
    process->environment = text_read_file(proc_path(process, "environ"), &process->environment_length);
    process->executable_path = link_target(proc_path(process, "exe"));
    *executable_reason = elf_open(&process->executable, proc_path(process, "exe"));
    return *executable_reason ? PROCESS_UNREADABLE : PROCESS_OPEN;
}

static bool read_by_file(const struct process *process, uint64_t address, void *out, size_t length) {
    int fd = open(proc_path(process, "mem"), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = pread(fd, out, length, (off_t)address);
    int error = got < 0 ? errno : EFAULT;
    close(fd);
    errno = error;
    return got == (ssize_t)length;
}

bool process_read(const struct process *process, uint64_t address, void *out, size_t length) {
    if (address > UINTPTR_MAX) {
        errno = EFAULT;
        return false;
    }
    struct iovec to = {out, length};
    struct iovec from = {(void *)(uintptr_t)address, length};
    ssize_t got = process_vm_readv(process->pid, &to, 1, &from, 1, 0);
    if (got == (ssize_t)length)
        return true;
    if (got >= 0 || errno == EFAULT) {
        errno = EFAULT;
        return false;
    }
    return read_by_file(process, address, out, length);
}

size_t process_word_size(const struct process *process) {
    return process->executable.is64 ? 8 : 4;
}

bool process_read_word(const struct process *process, uint64_t address, uint64_t *word) {
    if (process_word_size(process) == 8)
        return process_read(process, address, word, 8);
    uint32_t narrow;
    bool was_read = process_read(process, address, &narrow, 4);
    *word = was_read ? narrow : 0;
    return was_read;
}

static uint64_t auxiliary_word(const struct process *process, size_t index) {
    uint64_t word = 0;
    uint32_t narrow;
    if (process_word_size(process) == 8) {
        memcpy(&word, process->auxiliary + index * 8, 8);
        return word;
    }
    memcpy(&narrow, process->auxiliary + index * 4, 4);
    return narrow;
}

uint64_t process_auxiliary(const struct process *process, uint64_t type) {
    size_t words = process->auxiliary ? process->auxiliary_length / process_word_size(process) : 0;
    for (size_t i = 0; i + 1 < words; i += 2)
        if (auxiliary_word(process, i) == type)
            return auxiliary_word(process, i + 1);
    return 0;
}

uint64_t process_executable_bias(const struct process *process) {
    return process_auxiliary(process, AT_ENTRY) - process->executable.entry;
}

bool process_is_static(const struct process *process) {
    uint64_t value;
    return !elf_interpreter(&process->executable) &&
           !elf_dynamic_symbol(&process->executable, "_rtld_global", &value);
}

const char *process_variable(const struct process *process, const char *name) {
    size_t length = strlen(name);
    if (!process->environment)
        return NULL;
    const char *end = process->environment + process->environment_length;
    for (const char *entry = process->environment; entry < end; entry += strlen(entry) + 1)
        if (strncmp(entry, name, length) == 0 && entry[length] == '=')
            return entry + length + 1;
    return NULL;
}

const struct mapping *process_mapping_at(const struct process *process, uint64_t address) {
    for (size_t i = 0; i < process->mapping_count; i++)
        if (address >= process->mappings[i].start && address < process->mappings[i].end)
            return &process->mappings[i];
    return NULL;
}

const char *process_path(const struct process *process, const char *path) {
    if (path[0] == '/')
        return text_format("/proc/%d/root%s", (int)process->pid, path);
    return text_format("/proc/%d/cwd/%s", (int)process->pid, path);
}

const char *process_open_mapped(const struct process *process, const struct mapping *mapping,
                                struct elf_file *elf) {
    /* The very file, whatever its path leads to by now; only root may. */
    const char *by_address =
        text_format("/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)process->pid, mapping->start, mapping->end);
    if (!elf_open(elf, by_address))
        return NULL;
    static const char deleted[] = " (deleted)";
    size_t length = strlen(mapping->path);
    if (length >= sizeof(deleted) && strcmp(mapping->path + length - (sizeof(deleted) - 1), deleted) == 0)
        return "has been replaced since it was loaded, and only root can read what it was";
    return elf_open(elf, process_path(process, mapping->path));
}
