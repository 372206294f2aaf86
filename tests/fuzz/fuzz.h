/* libFuzzer's entry point. */
#ifndef NEAP_TESTS_FUZZ_FUZZ_H
#define NEAP_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

#endif
