/* free keeps errno, whatever the system answers underneath: also where memory goes back, addresses go back, or a
 * locked range is refused at first. */
#include "preload.h"

enum { OTHER = 4711 };

static void free_all_kinds(const char *when) {
    static const size_t sizes[] = {0, 1, 100, 5000, 30000, 100000, 1000000, 5000000, 70000000};
    enum { SIZES = sizeof sizes / sizeof *sizes, EACH = 60 };
    void (*sized)(void *, size_t) = NULL;
    *(void **)&sized = dlsym(RTLD_DEFAULT, "free_sized");
    CHECK(sized != NULL);
    for (size_t i = 0; i < SIZES; i++) {
        void *p[EACH];
        size_t each = sizes[i] > 1 * MIB ? 2 : EACH;
        for (size_t j = 0; j < each; j++) {
            CHECK((p[j] = malloc(sizes[i])) != NULL);
            memset(p[j], 1, sizes[i]);
        }
        for (size_t j = 0; j < each; j++) {
            errno = OTHER;
            if (j % 2 == 0)
                free(p[j]);
            else
                sized(p[j], sizes[i]);
            CHECK(errno == OTHER, "%s: free of %zu bytes", when, sizes[i]);
        }
    }
    void *moved = malloc(200000), *behind = malloc(200000);
    CHECK((moved = realloc(moved, 8000000)) != NULL);
    memset(moved, 1, 8000000);
    errno = OTHER;
    free(moved), free(behind), free(NULL);
    CHECK(errno == OTHER, "%s", when);
    void *p = realloc(malloc(10), 0);
    CHECK(p == NULL && errno == OTHER, "%s: realloc(p, 0)", when);
    malloc_trim(0);
    CHECK(errno == OTHER, "%s: malloc_trim", when);
}

static void *in_thread(void *unused) {
    free_all_kinds("in a thread");
    return unused;
}

int main(void) {
    begin(60);
    free_all_kinds("at first");
    free_all_kinds("again");
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, in_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){2 * GIB, RLIM_INFINITY}) == 0);
    free_all_kinds("under RLIMIT_AS");
    if (mlockall(MCL_CURRENT | MCL_FUTURE) == 0)
        free_all_kinds("under mlockall");
    return 0;
}
