/* Lists what a process has loaded: see objects.h. The order is that of the loader's own list (struct
 * link_map), which debuggers find through DT_DEBUG of the executable; an object of the list is known by its
 * dynamic section, which lies in one of its mappings. The list is read with an end to every walk, since it is
 * not our memory.
 *
 * SPDX-License-Identifier: MIT */
#include "objects.h"

#include "text.h"

#include <elf.h>
#include <link.h>
#include <string.h>

enum { MAX_OBJECTS = 4096, MAX_DYNAMIC_ENTRIES = 1024 };

static struct object *object_of_path(const struct objects *objects, const char *path) {
    for (size_t i = 0; i < objects->count; i++)
        if (strcmp(objects->list[i].path, path) == 0)
            return &objects->list[i];
    return NULL;
}

void objects_find(const struct process *process, struct objects *objects) {
    *objects = (struct objects){0};
    for (size_t i = 0; i < process->mapping_count; i++) {
        const struct mapping *mapping = &process->mappings[i];
        if (!mapping->is_executable || mapping->path[0] != '/' || object_of_path(objects, mapping->path))
            continue;
        struct object object = {.path = mapping->path};
        struct elf_file elf;
        object.reason = process_open_mapped(process, mapping, &elf);
        if (!object.reason) {
            uint64_t value;
            if (elf_dynamic_symbol(&elf, "malloc", &value))
                object.exports |= EXPORTS_MALLOC;
            if (elf_dynamic_symbol(&elf, "neap_state", &object.state_value))
                object.exports |= EXPORTS_STATE;
            elf_close(&elf);
        }
        objects->list = text_grow(objects->list, objects->count + 1, sizeof(*objects->list));
        objects->list[objects->count++] = object;
    }
}

/* The address of the loader's struct r_debug; 0, which cannot be read, where it is not set yet. */
static bool find_debug(const struct process *process, uint64_t *debug) {
    uint64_t bias = process_executable_bias(process);
    uint64_t value;
    *debug = 0;
    /* A program started as `ld.so PROGRAM`: the kernel's executable is the loader. */
    if (elf_dynamic_symbol(&process->executable, "_r_debug", &value)) {
        *debug = bias + value;
        return true;
    }
    uint64_t entry = bias + elf_dynamic_address(&process->executable);
    size_t word = process_word_size(process);
    for (int i = 0; i < MAX_DYNAMIC_ENTRIES; i++, entry += 2 * word) {
        uint64_t tag;
        if (!process_read_word(process, entry, &tag))
            return false;
        if (tag == DT_NULL)
            return true;
        if (tag == DT_DEBUG)
            return process_read_word(process, entry + word, debug);
    }
    return true;
}

static bool is_consistent(const struct process *process, uint64_t debug) {
    /* struct r_debug: an int, two pointers, an int, each at a multiple of the word. */
    int state;
    return process_read(process, debug + 3 * process_word_size(process), &state, sizeof(state)) &&
           state == RT_CONSISTENT;
}

static void note_object(const struct process *process, struct objects *objects, size_t order,
                        uint64_t dynamic_section, uint64_t bias) {
    const struct mapping *mapping = process_mapping_at(process, dynamic_section);
    struct object *object = mapping ? object_of_path(objects, mapping->path) : NULL;
    if (!object || object->is_ordered)
        return;
    object->is_ordered = true;
    object->order = order;
    object->bias = bias;
}

enum objects_order objects_order(const struct process *process, struct objects *objects) {
    uint64_t debug;
    uint64_t entry;
    size_t word = process_word_size(process);
    if (!find_debug(process, &debug))
        return OBJECTS_NO_MEMORY;
    if (!is_consistent(process, debug) || !process_read_word(process, debug + word, &entry) || entry == 0)
        return OBJECTS_LOADING;
    for (size_t order = 0; entry != 0 && order < MAX_OBJECTS; order++) {
        /* struct link_map: l_addr, l_name, l_ld, l_next. */
        uint64_t bias;
        uint64_t dynamic_section;
        if (!process_read_word(process, entry, &bias) ||
            !process_read_word(process, entry + 2 * word, &dynamic_section) ||
            !process_read_word(process, entry + 3 * word, &entry))
            return OBJECTS_LOADING;
        note_object(process, objects, order, dynamic_section, bias);
    }
    return OBJECTS_ORDERED;
}

const struct object *objects_first(const struct objects *objects, unsigned exports) {
    const struct object *first = NULL;
    for (size_t i = 0; i < objects->count; i++) {
        const struct object *object = &objects->list[i];
        if ((object->exports & exports) && object->is_ordered && (!first || object->order < first->order))
            first = object;
    }
    return first;
}
