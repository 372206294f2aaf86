/* A library that keeps what it has compiled: see patterns.c. */
#ifndef PATTERNS_H
#define PATTERNS_H

#include <stdbool.h>

/* Whether text matches the POSIX extended regular expression. False also where that is none. Any thread. */
bool pattern_matches(const char *pattern, const char *text);

#endif
