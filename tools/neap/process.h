/* A running process as /proc shows it: its mappings, executable, auxiliary vector, environment and memory.
 * All of it is the process's own word, and may change while it is read.
 *
 * SPDX-License-Identifier: MIT */
#ifndef NEAP_TOOL_PROCESS_H
#define NEAP_TOOL_PROCESS_H

#include "elf_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mapping {
    uint64_t start;
    uint64_t end;
    bool is_executable;
    const char *path; /* "" for memory of no file; ends in " (deleted)" where the file is no longer there */
};

struct process {
    pid_t pid;
    const char *label; /* "process 42 (redis-server)", for messages */
    uid_t owner;
    struct mapping *mappings;
    size_t mapping_count;
    const char *executable_path;
    struct elf_file executable;
    char *auxiliary; /* /proc/PID/auxv */
    size_t auxiliary_length;
    char *environment; /* as it was at the start: NUL-separated */
    size_t environment_length;
};

enum process_status {
    PROCESS_OPEN,
    PROCESS_NONE,       /* there is no such process */
    PROCESS_ENDED,      /* it has ended, and its parent has not taken notice */
    PROCESS_KERNEL,     /* it is a kernel thread */
    PROCESS_FORBIDDEN,  /* label and owner are all that may be seen */
    PROCESS_UNREADABLE, /* its executable cannot be read; executable_reason says why */
};
enum process_status process_open(struct process *process, pid_t pid, const char **executable_reason);

/* Copies memory of the process. False with errno where that is not permitted or nothing is mapped there. */
bool process_read(const struct process *process, uint64_t address, void *out, size_t length);

/* The width of the process's pointers, 4 or 8, and one read from its memory. */
size_t process_word_size(const struct process *process);
bool process_read_word(const struct process *process, uint64_t address, uint64_t *word);

/* The value of an AT_… entry of the auxiliary vector, 0 where it has none. */
uint64_t process_auxiliary(const struct process *process, uint64_t type);

/* How far the executable was moved from the addresses in its file. */
uint64_t process_executable_bias(const struct process *process);

/* Whether the executable runs without a dynamic loader, and is not the loader itself. */
bool process_is_static(const struct process *process);

/* A variable of the environment that the process was started with, or NULL. */
const char *process_variable(const struct process *process, const char *name);

const struct mapping *process_mapping_at(const struct process *process, uint64_t address);

/* A path as the process sees it, for us to open. */
const char *process_path(const struct process *process, const char *path);

/* Opens the file behind a mapping, also one that has been replaced since where we are privileged to. Answers
 * as elf_open does. */
const char *process_open_mapped(const struct process *process, const struct mapping *mapping,
                                struct elf_file *elf);

#endif
