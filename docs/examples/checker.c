/* A program with requests that use such a library: patterns.c.
 *
 *   cc checker.c patterns.c && LD_PRELOAD=libneap.so ./a.out
 *
 * Each line of its input is a request: a pattern, a tab, and a text. Answers yes or no. In the end it prints what
 * neap says of the requests, where it runs with neap. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <neap/neap.h>

#include "patterns.h"

#pragma weak neap_scope_create
#pragma weak neap_scope_enter
#pragma weak neap_scope_leave
#pragma weak neap_scope_end
#pragma weak neap_scope_report

/* An application's function, which knows nothing of scopes. */
static const char *answer(const char *request) {
    char *pattern = strdup(request), *text = pattern != NULL ? strchr(pattern, '\t') : NULL;
    const char *answer = "a request is a pattern, a tab and a text";
    if (text != NULL) {
        *text++ = '\0';
        answer = pattern_matches(pattern, text) ? "yes" : "no";
    }
    free(pattern);
    return answer;
}

/* The same in a scope of its own, where there is neap. */
static const char *answer_in_scope(const char *request) {
    if (neap_scope_create == NULL)
        return answer(request);
    neap_scope scope = neap_scope_create(&(struct neap_scope_options){.label = "check"});
    bool entered = neap_scope_enter(scope) == 0;
    const char *reply = answer(request);
    if (entered)
        neap_scope_leave(scope);
    neap_scope_end(scope);
    return reply;
}

int main(void) {
    char *request = NULL;
    size_t size = 0;
    while (getline(&request, &size, stdin) > 0) {
        request[strcspn(request, "\n")] = '\0';
        puts(answer_in_scope(
            request)); /* not in the scope: stdout's buffer, made by the first puts, would stay there */
    }
    free(request);
    if (neap_scope_report != NULL)
        neap_scope_report(stdout);
}
