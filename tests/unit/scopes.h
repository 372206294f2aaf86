/* What tests of scopes share. */
#ifndef TEST_SCOPES_H
#define TEST_SCOPES_H

#include "test.h"

#include "front/heap.h"
#include "neap/neap.h"

#include <string.h>

/* limit: 0: none. */
static neap_scope create(const char *label, size_t limit) {
    neap_scope scope = neap_scope_create(&(struct neap_scope_options){.label = label, .limit = limit});
    assert_int_not_equal(scope, 0);
    return scope;
}

static neap_scope enter_new(const char *label, size_t limit) {
    neap_scope scope = create(label, limit);
    assert_int_equal(neap_scope_enter(scope), 0);
    assert_int_equal(neap_scope_current(), scope);
    return scope;
}

static struct label label_of(const char *text) {
    struct label label = {0};
    for (size_t at = LABELS; scopes_next_label(&heap.scopes, &label, &at);)
        if (strcmp(label.text, text) == 0)
            return label;
    return (struct label){0};
}

#endif
