/* Strings for messages: see text.h.
 *
 * SPDX-License-Identifier: MIT */
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void out_of_memory(void) {
    fputs("neap: out of memory\n", stderr);
    exit(2);
}

char *text_format(const char *format, ...) {
    char *text;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        out_of_memory();
    va_end(args);
    return text;
}

char *text_copy(const char *text, size_t length) {
    char *copy = strndup(text, length);
    if (!copy)
        out_of_memory();
    return copy;
}

void *text_grow(void *array, size_t count, size_t element_size) {
    void *grown = reallocarray(array, count, element_size);
    if (!grown)
        out_of_memory();
    return grown;
}

const char *text_basename(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *text_next_entry(const char **list, const char *separators) {
    const char *start = *list + strspn(*list, separators);
    size_t length = strcspn(start, separators);
    *list = start + length;
    return length ? text_copy(start, length) : NULL;
}

const char *text_size(unsigned long long bytes) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024)
        return text_format("%llu bytes", bytes);
    double size = (double)bytes / 1024;
    size_t unit = 0;
    for (; size >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        size /= 1024;
    return text_format("%.1f %s", size, units[unit]);
}

char *text_read_file(const char *path, size_t *length) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    char *text = NULL;
    size_t used = 0;
    size_t room = 0;
    for (;;) {
        if (room - used < 4096) {
            room = room ? room * 2 : 16384;
            text = text_grow(text, room, 1);
        }
        ssize_t got = read(fd, text + used, room - used - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            int error = got < 0 ? errno : 0;
            close(fd);
            if (error) {
                free(text);
                errno = error;
                return NULL;
            }
            text[used] = '\0';
            *length = used;
            return text;
        }
        used += (size_t)got;
    }
}
