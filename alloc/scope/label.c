/* Labels, in a table with open addressing that never shrinks. Locks: the caller's. */
#include "scope/label.h"

#include <string.h>

struct label *label_find(struct labels *labels, const char *text) {
    char key[LABEL_BYTES] = "";
    uint32_t hash = 2166136261u; /* FNV-1a */
    if (text[0] == '\0')
        text = "-"; /* of scopes without a label */
    for (size_t i = 0; i < LABEL_BYTES - 1 && text[i] != '\0'; i++) {
        key[i] = text[i];
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    }
    for (size_t i = 0; i < LABELS; i++) {
        struct label *label = &labels->label[(mix32(hash) + i) % LABELS];
        if (label == &labels->label[0])
            continue;
        if (label->text[0] == '\0') {
            if (labels->used >= LABELS * 3 / 4)
                break;
            labels->used++;
            memcpy(label->text, key, sizeof key);
        }
        if (memcmp(label->text, key, sizeof key) == 0)
            return label;
    }
    memcpy(labels->label[0].text, "(others)", sizeof "(others)");
    return &labels->label[0];
}
