/* See system.h. */
#include "system.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* stdio's streams would allocate their buffers. */
static void write_line(int fd, const char *start, const char *format, va_list arguments) {
    char line[512];
    int length = snprintf(line, sizeof line, "%s", start);
    length += vsnprintf(line + length, sizeof line - (size_t)length - 1, format, arguments);
    if (length > (int)sizeof line - 2)
        length = (int)sizeof line - 2;
    line[length++] = '\n';
    if (write(fd, line, (size_t)length) != length && fd == STDOUT_FILENO)
        stop(STATUS_FAILED, "cannot write to stdout: %s", strerror(errno));
}

void stop(enum exit_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_line(STDERR_FILENO, "neap-scenarios: ", format, arguments);
    va_end(arguments);
    _exit((int)status); /* other threads may be at work */
}

void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_line(STDOUT_FILENO, "", format, arguments);
    va_end(arguments);
}

void *map_memory(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        stop(STATUS_CANNOT_RUN, "cannot map %zu bytes for the scenario's own state: %s", bytes, strerror(errno));
    return memory;
}

void unmap_memory(void *memory, size_t bytes) {
    munmap(memory, bytes);
}

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void sleep_until_ns(uint64_t when) {
    struct timespec until = {.tv_sec = (time_t)(when / 1000000000u), .tv_nsec = (long)(when % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
}
