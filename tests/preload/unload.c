/* dlclose of a library that has libneap-core.a inside, while the scavenger runs and a thread has a cache: neither
 * may find its code gone. The process's malloc is its own. Argument: the library's path. */
#include "preload.h"

static void (*use)(void);
static pthread_barrier_t barrier;

static void *use_and_end(void *argument) {
    use();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); /* ends when the library has been closed */
    return argument;
}

int main(int argc, char **argv) {
    alarm(30);
    CHECK(argc == 2);
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL, "%s", dlerror());
    *(void **)&use = dlsym(library, "plugin_use");
    CHECK(use != NULL);
    nanosleep(&(struct timespec){.tv_nsec = 150000000}, NULL); /* old enough for a scavenger */
    pthread_t thread;
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, use_and_end, NULL) == 0);
    pthread_barrier_wait(&barrier);
    CHECK(dlclose(library) == 0);
    pthread_barrier_wait(&barrier);
    CHECK(pthread_join(thread, NULL) == 0);
    nanosleep(&(struct timespec){.tv_nsec = 600000000}, NULL);
    return 0;
}
