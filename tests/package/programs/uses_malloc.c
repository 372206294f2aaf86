/* What a program does with malloc: directly, through libc, in threads, in a forked child. */
#define _GNU_SOURCE
#include "proof.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *thread(void *arg) {
    (void)arg;
    void *p = malloc(1000);
    expect(from_neap(p), "malloc in a thread");
    free(p);
    return strdup("handed over");
}

int main(void) {
    expect(strcmp(neap_version(), NEAP_VERSION) == 0, "the library's version is not the header's");
    expect(neap_state.size == sizeof neap_state, "the size of neap_state");

    void *small = malloc(10), *large = malloc(10 << 20), *zeroed = calloc(10, 10), *aligned = NULL;
    expect((neap_state.flags & NEAP_STATE_READY) != 0, "the heap is not there");
    expect(from_neap(small) && from_neap(large) && from_neap(zeroed), "malloc or calloc");
    expect(posix_memalign(&aligned, 4096, 1) == 0 && from_neap(aligned), "posix_memalign");
    small = realloc(small, 1000);
    expect(from_neap(small), "realloc");

    char *copy = strdup("copied"), *line = NULL;
    expect(from_neap(copy), "strdup");
    expect(asprintf(&line, "%d", 1) == 1 && from_neap(line), "asprintf");

    pthread_t id;
    void *from_thread = NULL;
    expect(pthread_create(&id, NULL, thread, NULL) == 0 && pthread_join(id, &from_thread) == 0, "a thread");
    expect(from_neap(from_thread), "strdup in a thread");

    pid_t child = fork();
    if (child == 0) {
        void *p = malloc(100);
        _exit(from_neap(p) ? 0 : 1);
    }
    int status = -1;
    expect(child > 0 && waitpid(child, &status, 0) == child && status == 0, "malloc in a forked child");

    neap_free(malloc(1)); /* one heap under both names */
    int result = verdict(copy);
    free(large), free(zeroed), free(aligned), free(small), free(line), free(copy), free(from_thread);
    return result;
}
