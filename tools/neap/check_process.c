/* neap check PID: whether neap serves malloc in a running process. What is mapped tells whether the library
 * is there; its neap_state, read from the process's memory, tells whether it made a heap and stands in front.
 *
 * SPDX-License-Identifier: MIT */
#include "check.h"
#include "text.h"

#include "neap/neap.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static const char state_magic[8] = "neap 1";
enum { MAX_STATE_SIZE = 1 << 16 }; /* far beyond what any version will have */

/* Where neap_state is, and in what. */
struct state_place {
    uint64_t address;
    const char *path;
    const struct object *object; /* NULL where neap is linked into a static executable */
};

static enum verdict_status forbidden(struct verdict *verdict, const struct process *process) {
    verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell for %s: no permission to look into it", process->label);
    if (geteuid() == 0)
        verdict_detail(verdict,
                       "not even root may here: a container, a user namespace or a security module guards it");
    else if (process->owner != geteuid())
        verdict_detail(verdict, "it belongs to user %u: run neap check as root or as that user",
                       (unsigned)process->owner);
    else
        verdict_detail(verdict,
                       "it is guarded against its own user, as setuid programs are: run neap check as root");
    size_t length;
    char *arguments = text_read_file(text_format("/proc/%d/cmdline", (int)process->pid), &length);
    for (size_t i = 0; arguments && i + 1 < length; i++)
        if (arguments[i] == '\0')
            arguments[i] = ' ';
    if (arguments && length > 0)
        verdict_detail(verdict, "all that can be seen is its command line: %s", arguments);
    return verdict->status;
}

static enum verdict_status memory_refused(struct verdict *verdict, const struct process *process, const char *path,
                                          int error) {
    verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell for %s: its memory cannot be read: %s", process->label,
                strerror(error));
    verdict_detail(verdict, "%s is mapped, but whether it serves malloc stands in that memory", path);
    verdict_detail(verdict, "run neap check as root (kernel.yama.ptrace_scope may keep others out)");
    return verdict->status;
}

static enum verdict_status still_loading(struct verdict *verdict, const struct process *process) {
    return verdict_set(verdict, VERDICT_CANNOT_TELL,
                       "cannot tell for %s: its loader is at work at this moment; try again", process->label);
}

/* NULL, or what is wrong with a state that the process showed. */
static const char *state_fault(const struct neap_state *state) {
    if (memcmp(state->magic, state_magic, sizeof(state->magic)) != 0)
        return "it does not open with \"neap 1\"";
    if (state->size < sizeof(*state) || state->size > MAX_STATE_SIZE)
        return text_format("its size cannot be %" PRIu32 " bytes", state->size);
    if (state->heap_end < state->heap_base)
        return "its heap ends before it begins";
    return NULL;
}

static enum verdict_status judge_state(struct verdict *verdict, const struct process *process,
                                       const struct objects *objects, const struct state_place *place) {
    struct neap_state state;
    if (!process_read(process, place->address, &state, sizeof(state)))
        return memory_refused(verdict, process, place->path, errno);
    const char *wrong = state_fault(&state);
    if (wrong) {
        verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell for %s: its neap_state is not one", process->label);
        verdict_detail(verdict, "%s, in %s", wrong, place->path);
        return verdict->status;
    }
    static const char did_not[] = "neap did not take over in %s: %s";
    const struct object *first = objects_first(objects, EXPORTS_MALLOC);
    bool is_behind = place->object && first && first->order < place->object->order;
    int version_length = (int)strnlen(state.version, sizeof(state.version));
    if (!(state.flags & NEAP_STATE_IN_FRONT) && is_behind) {
        verdict_set(verdict, VERDICT_DID_NOT, did_not, process->label,
                    text_format("the malloc of %s stands in front", first->path));
    } else if (!(state.flags & NEAP_STATE_READY)) {
        verdict_set(verdict, VERDICT_DID_NOT, did_not, process->label,
                    "it is loaded, but nothing has been allocated from it yet");
    } else if (!(state.flags & NEAP_STATE_IN_FRONT)) {
        verdict_set(verdict, VERDICT_DID_NOT, did_not, process->label,
                    "it is loaded, but the process's malloc is not its own");
    } else {
        verdict_set(verdict, VERDICT_TOOK_OVER, "neap took over in %s: version %.*s, heap %s", process->label,
                    version_length, state.version, text_size(state.heap_end - state.heap_base));
        if (state.heap_base)
            verdict_detail(verdict, "heap 0x%" PRIx64 " to 0x%" PRIx64, state.heap_base, state.heap_end);
    }
    if (place->object)
        verdict_detail(verdict, "library %s, version %.*s", place->path, version_length, state.version);
    else
        verdict_detail(verdict, "neap is linked into %s", place->path);
    return verdict->status;
}

/* Finds neap_state in a loaded object or, for a static executable, in the executable. False where there is
 * none. */
static bool find_state(const struct process *process, const struct objects *objects, struct state_place *place) {
    uint64_t value;
    const struct object *object = objects_first(objects, EXPORTS_STATE);
    if (object) {
        *place = (struct state_place){object->bias + object->state_value, object->path, object};
        return true;
    }
    if (!elf_static_object(&process->executable, "neap_state", sizeof(struct neap_state), &value))
        return false;
    *place = (struct state_place){process_executable_bias(process) + value, process->executable_path, NULL};
    return true;
}

/* A library that is neap's by its name, but whose file could not be examined. */
static const struct object *unexamined_neap(const struct objects *objects) {
    for (size_t i = 0; i < objects->count; i++)
        if (objects->list[i].reason && strncmp(text_basename(objects->list[i].path), "libneap", 7) == 0)
            return &objects->list[i];
    return NULL;
}

static const struct object *any_with_state(const struct objects *objects) {
    for (size_t i = 0; i < objects->count; i++)
        if (objects->list[i].exports & EXPORTS_STATE)
            return &objects->list[i];
    return NULL;
}

enum verdict_status check_process(struct verdict *verdict, pid_t pid) {
    struct process process;
    const char *reason;
    switch (process_open(&process, pid, &reason)) {
    case PROCESS_OPEN:
        break;
    case PROCESS_NONE:
        return verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell: there is no process %d", (int)pid);
    case PROCESS_ENDED:
        return verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell: %s has ended", process.label);
    case PROCESS_KERNEL:
        return verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell: %s is a kernel thread", process.label);
    case PROCESS_FORBIDDEN:
        return forbidden(verdict, &process);
    case PROCESS_UNREADABLE:
        return verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell for %s: its executable %s", process.label,
                           reason);
    }
    struct objects objects;
    objects_find(&process, &objects);
    enum objects_order order = process_is_static(&process) ? OBJECTS_ORDERED : objects_order(&process, &objects);
    int error = errno;
    const struct object *mapped = any_with_state(&objects);
    if (mapped && order == OBJECTS_NO_MEMORY)
        return memory_refused(verdict, &process, mapped->path, error);
    if (order == OBJECTS_LOADING)
        return still_loading(verdict, &process);
    struct state_place place;
    if (find_state(&process, &objects, &place))
        return judge_state(verdict, &process, &objects, &place);
    if (mapped)
        return verdict_set(verdict, VERDICT_DID_NOT,
                           "neap did not take over in %s: %s is mapped, but its loader does not look there",
                           process.label, mapped->path);
    const struct object *unexamined = unexamined_neap(&objects);
    if (unexamined)
        return verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell for %s: %s %s", process.label,
                           unexamined->path, unexamined->reason);
    return explain_absence(verdict, &process, &objects);
}
