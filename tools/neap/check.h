/* The examinations behind `neap check`.
 *
 * SPDX-License-Identifier: MIT */
#ifndef NEAP_TOOL_CHECK_H
#define NEAP_TOOL_CHECK_H

#include "objects.h"
#include "process.h"
#include "verdict.h"

#include <sys/types.h>

/* Whether neap serves malloc in a running process. */
enum verdict_status check_process(struct verdict *verdict, pid_t pid);

/* Why no neap is loaded in a process: a part of check_process. */
enum verdict_status explain_absence(struct verdict *verdict, const struct process *process,
                                    const struct objects *objects);

/* Whether it would in a program started by `neap run`, without running it. library is --library's, or NULL.
 */
enum verdict_status check_command_line(struct verdict *verdict, const char *command, const char *library);

#endif
