/* Strings for messages. Every string made here lives until the program ends: neap runs one command and exits.
 *
 * SPDX-License-Identifier: MIT */
#ifndef NEAP_TOOL_TEXT_H
#define NEAP_TOOL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* A new string made as printf would; ends the program where memory is short. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *text_copy(const char *text, size_t length);

/* realloc for an array of count elements, ending the program where memory is short. */
void *text_grow(void *array, size_t count, size_t element_size);

/* What stands behind the last slash. */
const char *text_basename(const char *path);

/* The next entry of a list, as the loader splits LD_PRELOAD: at any of the separators, empty entries skipped.
 * NULL at the end. *list moves behind it. */
char *text_next_entry(const char **list, const char *separators);

/* A size in bytes as people read it: "12.5 MiB". */
const char *text_size(unsigned long long bytes);

/* The whole of a file under /proc, which has no size to ask for, with a NUL behind it; NULL with errno where
 * it cannot be read. */
char *text_read_file(const char *path, size_t *length);

#endif
