// The C++ operators for libneap.a, in an archive member of their own: only programs that are linked to a C++
// library take it, so here, unlike in operators.c, that library can be called by name, and what a new-handler
// throws be caught.
#include "neap/neap.h"

#include <new>

namespace {

void *allocate(std::size_t size, std::size_t alignment) {
    return alignment <= 16 ? neap_malloc(size) : neap_aligned_alloc(alignment, size);
}

__attribute__((noinline, cold)) void *retry(std::size_t size, std::size_t alignment) {
    for (;;) {
        std::new_handler handler = std::get_new_handler();
        if (handler == nullptr)
            throw std::bad_alloc();
        handler();
        void *p = allocate(size, alignment);
        if (p != nullptr)
            return p;
    }
}

inline void *create(std::size_t size, std::size_t alignment = 16) {
    void *p = allocate(size, alignment);
    return __builtin_expect(p != nullptr, 1) ? p : retry(size, alignment);
}

inline void *create_or_null(std::size_t size, std::size_t alignment = 16) noexcept {
    try {
        return create(size, alignment);
    } catch (const std::bad_alloc &) {
        return nullptr;
    }
}

} // namespace

#define PUBLIC __attribute__((visibility("default")))
// The same set for objects and for arrays.
#define OPERATORS(suffix)                                                                                         \
    PUBLIC void *operator new suffix(std::size_t size) {                                                          \
        return create(size);                                                                                      \
    }                                                                                                             \
    PUBLIC void *operator new suffix(std::size_t size, const std::nothrow_t &) noexcept {                         \
        return create_or_null(size);                                                                              \
    }                                                                                                             \
    PUBLIC void *operator new suffix(std::size_t size, std::align_val_t alignment) {                              \
        return create(size, static_cast<std::size_t>(alignment));                                                 \
    }                                                                                                             \
    PUBLIC void *operator new suffix(std::size_t size, std::align_val_t alignment,                                \
                                     const std::nothrow_t &) noexcept {                                           \
        return create_or_null(size, static_cast<std::size_t>(alignment));                                         \
    }                                                                                                             \
    PUBLIC void operator delete suffix(void *p) noexcept {                                                        \
        neap_free(p);                                                                                             \
    }                                                                                                             \
    PUBLIC void operator delete suffix(void *p, std::size_t size) noexcept {                                      \
        neap_free_sized(p, size);                                                                                 \
    }                                                                                                             \
    PUBLIC void operator delete suffix(void *p, const std::nothrow_t &) noexcept {                                \
        neap_free(p);                                                                                             \
    }                                                                                                             \
    PUBLIC void operator delete suffix(void *p, std::align_val_t) noexcept {                                      \
        neap_free(p);                                                                                             \
    }                                                                                                             \
    PUBLIC void operator delete suffix(void *p, std::size_t size, std::align_val_t alignment) noexcept {          \
        neap_free_aligned_sized(p, static_cast<std::size_t>(alignment), size);                                    \
    }                                                                                                             \
    PUBLIC void operator delete suffix(void *p, std::align_val_t, const std::nothrow_t &) noexcept {              \
        neap_free(p);                                                                                             \
    }

#define NOTHING
OPERATORS(NOTHING)
OPERATORS([])
