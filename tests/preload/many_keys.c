/* More than 32 pthread keys before the first malloc: pthread_setspecific allocates for keys above that, and the
 * library's own key may be one of them. */
#include "preload.h"

enum { KEYS = 100 };

static pthread_key_t keys[KEYS];
static _Atomic unsigned destroyed;

static void destroy(void *p) {
    destroyed++;
    free(p);
    free(malloc(500));
}

/* Before any constructor, so that not even a library has allocated. */
static void make_keys(int argc, char **argv, char **environment) {
    (void)argc, (void)argv, (void)environment;
    for (size_t i = 0; i < KEYS; i++)
        if (pthread_key_create(&keys[i], destroy) != 0)
            keys[i] = 0;
}

__attribute__((section(".preinit_array"), used)) static void (*preinit)(int, char **, char **) = make_keys;

static void *work(void *unused) {
    (void)unused;
    for (size_t i = 0; i < KEYS; i++)
        CHECK(pthread_setspecific(keys[i], malloc(i)) == 0);
    exercise(1, 500);
    for (size_t i = 0; i < KEYS; i++)
        CHECK(pthread_getspecific(keys[i]) != NULL);
    return NULL;
}

int main(void) {
    begin(60);
    CHECK(keys[KEYS - 1] >= KEYS - 1, "the keys were not made");
    enum { THREADS = 100 };
    size_t resident = 0; /* but for what has just been returned */
    for (size_t i = 0; i < THREADS; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, work, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        resident = larger(resident, status_bytes("VmRSS"));
    }
    CHECK(destroyed == THREADS * KEYS, "%u destructors", (unsigned)destroyed);
    /* That the library heard of these ends: their caches are not in use any more. */
    for (size_t i = 0; i < 10 * THREADS; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, work, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    CHECK(status_bytes("VmRSS") < resident + 2 * MIB, "resident %zu, then %zu", resident, status_bytes("VmRSS"));
    work(NULL); /* and the main thread */
    return 0;
}
