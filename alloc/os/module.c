/* What is loaded. Locks: the loader's, inside dl_iterate_phdr. */
#include "base/bits.h"
#include "os/os.h"

#include <errno.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

struct search {
    uintptr_t address;
    struct os_module *module;
};

static bool holds(const struct dl_phdr_info *info, uintptr_t address) {
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && address - info->dlpi_addr - segment->p_vaddr < segment->p_memsz)
            return true;
    }
    return false;
}

/* From the notes that the linker has put in. */
static void read_build_id(const struct dl_phdr_info *info, struct os_module *module) {
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_NOTE)
            continue;
        uintptr_t at = info->dlpi_addr + segment->p_vaddr, end = at + segment->p_memsz;
        if (end <= at || !holds(info, at) || !holds(info, end - 1)) /* the loader does not look */
            continue;
        size_t alignment = max_size(segment->p_align, 4);
        while (at + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) note;
            memcpy(&note, (const void *)at, sizeof note);
            uintptr_t name = at + sizeof note, value = align_up(name + note.n_namesz, alignment);
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && value + note.n_descsz <= end &&
                memcmp((const void *)name, "GNU", 4) == 0 && note.n_descsz <= sizeof module->build_id) {
                memcpy(module->build_id, (const void *)value, note.n_descsz);
                module->build_id_bytes = note.n_descsz;
                return;
            }
            at = align_up(value + note.n_descsz, alignment);
        }
    }
}

static int look_at(struct dl_phdr_info *info, size_t size, void *data) {
    struct search *search = data;
    struct os_module *module = search->module;
    (void)size;
    if (!holds(info, search->address))
        return 0;
    size_t length = strnlen(info->dlpi_name, sizeof module->path - 1);
    memcpy(module->path, info->dlpi_name, length);
    module->path[length] = '\0';
    module->bias = info->dlpi_addr;
    module->build_id_bytes = 0;
    read_build_id(info, module);
    return 1;
}

bool os_module_of(uintptr_t address, struct os_module *module) {
    struct search search = {.address = address, .module = module};
    if (dl_iterate_phdr(look_at, &search) == 0)
        return false;
    if (module->path[0] == '\0') { /* the program */
        int saved = errno;
        ssize_t length = readlink("/proc/self/exe", module->path, sizeof module->path - 1);
        module->path[length > 0 ? length : 0] = '\0';
        errno = saved;
    }
    return true;
}
