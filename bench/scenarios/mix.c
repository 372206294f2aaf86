/* The size mixes, and where they come from.
 *
 * web: every malloc, calloc and realloc of 1,500 requests (43 million calls) to a FastAPI 0.92 application with
 * pydantic 1.10 models and SQLAlchemy 1.4 on SQLite, under Debian 12's CPython 3.11 with PYTHONMALLOC=malloc; one
 * request in three stored an order of 1 to 12 items, the others listed the last 20. Recorded with size_recorder.c,
 * less what the same program asks for without a request. Weights by number of calls, not by lifetime.
 *
 * key_value: an item's header of 56 bytes, a key and a value, as fitted to Facebook's ETC pool of memcached by
 * Atikoglu and others, Workload Analysis of a Large-Scale Key-Value Store, SIGMETRICS 2012: keys a generalized
 * extreme value distribution (30.7984, 8.20449, 0.078688), values a generalized Pareto one (0, 214.476, 0.348238),
 * without the paper's separate table of values below 15 bytes. Two million draws, put into rows. */
#include "mix.h"

struct mix_row {
    unsigned end;    /* the greatest size; the least is the last row's end plus 1 */
    unsigned weight; /* in 100,000 */
};

enum { MAX_ROWS = 28 };
struct mix {
    unsigned total; /* the sum of the weights */
    struct mix_row rows[MAX_ROWS];
};

const struct mix web_mix = {.total = 99998,
                            .rows = {{8, 450},    {16, 1319},  {24, 80},    {32, 4122},  {48, 42339}, {64, 25879},
                                     {96, 11388}, {128, 4693}, {192, 5384}, {256, 2972}, {384, 954},  {512, 139},
                                     {768, 101},  {1024, 42},  {1536, 57},  {2048, 11},  {3072, 14},  {4096, 5},
                                     {6144, 17},  {8192, 7},   {12288, 7},  {16384, 8},  {24576, 7},  {32768, 1},
                                     {65536, 0},  {98304, 2}}};

const struct mix key_value_mix = {.total = 99998,
                                  .rows = {{64, 0},
                                           {96, 3063},
                                           {128, 11840},
                                           {192, 19991},
                                           {256, 14224},
                                           {384, 18025},
                                           {512, 10372},
                                           {768, 10563},
                                           {1024, 4836},
                                           {1536, 3971},
                                           {2048, 1461},
                                           {3072, 1022},
                                           {4096, 320},
                                           {8192, 259},
                                           {16384, 44},
                                           {65536, 7}}};

size_t mix_draw(const struct mix *mix, struct random *random) {
    size_t left = random_below(random, mix->total), begin = 0;
    const struct mix_row *row = mix->rows;
    for (; left >= row->weight; row++) {
        left -= row->weight;
        begin = row->end;
    }
    return begin + 1 + random_below(random, row->end - begin);
}

double mix_mean(const struct mix *mix) {
    double sum = 0, begin = 0;
    for (const struct mix_row *row = mix->rows; row < mix->rows + MAX_ROWS && row->end != 0; row++) {
        sum += row->weight * (begin + 1 + row->end) / 2;
        begin = row->end;
    }
    return sum / mix->total;
}
