/* neap check -- COMMAND: whether neap would take over in a program, without running it. The program's file
 * says whether a preload can take at all; the dynamic loader's dry run then proves what malloc and free bind
 * to.
 *
 * SPDX-License-Identifier: MIT */
#include "check.h"
#include "library.h"
#include "loader.h"
#include "program.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct bindings {
    const struct library *library;
    size_t to_library; /* references to malloc and free that bind to the library */
    size_t to_other;
    const char *other;         /* the first object that another one binds to */
    const char *other_binding; /* "FROM binds malloc to OTHER" */
    const char *refused;       /* what the loader says of the preload */
    const char *missing;       /* what the loader says of an object that is not there */
};

static void take_line(void *context, const char *line) {
    struct bindings *bindings = context;
    static const char *const symbols[] = {"malloc", "free"};
    char *from;
    char *to;
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        if (!loader_binding(line, symbols[i], &from, &to))
            continue;
        if (library_is_at(bindings->library, to)) {
            bindings->to_library++;
        } else if (bindings->to_other++ == 0) {
            bindings->other = to;
            bindings->other_binding = text_format("%s binds %s to %s", from, symbols[i], to);
        }
        return;
    }
    if (strstr(line, "cannot be preloaded") && strstr(line, bindings->library->preload))
        bindings->refused = text_copy(line, strlen(line));
    else if (!bindings->missing &&
             (strstr(line, "=> not found") || strstr(line, "error while loading shared libraries")))
        bindings->missing = text_copy(line + strspn(line, "\t "), strlen(line + strspn(line, "\t ")));
}

/* What the file itself rules out or in; VERDICT_CANNOT_TELL where the loader has to be asked. */
static enum verdict_status examine_file(struct verdict *verdict, const struct program *program,
                                        const struct library *library) {
    static const char would_not[] = "neap would not take over in %s: %s";
    if (library_is_linked_into(&program->elf))
        return verdict_set(verdict, VERDICT_TOOK_OVER, "neap would serve malloc in %s: it is linked into it",
                           program->path);
    if (program->is_static) {
        verdict_set(verdict, VERDICT_DID_NOT, would_not, program->path,
                    "it is a static binary, which no preload reaches");
        verdict_detail(verdict, "link it against libneap.a, or dynamically");
        return VERDICT_DID_NOT;
    }
    if (program->privilege) {
        verdict_set(verdict, VERDICT_DID_NOT, would_not, program->path,
                    text_format("it has %s, for which the loader ignores LD_PRELOAD", program->privilege));
        verdict_detail(verdict, "link it against libneap.a, or name neap in /etc/ld.so.preload");
        return VERDICT_DID_NOT;
    }
    if (!library->any_architecture && !elf_same_architecture(&program->elf, &library->elf))
        return verdict_set(verdict, VERDICT_DID_NOT, would_not, program->path,
                           text_format("it is for %s, the library for %s", elf_architecture(&program->elf),
                                       elf_architecture(&library->elf)));
    return VERDICT_CANNOT_TELL;
}

static enum verdict_status judge(struct verdict *verdict, const struct program *program,
                                 const struct bindings *bindings) {
    static const char would_not[] = "neap would not take over in %s: %s";
    if (bindings->refused) {
        verdict_set(verdict, VERDICT_DID_NOT, would_not, program->path, "the loader refuses the library");
        verdict_detail(verdict, "%s", bindings->refused);
    } else if (bindings->missing) {
        verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell: %s would not start", program->path);
        verdict_detail(verdict, "%s", bindings->missing);
    } else if (bindings->to_other > 0) {
        verdict_set(verdict, VERDICT_DID_NOT, would_not, program->path,
                    text_format("the malloc of %s stands in front", bindings->other));
        verdict_detail(verdict, "%s", bindings->other_binding);
    } else if (bindings->to_library == 0) {
        verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell: the loader tells no binding of malloc for %s",
                    program->path);
    } else {
        verdict_set(verdict, VERDICT_TOOK_OVER, "neap would take over in %s", program->path);
        verdict_detail(verdict, "the loader binds all %zu references to malloc and free to it",
                       bindings->to_library);
    }
    return verdict->status;
}

enum verdict_status check_command_line(struct verdict *verdict, const char *command, const char *given_library) {
    struct library library;
    const char *error = library_find(&library, given_library);
    if (error)
        return verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell: %s", error);
    struct program program;
    error = program_find(&program, command);
    if (error)
        return verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell: %s", error);
    if (program.is_loader)
        return verdict_set(verdict, VERDICT_CANNOT_TELL,
                           "cannot tell: %s is the dynamic loader; name the program that it is to load",
                           program.path);
    enum verdict_status status = examine_file(verdict, &program, &library);
    if (status == VERDICT_CANNOT_TELL) {
        const char *refusal = loader_refusal(program.interpreter);
        struct bindings bindings = {.library = &library};
        if (refusal)
            return verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell: the loader %s of %s %s",
                               program.interpreter, program.path, refusal);
        if (!loader_dry_run(program.interpreter, program.path,
                            library_preload_list(&library, getenv("LD_PRELOAD")), LOADER_BINDINGS, take_line,
                            &bindings))
            return verdict_set(verdict, VERDICT_CANNOT_TELL, "cannot tell: cannot start the loader %s: %s",
                               program.interpreter, strerror(errno));
        status = judge(verdict, &program, &bindings);
    }
    if (program.script)
        verdict_detail(verdict, "%s is a script, run by %s", program.script, program.path);
    verdict_detail(verdict, "library %s", library.preload);
    return status;
}
