// usage: pairs NAME COUNT
// Does what NAME says COUNT times, after everything has been done often enough to be warm; "empty" does nothing as
// often. Prints where the heap of neap lies, if there is one.
//
// SPDX-License-Identifier: MIT
#include <neap/neap.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <malloc.h>
#include <new>

namespace {

constexpr size_t bytes = 64;

// The compiler must believe that p is used, and do neither more nor less than call and call.
inline void *used(void *p) {
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

template <typename Pair> [[gnu::always_inline]] inline void repeat(long count, Pair pair) {
    for (long i = 0; i < count; i++) {
        pair();
        __asm__ volatile("" : : : "memory");
    }
}

void empty(long count) {
    repeat(count, [] {});
}

void malloc_free(long count) {
    repeat(count, [] { free(used(malloc(bytes))); });
}

void calloc_free(long count) {
    repeat(count, [] { free(used(calloc(1, bytes))); });
}

void realloc_in_place(long count) {
    void *p = malloc(bytes);
    repeat(count, [p] {
        if (used(realloc(p, bytes)) != p)
            abort();
    });
    free(p);
}

// As programs do that count their memory.
void malloc_usable_free(long count) {
    repeat(count, [] {
        void *p = used(malloc(bytes));
        if (malloc_usable_size(p) < bytes || malloc_usable_size(used(p)) < bytes)
            abort();
        free(p);
    });
}

void aligned_alloc_free(long count) {
    repeat(count, [] { free(used(aligned_alloc(bytes, bytes))); });
}

void new_delete(long count) {
    repeat(count, [] { operator delete(used(operator new(bytes))); });
}

void new_delete_sized(long count) {
    repeat(count, [] { operator delete(used(operator new(bytes)), bytes); });
}

// Looked up as the library is preloaded, not linked.
template <typename Function> Function *find(const char *name) {
    auto *function = reinterpret_cast<Function *>(dlsym(RTLD_DEFAULT, name));
    if (function == nullptr)
        abort();
    return function;
}

void scope_malloc_free(long count) {
    neap_scope scope = find<decltype(neap_scope_create)>("neap_scope_create")(nullptr);
    find<decltype(neap_scope_enter)>("neap_scope_enter")(scope);
    malloc_free(count);
    find<decltype(neap_scope_leave)>("neap_scope_leave")(scope);
    find<decltype(neap_scope_end)>("neap_scope_end")(scope);
}

void scope_enter_leave(long count) {
    auto *enter = find<decltype(neap_scope_enter)>("neap_scope_enter");
    auto *leave = find<decltype(neap_scope_leave)>("neap_scope_leave");
    neap_scope scope = find<decltype(neap_scope_create)>("neap_scope_create")(nullptr);
    repeat(count, [=] {
        enter(scope);
        leave(scope);
    });
    find<decltype(neap_scope_end)>("neap_scope_end")(scope);
}

const struct {
    const char *name;
    void (*run)(long count);
} works[] = {
    {"empty", empty},
    {"malloc_free", malloc_free},
    {"calloc_free", calloc_free},
    {"realloc_in_place", realloc_in_place},
    {"malloc_usable_free", malloc_usable_free},
    {"aligned_alloc_free", aligned_alloc_free},
    {"new_delete", new_delete},
    {"new_delete_sized", new_delete_sized},
    {"scope_malloc_free", scope_malloc_free},
    {"scope_enter_leave", scope_enter_leave},
};

} // namespace

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    for (const auto &work : works)
        work.run(1000);
    const auto *state = static_cast<const struct neap_state *>(dlsym(RTLD_DEFAULT, "neap_state"));
    printf("%" PRIu64 "\n", state != nullptr ? state->heap_base : 0);
    fflush(stdout);
    for (const auto &work : works) {
        if (strcmp(work.name, argv[1]) == 0) {
            work.run(atol(argv[2]));
            return 0;
        }
    }
    return 2;
}
