/* dlopen and dlclose, again and again and from several threads, of a library with thread-local data and with
 * constructors and destructors that allocate.
 * Argument: the library's path. */
#include "preload.h"

enum { THREADS = 4 };

static const char *path;

static void once(unsigned char seed) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL, "%s", dlerror());
    char *(*use)(unsigned char) = NULL;
    *(void **)&use = dlsym(library, "plugin_use");
    CHECK(use != NULL);
    char *given = use(seed);
    CHECK(given != NULL);
    CHECK(dlclose(library) == 0);
    CHECK(given[0] == (char)seed && given[4999] == (char)seed);
    free(given);
}

static void *repeat(void *argument) {
    for (size_t i = 0; i < 200; i++) {
        once((unsigned char)((uintptr_t)argument * 50 + i));
        if (i % 50 == 0)
            exercise(i, 200);
    }
    CHECK(dlopen("/nonexistent/lib.so", RTLD_NOW) == NULL && dlerror() != NULL);
    return NULL;
}

static void in_threads(void) {
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, repeat, (void *)i) == 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(int argc, char **argv) {
    begin(100);
    CHECK(argc == 2);
    path = argv[1];
    size_t resident = 0; /* but for what has just been returned */
    for (size_t i = 0; i < 2; i++) {
        repeat(NULL);
        in_threads();
        resident = larger(resident, status_bytes("VmRSS"));
    }
    size_t live = mallinfo2().uordblks;
    for (size_t i = 0; i < 4; i++) {
        repeat(NULL);
        in_threads();
    }
    CHECK(status_bytes("VmRSS") < resident + 4 * MIB, "resident %zu, then %zu", resident, status_bytes("VmRSS"));
    CHECK(mallinfo2().uordblks < live + 1 * MIB, "live %zu, then %zu", live, mallinfo2().uordblks);
    return 0;
}
