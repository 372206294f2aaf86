/* Sizes that servers ask for. */
#ifndef BENCH_MIX_H
#define BENCH_MIX_H

#include <stddef.h>

#include "random.h"

struct mix; /* rows of sizes, each with a weight */

extern const struct mix web_mix;       /* a Python web service's, mean 76 bytes */
extern const struct mix key_value_mix; /* a cache's items, mean 434 bytes */

size_t mix_draw(const struct mix *mix, struct random *random);
double mix_mean(const struct mix *mix);

#endif
