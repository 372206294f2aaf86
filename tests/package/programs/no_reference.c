/* Calls no function of the family at all; libc does. */
#define _GNU_SOURCE
#include "proof.h"

#include <string.h>

int main(void) {
    return verdict(strdup("copied"));
}
