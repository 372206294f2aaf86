// A plugin in C++ for host.c. It may be the first to bring libstdc++ into the process.
#include <cstdint>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

static volatile size_t huge = size_t(PTRDIFF_MAX) - 4096;
static int handler_calls;

static void handler() {
    handler_calls++;
    std::set_new_handler(nullptr);
}

static void handler_throws() {
    handler_calls++;
    throw std::bad_alloc();
}

extern "C" char *plugin_work(int n) // what it returns is for free()
{
    std::map<std::string, std::vector<int>> map;
    for (int i = 0; i < n; i++)
        map["key" + std::to_string(i % 100)].push_back(i);
    char *text = static_cast<char *>(__builtin_malloc(100));
    __builtin_snprintf(text, 100, "%zu keys of %zu", map.size(), map.begin()->second.size());
    return text;
}

extern "C" int plugin_fails() // how much of this works: 63 is all
{
    int good = 0;
    handler_calls = 0;
    try {
        static_cast<void>(::operator new(huge));
    } catch (const std::bad_alloc &) {
        good |= 1;
    }
    if (::operator new(huge, std::nothrow) == nullptr)
        good |= 2;
    std::set_new_handler(handler);
    try {
        static_cast<void>(::operator new(huge, std::align_val_t(64)));
    } catch (const std::bad_alloc &) {
        good |= 4 * (handler_calls == 1);
    }
    std::set_new_handler(handler_throws);
    if (::operator new[](huge, std::nothrow) == nullptr)
        good |= 8 * (handler_calls == 2);
    try {
        static_cast<void>(::operator new(huge));
    } catch (const std::bad_alloc &) {
        good |= 16 * (handler_calls == 3);
    }
    std::set_new_handler(nullptr);
    try {
        throw std::runtime_error(std::string(1000, 'x'));
    } catch (const std::exception &e) {
        good |= 32 * (std::string(e.what()).size() == 1000);
    }
    return good;
}
