// What a C++ program may expect of operator new and delete where memory is short, and elsewhere.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <utility>
#include <vector>

static volatile size_t huge = size_t(PTRDIFF_MAX) - 4096; // unknown to the compiler
static volatile size_t too_large = SIZE_MAX - 100;
static volatile size_t over_limit = size_t(1) << 40; // more than the address space that is allowed at the end

#define CHECK(condition)                                                                                          \
    ((condition) ? (void)0 : (printf("line %d: not so: %s\n", __LINE__, #condition), fflush(stdout), _Exit(1)))

template <typename Exception> static bool throws(const std::function<void()> &act) {
    try {
        act();
    } catch (const Exception &e) {
        CHECK(e.what()[0] != '\0');
        return true;
    }
    return false;
}

struct alignas(256) wide {
    char c[300];
};

static int handler_calls;

static void handler_gives_up() {
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

struct out_of_memory : std::bad_alloc {
    const char *what() const noexcept override {
        return "thrown by the new-handler";
    }
};

static void handler_throws() {
    handler_calls++;
    throw out_of_memory();
}

static void *ask(int form, size_t size) {
    std::align_val_t alignment{128};
    switch (form) {
    case 0:
        return ::operator new(size);
    case 1:
        return ::operator new[](size);
    case 2:
        return ::operator new(size, alignment);
    case 3:
        return ::operator new[](size, alignment);
    case 4:
        return ::operator new(size, std::nothrow);
    case 5:
        return ::operator new[](size, std::nothrow);
    case 6:
        return ::operator new(size, alignment, std::nothrow);
    default:
        return ::operator new[](size, alignment, std::nothrow);
    }
}

static void failures(size_t size, bool with_alignment = true) {
    for (int form = 0; form < 8; form++) {
        if ((form & 2) != 0 && !with_alignment)
            continue;
        bool nothrow = form >= 4;
        auto attempt = [&] { CHECK(ask(form, size) == nullptr); };
        std::set_new_handler(nullptr);
        CHECK(throws<std::bad_alloc>(attempt) == !nothrow);

        handler_calls = 0;
        std::set_new_handler(handler_gives_up);
        CHECK(throws<std::bad_alloc>(attempt) == !nothrow);
        CHECK(handler_calls == 3 && std::get_new_handler() == nullptr);

        handler_calls = 0;
        std::set_new_handler(handler_throws);
        CHECK(throws<out_of_memory>(attempt) == !nothrow);
        CHECK(handler_calls == 1);
        std::set_new_handler(nullptr);
    }
    CHECK(throws<std::exception>([=] { std::vector<char> v(size); }));
}

static void aligned() {
    for (size_t alignment = 1; alignment <= 1 << 16; alignment *= 2) {
        for (size_t size : {size_t(0), size_t(1), size_t(24), alignment - 1, alignment * 3 + 1, size_t(100000)}) {
            void *p = ::operator new(size, std::align_val_t(alignment));
            CHECK(p != nullptr && uintptr_t(p) % alignment == 0);
            std::fill_n(static_cast<char *>(p), size, 'x');
            if (size % 2)
                ::operator delete(p, size, std::align_val_t(alignment));
            else
                ::operator delete(p, std::align_val_t(alignment));
            p = ::operator new[](size, std::align_val_t(alignment), std::nothrow);
            CHECK(p != nullptr && uintptr_t(p) % alignment == 0);
            ::operator delete[](p, std::align_val_t(alignment), std::nothrow);
        }
    }
    std::vector<std::unique_ptr<wide>> list;
    for (int i = 0; i < 100; i++) {
        list.push_back(std::make_unique<wide>());
        CHECK(uintptr_t(list.back().get()) % 256 == 0);
    }
    auto array = std::make_unique<wide[]>(7);
    CHECK(uintptr_t(array.get()) % 256 == 0);
    void *none = ::operator new(0), *other = ::operator new(0);
    CHECK(none != nullptr && none != other);
    ::operator delete(none, size_t(0)), ::operator delete(other);
    ::operator delete(nullptr), ::operator delete[](nullptr, std::align_val_t(64));
}

struct throws_in_constructor {
    std::string text = std::string(1000, 'x');
    std::vector<int> list = std::vector<int>(500);
    explicit throws_in_constructor(int i) {
        if (i % 3 == 0)
            throw std::runtime_error("number " + std::to_string(i));
    }
};

static int unwind(int depth) {
    std::string kept(size_t(depth) * 10, 'k');
    std::unique_ptr<throws_in_constructor[]> several;
    if (depth == 0)
        throw std::runtime_error("at the bottom");
    try {
        return unwind(depth - 1) + int(kept.size());
    } catch (const std::runtime_error &) {
        if (depth % 2)
            std::throw_with_nested(std::logic_error(kept));
        throw;
    } catch (const std::logic_error &e) {
        throw std::runtime_error(e.what() + std::to_string(depth));
    }
}

static long exceptions_in_threads() {
    std::vector<std::future<long>> tasks;
    for (int t = 0; t < 8; t++)
        tasks.push_back(std::async(std::launch::async, [t] {
            long caught = 0;
            for (int i = 0; i < 2000; i++) {
                try {
                    throws_in_constructor object(i + t);
                    std::make_unique<throws_in_constructor>(i * t + 1);
                } catch (const std::exception &e) {
                    caught += e.what()[7] - '0' + 1;
                }
                try {
                    unwind(i % 12);
                } catch (const std::exception &) {
                    caught++;
                }
                if (i % 100 == 0)
                    caught += throws<std::bad_alloc>([] { ask(0, huge); });
            }
            throw caught;
            return 0l;
        }));
    long total = 0;
    for (auto &task : tasks) {
        try {
            task.get();
        } catch (long caught) { // across threads, by exception_ptr
            total += caught;
        }
    }
    return total;
}

static size_t containers() {
    std::map<std::string, std::vector<std::shared_ptr<std::string>>> map;
    for (int i = 0; i < 50000; i++)
        map["key" + std::to_string(i * 7919 % 1000)].push_back(std::make_shared<std::string>(size_t(i % 90), 'v'));
    for (auto it = map.begin(); it != map.end();)
        it = it->second.size() % 3 ? map.erase(it) : std::next(it);
    std::stringstream text;
    for (auto &[key, list] : map)
        text << key << list.size() << ' ';
    std::pmr::unsynchronized_pool_resource pool;
    std::pmr::vector<std::pmr::string> strings(&pool);
    for (int i = 0; i < 3000; i++)
        strings.emplace_back(size_t(i % 300), 'p');
    return text.str().size() + strings.size();
}

int main() {
    failures(huge);
    failures(too_large, false); // libstdc++'s own aligned forms overflow
    printf("failures\n");
    aligned();
    printf("aligned\n");
    printf("threads %ld\n", exceptions_in_threads());
    printf("containers %zu\n", containers());
    // Truly out of memory: many small objects until the limit, given back by the new-handler.
    struct rlimit limit = {.rlim_cur = rlim_t(512) << 20, .rlim_max = RLIM_INFINITY};
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return 1;
    failures(over_limit);
    static char *reserve = new char[8 << 20];
    std::set_new_handler([] {
        if (reserve == nullptr)
            throw out_of_memory();
        delete[] std::exchange(reserve, nullptr);
    });
    std::vector<std::unique_ptr<char[]>> kept;
    bool out = throws<out_of_memory>([&] {
        for (size_t i = 0; i < 1000000; i++)
            kept.push_back(std::unique_ptr<char[]>(new char[3000 + i % 1000]));
    });
    CHECK(out && reserve == nullptr && kept.size() > 10000);
    kept.clear();
    std::set_new_handler(nullptr);
    CHECK(containers() > 0);
    printf("out of memory and back\n");
    return 0;
}
