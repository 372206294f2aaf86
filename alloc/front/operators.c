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

static void *find_in(const char *path, const char *symbol) {
    void *library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    return library != NULL ? dlsym(library, symbol) : NULL;
}

/* In the process's libstdc++.so, or in what the caller was linked with: a library that was opened for itself only
 * (RTLD_LOCAL) may have a libstdc++ of its own inside, and still call our operators. */
static void *find_in_libstdcxx(const char *symbol, const void *caller) {
    Dl_info info;
    void *found = find_in("libstdc++.so.6", symbol);
    if (found == NULL && dladdr(caller, &info) != 0)
        found = find_in(info.dli_fname, symbol);
    return found;
}

static new_handler current_handler(const void *caller) {
    new_handler (*get)(void) = _ZSt15get_new_handlerv;
    if (get == NULL)
        *(void **)&get = find_in_libstdcxx("_ZSt15get_new_handlerv", caller);
    return get != NULL ? get() : NULL;
}

static _Noreturn void throw_bad_alloc(size_t size, const void *caller) {
    void (*raise)(void) = _ZSt17__throw_bad_allocv;
    if (raise == NULL)
        *(void **)&raise = find_in_libstdcxx("_ZSt17__throw_bad_allocv", caller);
    if (raise != NULL)
        raise();
    os_die("operator new(%z): out of memory, and no libstdc++ to throw std::bad_alloc", size);
}

/* Allocates after the new-handler has had its chances; NULL where there is none (any more). */
static COLD void *retry(size_t size, size_t alignment, const void *caller) {
    for (;;) {
        new_handler handler = current_handler(caller);
        if (handler == NULL)
            return NULL;
        handler();
        void *p = heap_alloc(size, alignment, false, caller);
        if (p != NULL)
            return p;
    }
}

static NOINLINE void *new_slow(size_t size, size_t alignment, const void *caller) {
    void *p = heap_alloc(size, alignment, false, caller);
    if (UNLIKELY(p == NULL))
        p = retry(size, alignment, caller);
    if (UNLIKELY(p == NULL))
        throw_bad_alloc(size, caller);
    return p;
}

PUBLIC void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag);
PUBLIC void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag);

/* A new-handler may throw, which the nothrow forms turn into NULL; that takes a catch, which C has not. So when
 * memory is short libstdc++'s own nothrow form is asked, which calls our throwing one and catches. */
static COLD void *ask_nothrow(size_t size, size_t alignment, const void *caller) {
    if (alignment <= CLASS_GRAIN) {
        void *(*form)(size_t, const void *);
        *(void **)&form = find_in_libstdcxx("_ZnwmRKSt9nothrow_t", caller);
        bool theirs = form != NULL && form != _ZnwmRKSt9nothrow_t; /* the caller may be linked to us */
        return theirs ? form(size, NULL) : retry(size, alignment, caller);
    }
    void *(*form)(size_t, size_t, const void *);
    *(void **)&form = find_in_libstdcxx("_ZnwmSt11align_val_tRKSt9nothrow_t", caller);
    bool theirs = form != NULL && form != _ZnwmSt11align_val_tRKSt9nothrow_t;
    return theirs ? form(size, alignment, NULL) : retry(size, alignment, caller);
}

static NOINLINE void *new_nothrow_slow(size_t size, size_t alignment, const void *caller) {
    void *p = heap_alloc(size, alignment, false, caller);
    return LIKELY(p != NULL) ? p : ask_nothrow(size, alignment, caller);
}

static INLINE void delete_sized(void *p, size_t alignment, size_t size) {
    if (p != NULL)
        heap_check_sized(p, alignment, size, "operator delete");
    fast_free(p, "operator delete");
}

/* The same set for objects (w, l) and arrays (a, a). */
#define OPERATORS(new, delete)                                                                                    \
    PUBLIC void *_Zn##new##m(size_t size);                                                                        \
    PUBLIC void *_Zn##new##m(size_t size) {                                                                       \
        void *p = fast_pop(size);                                                                                 \
        return LIKELY(p != NULL) ? p : new_slow(size, CLASS_GRAIN, __builtin_return_address(0));                  \
    }                                                                                                             \
    PUBLIC void *_Zn##new##mRKSt9nothrow_t(size_t size, const void *tag);                                         \
    PUBLIC void *_Zn##new##mRKSt9nothrow_t(size_t size, const void *tag) {                                        \
        (void)tag;                                                                                                \
        void *p = fast_pop(size);                                                                                 \
        return LIKELY(p != NULL) ? p : new_nothrow_slow(size, CLASS_GRAIN, __builtin_return_address(0));          \
    }                                                                                                             \
    PUBLIC void *_Zn##new##mSt11align_val_t(size_t size, size_t alignment);                                       \
    PUBLIC void *_Zn##new##mSt11align_val_t(size_t size, size_t alignment) {                                      \
        return new_slow(size, alignment, __builtin_return_address(0));                                            \
    }                                                                                                             \
    PUBLIC void *_Zn##new##mSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag);        \
    PUBLIC void *_Zn##new##mSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag) {       \
        (void)tag;                                                                                                \
        return new_nothrow_slow(size, alignment, __builtin_return_address(0));                                    \
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
