/* neap beside the process's malloc. */
#include "proof.h"

#include <stdlib.h>
#include <string.h>

int main(void) {
    void *ours = neap_malloc(100), *theirs = malloc(100);
    expect(from_neap(ours), "neap_malloc");
    expect(!from_neap(theirs), "malloc is neap's too");
    ours = neap_realloc(ours, 1 << 20);
    expect(from_neap(ours), "neap_realloc");
    expect(from_neap(neap_calloc(10, 10)), "neap_calloc");
    theirs = realloc(theirs, 1 << 20);
    expect(strcmp(neap_version(), NEAP_VERSION) == 0, "the library's version is not the header's");
    int result = verdict(theirs);
    neap_free(ours);
    free(theirs);
    return result;
}
