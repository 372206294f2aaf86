/* What became of the scopes of one label: the account of survivors. The caller holds the lock of the scopes. */
#ifndef NEAP_SCOPE_LABEL_H
#define NEAP_SCOPE_LABEL_H

#include "base/bits.h"

enum { LABELS = 512, LABEL_BYTES = 64 }; /* scopes of further labels are counted together */

struct label {
    char text[LABEL_BYTES]; /* cut off where it is longer */
    size_t scopes;          /* that have ended */
    size_t refused;         /* requests that would have gone over a scope's limit */
    size_t bytes, objects;  /* allocated */
    size_t surviving_bytes, surviving_objects;
    size_t peak; /* of the scope that held most at once */
};

struct labels {
    struct label label[LABELS]; /* by hash of the text; the first is for what has no place */
    size_t used;
};

/* The label with that text, made if it is new. */
struct label *label_find(struct labels *labels, const char *text);

#endif
