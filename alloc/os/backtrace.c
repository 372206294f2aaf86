/* The calling thread's return addresses. No locks, no allocation; one system call for each page of the stack, to
 * see that it can be read: what code says of its frames (cfi.h) may be wrong, and a stack may be any memory. */
#include "os/cfi.h"
#include "os/os.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MY_FRAMES_MAX = 16, STACK_PAGE = 4096 };

struct walk {
    uintptr_t reg[CFI_REGISTERS];
    uintptr_t address;      /* of an instruction of the frame */
    uintptr_t probed;       /* the page that is known to be readable */
    struct cfi_frame frame; /* what is known of it */
};

/* Asks the kernel to read a signal mask there, for a change that there is none of. */
static bool is_readable(uintptr_t address) {
    enum { NO_CHANGE = ~0, MASK_BYTES = 8 };
    int saved = errno;
    bool readable = syscall(SYS_rt_sigprocmask, NO_CHANGE, address, NULL, MASK_BYTES) == 0 || errno != EFAULT;
    errno = saved;
    return readable;
}

static bool load(struct walk *walk, uintptr_t address, uintptr_t *word) {
    if (address == 0 || address % sizeof *word != 0) /* at 0, is_readable asks nothing */
        return false;
    if (address - walk->probed >= STACK_PAGE) {
        if (!is_readable(address))
            return false;
        walk->probed = address & ~(uintptr_t)(STACK_PAGE - 1);
    }
    memcpy(word, (const void *)address, sizeof *word);
    return true;
}

/* A DWARF expression, of the few operations that frames are described with: registers, memory, sums. */
static bool evaluate(struct walk *walk, const uint8_t *expression, const uintptr_t *first, uintptr_t *result) {
    uintptr_t stack[4];
    size_t depth = 0;
    struct cfi_reader r = {.at = expression, .end = expression + 16};
    uint64_t length = cfi_leb(&r, false);
    r.end = r.at + length;
    if (first != NULL)
        stack[depth++] = *first;
    while (r.at < r.end) {
        unsigned op = (unsigned)cfi_fixed(&r, 1, false);
        if (op >= 0x70 && op < 0x70 + CFI_REGISTERS && depth < 4) /* breg */
            stack[depth++] = walk->reg[op - 0x70] + cfi_leb(&r, true);
        else if (op == 0x06 && depth > 0) { /* deref */
            if (!load(walk, stack[depth - 1], &stack[depth - 1]))
                return false;
        } else if (op == 0x23 && depth > 0) /* plus_uconst */
            stack[depth - 1] += cfi_leb(&r, false);
        else if (op == 0x22 && depth > 1) { /* plus */
            depth--;
            stack[depth - 1] += stack[depth];
        } else
            return false;
        if (r.bad)
            return false;
    }
    *result = stack[depth > 0 ? depth - 1 : 0];
    return depth > 0;
}

static bool apply(struct walk *walk, const struct cfi_rule *rule, uintptr_t cfa, uintptr_t *value) {
    uintptr_t at = cfa + (uintptr_t)rule->value;
    switch ((enum cfi_place)rule->place) {
    case CFI_SAME:
        return true;
    case CFI_UNKNOWN:
        return false;
    case CFI_AT:
        return load(walk, at, value);
    case CFI_IS:
        *value = at;
        return true;
    case CFI_REGISTER:
        *value = rule->value >= 0 && rule->value < CFI_REGISTERS ? walk->reg[rule->value] : 0;
        return true;
    case CFI_AT_EXPRESSION:
        return evaluate(walk, (const uint8_t *)rule->value, &cfa, &at) && load(walk, at, value);
    case CFI_IS_EXPRESSION:
        return evaluate(walk, (const uint8_t *)rule->value, &cfa, value);
    }
    return false;
}

/* Goes on to the caller, and stores the address at which that goes on. False at the stack's end, or where what is
 * known ends. */
static bool step(struct walk *walk, uintptr_t *return_address) {
    struct cfi_frame *frame = &walk->frame;
    uintptr_t cfa, reg[CFI_REGISTERS];
    if (!cfi_find(walk->address, frame) || frame->return_register >= CFI_REGISTERS)
        return false;
    if (frame->cfa_expression != NULL) {
        if (!evaluate(walk, frame->cfa_expression, NULL, &cfa))
            return false;
    } else if (frame->cfa_register < CFI_REGISTERS) {
        cfa = walk->reg[frame->cfa_register] + (uintptr_t)frame->cfa_offset;
    } else {
        return false;
    }
    if (cfa <= walk->reg[CFI_SP] && !frame->is_signal)
        return false; /* stacks grow downwards: no circles */
    memcpy(reg, walk->reg, sizeof reg);
    reg[CFI_SP] = cfa;
    for (size_t i = 0; i < CFI_REGISTERS; i++) {
        const struct cfi_rule *rule = &frame->rule[i];
        if (!apply(walk, rule, cfa, &reg[i]) && i == frame->return_register)
            return false;
    }
    uintptr_t to = reg[frame->return_register];
#ifdef __aarch64__
    register uintptr_t signed_address __asm__("x30") = to;
    __asm__("hint #7" : "+r"(signed_address)); /* xpaclri: strips what pointer authentication has added */
    to = signed_address;
#endif
    memcpy(walk->reg, reg, sizeof reg);
    *return_address = to;
    walk->address = frame->is_signal ? to : to - 1; /* a call may be its function's last instruction */
    return to != 0;
}

/* What the registers hold here, of those that functions keep for their callers. */
static inline __attribute__((always_inline)) void capture(struct walk *walk) {
#if defined __x86_64__
    __asm__ volatile("movq %%rbx, 24(%1)\n\tmovq %%rbp, 48(%1)\n\tmovq %%rsp, 56(%1)\n\tmovq %%r12, 96(%1)\n\t"
                     "movq %%r13, 104(%1)\n\tmovq %%r14, 112(%1)\n\tmovq %%r15, 120(%1)\n\tleaq 0(%%rip), %0"
                     : "=&r"(walk->address)
                     : "r"(walk->reg)
                     : "memory");
#elif defined __aarch64__
    __asm__ volatile("stp x19, x20, [%1, #152]\n\tstp x21, x22, [%1, #168]\n\tstp x23, x24, [%1, #184]\n\t"
                     "stp x25, x26, [%1, #200]\n\tstp x27, x28, [%1, #216]\n\tstp x29, x30, [%1, #232]\n\t"
                     "mov %0, sp\n\tstr %0, [%1, #248]\n\tadr %0, ."
                     : "=&r"(walk->address)
                     : "r"(walk->reg)
                     : "memory");
#else
    walk->address = 0;
#endif
}

__attribute__((noinline)) size_t os_backtrace(const void *from, uintptr_t *addresses, size_t capacity) {
    struct walk walk = {.probed = 1}; /* which is no page */
    uintptr_t address;
    size_t count = 0, mine = 0;
    capture(&walk);
    while (count < capacity && mine < MY_FRAMES_MAX && step(&walk, &address)) {
        if (count == 0 && address != (uintptr_t)from)
            mine++;
        else
            addresses[count++] = address;
    }
    if (count == 0)
        addresses[count++] = (uintptr_t)from;
    return count;
}
