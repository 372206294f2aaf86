/* neap check PID, where no neap is loaded: the reason, from the executable, the auxiliary vector and the
 * LD_PRELOAD that the process was started with. None of it needs access to the process's memory.
 *
 * SPDX-License-Identifier: MIT */
#include "check.h"
#include "library.h"
#include "text.h"

#include <elf.h>
#include <string.h>

#define DID_NOT "neap did not take over in %s: "

/* What the loader of this process makes of $LIB: the directory of its C library, less "/usr". NULL where that
 * cannot be told. */
static const char *lib_token(const struct objects *objects) {
    for (size_t i = 0; i < objects->count; i++) {
        const char *path = objects->list[i].path;
        const char *name = text_basename(path);
        if (strcmp(name, "libc.so.6") != 0)
            continue;
        if (strncmp(path, "/usr/", 5) == 0)
            path += 4;
        return text_copy(path + 1, (size_t)(name - path) - 2);
    }
    return NULL;
}

/* An entry of LD_PRELOAD with its tokens replaced; NULL where one cannot be. */
static const char *expand_entry(const struct process *process, const struct objects *objects, const char *entry) {
    const char *executable = process->executable_path;
    const char *directory = text_copy(executable, (size_t)(text_basename(executable) - executable));
    const struct {
        const char *token;
        const char *value;
    } tokens[] = {
        {"$LIB", lib_token(objects)},
        {"${LIB}", lib_token(objects)},
        {"$ORIGIN", directory},
        {"${ORIGIN}", directory},
    };
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        const char *at = strstr(entry, tokens[i].token);
        if (at && tokens[i].value)
            entry =
                text_format("%.*s%s%s", (int)(at - entry), entry, tokens[i].value, at + strlen(tokens[i].token));
    }
    return strchr(entry, '$') ? NULL : entry;
}

/* The entry of LD_PRELOAD that is meant to be neap, by its name; NULL for none. */
static const char *neap_entry(const char *list) {
    for (char *entry; (entry = text_next_entry(&list, PRELOAD_SEPARATORS)) != NULL;)
        if (strncmp(text_basename(entry), "libneap", 7) == 0)
            return entry;
    return NULL;
}

static enum verdict_status explain_entry(struct verdict *verdict, const struct process *process,
                                         const struct objects *objects, const char *entry) {
    const char *path = expand_entry(process, objects, entry);
    if (!strchr(entry, '/') || !path)
        return verdict_set(verdict, VERDICT_DID_NOT, DID_NOT "LD_PRELOAD names %s, which the loader did not find",
                           process->label, entry);
    struct elf_file elf;
    const char *reason = elf_open(&elf, process_path(process, path));
    if (reason)
        return verdict_set(verdict, VERDICT_DID_NOT, DID_NOT "LD_PRELOAD names %s, which %s", process->label, path,
                           reason);
    if (!elf_same_architecture(&elf, &process->executable))
        return verdict_set(verdict, VERDICT_DID_NOT, DID_NOT "%s is for %s, the program for %s", process->label,
                           path, elf_architecture(&elf), elf_architecture(&process->executable));
    verdict_set(verdict, VERDICT_DID_NOT, DID_NOT "LD_PRELOAD names %s, but it is not loaded", process->label,
                path);
    verdict_detail(verdict, "the loader said why on the program's standard error, or the file came later");
    return VERDICT_DID_NOT;
}

static enum verdict_status find_reason(struct verdict *verdict, const struct process *process,
                                       const struct objects *objects) {
    if (process_is_static(process)) {
        verdict_set(verdict, VERDICT_DID_NOT, DID_NOT "it is a static binary, which no preload reaches",
                    process->label);
        verdict_detail(verdict, "link it against libneap.a, or dynamically");
        return VERDICT_DID_NOT;
    }
    if (process_auxiliary(process, AT_SECURE)) {
        verdict_set(verdict, VERDICT_DID_NOT,
                    DID_NOT "it was started with raised privileges (setuid, setgid or file capabilities), for "
                            "which the loader ignores LD_PRELOAD",
                    process->label);
        verdict_detail(verdict, "link it against libneap.a, or name neap in /etc/ld.so.preload");
        return VERDICT_DID_NOT;
    }
    const char *list = process_variable(process, "LD_PRELOAD");
    const char *entry = list ? neap_entry(list) : NULL;
    if (entry)
        return explain_entry(verdict, process, objects, entry);
    verdict_set(verdict, VERDICT_DID_NOT, DID_NOT "it was not preloaded", process->label);
    if (list)
        verdict_detail(verdict, "LD_PRELOAD was '%s' when it was started", list);
    else if (process->environment_length > 0)
        verdict_detail(verdict, "LD_PRELOAD was not set when it was started");
    else
        verdict_detail(verdict, "the environment it was started with cannot be read");
    verdict_detail(verdict, "start it with: neap run -- %s", process->executable_path);
    return VERDICT_DID_NOT;
}

enum verdict_status explain_absence(struct verdict *verdict, const struct process *process,
                                    const struct objects *objects) {
    enum verdict_status status = find_reason(verdict, process, objects);
    const struct object *first = objects_first(objects, EXPORTS_MALLOC);
    if (first)
        verdict_detail(verdict, "its malloc is that of %s", first->path);
    for (size_t i = 0; i < objects->count; i++)
        if (objects->list[i].reason)
            verdict_detail(verdict, "not examined: %s %s", objects->list[i].path, objects->list[i].reason);
    return status;
}
