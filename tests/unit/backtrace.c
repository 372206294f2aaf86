/* os_backtrace: the return addresses that a debugger would show, and an end where that is not known. */
#include "test.h"

#include "os/cfi.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

enum { FRAMES = 64, DEPTH = 40 };

static uintptr_t got[FRAMES], expected[FRAMES];
static size_t count, depth;

#define HERE  ((uintptr_t)__builtin_return_address(0))
#define STAYS __attribute__((noinline))

/* Whether this machine and C library tell of frames at all. */
static bool is_supported(void) {
    struct cfi_frame frame;
    return cfi_find((uintptr_t)&is_supported + 1, &frame);
}

/* Its frame is the allocator's, as it were. */
STAYS static void take(size_t capacity) {
    count = os_backtrace(__builtin_return_address(0), got, capacity);
    expected[depth++] = HERE;
}

/* Notes its return address once those of what it calls are. */
STAYS static void descend(unsigned levels, size_t capacity) {
    if (levels == 0)
        take(capacity);
    else
        descend(levels - 1, capacity);
    expected[depth++] = HERE;
}

static void begin(void) {
    memset(got, 0, sizeof got);
    count = depth = 0;
}

static void finds_every_caller(void **state) {
    (void)state;
    if (!is_supported())
        skip();
    begin();
    descend(DEPTH, FRAMES);
    assert_in_range(count, depth + 1, FRAMES); /* cmocka's and what it was called by */
    assert_memory_equal(got, expected, depth * sizeof *got);
    begin();
    descend(DEPTH, 7);
    assert_int_equal(count, 7);
    assert_memory_equal(got, expected, 7 * sizeof *got);
}

static void *descend_there(void *unused) {
    descend(5, FRAMES);
    return unused;
}

static void ends_where_a_thread_begins(void **state) {
    (void)state;
    if (!is_supported())
        skip();
    pthread_t thread;
    begin();
    assert_int_equal(pthread_create(&thread, NULL, descend_there, NULL), 0);
    pthread_join(thread, NULL);
    assert_in_range(count, depth + 1, depth + 6);
    assert_memory_equal(got, expected, depth * sizeof *got);
}

static void on_signal(int number) {
    (void)number;
    descend(1, FRAMES);
}

STAYS static int interrupted(void) {
    int error = raise(SIGUSR1);
    expected[depth++] = HERE;
    return error;
}

static void goes_on_behind_a_signal_handler(void **state) {
    (void)state;
    if (!is_supported())
        skip();
    char above[1 << 16]; /* so that frames go down behind the handler's */
    stack_t stack = {.ss_sp = above, .ss_size = sizeof above}, before;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK}, was;
    assert_int_equal(sigaltstack(&stack, &before), 0);
    assert_int_equal(sigaction(SIGUSR1, &action, &was), 0);
    begin();
    assert_int_equal(interrupted(), 0);
    sigaction(SIGUSR1, &was, NULL);
    sigaltstack(&before, NULL);
    assert_memory_equal(got, expected, 3 * sizeof *got);
    bool found = false; /* behind the kernel's frame, raise and whatever that calls */
    for (size_t i = 3; i < count; i++)
        found |= got[i] == expected[depth - 1];
    struct cfi_frame frame; /* emulators have frames that nothing is known of */
    assert_true(found || !cfi_find(got[count - 1], &frame));
}

static jmp_buf back;

STAYS _Noreturn static void never_returns(void) {
    take(FRAMES);
    expected[depth++] = HERE;
    longjmp(back, 1);
}

/* Whose call is its last instruction: what follows is another function's. */
STAYS static void calls_at_its_end(void) {
    expected[depth + 2] = HERE;
    never_returns();
}

static void knows_whose_call_it_was(void **state) {
    (void)state;
    if (!is_supported())
        skip();
    begin();
    if (setjmp(back) == 0)
        calls_at_its_end();
    assert_in_range(count, 4, FRAMES);
    assert_memory_equal(got, expected, 3 * sizeof *got);
}

#ifndef __SANITIZE_THREAD__ /* which does not know of stacks that are changed */
static ucontext_t main_context, other_context;

static void descend_on_other_stack(void) {
    descend(3, FRAMES);
}

static void stays_on_a_stack_of_its_own(void **state) {
    (void)state;
    if (!is_supported())
        skip();
    char *stack = malloc(1 << 18);
    getcontext(&other_context);
    other_context.uc_stack = (stack_t){.ss_sp = stack, .ss_size = 1 << 18};
    other_context.uc_link = &main_context;
    makecontext(&other_context, descend_on_other_stack, 0);
    begin();
    assert_int_equal(swapcontext(&main_context, &other_context), 0);
    free(stack);
    assert_in_range(count, depth, depth + 2);
    assert_memory_equal(got, expected, depth * sizeof *got);
}
#endif

static void says_at_least_the_caller(void **state) {
    (void)state;
    static const char nobody[] = "is called by this";
    uintptr_t addresses[FRAMES];
    assert_int_equal(os_backtrace(nobody, addresses, FRAMES), 1);
    assert_int_equal(addresses[0], (uintptr_t)nobody);
}

#ifdef __x86_64__
/* Says that their callers' frames lie far up, where nothing is; at an odd address; and beneath them. */
#define LIAR(name, distance)                                                                                      \
    void name(void (*function)(void));                                                                            \
    __asm__(".text\n.type " #name ",@function\n" #name ":\n.cfi_startproc\nsubq $8, %rsp\n"                       \
            ".cfi_def_cfa_offset " #distance "\ncall *%rdi\naddq $8, %rsp\nret\n.cfi_endproc\n"                   \
            ".size " #name ", .-" #name "\n")
LIAR(liar_far, 0x40000000000);
LIAR(liar_odd, 20);
LIAR(liar_below, -64);

/* Says that its return address lies where rbx points to, which is nowhere. */
void liar_null(void (*function)(void));
__asm__(".text\n.type liar_null,@function\nliar_null:\n.cfi_startproc\npushq %rbx\n.cfi_def_cfa_offset 16\n"
        ".cfi_escape 0x10, 0x10, 0x02, 0x73, 0x00\nxorl %ebx, %ebx\ncall *%rdi\npopq %rbx\nret\n.cfi_endproc\n"
        ".size liar_null, .-liar_null\n");

STAYS static void take_all(void) {
    take(FRAMES);
    __asm__ volatile("");
}

static void believes_no_liar(void **state) {
    (void)state;
    if (!is_supported())
        skip();
    void (*const liars[])(void (*)(void)) = {liar_far, liar_odd, liar_below, liar_null};
    for (size_t i = 0; i < sizeof liars / sizeof *liars; i++) {
        begin();
        liars[i](take_all);
        assert_int_equal(count, 2); /* in take_all and in the liar */
        assert_in_range(got[1], (uintptr_t)liars[i], (uintptr_t)liars[i] + 32);
    }
}
#endif

static void knows_what_is_loaded(void **state) {
    (void)state;
    struct os_module module;
    assert_true(os_module_of((uintptr_t)&knows_what_is_loaded, &module));
    assert_non_null(strstr(module.path, "unit_backtrace"));
    assert_true(os_module_of((uintptr_t)&pthread_create, &module));
    assert_false(os_module_of(16, &module));
}

/* A copy of cmocka whose notes, by its headers, lie where nothing is. */
static void looks_only_at_what_is_loaded(void **state) {
    (void)state;
    struct os_module module;
    static char file[1 << 20], path[] = "/tmp/neap-test-XXXXXX";
    void *run = dlsym(RTLD_DEFAULT, "_cmocka_run_group_tests");
    if (run == NULL)
        skip(); /* it is part of this program */
    assert_true(os_module_of((uintptr_t)run, &module));
    FILE *from = fopen(module.path, "r");
    size_t bytes = fread(file, 1, sizeof file, from);
    fclose(from);
    assert_in_range(bytes, 1000, sizeof file - 1);
    ElfW(Phdr) *segment = (ElfW(Phdr) *)(file + ((ElfW(Ehdr) *)file)->e_phoff);
    for (size_t i = 0; i < ((ElfW(Ehdr) *)file)->e_phnum; i++)
        if (segment[i].p_type == PT_NOTE)
            segment[i].p_vaddr += (ElfW(Addr))1 << 32;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, file, bytes), bytes);
    close(fd);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    unlink(path);
    assert_non_null(library);
    assert_true(os_module_of((uintptr_t)dlsym(library, "_cmocka_run_group_tests"), &module));
    dlclose(library);
    assert_string_equal(module.path, path);
    assert_int_equal(module.build_id_bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_every_caller),
        cmocka_unit_test(ends_where_a_thread_begins),
        cmocka_unit_test(goes_on_behind_a_signal_handler),
        cmocka_unit_test(knows_whose_call_it_was),
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test(stays_on_a_stack_of_its_own),
#endif
        cmocka_unit_test(says_at_least_the_caller),
#ifdef __x86_64__
        cmocka_unit_test(believes_no_liar),
#endif
        cmocka_unit_test(knows_what_is_loaded),
        cmocka_unit_test(looks_only_at_what_is_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
