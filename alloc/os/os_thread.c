/* Linux: clocks, and what a thread of our own needs. No locks, no state. */
#include "os/os.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

uint64_t os_clock(enum os_clock clock) {
    static const clockid_t ids[] = {
        [OS_NOW] = CLOCK_MONOTONIC,
        [OS_NOW_COARSE] = CLOCK_MONOTONIC_COARSE,
        [OS_PROCESS_CPU] = CLOCK_PROCESS_CPUTIME_ID,
        [OS_THREAD_CPU] = CLOCK_THREAD_CPUTIME_ID,
    };
    int saved = errno;
    struct timespec t = {0};
    if (clock == OS_NOW_COARSE) /* 4 ns as a function of the vDSO, a system call 160 */
        clock_gettime(ids[clock], &t);
    else
        syscall(SYS_clock_gettime, ids[clock], &t);
    errno = saved;
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void os_futex_wait_for(const uint32_t *word, uint32_t expected, uint64_t ns) {
    int saved = errno;
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &t, NULL, 0);
    errno = saved;
}

/* The C library takes the thread-local memory of all libraries out of the stack, and says only by EINVAL how much
 * that is. What is not touched is not resident. */
enum { STACK_MIN = 64 << 10, STACK_MAX = 16 << 20 };

_Static_assert(sizeof(pthread_t) == sizeof(struct os_thread), "struct os_thread holds a thread's handle");

bool os_start_thread(struct os_thread *thread, void *(*run)(void *), void *argument) {
    int saved = errno, result = EINVAL;
    struct os_signals before = os_block_signals();
    for (size_t stack = STACK_MIN; stack <= STACK_MAX && result == EINVAL; stack *= 2) {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        if (pthread_attr_setstacksize(&attributes, stack) == 0)
            result = pthread_create((pthread_t *)thread, &attributes, run, argument);
        pthread_attr_destroy(&attributes);
    }
    os_restore_signals(&before);
    errno = saved;
    return result == 0;
}

void os_join_thread(const struct os_thread *thread) {
    pthread_join((pthread_t)thread->handle, NULL);
}

void os_name_thread(const char *name) {
    int saved = errno;
    prctl(PR_SET_NAME, name);
    errno = saved;
}

uint32_t os_process_id(void) {
    return (uint32_t)syscall(SYS_getpid);
}

bool os_is_main_thread(void) {
    return syscall(SYS_getpid) == syscall(SYS_gettid);
}

#if __GLIBC_PREREQ(2, 35)
/* Without a lock, where dladdr takes the loader's. */
static void *object_of(const void *address) {
    struct dl_find_object object;
    return address != NULL && _dl_find_object((void *)(uintptr_t)address, &object) == 0 ? object.dlfo_map_start
                                                                                        : NULL;
}
#else
static void *object_of(const void *address) {
    (void)address;
    return NULL;
}
#endif

bool os_knows_program_code(void) {
    void *ours = object_of((void *)(uintptr_t)&os_knows_program_code);
    return ours != NULL && ours != object_of((void *)(uintptr_t)&clock_gettime);
}

bool os_is_program_code(const void *address) {
    void *object = object_of(address);
    return object != NULL && os_knows_program_code() && object != object_of((void *)(uintptr_t)&clock_gettime) &&
           object != object_of((void *)getauxval(AT_BASE));
}
