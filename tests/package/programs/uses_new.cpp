// What a C++ program does with its operators: containers, every form of new, exceptions where memory is
// short.
#include "proof.h"

#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

struct alignas(256) Wide {
    char bytes[256];
};

static size_t huge() {
    static volatile size_t size = SIZE_MAX / 4;
    return size;
}

static int handled;

static void handler() {
    if (++handled == 3)
        std::set_new_handler(nullptr);
}

int main() {
    auto one = std::make_unique<int>(1);
    auto many = std::make_unique<long[]>(1000);
    auto wide = std::make_unique<Wide>();
    auto wides = std::make_unique<Wide[]>(3);
    std::unique_ptr<int> quiet(new (std::nothrow) int(1));
    std::unique_ptr<Wide[]> quiet_wides(new (std::nothrow) Wide[3]);
    expect((neap_state.flags & NEAP_STATE_READY) != 0, "the heap is not there");
    expect(from_neap(one.get()) && from_neap(many.get()), "new");
    expect(from_neap(wide.get()) && from_neap(wides.get()), "aligned new");
    expect(from_neap(quiet.get()) && from_neap(quiet_wides.get()), "new (nothrow)");
    expect(reinterpret_cast<uintptr_t>(wides.get()) % 256 == 0, "aligned new is not aligned");

    std::map<std::string, std::vector<int>> map;
    for (int i = 0; i < 1000; i++)
        map["a key that is too long for the string itself, " + std::to_string(i)].resize(i);
    expect(from_neap(map.begin()->first.data()), "std::string");

    const void *in_thread = nullptr;
    std::thread([&] {
        std::string s(100, 'x');
        in_thread = s.data();
        expect(from_neap(in_thread), "std::string in a thread");
    }).join();

    bool caught = false;
    try {
        volatile char *p = new char[huge()];
        expect(false, "new of too much gave memory");
        p[0] = 0;
    } catch (const std::bad_alloc &) {
        caught = true;
    }
    expect(caught, "new of too much threw nothing");
    expect(new (std::nothrow) char[huge()] == nullptr, "new (nothrow) of too much");
    std::set_new_handler(handler);
    expect(new (std::nothrow) char[huge()] == nullptr &&handled == 3, "the new-handler was not called");

    void *p = std::malloc(10);
    int result = verdict(p);
    std::free(p);
    return result;
}
