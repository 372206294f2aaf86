// C++: thread_local objects whose destructors allocate and free, containers, threads, exceptions, and what
// operator new does where memory is short.
#include "preload.h"

#include <atomic>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<unsigned> *destroyed; // never freed: used in destructors at the very end

struct Remember {
    std::vector<std::string> words;
    std::unique_ptr<Remember> next;
    ~Remember() {
        words.emplace_back(1000, 'x'); // grows while its thread ends
        std::string copy = words.back();
        CHECK(copy.size() == 1000);
        ++*destroyed;
    }
};

thread_local Remember first;
thread_local std::map<int, std::string> table;
thread_local std::shared_ptr<Remember> shared;
Remember global;

void use_them() {
    for (int i = 0; i < 100; i++) {
        first.words.emplace_back(static_cast<size_t>(i), 'a');
        table[i] = std::string(static_cast<size_t>(i * 3), 'b');
    }
    first.next = std::make_unique<Remember>();
    shared = std::make_shared<Remember>();
}

volatile size_t too_much = PTRDIFF_MAX - 100;
int handler_calls;

void give_up() {
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

void throw_away() {
    handler_calls++;
    throw std::bad_alloc();
}

template <class Call> bool throws(Call call) {
    try {
        void *p = call();
        CHECK(OPAQUE(p) == nullptr && false, "no exception");
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

void new_and_delete() {
    struct alignas(256) Wide {
        char bytes[300];
    };
    for (size_t i = 0; i < 1000; i++) {
        auto *wide = OPAQUE(new Wide);
        CHECK(reinterpret_cast<uintptr_t>(wide) % 256 == 0);
        delete wide;
        auto *wides = OPAQUE(new Wide[i % 7]);
        CHECK(reinterpret_cast<uintptr_t>(wides) % 256 == 0);
        delete[] wides;
        auto *array = OPAQUE(new char[i]);
        memset(array, 1, i);
        delete[] array;
        ::operator delete(OPAQUE(::operator new(i, std::nothrow)), std::nothrow);
        ::operator delete(OPAQUE(::operator new(i)), i);
        free(OPAQUE(::operator new(i))); // the same memory as malloc's
    }
}

void no_memory() {
    CHECK(throws([] { return ::operator new(too_much); }));
    CHECK(throws([] { return ::operator new[](too_much); }));
    CHECK(throws([] { return ::operator new(too_much, std::align_val_t(64)); }));
    CHECK(OPAQUE(::operator new(too_much, std::nothrow)) == nullptr);
    CHECK(OPAQUE(::operator new(too_much, std::align_val_t(64), std::nothrow)) == nullptr);
    std::set_new_handler(give_up);
    CHECK(throws([] { return ::operator new(too_much); }) && handler_calls == 3, "%d calls", handler_calls);
    std::set_new_handler(throw_away);
    handler_calls = 0;
    CHECK(throws([] { return ::operator new(too_much); }) && handler_calls == 1);
    CHECK(OPAQUE(::operator new(too_much, std::nothrow)) == nullptr && handler_calls == 2);
    CHECK(OPAQUE(::operator new[](too_much, std::nothrow)) == nullptr && handler_calls == 3);
    CHECK(OPAQUE(::operator new(too_much, std::align_val_t(64), std::nothrow)) == nullptr && handler_calls == 4);
    std::set_new_handler(nullptr);
}

} // namespace

int main() {
    begin(60);
    destroyed = new std::atomic<unsigned>(0);
    new_and_delete();
    no_memory();
    constexpr unsigned THREADS = 200;
    for (unsigned i = 0; i < THREADS; i++)
        std::thread(use_them).join();
    CHECK(*destroyed == 3 * THREADS, "%u destructors", destroyed->load());
    std::vector<std::thread> together;
    for (unsigned i = 0; i < 20; i++)
        together.emplace_back([] {
            use_them();
            exercise(1, 2000);
        });
    for (auto &thread : together)
        thread.join();
    CHECK(*destroyed == 3 * (THREADS + 20));
    use_them(); // whose destructors run at the process's end
    global.words.assign(100, "at the end");
    return 0;
}
