/* A small reader of ELF files, of either class and the machine's own byte order. It trusts nothing in the
 * file: every read is bounds-checked against the file and every walk has an end, so a truncated or hostile
 * file gives a reason or "not found", never a crash. Files are read, not mapped: one that shrinks meanwhile
 * is a short read.
 *
 * SPDX-License-Identifier: MIT */
#ifndef NEAP_TOOL_ELF_FILE_H
#define NEAP_TOOL_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct elf_segment {
    uint32_t type;
    uint64_t offset;
    uint64_t address;
    uint64_t file_size;
};

struct elf_file {
    int fd;
    uint64_t size;
    bool is64;
    uint16_t type; /* ET_EXEC, ET_DYN, … */
    uint16_t machine;
    uint64_t entry;
    uint64_t section_table;
    uint16_t section_count;
    struct elf_segment *segments;
    size_t segment_count;
};

/* Opens a regular file. Answers NULL, or why it cannot be used as an ELF file ("is not an ELF file"), said so
 * that it follows the file's name. */
const char *elf_open(struct elf_file *elf, const char *path);
void elf_close(struct elf_file *elf);

/* Reads length bytes at an offset of the file, or at an address that a loadable segment has from the file.
 * False where they are not all there. */
bool elf_read_at(const struct elf_file *elf, uint64_t offset, void *out, size_t length);
bool elf_read_address(const struct elf_file *elf, uint64_t address, void *out, size_t length);

const struct elf_segment *elf_segment_of_type(const struct elf_file *elf, uint32_t type);

/* The loader that the file asks for (PT_INTERP), or NULL: then it is static, or a library. */
char *elf_interpreter(const struct elf_file *elf);

/* Finds a defined global symbol in .dynsym, by hash as the loader does. *value is its address in the file. */
bool elf_dynamic_symbol(const struct elf_file *elf, const char *name, uint64_t *value);

/* Finds a data object of at least min_size bytes, or a function, in .symtab, which a stripped file has not.
 */
bool elf_static_object(const struct elf_file *elf, const char *name, uint64_t min_size, uint64_t *value);
bool elf_static_function(const struct elf_file *elf, const char *name, uint64_t *value);

/* The address of the dynamic section, 0 for none. */
uint64_t elf_dynamic_address(const struct elf_file *elf);

/* Whether both are of one class and machine, so that one can be loaded by the other. */
bool elf_same_architecture(const struct elf_file *a, const struct elf_file *b);

/* "x86-64", "aarch64", "machine 42, 32-bit". */
const char *elf_architecture(const struct elf_file *elf);

#endif
