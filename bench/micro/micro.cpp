// See micro.h; and neap-micro's main. Google Benchmark allocates too, but not while a loop runs.
#include "micro.h"

#include <benchmark/benchmark.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

struct micro {
    benchmark::State &state;
};

extern "C" bool micro_continue(micro *micro, size_t operations) {
    return micro->state.KeepRunningBatch(static_cast<benchmark::IterationCount>(operations));
}

extern "C" void micro_pause(micro *micro, bool pause) {
    if (pause)
        micro->state.PauseTiming();
    else
        micro->state.ResumeTiming();
}

extern "C" size_t micro_argument(const micro *micro, size_t index) {
    return static_cast<size_t>(micro->state.range(index));
}

extern "C" unsigned micro_thread(const micro *micro) {
    return static_cast<unsigned>(micro->state.thread_index());
}

extern "C" void micro_fail(micro *micro, const char *why) {
    micro->state.SkipWithError(why);
}

extern "C" void micro_add(const char *name, void (*run)(struct micro *), const size_t *arguments,
                          size_t argument_count, unsigned threads) {
    auto *added = benchmark::RegisterBenchmark(name, [run](benchmark::State &state) {
        micro view{state};
        run(&view);
    });
    if (argument_count != 0)
        added->Args(std::vector<int64_t>(arguments, arguments + argument_count));
    if (threads > 1)
        added->Threads(static_cast<int>(threads))->UseRealTime()->MeasureProcessCPUTime();
}

// So that a report says of itself which malloc it measured: a preload that failed is only a line on stderr.
static std::string library_of_malloc() {
    Dl_info about;
    void *address = dlsym(RTLD_DEFAULT, "malloc");
    if (address == nullptr || dladdr(address, &about) == 0 || about.dli_fname == nullptr)
        return "unknown";
    return about.dli_fname;
}

static void list() {
    std::puts("{\"name\": \"micro\", \"kind\": \"micro\", \"world\": \"B\", \"summary\": \"nanoseconds a call of "
              "malloc and its family\", \"quick_seconds\": 6, \"standard_seconds\": 15, \"needs\": []}");
}

// Takes "--run micro" away, which the runner says to every workload. Returns false for another name.
static bool take_run(int &argc, char **argv) {
    if (argc < 2 || std::strcmp(argv[1], "--run") != 0)
        return true;
    if (argc < 3 || std::strcmp(argv[2], "micro") != 0) {
        std::fprintf(stderr, "neap-micro: --run takes one name, micro\n");
        return false;
    }
    std::copy(argv + 3, argv + argc + 1, argv + 1); // and the NULL behind the last one
    argc -= 2;
    return true;
}

int main(int argc, char **argv) {
    enum { GOOD = 0, FAILED = 1, USAGE = 2 };
    if (argc == 2 && std::strcmp(argv[1], "--list") == 0) {
        list();
        return GOOD;
    }
    if (!take_run(argc, argv))
        return USAGE;
    micro_add_all();
    micro_add_scopes();
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return USAGE;
    benchmark::AddCustomContext("malloc", library_of_malloc());
    if (benchmark::RunSpecifiedBenchmarks() == 0)
        return FAILED; // it has said that nothing matches
    benchmark::Shutdown();
    return GOOD;
}
