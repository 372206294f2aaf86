/* Strict overcommit (vm.overcommit_memory = 2), where what is mapped is charged, used or not: the library maps
 * little ahead, and gives addresses back. This machine is left as it is: in a mount namespace of its own the file
 * that says the mode says 2. The kernel does not refuse anything for it; the library must act as if. */
#include "preload.h"

#include <sched.h>
#include <sys/mount.h>

#define MODE_FILE "/proc/sys/vm/overcommit_memory"

static bool pretend_to_be_strict(void) {
    char path[] = "/tmp/neap-overcommit-XXXXXX";
    if (unshare(CLONE_NEWNS) != 0)
        return false;
    CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, "2\n", 2) == 2);
    close(fd);
    CHECK(mount(path, MODE_FILE, NULL, MS_BIND, NULL) == 0);
    CHECK(unlink(path) == 0);
    return true;
}

/* Private writable memory: what the kernel would charge. */
static size_t charged(void) {
    return status_bytes("VmData");
}

static void use_and_free(size_t objects, size_t size) {
    void **p = malloc(objects * sizeof *p);
    CHECK(p != NULL);
    for (size_t i = 0; i < objects; i++)
        CHECK((p[i] = malloc(size)) != NULL);
    size_t live = objects * size;
    CHECK(charged() < live + live / 4 + 100 * MIB, "%zu MiB of size %zu live, %zu MiB charged", live / MIB, size,
          charged() / MIB);
    for (size_t i = 0; i < objects; i++)
        free(p[i]);
    free(p);
}

int main(int argc, char **argv) {
    if (argc == 1) {
        begin(60);
        CHECK(charged() < 10 * MIB, "%zu MiB charged at the start", charged() / MIB);
        if (!pretend_to_be_strict())
            return 0;
        execl(argv[0], argv[0], "strict", (char *)NULL);
        CHECK(false, "exec");
    }
    begin(60);
    CHECK(charged() < 10 * MIB, "%zu MiB charged at the start", charged() / MIB);
    size_t sizes[] = {100, 10000, 100000, 1 << 20, 20 << 20};
    for (size_t round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            use_and_free(200 * MIB / sizes[i], sizes[i]);
            exercise(i, 5000);
            /* By itself most of it goes back; what is kept is a share of what was used, or a floor. */
            CHECK(charged() < 100 * MIB, "%zu MiB charged after 200 MiB of size %zu were freed", charged() / MIB,
                  sizes[i]);
        }
    malloc_trim(0);
    CHECK(comes_below("VmData", 24 * MIB) < 24 * MIB, "%zu MiB charged after malloc_trim", charged() / MIB);
    return 0;
}
