/* Calls free and no other function of the family: what it frees was allocated inside libc. */
#define _GNU_SOURCE
#include "proof.h"

#include <string.h>

extern void free(void *p);

int main(void) {
    char *copy = strdup("copied");
    int result = verdict(copy);
    free(copy);
    return result;
}
