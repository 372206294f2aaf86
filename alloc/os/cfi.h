/* Call frame information: where a function has put what its caller's registers held, as compilers write it down
 * for exceptions (.eh_frame, DWARF 5 section 6.4). Found and read without a lock and without an allocation. */
#ifndef NEAP_OS_CFI_H
#define NEAP_OS_CFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Registers by their DWARF numbers; of others nothing is known. */
#if defined __aarch64__
enum { CFI_REGISTERS = 32, CFI_SP = 31 };
#else
enum { CFI_REGISTERS = 17, CFI_SP = 7 };
#endif

enum cfi_place {
    CFI_SAME,    /* in the register itself */
    CFI_UNKNOWN, /* it is lost */
    CFI_AT,      /* in memory, so far from the frame's address */
    CFI_IS,      /* it is the frame's address and so much */
    CFI_REGISTER,
    CFI_AT_EXPRESSION, /* in memory, where the expression says */
    CFI_IS_EXPRESSION,
};

struct cfi_rule {
    uint8_t place; /* enum cfi_place */
    int64_t value; /* a distance, a register, or the address of an expression */
};

/* What holds at one instruction. */
struct cfi_frame {
    struct cfi_rule rule[CFI_REGISTERS]; /* of the caller's registers; of CFI_SP: of the frame's address itself */
    uint32_t cfa_register;               /* the frame's address is what this register holds, */
    int64_t cfa_offset;                  /* and so much more; */
    const uint8_t *cfa_expression;       /* or, unless this is NULL, what this says */
    uint32_t return_register;            /* whose rule is that of the return address */
    bool is_signal;                      /* the kernel made the frame, at any instruction */
};

/* What holds at that address, which lies in an instruction. False where nothing is known, or nothing that is
 * understood. */
bool cfi_find(uintptr_t address, struct cfi_frame *frame);

/* Reads numbers as DWARF has them; `bad` once one would lie beyond the end. */
struct cfi_reader {
    const uint8_t *at, *end;
    bool bad;
};
uint64_t cfi_fixed(struct cfi_reader *reader, size_t bytes, bool is_signed);
uint64_t cfi_leb(struct cfi_reader *reader, bool is_signed);

#endif
