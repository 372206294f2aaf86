/* The end of a thread: its objects outlive it and are freed by others; destructors of keys allocate and free,
 * round after round, of keys made before and after the first malloc. */
#include "preload.h"

#include <limits.h>

static pthread_key_t early_key, late_key, again_key;
static unsigned early_calls, late_calls, again_calls;

/* Before main and, as far as this program goes, before the first malloc. */
__attribute__((constructor)) static void make_early_key(void) {
    pthread_key_create(&early_key, NULL);
}

static void check_and_free(void *p) {
    CHECK(is_filled(p, 200, 5));
    free(p);
}

static void *filled(void) {
    void *p = malloc(200);
    CHECK(p != NULL);
    fill(p, 200, 5);
    return p;
}

static void on_early(void *p) {
    early_calls++;
    check_and_free(p);
    free(filled());
}

static void on_late(void *p) {
    late_calls++;
    check_and_free(p);
    exercise(late_calls, 200);
}

/* Comes again as often as POSIX allows; the last object is freed all the same. */
static void on_again(void *p) {
    check_and_free(p);
    again_calls++;
    if (again_calls % PTHREAD_DESTRUCTOR_ITERATIONS != 0)
        CHECK(pthread_setspecific(again_key, filled()) == 0);
    exercise(again_calls, 100);
}

static void *with_keys(void *unused) {
    (void)unused;
    CHECK(pthread_setspecific(early_key, filled()) == 0);
    CHECK(pthread_setspecific(late_key, filled()) == 0);
    CHECK(pthread_setspecific(again_key, filled()) == 0);
    return filled();
}

/* Its first malloc is in a destructor. */
static void *without_malloc(void *p) {
    CHECK(pthread_setspecific(late_key, p) == 0);
    return NULL;
}

/* Its only malloc is in a destructor, of an object that it leaves behind. */
static pthread_key_t leaving_key;
static void *left_behind;

static void on_leaving(void *p) {
    (void)p;
    left_behind = filled();
}

static void *leave(void *p) {
    CHECK(pthread_setspecific(leaving_key, p) == 0);
    return NULL;
}

static void *run(void *(*work)(void *), void *argument) {
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, work, argument) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    return result;
}

enum { OBJECTS = 300 };

static void *make_many(void *objects) {
    void **p = objects;
    for (size_t i = 0; i < OBJECTS; i++) {
        CHECK((p[i] = malloc(i * i)) != NULL);
        fill(p[i], i * i, i);
    }
    return NULL;
}

static void *free_many(void *objects) {
    void **p = objects;
    for (size_t i = 0; i < OBJECTS; i++) {
        CHECK(is_filled(p[i], i * i, i));
        free(p[i]);
    }
    return NULL;
}

int main(void) {
    /* The destructor of early_key cannot be given later: so it is made again, and gets the same number. */
    CHECK(pthread_key_delete(early_key) == 0);
    CHECK(pthread_key_create(&early_key, on_early) == 0);
    begin(60);
    free(malloc(1));
    CHECK(pthread_key_create(&late_key, on_late) == 0);
    CHECK(pthread_key_create(&again_key, on_again) == 0);
    CHECK(pthread_key_create(&leaving_key, on_leaving) == 0);
    enum { ROUNDS = 200 };
    for (size_t i = 0; i < ROUNDS; i++) {
        check_and_free(run(with_keys, NULL));
        run(without_malloc, filled());
        run(leave, &leaving_key);
        check_and_free(left_behind);
    }
    CHECK(early_calls == ROUNDS && late_calls == 2 * ROUNDS, "%u and %u calls", early_calls, late_calls);
    CHECK(again_calls == ROUNDS * PTHREAD_DESTRUCTOR_ITERATIONS, "%u calls", again_calls);
    void *objects[OBJECTS];
    for (size_t i = 0; i < 20; i++) {
        run(make_many, objects); /* made and freed after their maker's end, here or by another thread */
        if (i % 2 == 0)
            free_many(objects);
        else
            run(free_many, objects);
    }
    exercise(1, 10000);
    return 0;
}
