/* Fuzz target: any option string. stderr is the fuzzer's to silence. */
#include "front/options.h"
#include "fuzz.h"
#include "os/os.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length) {
    struct options options = options_default();
    char *text = malloc(length + 1);
    memcpy(text, data, length);
    text[length] = '\0';
    options_parse(&options, text, "fuzz");
    if (options.page_size < os_page_size() || options.page_size > 65536)
        abort();
    free(text);
    return 0;
}
