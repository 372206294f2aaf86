/* The other ways to make a process: vfork, posix_spawn, system and popen; with the argument "raw" clone without
 * CLONE_VM by a bare system call, of which no fork handler hears. The parent has one thread, and then our own must
 * not be there: the child would find what it holds locked. */
#include "preload.h"

#include <spawn.h>
#include <sys/syscall.h>

static char self[4096];

static void spawned(void) {
    begin(60);
    exercise((uint64_t)getpid(), 2000);
    exit(0);
}

static void by_vfork(void) {
    pid_t child = vfork();
    if (child == 0) {
        execl(self, self, "spawned", (char *)NULL);
        _exit(127);
    }
    reap(child);
}

static void by_posix_spawn(void) {
    pid_t child;
    char *arguments[] = {self, (char *)"spawned", NULL};
    CHECK(posix_spawn(&child, self, NULL, NULL, arguments, environ) == 0);
    reap(child);
}

static void by_system(void) {
    char command[4200];
    snprintf(command, sizeof command, "'%s' spawned", self);
    CHECK(system(command) == 0);
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL);
    char text[64];
    CHECK(fgets(text, sizeof text, pipe) == NULL);
    CHECK(pclose(pipe) == 0);
}

static void *inherited[300];
enum { INHERITED = sizeof inherited / sizeof *inherited };

static void use_inherited(size_t first) {
    for (size_t i = first; i < INHERITED; i += 3) {
        CHECK(is_filled(inherited[i], 100 * i, i));
        free(inherited[i]);
    }
}

static void by_clone(size_t depth) {
    pid_t child = (pid_t)syscall(SYS_clone, (long)SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0) {
        child_begins();
        use_inherited(depth);
        exercise(depth, 3000);
        if (depth > 0)
            by_clone(depth - 1); /* and from that one */
        _exit(0);
    }
    reap(child);
}

static void by_fork(size_t depth) {
    pid_t child = fork();
    if (child == 0) {
        child_begins();
        use_inherited(depth);
        exercise(depth, 3000);
        if (depth > 0)
            by_fork(depth - 1);
        exit(0);
    }
    reap(child);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "spawned") == 0)
        spawned();
    bool raw = argc > 1 && strcmp(argv[1], "raw") == 0;
    begin(100);
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    for (size_t i = 0; i < INHERITED; i++) {
        CHECK((inherited[i] = malloc(100 * i)) != NULL);
        fill(inherited[i], 100 * i, i);
    }
    for (size_t i = 0; i < 20; i++) {
        exercise(i, 1000);
        by_vfork();
        by_posix_spawn();
        by_system();
        if (raw)
            by_clone(2);
        by_fork(2);
    }
    for (size_t i = 0; i < INHERITED; i++) {
        CHECK(is_filled(inherited[i], 100 * i, i));
        free(inherited[i]);
    }
    return 0;
}
