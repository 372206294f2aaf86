/* Verdicts and how they are printed: see verdict.h.
 *
 * SPDX-License-Identifier: MIT */
#include "verdict.h"

#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *format_arguments(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

static const char *format_arguments(const char *format, va_list args) {
    char *text;
    if (vasprintf(&text, format, args) < 0)
        return "(out of memory)";
    return text;
}

enum verdict_status verdict_set(struct verdict *verdict, enum verdict_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    verdict->status = status;
    verdict->line = format_arguments(format, args);
    va_end(args);
    return status;
}

void verdict_detail(struct verdict *verdict, const char *format, ...) {
    va_list args;
    va_start(args, format);
    size_t count = verdict->detail_count++;
    verdict->details = text_grow(verdict->details, count + 1, sizeof(*verdict->details));
    verdict->details[count] = format_arguments(format, args);
    va_end(args);
}

static void print_line(const char *indent, const char *text) {
    fputs(indent, stdout);
    for (; *text; text++)
        putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
    putchar('\n');
}

int verdict_print(const struct verdict *verdict) {
    print_line("", verdict->line);
    for (size_t i = 0; i < verdict->detail_count; i++)
        print_line("  ", verdict->details[i]);
    return (int)verdict->status;
}
