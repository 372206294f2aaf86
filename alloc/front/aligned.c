/* Aligned allocation, by the rules of POSIX, C23 and, for the older three, of glibc. No locks here. */
#include "front/fast_path.h"

#include <errno.h>

PUBLIC int neap_posix_memalign(void **out, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) != 0 || !is_power_of_two(alignment))
        return EINVAL;
    void *p = heap_alloc(size, alignment, false, CALLER);
    if (p == NULL)
        return ENOMEM;
    *out = p;
    return 0;
}

PUBLIC void *neap_aligned_alloc(size_t alignment, size_t size) {
    if (!is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    return heap_alloc(size, alignment, false, CALLER);
}

PUBLIC void *neap_memalign(size_t alignment, size_t size) {
    if (alignment > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    return heap_alloc(size, round_up_power_of_two(max_size(alignment, 1)), false, CALLER);
}

PUBLIC void *neap_valloc(size_t size) {
    return heap_alloc(size, os_page_size(), false, CALLER);
}

PUBLIC void *neap_pvalloc(size_t size) {
    size_t page = os_page_size();
    if (size > PTRDIFF_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    return heap_alloc(align_up(max_size(size, 1), page), page, false, CALLER);
}

PUBLIC void neap_free_aligned_sized(void *p, size_t alignment, size_t size) {
    if (p != NULL)
        heap_check_sized(p, alignment, size, "free_aligned_sized");
    fast_free(p, "free_aligned_sized");
}

DROP_IN(int, posix_memalign, (void **out, size_t alignment, size_t size));
DROP_IN(void *, aligned_alloc, (size_t alignment, size_t size));
DROP_IN(void *, memalign, (size_t alignment, size_t size));
DROP_IN(void *, valloc, (size_t size));
DROP_IN(void *, pvalloc, (size_t size));
DROP_IN(void, free_aligned_sized, (void *p, size_t alignment, size_t size));
LIBC_NAME(void *, memalign, (size_t alignment, size_t size));
LIBC_NAME(void *, valloc, (size_t size));
LIBC_NAME(void *, pvalloc, (size_t size));
