/* Finds symbols in ELF files: in .dynsym by the hash table that the loader uses, in .symtab by a walk.
 * Structures of both classes are widened to one form on reading.
 *
 * SPDX-License-Identifier: MIT */
#include "elf_file.h"

#include <elf.h>
#include <string.h>

enum {
    MAX_CHAIN_STEPS = 1 << 16, /* real hash chains have a handful */
    MAX_DYNAMIC_ENTRIES = 4096,
    SYMBOLS_A_READ = 256,
};

struct symbol {
    uint32_t name;
    unsigned char info;
    unsigned char other;
    uint16_t section;
    uint64_t value;
    uint64_t size;
};

struct dynamic_table {
    uint64_t symbols;
    uint64_t strings;
    uint64_t strings_size;
    uint64_t hash;
    uint64_t gnu_hash;
};

static bool read_dynamic_table(const struct elf_file *elf, struct dynamic_table *table) {
    const struct elf_segment *segment = elf_segment_of_type(elf, PT_DYNAMIC);
    if (!segment)
        return false;
    *table = (struct dynamic_table){0};
    size_t entry_size = elf->is64 ? sizeof(Elf64_Dyn) : sizeof(Elf32_Dyn);
    uint64_t count = segment->file_size / entry_size;
    if (count > MAX_DYNAMIC_ENTRIES)
        count = MAX_DYNAMIC_ENTRIES;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = i * entry_size;
        Elf64_Dyn entry;
        if (elf->is64) {
            if (!elf_read_at(elf, segment->offset + at, &entry, sizeof(entry)))
                return false;
        } else {
            Elf32_Dyn narrow;
            if (!elf_read_at(elf, segment->offset + at, &narrow, sizeof(narrow)))
                return false;
            entry.d_tag = narrow.d_tag;
            entry.d_un.d_val = narrow.d_un.d_val;
        }
        switch (entry.d_tag) {
        case DT_NULL:
            count = i;
            break;
        case DT_SYMTAB:
            table->symbols = entry.d_un.d_ptr;
            break;
        case DT_STRTAB:
            table->strings = entry.d_un.d_ptr;
            break;
        case DT_STRSZ:
            table->strings_size = entry.d_un.d_val;
            break;
        case DT_HASH:
            table->hash = entry.d_un.d_ptr;
            break;
        case DT_GNU_HASH:
            table->gnu_hash = entry.d_un.d_ptr;
            break;
        default:
            break;
        }
    }
    return table->symbols != 0 && table->strings != 0;
}

static size_t symbol_size(const struct elf_file *elf) {
    return elf->is64 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
}

static struct symbol widen_symbol(const struct elf_file *elf, const unsigned char *raw) {
    if (elf->is64) {
        Elf64_Sym symbol;
        memcpy(&symbol, raw, sizeof(symbol));
        return (struct symbol){symbol.st_name,  symbol.st_info,  symbol.st_other,
                               symbol.st_shndx, symbol.st_value, symbol.st_size};
    }
    Elf32_Sym symbol;
    memcpy(&symbol, raw, sizeof(symbol));
    return (struct symbol){symbol.st_name,  symbol.st_info,  symbol.st_other,
                           symbol.st_shndx, symbol.st_value, symbol.st_size};
}

/* Whether other objects' references may bind to the symbol. */
static bool is_exported(const struct symbol *symbol) {
    unsigned binding = ELF64_ST_BIND(symbol->info);
    unsigned visibility = ELF64_ST_VISIBILITY(symbol->other);
    return symbol->section != SHN_UNDEF &&
           (binding == STB_GLOBAL || binding == STB_WEAK || binding == STB_GNU_UNIQUE) &&
           (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

/* Whether .dynsym[index] is the exported symbol of that name. */
static bool symbol_matches(const struct elf_file *elf, const struct dynamic_table *table, uint32_t index,
                           const char *name, uint64_t *value) {
    unsigned char raw[sizeof(Elf64_Sym)];
    if (!elf_read_address(elf, table->symbols + (uint64_t)index * symbol_size(elf), raw, symbol_size(elf)))
        return false;
    struct symbol symbol = widen_symbol(elf, raw);
    char found[64];
    size_t length = strlen(name) + 1;
    if (!is_exported(&symbol) || length > sizeof(found) || symbol.name > table->strings_size ||
        length > table->strings_size - symbol.name ||
        !elf_read_address(elf, table->strings + symbol.name, found, length) || memcmp(found, name, length) != 0)
        return false;
    *value = symbol.value;
    return true;
}

static bool find_by_gnu_hash(const struct elf_file *elf, const struct dynamic_table *table, const char *name,
                             uint64_t *value) {
    struct {
        uint32_t bucket_count, first_symbol, bloom_words, bloom_shift;
    } header;
    if (!elf_read_address(elf, table->gnu_hash, &header, sizeof(header)) || header.bucket_count == 0)
        return false;
    uint32_t hash = 5381;
    for (const char *c = name; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    uint64_t buckets = table->gnu_hash + sizeof(header) + (uint64_t)header.bloom_words * (elf->is64 ? 8u : 4u);
    uint64_t chains = buckets + (uint64_t)header.bucket_count * 4;
    uint32_t index;
    if (!elf_read_address(elf, buckets + (uint64_t)(hash % header.bucket_count) * 4, &index, sizeof(index)) ||
        index < header.first_symbol)
        return false;
    for (int steps = 0; steps < MAX_CHAIN_STEPS; steps++, index++) {
        uint32_t link;
        if (!elf_read_address(elf, chains + (uint64_t)(index - header.first_symbol) * 4, &link, sizeof(link)))
            return false;
        if ((link | 1) == (hash | 1) && symbol_matches(elf, table, index, name, value))
            return true;
        if (link & 1)
            return false;
    }
    return false;
}

static bool find_by_hash(const struct elf_file *elf, const struct dynamic_table *table, const char *name,
                         uint64_t *value) {
    struct {
        uint32_t bucket_count, chain_count;
    } header;
    if (!elf_read_address(elf, table->hash, &header, sizeof(header)) || header.bucket_count == 0)
        return false;
    uint32_t hash = 0;
    for (const char *c = name; *c; c++) {
        hash = (hash << 4) + (unsigned char)*c;
        hash ^= (hash >> 24) & 0xf0;
        hash &= 0x0fffffff;
    }
    uint64_t buckets = table->hash + sizeof(header);
    uint64_t chains = buckets + (uint64_t)header.bucket_count * 4;
    uint32_t index;
    if (!elf_read_address(elf, buckets + (uint64_t)(hash % header.bucket_count) * 4, &index, sizeof(index)))
        return false;
    for (int steps = 0; index != STN_UNDEF && steps < MAX_CHAIN_STEPS; steps++) {
        if (symbol_matches(elf, table, index, name, value))
            return true;
        if (!elf_read_address(elf, chains + (uint64_t)index * 4, &index, sizeof(index)))
            return false;
    }
    return false;
}

bool elf_dynamic_symbol(const struct elf_file *elf, const char *name, uint64_t *value) {
    struct dynamic_table table;
    if (!read_dynamic_table(elf, &table))
        return false;
    if (table.gnu_hash)
        return find_by_gnu_hash(elf, &table, name, value);
    return table.hash && find_by_hash(elf, &table, name, value);
}

struct section {
    uint32_t type;
    uint32_t link;
    uint64_t offset;
    uint64_t size;
};

static bool read_section(const struct elf_file *elf, uint32_t index, struct section *section) {
    if (index >= elf->section_count || elf->section_table > elf->size)
        return false;
    if (elf->is64) {
        Elf64_Shdr header;
        if (!elf_read_at(elf, elf->section_table + index * sizeof(header), &header, sizeof(header)))
            return false;
        *section = (struct section){header.sh_type, header.sh_link, header.sh_offset, header.sh_size};
    } else {
        Elf32_Shdr header;
        if (!elf_read_at(elf, elf->section_table + index * sizeof(header), &header, sizeof(header)))
            return false;
        *section = (struct section){header.sh_type, header.sh_link, header.sh_offset, header.sh_size};
    }
    return true;
}

static bool static_symbol_is(const struct elf_file *elf, const struct symbol *symbol,
                             const struct section *strings, const char *name, unsigned type, uint64_t min_size) {
    char found[64];
    size_t length = strlen(name) + 1;
    return symbol->section != SHN_UNDEF && ELF64_ST_TYPE(symbol->info) == type && symbol->size >= min_size &&
           length <= sizeof(found) && symbol->name <= strings->size && length <= strings->size - symbol->name &&
           strings->offset <= elf->size && elf_read_at(elf, strings->offset + symbol->name, found, length) &&
           memcmp(found, name, length) == 0;
}

static bool find_static_symbol(const struct elf_file *elf, const char *name, unsigned type, uint64_t min_size,
                               uint64_t *value) {
    struct section symbols;
    struct section strings;
    uint32_t index = 0;
    while (read_section(elf, index, &symbols) && symbols.type != SHT_SYMTAB)
        index++;
    if (!read_section(elf, index, &symbols) || !read_section(elf, symbols.link, &strings))
        return false;
    size_t size = symbol_size(elf);
    unsigned char raw[SYMBOLS_A_READ * sizeof(Elf64_Sym)];
    for (uint64_t left = symbols.size / size; left > 0;) {
        size_t count = left < SYMBOLS_A_READ ? (size_t)left : SYMBOLS_A_READ;
        if (!elf_read_at(elf, symbols.offset, raw, count * size))
            return false;
        for (size_t i = 0; i < count; i++) {
            struct symbol symbol = widen_symbol(elf, raw + i * size);
            if (static_symbol_is(elf, &symbol, &strings, name, type, min_size)) {
                *value = symbol.value;
                return true;
            }
        }
        symbols.offset += count * size;
        left -= count;
    }
    return false;
}

bool elf_static_object(const struct elf_file *elf, const char *name, uint64_t min_size, uint64_t *value) {
    return find_static_symbol(elf, name, STT_OBJECT, min_size, value);
}

bool elf_static_function(const struct elf_file *elf, const char *name, uint64_t *value) {
    return find_static_symbol(elf, name, STT_FUNC, 0, value);
}
