/* The reader of call frame information. No locks, no state: the loader tells without a lock what is loaded
 * (_dl_find_object, glibc 2.35). Only libgcc's unwinder knows of code that registered itself; it takes locks for
 * that, under which it allocates (docs/decisions/0012-survivor-stacks.md). */
#include "os/cfi.h"

#include <dlfcn.h>
#include <string.h>

enum { REMEMBERED = 2 }; /* states that a program may have put aside at once; compilers need one */

static bool is_big(const struct cfi_reader *r, size_t bytes) {
    return (size_t)(r->end - r->at) < bytes;
}

uint64_t cfi_fixed(struct cfi_reader *r, size_t bytes, bool is_signed) {
    uint64_t n = 0;
    if (r->bad || is_big(r, bytes)) {
        r->bad = true;
        return 0;
    }
    memcpy(&n, r->at, bytes); /* of little-endian machines only, see cfi_find */
    r->at += bytes;
    if (is_signed && bytes < sizeof n && (n >> (bytes * 8 - 1)) != 0)
        n |= UINT64_MAX << bytes * 8;
    return n;
}

uint64_t cfi_leb(struct cfi_reader *r, bool is_signed) {
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = cfi_fixed(r, 1, false);
        n |= (byte & 0x7f) << shift;
        if ((byte & 0x80) != 0)
            continue;
        if (is_signed && (byte & 0x40) != 0 && shift + 7 < 64)
            n |= UINT64_MAX << (shift + 7);
        return n;
    }
    r->bad = true;
    return 0;
}

/* A pointer of an encoding (DW_EH_PE_…): a format, and what it is relative to. An indirect one is not followed. */
static uint64_t read_encoded(struct cfi_reader *r, unsigned encoding) {
    enum { RELATIVE = 0x70, TO_ITSELF = 0x10 };
    static const uint8_t bytes[16] = {[0x0] = 8, [0x2] = 2, [0x3] = 4, [0x4] = 8, [0xa] = 2, [0xb] = 4, [0xc] = 8};
    unsigned format = encoding & 0xf, relative = encoding & RELATIVE;
    uintptr_t itself = (uintptr_t)r->at;
    bool is_leb = format == 0x1 || format == 0x9;
    if ((!is_leb && bytes[format] == 0) || (relative != 0 && relative != TO_ITSELF)) {
        r->bad = true;
        return 0;
    }
    uint64_t n = is_leb ? cfi_leb(r, format == 0x9) : cfi_fixed(r, bytes[format], (format & 0x8) != 0);
    return relative == TO_ITSELF ? n + itself : n;
}

/* What several functions have in common. */
struct common {
    const uint8_t *program, *end;
    uint64_t code_factor, data_factor;
    unsigned encoding; /* of addresses */
    uint32_t return_register;
    bool is_signal, is_augmented;
};

/* An entry of the section: its contents behind the length. */
static bool open_entry(const uint8_t *at, const struct cfi_reader *object, struct cfi_reader *entry) {
    if (at < object->at || at >= object->end)
        return false;
    *entry = (struct cfi_reader){.at = at, .end = object->end};
    uint64_t length = cfi_fixed(entry, 4, false);
    if (entry->bad || length < 4 || length >= UINT32_MAX || is_big(entry, length))
        return false;
    entry->end = entry->at + length;
    return true;
}

static bool read_common(const uint8_t *at, const struct cfi_reader *object, struct common *common) {
    struct cfi_reader r;
    if (!open_entry(at, object, &r) || cfi_fixed(&r, 4, false) != 0)
        return false;
    uint64_t version = cfi_fixed(&r, 1, false);
    const char *augmentation = (const char *)r.at;
    size_t length = strnlen(augmentation, (size_t)(r.end - r.at));
    if (r.bad || is_big(&r, length + 1) || (version != 1 && version != 3))
        return false;
    r.at += length + 1;
    *common = (struct common){.end = r.end, .is_augmented = augmentation[0] == 'z'};
    common->code_factor = cfi_leb(&r, false);
    common->data_factor = cfi_leb(&r, true);
    common->return_register = (uint32_t)(version == 1 ? cfi_fixed(&r, 1, false) : cfi_leb(&r, false));
    common->program = r.at;
    if (!common->is_augmented)
        return length == 0 && !r.bad;
    uint64_t more = cfi_leb(&r, false);
    if (r.bad || is_big(&r, more))
        return false;
    common->program = r.at + more;
    for (const char *c = augmentation + 1; *c != '\0'; c++)
        switch (*c) {
        case 'R':
            common->encoding = (unsigned)cfi_fixed(&r, 1, false);
            break;
        case 'P':
            read_encoded(&r, (unsigned)cfi_fixed(&r, 1, false) & 0x7f);
            break;
        case 'L':
            cfi_fixed(&r, 1, false);
            break;
        case 'S':
            common->is_signal = true;
            break;
        case 'B': /* aarch64: how return addresses are signed */
            break;
        default:
            return false;
        }
    return !r.bad;
}

/* --- the program of a function --------------------------------------------------------------------------- */

struct machine {
    struct cfi_frame now, initial, remembered[REMEMBERED];
    size_t depth;
    uintptr_t location;
    const struct common *common;
};

static void set_rule(struct machine *m, uint64_t reg, enum cfi_place place, uint64_t value) {
    if (reg < CFI_REGISTERS)
        m->now.rule[reg] = (struct cfi_rule){.place = (uint8_t)place, .value = (int64_t)value};
}

static void restore_rule(struct machine *m, uint64_t reg) {
    if (reg < CFI_REGISTERS)
        m->now.rule[reg] = m->initial.rule[reg];
}

static void set_cfa(struct machine *m, uint64_t reg, uint64_t offset) {
    m->now.cfa_register = reg < CFI_REGISTERS ? (uint32_t)reg : CFI_REGISTERS;
    m->now.cfa_offset = (int64_t)offset;
    m->now.cfa_expression = NULL;
}

/* Skips an expression, which begins with its length, and returns where it begins. */
static const uint8_t *skip_expression(struct cfi_reader *r) {
    const uint8_t *expression = r->at;
    uint64_t length = cfi_leb(r, false);
    if (r->bad || is_big(r, length))
        r->bad = true;
    else
        r->at += length;
    return expression;
}

/* The instructions (DW_CFA_…) that are no more than a rule for a register, without the first two bits' kinds. */
static bool execute_rule(struct machine *m, struct cfi_reader *r, unsigned opcode) {
    uint64_t factor = m->common->data_factor, reg = cfi_leb(r, false);
    switch (opcode) {
    case 0x05: /* offset_extended */
        set_rule(m, reg, CFI_AT, cfi_leb(r, false) * factor);
        break;
    case 0x06: /* restore_extended */
        restore_rule(m, reg);
        break;
    case 0x07: /* undefined */
        set_rule(m, reg, CFI_UNKNOWN, 0);
        break;
    case 0x08: /* same_value */
        set_rule(m, reg, CFI_SAME, 0);
        break;
    case 0x09: /* register */
        set_rule(m, reg, CFI_REGISTER, cfi_leb(r, false));
        break;
    case 0x10: /* expression */
        set_rule(m, reg, CFI_AT_EXPRESSION, (uintptr_t)skip_expression(r));
        break;
    case 0x11: /* offset_extended_sf */
        set_rule(m, reg, CFI_AT, cfi_leb(r, true) * factor);
        break;
    case 0x14: /* val_offset */
        set_rule(m, reg, CFI_IS, cfi_leb(r, false) * factor);
        break;
    case 0x15: /* val_offset_sf */
        set_rule(m, reg, CFI_IS, cfi_leb(r, true) * factor);
        break;
    case 0x16: /* val_expression */
        set_rule(m, reg, CFI_IS_EXPRESSION, (uintptr_t)skip_expression(r));
        break;
    default:
        return false;
    }
    return true;
}

static bool execute_other(struct machine *m, struct cfi_reader *r, unsigned opcode) {
    uint64_t factor = m->common->data_factor, reg;
    switch (opcode) {
    case 0x00: /* nop */
    case 0x2d: /* aarch64: negate_ra_state; signatures are stripped from every address */
        return true;
    case 0x01: /* set_loc */
        m->location = read_encoded(r, m->common->encoding);
        return true;
    case 0x02: /* advance_loc1, 2, 4 */
    case 0x03:
    case 0x04:
        m->location += cfi_fixed(r, (size_t)1 << (opcode - 2), false) * m->common->code_factor;
        return true;
    case 0x0a: /* remember_state */
        if (m->depth == REMEMBERED)
            return false;
        m->remembered[m->depth++] = m->now;
        return true;
    case 0x0b: /* restore_state */
        if (m->depth == 0)
            return false;
        m->now = m->remembered[--m->depth];
        return true;
    case 0x0c: /* def_cfa */
        reg = cfi_leb(r, false);
        set_cfa(m, reg, cfi_leb(r, false));
        return true;
    case 0x0d: /* def_cfa_register */
        set_cfa(m, cfi_leb(r, false), (uint64_t)m->now.cfa_offset);
        return true;
    case 0x0e: /* def_cfa_offset */
        m->now.cfa_offset = (int64_t)cfi_leb(r, false);
        return true;
    case 0x0f: /* def_cfa_expression */
        m->now.cfa_expression = skip_expression(r);
        return true;
    case 0x12: /* def_cfa_sf */
        reg = cfi_leb(r, false);
        set_cfa(m, reg, cfi_leb(r, true) * factor);
        return true;
    case 0x13: /* def_cfa_offset_sf */
        m->now.cfa_offset = (int64_t)(cfi_leb(r, true) * factor);
        return true;
    case 0x2e: /* GNU_args_size */
        cfi_leb(r, false);
        return true;
    default:
        return execute_rule(m, r, opcode);
    }
}

/* Runs a program as far as what it says of `address`. */
static bool execute(struct machine *m, struct cfi_reader r, uintptr_t address) {
    while (r.at < r.end && m->location <= address) {
        unsigned opcode = (unsigned)cfi_fixed(&r, 1, false), low = opcode & 0x3f;
        bool good = true;
        if (opcode >> 6 == 1) /* advance_loc */
            m->location += low * m->common->code_factor;
        else if (opcode >> 6 == 2) /* offset */
            set_rule(m, low, CFI_AT, cfi_leb(&r, false) * m->common->data_factor);
        else if (opcode >> 6 == 3) /* restore */
            restore_rule(m, low);
        else
            good = execute_other(m, &r, opcode);
        if (!good || r.bad)
            return false;
    }
    return true;
}

/* --- finding it ------------------------------------------------------------------------------------------ */

/* The last entry of the table of functions that begins at or before the address. */
static const uint8_t *look_up(const uint8_t *header, const struct cfi_reader *object, uintptr_t address) {
    static const uint8_t usual[4] = {1, 0x1b, 0x03, 0x3b}; /* a version, and how numbers are written */
    struct cfi_reader r = {.at = header + sizeof usual + 4, .end = object->end};
    if (header < object->at || header > object->end - sizeof usual - 4 || memcmp(header, usual, sizeof usual) != 0)
        return NULL;
    uint64_t count = cfi_fixed(&r, 4, false), low = 0, high = count;
    if (r.bad || is_big(&r, count * 8))
        return NULL;
    const uint8_t *table = r.at;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        r.at = table + middle * 8;
        if ((uintptr_t)header + cfi_fixed(&r, 4, true) <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    r.at = table + (low - 1) * 8 + 4;
    return header + (int64_t)cfi_fixed(&r, 4, true);
}

static bool read_function(const uint8_t *at, const struct cfi_reader *object, uintptr_t address,
                          struct cfi_frame *frame) {
    struct cfi_reader r;
    struct common common;
    if (at == NULL || !open_entry(at, object, &r))
        return false;
    const uint8_t *pointer = r.at;
    uint64_t back = cfi_fixed(&r, 4, false);
    if (back > (uintptr_t)pointer || !read_common(pointer - back, object, &common))
        return false;
    struct machine m = {.common = &common};
    uintptr_t start = read_encoded(&r, common.encoding);
    uint64_t length = read_encoded(&r, common.encoding & 0xf);
    if (r.bad || address - start >= length)
        return false;
    if (common.is_augmented) {
        uint64_t more = cfi_leb(&r, false);
        if (r.bad || is_big(&r, more))
            return false;
        r.at += more;
    }
    m.now.return_register = common.return_register;
    m.now.is_signal = common.is_signal;
    m.now.cfa_register = CFI_REGISTERS;
    if (!execute(&m, (struct cfi_reader){.at = common.program, .end = common.end}, address))
        return false;
    m.initial = m.now;
    m.location = start;
    if (!execute(&m, r, address))
        return false;
    *frame = m.now;
    return true;
}

#if defined __GLIBC__ && __GLIBC_PREREQ(2, 35) && (defined __x86_64__ || defined __aarch64__) &&                  \
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && __SIZEOF_POINTER__ == 8
bool cfi_find(uintptr_t address, struct cfi_frame *frame) {
    struct dl_find_object found;
    if (_dl_find_object((void *)address, &found) != 0 || found.dlfo_eh_frame == NULL)
        return false;
    struct cfi_reader object = {.at = found.dlfo_map_start, .end = found.dlfo_map_end};
    return read_function(look_up(found.dlfo_eh_frame, &object, address), &object, address, frame);
}
#else
bool cfi_find(uintptr_t address, struct cfi_frame *frame) {
    (void)address, (void)frame, (void)look_up, (void)read_function;
    return false;
}
#endif
