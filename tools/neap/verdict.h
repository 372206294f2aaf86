/* A verdict: one line, an exit code, and details that are printed indented below it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef NEAP_TOOL_VERDICT_H
#define NEAP_TOOL_VERDICT_H

#include <stddef.h>

enum verdict_status {
    VERDICT_TOOK_OVER = 0,
    VERDICT_DID_NOT = 1,
    VERDICT_CANNOT_TELL = 2,
};

struct verdict {
    enum verdict_status status;
    const char *line;
    const char **details;
    size_t detail_count;
};

/* Sets the verdict's line. Answers the verdict's status, so that `return verdict_set(…)` ends an examination.
 */
enum verdict_status verdict_set(struct verdict *verdict, enum verdict_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void verdict_detail(struct verdict *verdict, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints it on stdout and answers the exit code. Control characters, which may come from the names of
 * somebody else's files, are shown as '?'. */
int verdict_print(const struct verdict *verdict);

#endif
