/* A library for dlopen: its constructor allocates, its destructor frees, and it has thread-local data large enough
 * that the loader must allocate it, for each thread at its first use. */
#include <stdlib.h>
#include <string.h>

char *plugin_use(unsigned char seed);

static __thread unsigned char local[20000] = {1};
static __thread char *allocated;
static char *made, *made_large;

__attribute__((constructor)) static void construct(void) {
    made = malloc(333);
    made_large = calloc(1, 333333);
    if (made == NULL || made_large == NULL)
        abort();
    memset(made, 7, 333);
}

__attribute__((destructor)) static void destruct(void) {
    if (made[332] != 7 || made_large[333332] != 0)
        abort();
    free(made);
    free(made_large);
}

/* An object that the caller frees, maybe after this library has gone. */
char *plugin_use(unsigned char seed) {
    if (local[0] != 1 || local[sizeof local - 1] != 0)
        abort();
    local[sizeof local - 1] = seed;
    free(allocated);
    allocated = malloc(seed * 10u + 1u);
    if (allocated == NULL || local[sizeof local - 1] != seed)
        abort();
    local[sizeof local - 1] = 0;
    char *given = malloc(5000);
    if (given != NULL)
        memset(given, seed, 5000);
    free(allocated);
    allocated = NULL;
    return given;
}
