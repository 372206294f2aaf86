/* The public functions of scopes. No locks here. */
#include "front/fast_path.h"

#include <errno.h>
#include <stdio.h>

static int error_of(enum scope_result result) {
    static const int errors[] = {[SCOPE_OK] = 0,
                                 [SCOPE_INVALID] = EINVAL,
                                 [SCOPE_BUSY] = EBUSY,
                                 [SCOPE_NOT_MINE] = EPERM,
                                 [SCOPE_NO_MEMORY] = ENOMEM};
    return errors[result];
}

PUBLIC neap_scope neap_scope_create(const struct neap_scope_options *options) {
    static const struct neap_scope_options none;
    if (options == NULL)
        options = &none;
    if ((options->flags & ~NEAP_SCOPE_DESTROYABLE) != 0) {
        errno = EINVAL;
        return 0;
    }
    neap_scope scope = 0;
    if (heap_ready())
        scope = scope_create(&heap.scopes, options->label != NULL ? options->label : "",
                             options->limit != 0 ? options->limit : SIZE_MAX,
                             (options->flags & NEAP_SCOPE_DESTROYABLE) != 0 ? SCOPE_DESTROYABLE : SCOPE_ORDINARY);
    if (scope == 0)
        errno = ENOMEM;
    return scope;
}

PUBLIC int neap_scope_enter(neap_scope scope) {
    return error_of(scope_enter(&heap.scopes, scope));
}

PUBLIC int neap_scope_leave(neap_scope scope) {
    return error_of(scope_leave(&heap.scopes, scope));
}

PUBLIC int neap_scope_end(neap_scope scope) {
    enum scope_result result = scope_end(&heap.scopes, scope);
    if (LIKELY(result == SCOPE_OK))
        heap_settle(CALLER, true);
    return error_of(result);
}

PUBLIC neap_scope neap_scope_current(void) {
    return scope_current();
}

PUBLIC int neap_scope_set_label(neap_scope scope, const char *label) {
    if (!heap_is_made())
        return EINVAL;
    return error_of(scope_set_label(&heap.scopes, scope, label != NULL ? label : ""));
}

PUBLIC void *neap_scope_malloc(neap_scope scope, size_t size) {
    void *p = NULL;
    enum scope_result result = scope_malloc(&heap.scopes, scope, size, CALLER, &p);
    if (LIKELY(result == SCOPE_OK))
        heap_settle(CALLER, false);
    else
        errno = error_of(result);
    return p;
}

PUBLIC int neap_scope_destroy(neap_scope scope) {
    enum scope_result result = scope_destroy(&heap.scopes, scope);
    if (LIKELY(result == SCOPE_OK))
        heap_settle(CALLER, true);
    return error_of(result);
}

PUBLIC int neap_scope_stats(neap_scope scope, struct neap_scope_stats *stats) {
    struct scope_figures f;
    enum scope_result result = heap_is_made() ? scope_figures(&heap.scopes, scope, &f) : SCOPE_INVALID;
    if (result == SCOPE_OK)
        *stats = (struct neap_scope_stats){.allocated_bytes = f.allocated_bytes,
                                           .allocated_objects = f.allocated_objects,
                                           .live_bytes = f.live_bytes,
                                           .live_objects = f.live_objects,
                                           .peak_bytes = f.peak_bytes,
                                           .refused = f.refused};
    return error_of(result);
}

PUBLIC int neap_exempt_begin(void) {
    return scope_exempt_begin(&heap.scopes);
}

PUBLIC void neap_exempt_end(int token) {
    scope_exempt_end(&heap.scopes, token != 0);
}

/* One frame as sanitizers write it, so that their tools can read it too. */
static void print_frame(FILE *out, size_t number, uintptr_t address) {
    struct os_module module;
    fprintf(out, "    #%zu %#zx", number, (size_t)address);
    if (os_module_of(address, &module)) {
        fprintf(out, " (%s+%#zx)", module.path, (size_t)(address - module.bias));
        for (size_t i = 0; i < module.build_id_bytes; i++)
            fprintf(out, "%s%02x", i == 0 ? " (BuildId: " : "", module.build_id[i]);
        fprintf(out, module.build_id_bytes > 0 ? ")\n" : "\n");
    } else {
        fprintf(out, " (?)\n");
    }
}

static void report_survivors(FILE *out) {
    struct survivor_site site;
    fprintf(out,
            "\nsurviving bytes    objects     samples  label, and who allocated it; a sample in about %zu bytes\n",
            heap.scopes.survivors.interval);
    for (size_t at = SURVIVOR_SITES; survivors_next(&heap.scopes, &site, &at);) {
        fprintf(out, "%15.0f %10.0f %11zu  %s\n", site.bytes, site.objects, site.samples, site.label->text);
        for (size_t i = 0; i < site.stack.depth; i++)
            print_frame(out, i, site.stack.address[i]);
    }
    size_t lost = counter_get(&heap.scopes.survivors.lost);
    if (lost > 0)
        fprintf(out, "%zu samples more had no room\n", lost);
}

PUBLIC int neap_scope_report(FILE *out) {
    struct label label;
    fprintf(
        out,
        "surviving bytes    objects  of allocated bytes    objects      scopes   peak bytes  refused  label\n");
    for (size_t at = LABELS; heap_is_made() && scopes_next_label(&heap.scopes, &label, &at);)
        fprintf(out, "%15zu %10zu %19zu %10zu %11zu %12zu %8zu  %s\n", label.surviving_bytes,
                label.surviving_objects, label.bytes, label.objects, label.scopes, label.peak, label.refused,
                label.text);
    if (heap.scopes.survivors.interval != SURVIVORS_NOT_SAMPLED)
        report_survivors(out);
    return ferror(out) ? EIO : 0;
}
