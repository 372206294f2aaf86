/* The C++ operators new and delete of libneap.so in all their forms, under the names that the Itanium C++ ABI
 * gives them.
 *
 * Where memory is short they call the new-handler and try again, and throw std::bad_alloc where there is none,
 * both through the libstdc++ of the process: found at start if the program is linked to it, later if it was loaded
 * with dlopen. This file is compiled with -fexceptions, so that what is thrown passes. */
#include "front/fast_path.h"

#include <dlfcn.h>

typedef void (*new_handler)(void);

extern new_handler _ZSt15get_new_handlerv(void) __attribute__((weak));      /* std::get_new_handler() */
extern _Noreturn void _ZSt17__throw_bad_allocv(void) __attribute__((weak)); /* std::__throw_bad_alloc() */

static void *find_in_libstdcxx(const char *symbol) {
    void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
    return library != NULL ? dlsym(library, symbol) : NULL;
}

static new_handler current_handler(void) {
    new_handler (*get)(void) = _ZSt15get_new_handlerv;
    if (get == NULL)
        *(void **)&get = find_in_libstdcxx("_ZSt15get_new_handlerv");
    return get != NULL ? get() : NULL;
}

static _Noreturn void throw_bad_alloc(size_t size) {
    void (*raise)(void) = _ZSt17__throw_bad_allocv;
    if (raise == NULL)
        *(void **)&raise = find_in_libstdcxx("_ZSt17__throw_bad_allocv");
    if (raise != NULL)
        raise();
    os_die("operator new(%z): out of memory, and no libstdc++ to throw std::bad_alloc", size);
}

/* Allocates after the new-handler has had its chances; NULL where there is none (any more). */
static COLD void *retry(size_t size, size_t alignment) {
    for (;;) {
        new_handler handler = current_handler();
        if (handler == NULL)
            return NULL;
        handler();
        void *p = heap_alloc(size, alignment, false);
        if (p != NULL)
            return p;
    }
}

static COLD void *retry_or_throw(size_t size, size_t alignment) {
    void *p = retry(size, alignment);
    if (p == NULL)
        throw_bad_alloc(size);
    return p;
}

static inline void *new_throwing(size_t size) {
    void *p = fast_alloc(size);
    return LIKELY(p != NULL) ? p : retry_or_throw(size, CLASS_GRAIN);
}

static inline void *new_aligned(size_t size, size_t alignment) {
    void *p = heap_alloc(size, alignment, false);
    return LIKELY(p != NULL) ? p : retry_or_throw(size, alignment);
}

/* A new-handler may throw, which the nothrow forms turn into NULL; that takes a catch, which C has not. So when
 * memory is short libstdc++'s own nothrow form is asked, which calls our throwing one and catches. */
static COLD void *ask_nothrow(size_t size, size_t alignment) {
    if (alignment <= CLASS_GRAIN) {
        void *(*form)(size_t, const void *);
        *(void **)&form = find_in_libstdcxx("_ZnwmRKSt9nothrow_t");
        return form != NULL ? form(size, NULL) : retry(size, alignment);
    }
    void *(*form)(size_t, size_t, const void *);
    *(void **)&form = find_in_libstdcxx("_ZnwmSt11align_val_tRKSt9nothrow_t");
    return form != NULL ? form(size, alignment, NULL) : retry(size, alignment);
}

static inline void *new_nothrow(size_t size) {
    void *p = fast_alloc(size);
    return LIKELY(p != NULL) ? p : ask_nothrow(size, CLASS_GRAIN);
}

static inline void *new_aligned_nothrow(size_t size, size_t alignment) {
    void *p = heap_alloc(size, alignment, false);
    return LIKELY(p != NULL) ? p : ask_nothrow(size, alignment);
}

static inline void delete_sized(void *p, size_t alignment, size_t size) {
    if (p != NULL)
        heap_check_sized(p, alignment, size, "operator delete");
    fast_free(p, "operator delete");
}

/* The same set for objects (w, l) and arrays (a, a). */
#define OPERATORS(new, delete)                                                                                    \
    PUBLIC void *_Zn##new##m(size_t size);                                                                        \
    PUBLIC void *_Zn##new##m(size_t size) {                                                                       \
        return new_throwing(size);                                                                                \
    }                                                                                                             \
    PUBLIC void *_Zn##new##mRKSt9nothrow_t(size_t size, const void *tag);                                         \
    PUBLIC void *_Zn##new##mRKSt9nothrow_t(size_t size, const void *tag) {                                        \
        (void)tag;                                                                                                \
        return new_nothrow(size);                                                                                 \
    }                                                                                                             \
    PUBLIC void *_Zn##new##mSt11align_val_t(size_t size, size_t alignment);                                       \
    PUBLIC void *_Zn##new##mSt11align_val_t(size_t size, size_t alignment) {                                      \
        return new_aligned(size, alignment);                                                                      \
    }                                                                                                             \
    PUBLIC void *_Zn##new##mSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag);        \
    PUBLIC void *_Zn##new##mSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag) {       \
        (void)tag;                                                                                                \
        return new_aligned_nothrow(size, alignment);                                                              \
    }                                                                                                             \
    PUBLIC void _Zd##delete##Pv(void *p);                                                                         \
    PUBLIC void _Zd##delete##Pv(void *p) {                                                                        \
        fast_free(p, "operator delete");                                                                          \
    }                                                                                                             \
    PUBLIC void _Zd##delete##Pvm(void *p, size_t size);                                                           \
    PUBLIC void _Zd##delete##Pvm(void *p, size_t size) {                                                          \
        delete_sized(p, 1, size);                                                                                 \
    }                                                                                                             \
    PUBLIC void _Zd##delete##PvRKSt9nothrow_t(void *p, const void *tag);                                          \
    PUBLIC void _Zd##delete##PvRKSt9nothrow_t(void *p, const void *tag) {                                         \
        (void)tag;                                                                                                \
        fast_free(p, "operator delete");                                                                          \
    }                                                                                                             \
    PUBLIC void _Zd##delete##PvSt11align_val_t(void *p, size_t alignment);                                        \
    PUBLIC void _Zd##delete##PvSt11align_val_t(void *p, size_t alignment) {                                       \
        (void)alignment;                                                                                          \
        fast_free(p, "operator delete");                                                                          \
    }                                                                                                             \
    PUBLIC void _Zd##delete##PvmSt11align_val_t(void *p, size_t size, size_t alignment);                          \
    PUBLIC void _Zd##delete##PvmSt11align_val_t(void *p, size_t size, size_t alignment) {                         \
        delete_sized(p, alignment, size);                                                                         \
    }                                                                                                             \
    PUBLIC void _Zd##delete##PvSt11align_val_tRKSt9nothrow_t(void *p, size_t alignment, const void *tag);         \
    PUBLIC void _Zd##delete##PvSt11align_val_tRKSt9nothrow_t(void *p, size_t alignment, const void *tag) {        \
        (void)alignment;                                                                                          \
        (void)tag;                                                                                                \
        fast_free(p, "operator delete");                                                                          \
    }

OPERATORS(w, l)
OPERATORS(a, a)
