/* The library that is put in front: where it is, whether it can be loaded, and how LD_PRELOAD names it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef NEAP_TOOL_LIBRARY_H
#define NEAP_TOOL_LIBRARY_H

#include "elf_file.h"

#include <stdbool.h>
#include <sys/types.h>

/* What the loader splits LD_PRELOAD at. */
#define PRELOAD_SEPARATORS " :"

struct library {
    const char *path;      /* absolute */
    const char *preload;   /* the path as LD_PRELOAD has it: may hold the loader's token $LIB */
    bool any_architecture; /* preload names a library for each architecture */
    struct elf_file elf;
    dev_t device;
    ino_t inode;
};

/* Finds and checks the library: the given one (--library), else that of NEAP_LIBRARY, else the one that
 * belongs to this executable. Answers NULL, or what is wrong as a whole message. */
const char *library_find(struct library *library, const char *given);

/* name in the directory that is `relative` as seen from this executable's; NULL where that cannot be told. */
const char *library_own_path(const char *relative, const char *name);

/* Whether path names the library's file. */
bool library_is_at(const struct library *library, const char *path);

/* Whether a program that is not stripped has the library linked in, as its malloc (libneap-core.a would not
 * be). */
bool library_is_linked_into(const struct elf_file *program);

/* The value of LD_PRELOAD with the library first and the existing entries behind it, itself not repeated.
 * existing may be NULL. */
char *library_preload_list(const struct library *library, const char *existing);

#endif
