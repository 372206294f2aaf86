/* A library with so much thread-local memory that freeing it alone is worth a scavenger. */
#include <string.h>

static __thread char block[12 << 20];

void touch_block(void);
void touch_block(void) {
    memset(block, 1, sizeof block);
}
