/* neap-scenarios: the shapes of server work by name, run against whatever malloc is in front. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"
#include "scenario.h"
#include "system.h"

static const struct scenario scenarios[] = {
    {"burst", "128 MiB of web objects built up and freed again over 8 MiB that stay", scenario_burst, false},
    {"diurnal", "20 cycles between 32 MiB of cache items and 15 % of them", scenario_diurnal, false},
    {"size-shift", "48 MiB of one size, a random 7 in 8 freed, then a larger size, six times", scenario_size_shift,
     false},
    {"deep-shrink", "128 MiB of web objects, of which a random 5 % are kept", scenario_deep_shrink, false},
    {"steady-churn", "64 MiB of web objects that come and go while their sizes grow threefold",
     scenario_steady_churn, false},
    {"requests-0.1", "waves of 3200 requests at once, 0.1 % of their objects survive for a while",
     scenario_requests_0_1, false},
    {"requests-1", "waves of 3200 requests at once, 1 % of their objects survive for a while", scenario_requests_1,
     false},
    {"requests-5", "waves of 3200 requests at once, 5 % of their objects survive for a while", scenario_requests_5,
     false},
    {"connection-staircase", "up to 4000 connections in steps and down to 5 %, twice",
     scenario_connection_staircase, false},
    {"growing-buffers", "32 buffers at once grown by realloc to 0.5 to 4 MiB, six of them kept",
     scenario_growing_buffers, false},
    {"request-mix", "an hour of requests, 64 in flight; 1 % of their objects is kept for seconds to minutes",
     scenario_request_mix, false},
    {"request-mix-scopes", "request-mix, each request in a scope of neap's, where neap is in front",
     scenario_request_mix_scopes, false},
    {"idle-threads", "200 threads that fill and free 64 MiB together, and then block", scenario_idle_threads,
     true},
    {"thread-per-connection", "a new thread for each connection; its objects are freed by a later one",
     scenario_thread_per_connection, true},
    {"producer-consumer", "two pairs of threads, one allocates, the other frees; the backlog grows to 64 MiB",
     scenario_producer_consumer, true},
};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

static const char usage[] =
    "usage: neap-scenarios --list\n"
    "       neap-scenarios --run NAME [--scale X] [--seed N] [--profile PROFILE]\n"
    "\n"
    "  --list     the scenarios, one JSON object a line\n"
    "  --run      runs one, against the malloc that is preloaded\n"
    "  --scale    amounts of memory: 1 is 32 to 128 MiB at the peak; above 0, at most 1000 (default 1)\n"
    "  --seed     of all that is random (default 1)\n"
    "  --profile  quick (3 s of work), standard (9 s), full (30 s), each with a silence to follow of 1.5, 10.5, "
    "60.5 s;\n"
    "             unpaced: quick without a wait, for counting instructions (default quick)\n"
    "\n"
    "NEAP_BENCH_PAGE names the runner's page; without it the phases are printed.\n"
    "Status 0: all went well; 1: the allocator or the scenario failed; 2: bad arguments; 3: cannot run here.\n";

/* What a profile takes in all. */
static double seconds_of(const struct profile *profile) {
    return 0.3 + profile->work_seconds + profile->silent_ms / 1000.0;
}

static void list(void) {
    for (const struct scenario *scenario = scenarios; scenario < scenarios + SCENARIOS; scenario++)
        say("{\"name\": \"%s\", \"kind\": \"scenario\", \"world\": \"B\", \"summary\": \"%s\", \"quick_seconds\": "
            "%.1f, "
            "\"standard_seconds\": %.1f, \"needs\": []}",
            scenario->name, scenario->summary, seconds_of(&profiles[0]), seconds_of(&profiles[1]));
}

static const struct scenario *find_scenario(const char *name) {
    for (const struct scenario *scenario = scenarios; scenario < scenarios + SCENARIOS; scenario++)
        if (strcmp(scenario->name, name) == 0)
            return scenario;
    stop(STATUS_USAGE, "no scenario is called %s; --list names them", name);
}

static const struct profile *find_profile(const char *name) {
    for (const struct profile *profile = profiles; profile < profiles + profile_count; profile++)
        if (strcmp(profile->name, name) == 0)
            return profile;
    stop(STATUS_USAGE, "no profile is called %s: quick, standard, full or unpaced", name);
}

static double read_scale(const char *text) {
    char *end = NULL;
    double scale = strtod(text, &end);
    if (end == text || *end != '\0' || !(scale > 0) || scale > 1000)
        stop(STATUS_USAGE, "--scale %s: must be a number above 0 and at most 1000", text);
    return scale;
}

static uint64_t read_seed(const char *text) {
    char *end = NULL;
    errno = 0;
    unsigned long long seed = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        stop(STATUS_USAGE, "--seed %s: must be a whole number from 0 to 2^64 - 1", text);
    return seed;
}

static void perform(const struct scenario *scenario, struct run *run) {
    run->random = random_stream(run->seed, UINT64_MAX - 1);
    run->ticks = run->profile->work_seconds * TICKS_PER_SECOND;
    page_attach();
    scenario->work(run);
    if (scenario->ends_empty && PAGE_LOAD(live_bytes) != 0)
        stop(STATUS_FAILED, "%s should end with no live object", scenario->name);
}

int main(int argc, char **argv) {
    enum { LIST = 'l', RUN = 'r', SCALE = 'x', SEED = 's', PROFILE = 'p', HELP = 'h' };
    static const struct option options[] = {
        {"list", no_argument, NULL, LIST},
        {"run", required_argument, NULL, RUN},
        {"scale", required_argument, NULL, SCALE},
        {"seed", required_argument, NULL, SEED},
        {"profile", required_argument, NULL, PROFILE},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    const struct scenario *scenario = NULL;
    struct run run = {.profile = &profiles[0], .scale = 1, .seed = 1};
    bool lists = false;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (option) {
        case LIST:
            lists = true;
            break;
        case RUN:
            scenario = find_scenario(optarg);
            break;
        case SCALE:
            run.scale = read_scale(optarg);
            break;
        case SEED:
            run.seed = read_seed(optarg);
            break;
        case PROFILE:
            run.profile = find_profile(optarg);
            break;
        case HELP:
            fputs(usage, stdout);
            return STATUS_GOOD;
        default:
            return STATUS_USAGE; /* getopt has said why */
        }
    if (optind < argc)
        stop(STATUS_USAGE, "%s: there is nothing this could mean; --help says what there is", argv[optind]);
    if (lists == (scenario != NULL))
        stop(STATUS_USAGE, "either --list or --run NAME; --help says more");
    if (lists)
        list();
    else
        perform(scenario, &run);
    return STATUS_GOOD;
}
