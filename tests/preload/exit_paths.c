/* What runs when a process ends: atexit handlers, on_exit, ELF destructors of the program and of a library, in
 * threads that still run. All may allocate and free. The program is its own child, whose words it counts. */
#include "preload.h"

#include <stdatomic.h>

static char *before_main, *in_main;

static void say(const char *word) {
    CHECK(write(STDOUT_FILENO, word, strlen(word)) > 0);
}

__attribute__((constructor)) static void construct(void) {
    before_main = malloc(5000);
    if (before_main != NULL)
        fill(before_main, 5000, 1);
}

__attribute__((destructor)) static void destruct(void) {
    CHECK(is_filled(before_main, 5000, 1));
    free(before_main);
    if (in_main == NULL)
        return; /* the parent */
    CHECK(is_filled(in_main, 100000, 2));
    free(in_main);
    exercise(3, 1000);
    say("destructor ");
}

static void at_exit(void) {
    exercise(1, 1000);
    say("atexit ");
}

static void on_exit_with(int status, void *p) {
    CHECK(status == 0);
    free(p);
    exercise(2, 1000);
    say("on_exit ");
}

static atomic_bool started;

static void *go_on_working(void *unused) {
    (void)unused;
    for (uint64_t seed = 0;; seed++) {
        exercise(seed, 100);
        atomic_store(&started, true);
        pthread_testcancel();
    }
    return NULL;
}

static void child(bool by_thread) {
    begin(30);
    CHECK((in_main = malloc(100000)) != NULL);
    fill(in_main, 100000, 2);
    void *argument = malloc(10);
    CHECK(atexit(at_exit) == 0 && on_exit(on_exit_with, argument) == 0);
    CHECK(at_quick_exit(at_exit) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, go_on_working, NULL) == 0);
    while (!atomic_load(&started))
        usleep(1000);
    if (by_thread) /* the main thread ends first, the process with the other */
        pthread_cancel(thread), pthread_exit(NULL);
    exit(0);
}

static void expect(const char *self, const char *how, const char *words) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]), close(ends[1]);
        execl(self, self, how, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    char said[256];
    size_t length = 0;
    ssize_t n;
    while ((n = read(ends[0], said + length, sizeof said - 1 - length)) > 0)
        length += (size_t)n;
    said[length] = '\0';
    close(ends[0]);
    reap(pid);
    CHECK(strcmp(said, words) == 0, "with \"%s\" it said \"%s\"", how, said);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "quick") == 0) {
        begin(30);
        CHECK(at_quick_exit(at_exit) == 0);
        quick_exit(0);
    }
    if (argc > 1)
        child(strcmp(argv[1], "thread") == 0);
    begin(60);
    for (size_t i = 0; i < 10; i++) {
        expect(argv[0], "main", "on_exit atexit destructor ");
        expect(argv[0], "thread", "on_exit atexit destructor ");
        expect(argv[0], "quick", "atexit ");
    }
    return 0;
}
