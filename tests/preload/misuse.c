/* What a program can do wrong with its pointers, and the exact line that it ends with. Each mistake is made in a
 * forked child, which must die of SIGABRT and say just that line. Argument: "sized" with
 * NEAP_OPTIONS=sized_check:on, for what only that finds. */
#include "preload.h"

/* What the child is about to do, for its parent: shared memory. */
static struct deed {
    void *pointer;
    char expected[400]; /* behind "neap: " and the call; one of these lines */
    bool made;
} * deed;

#define INSIDE    "points inside an object, not to its start"
#define NO_OBJECT "there is no object: already free, or never allocated"
#define NOT_OURS  "not a pointer that neap gave out"
#define TWICE     "double free: the object is already free"
#define LATE      "double free: the object was free already (found when its cache was emptied)"
#define FREE      "the object is already free"

/* Whether an object is in a cache, or its slab gone with it, is a matter of sizes and tuning: any of these is
 * right. */
#define ANY_TWICE TWICE "\n" LATE "\n" NO_OBJECT
#define ANY_FREE  FREE "\n" NO_OBJECT

/* Notes that something wrong is done with p now, and what is expected to be said of it. */
static void *wrong(void *p, const char *expected) {
    deed->pointer = p;
    snprintf(deed->expected, sizeof deed->expected, "%s", expected);
    deed->made = true;
    return OPAQUE(p);
}

/* Runs `work` in a child and returns what it says on stderr, and in *status how it ended. */
static const char *listen(void (*work)(const void *), const void *argument, int *status) {
    static char said[4096];
    int ends[2];
    *deed = (struct deed){0};
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        child_begins();
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        complaints = dup(STDERR_FILENO);
        fcntl(complaints, F_SETFD, FD_CLOEXEC);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]), close(ends[1]);
        work(argument);
        exit(0); /* where the last of them are found */
    }
    CHECK(pid > 0);
    close(ends[1]);
    size_t length = 0;
    ssize_t n;
    while ((n = read(ends[0], said + length, sizeof said - 1 - length)) > 0)
        length += (size_t)n;
    said[length] = '\0';
    close(ends[0]);
    CHECK(waitpid(pid, status, 0) == pid);
    return said;
}

/* The child must end as it noted. `function` is what it calls. */
static void expect_death(const char *name, const char *function, void (*work)(const void *),
                         const void *argument) {
    int status;
    char line[400] = "";
    const char *said = listen(work, argument, &status);
    CHECK(deed->made, "%s: it did nothing wrong; it said \"%s\", status %#x", name, said, (unsigned)status);
    for (char *rest = deed->expected, *expected; (expected = strsep(&rest, "\n")) != NULL;) {
        const char *blamed = strcmp(expected, LATE) == 0 ? "free" : function; /* nobody knows any more */
        snprintf(line, sizeof line, "neap: %s(%p): %s\n", blamed, deed->pointer, expected);
        if (strcmp(said, line) == 0)
            break;
    }
    CHECK(strcmp(said, line) == 0, "%s: it said\n  %sinstead of\n  %sand ended with status %#x", name, said, line,
          (unsigned)status);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s: status %#x", name, (unsigned)status);
}

/* --- the ways to pass a pointer in --- */

static const struct call {
    const char *name;
    void (*call)(void *p);
    bool frees;
} * passed_to;

static void call_free(void *p) {
    free(p);
}
static void call_realloc(void *p) {
    free(OPAQUE(realloc(p, 50)));
}
static void call_realloc_more(void *p) {
    free(OPAQUE(realloc(p, 500000)));
}
static void call_realloc_nothing(void *p) {
    free(OPAQUE(realloc(p, 0)));
}
static void call_usable(void *p) {
    (void)OPAQUE(malloc_usable_size(p));
}
static void call_free_sized(void *p) {
    void (*function)(void *, size_t) = NULL;
    *(void **)&function = dlsym(RTLD_DEFAULT, "free_sized");
    function(p, 100);
}
static void call_free_aligned_sized(void *p) {
    void (*function)(void *, size_t, size_t) = NULL;
    *(void **)&function = dlsym(RTLD_DEFAULT, "free_aligned_sized");
    function(p, 16, 100);
}
static void call_delete(void *p) {
    void (*function)(void *) = NULL;
    *(void **)&function = dlsym(RTLD_DEFAULT, "_ZdlPv");
    function(p);
}
static void call_cfree(void *p) {
    void (*function)(void *) = NULL;
    *(void **)&function = dlsym(RTLD_DEFAULT, "cfree");
    function(p);
}

static const struct call calls[] = {
    {"free", call_free, true},
    {"free", call_cfree, true},
    {"operator delete", call_delete, true},
    {"free_sized", call_free_sized, true},
    {"free_aligned_sized", call_free_aligned_sized, true},
    {"realloc", call_realloc, false},
    {"realloc", call_realloc_more, false},
    {"realloc", call_realloc_nothing, false},
    {"malloc_usable_size", call_usable, false},
};
enum { CALLS = sizeof calls / sizeof *calls };

/* --- pointers that are none of an object --- */

static void stack(const void *unused) {
    (void)unused;
    char array[64];
    passed_to->call(wrong(array, NOT_OURS));
}
static void statics(const void *unused) {
    (void)unused;
    static char array[64];
    passed_to->call(wrong(array + 16, NOT_OURS));
}
static void literal(const void *unused) {
    (void)unused;
    passed_to->call(wrong((void *)(uintptr_t) "a literal", NOT_OURS));
}
static void small_number(const void *unused) {
    (void)unused;
    passed_to->call(wrong((void *)8, NOT_OURS));
}
static void last_address(const void *unused) {
    (void)unused;
    passed_to->call(wrong((void *)~(uintptr_t)15, NOT_OURS));
}
static void mapping(const void *unused) {
    (void)unused;
    passed_to->call(wrong(mmap(NULL, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), NOT_OURS));
}
static void heap_base(const void *unused) {
    (void)unused;
    free(malloc(1));
    passed_to->call(wrong((void *)(uintptr_t)library_state()->heap_base, NOT_OURS));
}
static void behind_heap(const void *unused) {
    (void)unused;
    free(malloc(1));
    passed_to->call(wrong((void *)(uintptr_t)(library_state()->heap_end + (64 << 20)), NOT_OURS));
}
static void end_of_heap(const void *unused) {
    (void)unused; /* mapped for later */
    void *p = malloc(64 * MIB);
    free(p);
    passed_to->call(wrong((char *)p + 1 * MIB, NO_OBJECT));
}
static void inside_large(const void *offset) {
    char *p = malloc(1 * MIB);
    passed_to->call(wrong(p + *(const size_t *)offset, INSIDE));
}
static void inside_aligned(const void *offset) {
    char *p = aligned_alloc(1 * MIB, 40000);
    passed_to->call(wrong(p + *(const size_t *)offset, INSIDE));
}

/* An object's start where there never was one: a slab's rest that is too small for another object. */
static int by_address(const void *a, const void *b) {
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return x < y ? -1 : x > y;
}
static void slab_rest(const void *size) {
    enum { OBJECTS = 6000 };
    static char *p[OBJECTS];
    size_t bytes = *(const size_t *)size;
    for (size_t i = 0; i < OBJECTS; i++)
        CHECK((p[i] = malloc(bytes)) != NULL);
    qsort(p, OBJECTS, sizeof *p, by_address);
    for (size_t i = 1; i < OBJECTS; i++) {
        char *rest = p[i - 1] + bytes;
        if (p[i] > rest && p[i] < rest + bytes) {
            void *bad = wrong(rest, passed_to->frees ? ANY_TWICE : ANY_FREE);
            passed_to->call(bad);
            return;
        }
    }
    CHECK(false, "no slab of size %zu has a rest", bytes);
}

/* --- inside small objects --- */

struct place {
    size_t size, offset;
};

static void inside_small(const void *place) {
    const struct place *at = place;
    char *p = malloc(at->size);
    fill(p, at->size, 1);
    passed_to->call(wrong(p + at->offset, INSIDE));
}

static void every_offset(void) {
    static const size_t sizes[] = {16, 24, 48, 100, 128, 144, 250, 1000, 1024, 5000, 32768};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t offset = 1; offset < sizes[i]; offset += offset < 300 ? 1 : sizes[i] / 97 + 1) {
            struct place at = {sizes[i], offset};
            passed_to = &calls[offset % 8 == 0 ? offset / 8 % CALLS : 0];
            char name[100];
            snprintf(name, sizeof name, "offset %zu of %zu bytes", offset, sizes[i]);
            expect_death(name, passed_to->name, inside_small, &at);
        }
}

/* --- freed objects --- */

/* So that this thread's cache takes objects of that size, and a slab of it stays. */
static void warm_up(size_t size) {
    void *p[200];
    for (size_t i = 0; i < 200; i++)
        CHECK((p[i] = malloc(size)) != NULL);
    for (size_t i = 1; i < 200; i++)
        free(p[i]);
}
static void twice(const void *size) {
    warm_up(*(const size_t *)size);
    void *p = malloc(*(const size_t *)size);
    free(p);
    passed_to->call(wrong(p, *(const size_t *)size > 32768  ? NO_OBJECT
                             : *(const size_t *)size > 1000 ? passed_to->frees ? ANY_TWICE : ANY_FREE
                             : passed_to->frees             ? TWICE
                                                            : FREE));
}
static void twice_with_another_between(const void *size) {
    void *p = malloc(*(const size_t *)size), *q = malloc(*(const size_t *)size);
    free(p), free(q);
    passed_to->call(wrong(p, *(const size_t *)size > 32768 ? NO_OBJECT : passed_to->frees ? ANY_TWICE : ANY_FREE));
}
static void twice_with_many_between(const void *size) {
    enum { OTHERS = 3000 };
    static void *others[OTHERS];
    void *p = malloc(*(const size_t *)size);
    for (size_t i = 0; i < OTHERS; i++)
        others[i] = malloc(*(const size_t *)size);
    free(p);
    for (size_t i = 0; i < OTHERS; i += 2) /* its slab stays, and it has gone to the bin */
        free(others[i]);
    passed_to->call(wrong(p, passed_to->frees ? ANY_TWICE : ANY_FREE));
}
static void twice_after_trim(const void *size) {
    void *p = malloc(*(const size_t *)size);
    free(p);
    malloc_trim(0);
    passed_to->call(wrong(p, NO_OBJECT));
}
static void *free_in_thread(void *p) {
    passed_to->call(p);
    return NULL;
}
static void twice_in_threads(const void *size) {
    void *p = malloc(*(const size_t *)size);
    warm_up(*(const size_t *)size);
    for (size_t i = 0; i < 2; i++) {
        pthread_t thread;
        if (i == 1)
            wrong(p, *(const size_t *)size > 32768 ? NO_OBJECT : ANY_TWICE);
        CHECK(pthread_create(&thread, NULL, free_in_thread, p) == 0 && pthread_join(thread, NULL) == 0);
    }
}
static void by_thread_then_here(const void *size) {
    void *p = malloc(*(const size_t *)size);
    warm_up(*(const size_t *)size);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_in_thread, p) == 0 && pthread_join(thread, NULL) == 0);
    passed_to->call(wrong(p, *(const size_t *)size > 32768 ? NO_OBJECT : ANY_TWICE));
}
/* realloc moved it: the old pointer is no object's. */
static void moved_away(const void *unused) {
    (void)unused;
    char *p = malloc(100000), *behind = malloc(100000), *now = realloc(p, 10000000);
    CHECK(now != p && behind != NULL);
    passed_to->call(wrong(p, NO_OBJECT));
}
/* A handler of SIGABRT that allocates, as crash reporters do: nothing of ours is locked when it runs. */
static void on_abort(int signal) {
    (void)signal;
    exercise(1, 1000);
    malloc_trim(0);
}
static void twice_with_handler(const void *size) {
    CHECK(sigaction(SIGABRT, &(struct sigaction){.sa_handler = on_abort}, NULL) == 0);
    twice(size);
}
static void late_with_handler(const void *size) {
    CHECK(sigaction(SIGABRT, &(struct sigaction){.sa_handler = on_abort}, NULL) == 0);
    twice_with_another_between(size);
}

static void pointers(void) {
    static const size_t sizes[] = {1, 16, 100, 1000, 5000, 32768, 33000, 1000000};
    static const size_t offsets[] = {1, 15, 16, 4096, 16384, 16400, 32768, 65536, 500000, 1048560, 1048575};
    static const size_t aligned_offsets[] = {1, 16, 4096, 16384, 32768, 39984};
    static const size_t rests[] = {48, 80, 112, 160, 208, 1536};
    for (size_t i = 0; i < CALLS; i++) {
        const char *name = calls[i].name;
        passed_to = &calls[i];
        expect_death("stack", name, stack, NULL);
        expect_death("static", name, statics, NULL);
        expect_death("literal", name, literal, NULL);
        expect_death("small number", name, small_number, NULL);
        expect_death("last address", name, last_address, NULL);
        expect_death("mapping", name, mapping, NULL);
        expect_death("heap's base", name, heap_base, NULL);
        expect_death("behind the heap", name, behind_heap, NULL);
        expect_death("free end of the heap", name, end_of_heap, NULL);
        expect_death("moved away", name, moved_away, NULL);
        for (size_t n = 0; n < sizeof offsets / sizeof *offsets; n++)
            expect_death("inside a large object", name, inside_large, &offsets[n]);
        for (size_t n = 0; n < sizeof aligned_offsets / sizeof *aligned_offsets; n++)
            expect_death("inside an aligned object", name, inside_aligned, &aligned_offsets[n]);
        for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
            const size_t *size = &sizes[n];
            expect_death("freed twice", name, twice, size);
            expect_death("freed twice, handler", name, twice_with_handler, size);
            expect_death("freed twice, one between", name, twice_with_another_between, size);
            expect_death("freed twice, one between, handler", name, late_with_handler, size);
            if (*size >= 100 && *size <= 1000 && calls[i].call != call_usable) /* which does not look that up */
                expect_death("freed twice, many between", name, twice_with_many_between, size);
            expect_death("freed twice, trimmed", name, twice_after_trim, size);
            if (!calls[i].frees)
                continue;
            expect_death("freed twice in threads", name, twice_in_threads, size);
            expect_death("freed by a thread, then here", name, by_thread_then_here, size);
        }
        for (size_t n = 0; n < sizeof rests / sizeof *rests; n++)
            expect_death("rest of a slab", name, slab_rest, &rests[n]);
    }
}

/* --- sizes that are not true --- */

static void (*free_sized_of)(void *, size_t);
static void (*free_aligned_sized_of)(void *, size_t, size_t);
static void (*delete_sized)(void *, size_t);
static void (*delete_aligned_sized)(void *, size_t, size_t);

struct lie {
    size_t alignment, size, says_alignment, says_size;
};

static char *made_for(const struct lie *lie, const char *what) {
    char *p = lie->alignment == 0 ? malloc(lie->size) : aligned_alloc(lie->alignment, lie->size), text[200];
    CHECK(p != NULL);
    if (what != NULL)
        snprintf(text, sizeof text, "%s", what);
    else
        snprintf(text, sizeof text, "size %zu does not fit the object, which has %zu bytes", lie->says_size,
                 malloc_usable_size(p));
    return wrong(p, text);
}
static void sized(const void *lie) {
    char *p = made_for(lie, NULL);
    free_sized_of(p, ((const struct lie *)lie)->says_size);
}
static void aligned_sized(const void *lie) {
    const struct lie *l = lie;
    char *p = made_for(lie, NULL);
    free_aligned_sized_of(p, l->says_alignment, l->says_size);
}
static void deleted(const void *lie) {
    char *p = made_for(lie, NULL);
    delete_sized(p, ((const struct lie *)lie)->says_size);
}
static void deleted_aligned(const void *lie) {
    const struct lie *l = lie;
    char *p = made_for(lie, NULL);
    delete_aligned_sized(p, l->says_size, l->says_alignment);
}

/* What is true, or may be after a realloc, passes. */
static void true_sizes(const void *unused) {
    (void)unused;
    for (size_t size = 0; size < 2000000; size += size < 5000 ? 1 : size / 61) {
        free_sized_of(malloc(size), size);
        free_sized_of(calloc(size, 1), size);
        delete_sized(malloc(size), size);
        free_sized_of(NULL, size);
        for (size_t i = 1; i < 8 && size > 0; i++) {
            free_sized_of(realloc(malloc(size), size * i / 4 + 1), size * i / 4 + 1);
            free_sized_of(realloc(realloc(malloc(size), size * 5), size), size);
        }
        size_t alignment = (size_t)1 << size % 17;
        free_aligned_sized_of(aligned_alloc(alignment, size), alignment, size);
        delete_aligned_sized(aligned_alloc(alignment, size), size, alignment);
    }
    /* A buffer shrunk where no memory is left stays what it was. */
    char *p = malloc(20000);
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){status_bytes("VmSize") + MIB, RLIM_INFINITY}) == 0);
    while (OPAQUE(malloc(16 * KIB)) != NULL)
        ;
    while (OPAQUE(malloc(100)) != NULL)
        ;
    CHECK((p = realloc(p, 100)) != NULL, "what shrinks failed");
    free_sized_of(p, 100);
}

static void sizes_checked(void) {
    static const struct lie lies[] = {
        {0, 100, 16, 10},     {0, 100, 16, 128},         {0, 100, 16, 200},        {0, 5000, 16, 2000},
        {0, 5000, 16, 50000}, {0, 100000, 16, 10},       {0, 100000, 16, 1 << 20}, {0, 16, 16, SIZE_MAX},
        {0, 16, 16, 17},      {0, 1 << 20, 16, 1 << 19}, {0, 33, 16, 0},
    };
    *(void **)&free_sized_of = dlsym(RTLD_DEFAULT, "free_sized");
    *(void **)&free_aligned_sized_of = dlsym(RTLD_DEFAULT, "free_aligned_sized");
    *(void **)&delete_sized = dlsym(RTLD_DEFAULT, "_ZdlPvm");
    *(void **)&delete_aligned_sized = dlsym(RTLD_DEFAULT, "_ZdlPvmSt11align_val_t");
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        char name[100];
        snprintf(name, sizeof name, "%zu bytes, said to be %zu", lies[i].size, lies[i].says_size);
        expect_death(name, "free_sized", sized, &lies[i]);
        expect_death(name, "free_aligned_sized", aligned_sized, &lies[i]);
        expect_death(name, "operator delete", deleted, &lies[i]);
        expect_death(name, "operator delete", deleted_aligned, &lies[i]);
    }
    int status;
    const char *said = listen(true_sizes, NULL, &status);
    CHECK(status == 0, "true sizes: it said \"%s\", status %#x", said, (unsigned)status);
}

int main(int argc, char **argv) {
    begin(280);
    deed = mmap(NULL, sizeof *deed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(deed != MAP_FAILED);
    if (argc > 1 && strcmp(argv[1], "sized") == 0) {
        sizes_checked();
        return 0;
    }
    pointers();
    every_offset();
    return 0;
}
