/* The dynamic loader's dry run: it loads and binds a program's objects as it would for a start, says what it
 * did, and exits before any of the program's code has run, constructors and ifunc resolvers included.
 *
 * SPDX-License-Identifier: MIT */
#ifndef NEAP_TOOL_LOADER_H
#define NEAP_TOOL_LOADER_H

#include <stdbool.h>

/* NULL where a dry run by this loader is safe, else why not, said so that it follows the loader's name. The
 * loader is a program that the examined file names, so it is run only where it is the one that neap itself
 * was started by, or a glibc loader that only root can have put there. */
const char *loader_refusal(const char *loader);

/* Runs loader on program with LD_PRELOAD set to preload and the rest of the environment as it is, and hands
 * over each line it writes: with the symbol bindings, or with the list of objects only. False with errno
 * where it could not be started. */
typedef void loader_line(void *context, const char *line);
enum loader_report { LOADER_OBJECTS, LOADER_BINDINGS };
bool loader_dry_run(const char *loader, const char *program, const char *preload, enum loader_report report,
                    loader_line *take_line, void *context);

/* The file of a line that lists an object ("\tNAME => PATH (0x7f…)"), or NULL for another kind of line. */
char *loader_listed_file(const char *line);

/* Takes apart "binding file FROM [0] to TO [0]: normal symbol `NAME' …" where NAME is symbol. */
bool loader_binding(const char *line, const char *symbol, char **from, char **to);

#endif
