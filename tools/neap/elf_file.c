/* Opens ELF files and reads their layout: see elf_file.h. Whatever is read goes through elf_read_at or
 * elf_read_address, which hold the bounds.
 *
 * SPDX-License-Identifier: MIT */
#include "elf_file.h"

#include "text.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_SEGMENTS = 1170, /* the kernel takes 64 KiB of program headers */
    MAX_INTERPRETER_PATH = 4096,
};

bool elf_read_at(const struct elf_file *elf, uint64_t offset, void *out, size_t length) {
    if (offset > elf->size || length > elf->size - offset)
        return false;
    for (char *to = out; length > 0;) {
        ssize_t got = pread(elf->fd, to, length, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return true;
}

bool elf_read_address(const struct elf_file *elf, uint64_t address, void *out, size_t length) {
    for (size_t i = 0; i < elf->segment_count; i++) {
        const struct elf_segment *segment = &elf->segments[i];
        if (segment->type != PT_LOAD || address < segment->address)
            continue;
        uint64_t within = address - segment->address;
        if (within < segment->file_size && length <= segment->file_size - within)
            return elf_read_at(elf, segment->offset + within, out, length);
    }
    return false;
}

static bool read_header(struct elf_file *elf, uint64_t *segment_table, size_t *segment_count) {
    if (elf->is64) {
        Elf64_Ehdr header;
        if (!elf_read_at(elf, 0, &header, sizeof(header)))
            return false;
        elf->type = header.e_type;
        elf->machine = header.e_machine;
        elf->entry = header.e_entry;
        elf->section_table = header.e_shoff;
        elf->section_count = header.e_shentsize == sizeof(Elf64_Shdr) ? header.e_shnum : 0;
        *segment_table = header.e_phoff;
        *segment_count = header.e_phnum;
        return header.e_phnum == 0 || header.e_phentsize == sizeof(Elf64_Phdr);
    }
    Elf32_Ehdr header;
    if (!elf_read_at(elf, 0, &header, sizeof(header)))
        return false;
    elf->type = header.e_type;
    elf->machine = header.e_machine;
    elf->entry = header.e_entry;
    elf->section_table = header.e_shoff;
    elf->section_count = header.e_shentsize == sizeof(Elf32_Shdr) ? header.e_shnum : 0;
    *segment_table = header.e_phoff;
    *segment_count = header.e_phnum;
    return header.e_phnum == 0 || header.e_phentsize == sizeof(Elf32_Phdr);
}

static bool read_segment(const struct elf_file *elf, uint64_t offset, struct elf_segment *segment) {
    if (elf->is64) {
        Elf64_Phdr header;
        if (!elf_read_at(elf, offset, &header, sizeof(header)))
            return false;
        *segment = (struct elf_segment){header.p_type, header.p_offset, header.p_vaddr, header.p_filesz};
    } else {
        Elf32_Phdr header;
        if (!elf_read_at(elf, offset, &header, sizeof(header)))
            return false;
        *segment = (struct elf_segment){header.p_type, header.p_offset, header.p_vaddr, header.p_filesz};
    }
    return segment->offset <= elf->size && segment->file_size <= elf->size - segment->offset;
}

static const char *read_layout(struct elf_file *elf) {
    uint64_t table;
    size_t count;
    if (!read_header(elf, &table, &count))
        return "is a truncated ELF file";
    if (count > MAX_SEGMENTS)
        return "is a damaged ELF file";
    elf->segments = text_grow(NULL, count + 1, sizeof(*elf->segments));
    size_t entry_size = elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    if (table > elf->size)
        return "is a truncated ELF file";
    for (; elf->segment_count < count; elf->segment_count++)
        if (!read_segment(elf, table + elf->segment_count * entry_size, &elf->segments[elf->segment_count]))
            return "is a truncated ELF file";
    return NULL;
}

static const char *read_identity(struct elf_file *elf) {
    unsigned char ident[EI_NIDENT];
    if (!elf_read_at(elf, 0, ident, SELFMAG) || memcmp(ident, ELFMAG, SELFMAG) != 0)
        return "is not an ELF file";
    if (!elf_read_at(elf, 0, ident, sizeof(ident)))
        return "is a truncated ELF file";
    if (ident[EI_CLASS] != ELFCLASS32 && ident[EI_CLASS] != ELFCLASS64)
        return "is an ELF file of an unknown class";
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (ident[EI_DATA] == ELFDATA2MSB)
        return "is an ELF file of the other byte order (big-endian)";
    if (ident[EI_DATA] != ELFDATA2LSB)
        return "is an ELF file of an unknown byte order";
#else
    if (ident[EI_DATA] == ELFDATA2LSB)
        return "is an ELF file of the other byte order (little-endian)";
    if (ident[EI_DATA] != ELFDATA2MSB)
        return "is an ELF file of an unknown byte order";
#endif
    elf->is64 = ident[EI_CLASS] == ELFCLASS64;
    return NULL;
}

const char *elf_open(struct elf_file *elf, const char *path) {
    *elf = (struct elf_file){.fd = -1};
    struct stat status;
    /* Asked before opening: to open a device may do something. */
    if (stat(path, &status) != 0)
        return text_format("cannot be read: %s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return "is not a regular file";
    elf->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (elf->fd < 0)
        return text_format("cannot be read: %s", strerror(errno));
    elf->size = (uint64_t)status.st_size;
    const char *reason = read_identity(elf);
    if (!reason)
        reason = read_layout(elf);
    if (reason)
        elf_close(elf);
    return reason;
}

void elf_close(struct elf_file *elf) {
    if (elf->fd >= 0)
        close(elf->fd);
    free(elf->segments);
    *elf = (struct elf_file){.fd = -1};
}

const struct elf_segment *elf_segment_of_type(const struct elf_file *elf, uint32_t type) {
    for (size_t i = 0; i < elf->segment_count; i++)
        if (elf->segments[i].type == type)
            return &elf->segments[i];
    return NULL;
}

char *elf_interpreter(const struct elf_file *elf) {
    const struct elf_segment *segment = elf_segment_of_type(elf, PT_INTERP);
    if (!segment || segment->file_size == 0 || segment->file_size > MAX_INTERPRETER_PATH)
        return NULL;
    size_t length = (size_t)segment->file_size;
    char *path = text_grow(NULL, length + 1, 1);
    if (!elf_read_at(elf, segment->offset, path, length)) {
        free(path);
        return NULL;
    }
    path[length] = '\0';
    return path;
}

uint64_t elf_dynamic_address(const struct elf_file *elf) {
    const struct elf_segment *segment = elf_segment_of_type(elf, PT_DYNAMIC);
    return segment ? segment->address : 0;
}

bool elf_same_architecture(const struct elf_file *a, const struct elf_file *b) {
    return a->machine == b->machine && a->is64 == b->is64;
}

const char *elf_architecture(const struct elf_file *elf) {
    static const struct {
        uint16_t machine;
        bool is64;
        const char *name;
    } names[] = {
        {EM_X86_64, true, "x86-64"},   {EM_X86_64, false, "x32"}, {EM_386, false, "i386"},
        {EM_AARCH64, true, "aarch64"}, {EM_ARM, false, "arm"},    {EM_RISCV, true, "riscv64"},
        {EM_PPC64, true, "ppc64"},     {EM_S390, true, "s390x"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].machine == elf->machine && names[i].is64 == elf->is64)
            return names[i].name;
    return text_format("machine %u, %d-bit", elf->machine, elf->is64 ? 64 : 32);
}
