/* The program that a command leads to: found in PATH, followed through `#!` lines to the ELF file that the
 * kernel starts, and examined for what keeps LD_PRELOAD from taking.
 *
 * SPDX-License-Identifier: MIT */
#ifndef NEAP_TOOL_PROGRAM_H
#define NEAP_TOOL_PROGRAM_H

#include "elf_file.h"

#include <stdbool.h>

struct program {
    const char *path;        /* the ELF file */
    const char *script;      /* the command's own file where that is a script, else NULL */
    const char *interpreter; /* the loader it asks for (PT_INTERP), or NULL */
    const char *privilege;   /* "setuid", "setgid" or "file capabilities" where it would gain them, else NULL */
    bool is_loader;          /* it is the dynamic loader itself */
    bool is_static;
    struct elf_file elf;
};

/* Answers NULL, or why the program cannot be told, as a whole message. */
const char *program_find(struct program *program, const char *command);

#endif
