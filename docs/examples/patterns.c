/* A library that caches inside a request. The first request that brings a pattern compiles it, and later ones find
 * it: so it must not lie in that request's scope. The library works without neap too. */
#include "patterns.h"

#include <pthread.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include <neap/neap.h>

/* NULL where the program runs without neap. */
#pragma weak neap_exempt_begin
#pragma weak neap_exempt_end

struct pattern {
    struct pattern *next;
    regex_t compiled;
    char text[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pattern *patterns;

static struct pattern *compile(const char *text) {
    struct pattern *pattern = malloc(sizeof *pattern + strlen(text) + 1);
    if (pattern == NULL)
        return NULL;
    if (regcomp(&pattern->compiled, text, REG_EXTENDED | REG_NOSUB) != 0) {
        free(pattern);
        return NULL;
    }
    strcpy(pattern->text, text);
    pattern->next = patterns;
    return patterns = pattern;
}

static struct pattern *find(const char *text) {
    for (struct pattern *pattern = patterns; pattern != NULL; pattern = pattern->next)
        if (strcmp(pattern->text, text) == 0)
            return pattern;
    return compile(text);
}

bool pattern_matches(const char *text_of_pattern, const char *text) {
    pthread_mutex_lock(&lock);
    int token = neap_exempt_begin != NULL ? neap_exempt_begin() : 0;
    struct pattern *pattern = find(text_of_pattern);
    /* Exempt too: glibc extends a compiled pattern while it matches. */
    bool matches = pattern != NULL && regexec(&pattern->compiled, text, 0, NULL, 0) == 0;
    if (neap_exempt_end != NULL)
        neap_exempt_end(token);
    pthread_mutex_unlock(&lock);
    return matches;
}
