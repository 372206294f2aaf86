/* Attaching to the page of page.h. Nothing here allocates. */
#include "page.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the page is little endian");
_Static_assert(offsetof(struct page, live_bytes) == 16 && offsetof(struct page, p999_ns) == 64 &&
                   offsetof(struct page, phase_name) == 80 && offsetof(struct page, progress) == 112,
               "the layout is shared with bench/runner/page.py");

struct page *page;
static _Bool is_shared;

void page_attach(void) {
    const char *path = getenv("NEAP_BENCH_PAGE");
    if (path == NULL) {
        page = map_memory(PAGE_BYTES);
        return;
    }
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        stop(STATUS_USAGE, "NEAP_BENCH_PAGE: cannot open %s: %s", path, strerror(errno));
    struct stat about;
    if (fstat(fd, &about) != 0 || about.st_size != PAGE_BYTES)
        stop(STATUS_USAGE, "NEAP_BENCH_PAGE: %s is not a file of %d bytes", path, PAGE_BYTES);
    void *mapping = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED)
        stop(STATUS_USAGE, "NEAP_BENCH_PAGE: cannot map %s: %s", path, strerror(errno));
    close(fd);
    page = mapping;
    if (memcmp(page->magic, PAGE_MAGIC, sizeof page->magic) != 0)
        stop(STATUS_USAGE, "NEAP_BENCH_PAGE: %s is not a page of the benchmark's runner", path);
    is_shared = 1;
}

_Bool page_is_shared(void) {
    return is_shared;
}
