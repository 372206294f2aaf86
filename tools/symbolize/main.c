/* neap-symbolize: replaces addresses in a survivor report by functions and lines. What `neap symbolize` hands over
 * to, a program of its own so that `neap` itself runs where libdw is not installed.
 *
 * A frame is read as neap and the sanitizers write it, "#1 0x7f… (PATH+0xOFFSET) (BuildId: HEX)"; every other line
 * is copied. Files are the user's own; libdw bounds what it reads of them.
 *
 * SPDX-License-Identifier: MIT */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_TROUBLE = 2 };

static const char usage[] =
    "usage: neap symbolize [FILE]\n"
    "\n"
    "Copies FILE, or the standard input, and writes function, file and line beside each address of a survivor\n"
    "report (NEAP_OPTIONS=scope_survivors:N). The programs and libraries that the report names are read, and "
    "their\n"
    "debug information where it is installed. One that has been replaced since is left as it is, with a "
    "warning.\n";

struct module {
    struct module *next;
    char *path;
    char *build_id;      /* as the report has it; "" for none */
    Dwfl *dwfl;          /* of this module alone */
    Dwfl_Module *module; /* NULL where the file cannot be used */
};

static struct module *modules;

static void *checked(void *p) {
    if (p == NULL) {
        perror("neap-symbolize");
        exit(EXIT_TROUBLE);
    }
    return p;
}

static bool has_build_id(Dwfl_Module *module, const char *expected) {
    const unsigned char *bits;
    GElf_Addr address;
    int length = dwfl_module_build_id(module, &bits, &address);
    char hex[2 * 64 + 1] = "";
    for (int i = 0; i < length && i < 64; i++)
        snprintf(hex + 2 * i, 3, "%02x", bits[i]);
    return strcmp(hex, expected) == 0;
}

/* Where the file cannot be used, says why, once. */
static void open_module(struct module *m) {
    static const Dwfl_Callbacks callbacks = {
        .find_elf = dwfl_build_id_find_elf,
        .find_debuginfo = dwfl_standard_find_debuginfo,
        .section_address = dwfl_offline_section_address,
    };
    m->dwfl = checked(dwfl_begin(&callbacks));
    dwfl_report_begin(m->dwfl);
    Dwfl_Module *module = dwfl_report_elf(m->dwfl, m->path, m->path, -1, 0, true);
    dwfl_report_end(m->dwfl, NULL, NULL);
    GElf_Addr bias;
    if (module == NULL || dwfl_module_getelf(module, &bias) == NULL)
        fprintf(stderr, "neap-symbolize: %s: %s\n", m->path, dwfl_errmsg(-1));
    else if (m->build_id[0] != '\0' && !has_build_id(module, m->build_id))
        fprintf(stderr, "neap-symbolize: %s: not the file of the report, which has build ID %s\n", m->path,
                m->build_id);
    else
        m->module = module;
}

static const struct module *find_module(const char *path, const char *build_id) {
    for (struct module *m = modules; m != NULL; m = m->next)
        if (strcmp(m->path, path) == 0 && strcmp(m->build_id, build_id) == 0)
            return m;
    struct module *m = checked(calloc(1, sizeof *m));
    m->path = checked(strdup(path));
    m->build_id = checked(strdup(build_id));
    m->next = modules;
    modules = m;
    open_module(m);
    return m;
}

struct frame {
    const char *number; /* "#1 0x7f…" */
    const char *path;
    const char *build_id;
    unsigned long long offset;
};

/* Cuts a line into a frame's parts. False, and the line unchanged, where it is none. */
static bool parse_frame(char *line, struct frame *frame) {
    char *number = line + strspn(line, " "), *end;
    if (*number != '#' || strtoull(number + 1, &end, 10) > 9999 || strncmp(end, " 0x", 3) != 0)
        return false;
    char *open = end + 3 + strspn(end + 3, "0123456789abcdef");
    if (strncmp(open, " (", 2) != 0)
        return false;
    char *id = strstr(open, ") (BuildId: "), *plus = NULL;
    char *close = id != NULL ? id : strrchr(open, ')');
    for (char *at = open; close != NULL && (at = strstr(at, "+0x")) != NULL && at < close; at++)
        plus = at;
    if (plus == NULL)
        return false;
    errno = 0;
    unsigned long long offset = strtoull(plus + 3, &end, 16);
    if (strspn(plus + 3, "0123456789abcdef") != (size_t)(close - plus - 3) || offset == 0 || errno != 0)
        return false;
    *frame = (struct frame){.number = number, .path = open + 2, .build_id = "", .offset = offset};
    if (id != NULL) {
        frame->build_id = id + strlen(") (BuildId: ");
        id[strlen(") (BuildId: ") + strspn(frame->build_id, "0123456789abcdef")] = '\0';
    }
    *open = *plus = '\0';
    return true;
}

static const char *name_of(Dwarf_Die *die) {
    Dwarf_Attribute attribute;
    static const unsigned names[] = {DW_AT_linkage_name, DW_AT_MIPS_linkage_name, DW_AT_name};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (dwarf_attr_integrate(die, names[i], &attribute) != NULL)
            return dwarf_formstring(&attribute);
    return NULL;
}

static void print_place(const struct frame *frame, const char *function, const char *file, long line) {
    printf("    %s in %s", frame->number, function != NULL ? function : "?");
    if (file != NULL)
        printf(" %s:%ld", file, line);
    printf(" (%s+%#llx)\n", frame->path, frame->offset);
}

/* Where a function that the compiler has put into another was called from. */
static void read_call(Dwarf_Die *cu, Dwarf_Die *inlined, const char **file, long *line) {
    Dwarf_Attribute attribute;
    Dwarf_Word number;
    Dwarf_Files *files;
    size_t count;
    *file = NULL;
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &number) == 0 &&
        dwarf_getsrcfiles(cu, &files, &count) == 0)
        *file = dwarf_filesrc(files, number, NULL, NULL);
    *line = dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &number) == 0 ? (long)number : 0;
}

/* The functions that the compiler has put into one another at that address, the innermost first, each with its own
 * place. Returns whether the debug information has them. */
static bool print_functions(const struct frame *frame, Dwfl_Module *module, GElf_Addr address, const char *file,
                            int line_number) {
    Dwarf_Addr bias;
    Dwarf_Die *cu = dwfl_module_addrdie(module, address, &bias), *scopes = NULL, innermost;
    int count = cu != NULL ? dwarf_getscopes(cu, address - bias, &scopes) : 0;
    if (count > 0) { /* those are of where the innermost function was written; now, of where it was put */
        innermost = scopes[0];
        free(scopes);
        scopes = NULL;
        count = dwarf_getscopes_die(&innermost, &scopes);
    }
    long line = line_number;
    bool found = false;
    for (int i = 0; i < count && !found; i++) {
        int tag = dwarf_tag(&scopes[i]);
        if (tag != DW_TAG_subprogram && tag != DW_TAG_inlined_subroutine)
            continue;
        print_place(frame, name_of(&scopes[i]), file, line);
        found = tag == DW_TAG_subprogram;
        if (!found)
            read_call(cu, &scopes[i], &file, &line);
    }
    free(scopes);
    return found;
}

static void print_frame(const struct frame *frame, Dwfl_Module *module) {
    GElf_Addr address = frame->offset - 1; /* of the call that returns there */
    Dwfl_Line *line = dwfl_module_getsrc(module, address);
    int number = 0;
    const char *file = line != NULL ? dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL) : NULL;
    if (!print_functions(frame, module, address, file, number))
        print_place(frame, dwfl_module_addrname(module, address), file, number);
}

static void symbolize(FILE *in) {
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, in) >= 0) {
        struct frame frame;
        char *copy = checked(strdup(line));
        const struct module *module = parse_frame(copy, &frame) ? find_module(frame.path, frame.build_id) : NULL;
        if (module != NULL && module->module != NULL)
            print_frame(&frame, module->module);
        else
            fputs(line, stdout);
        free(copy);
    }
    free(line);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (argc > 2 || (argc == 2 && argv[1][0] == '-' && argv[1][1] != '\0')) {
        fputs(usage, stderr);
        return EXIT_TROUBLE;
    }
    bool is_file = argc == 2 && strcmp(argv[1], "-") != 0;
    FILE *in = is_file ? fopen(argv[1], "r") : stdin;
    if (in != NULL)
        symbolize(in);
    if (in == NULL || ferror(in)) {
        fprintf(stderr, "neap-symbolize: %s: %s\n", is_file ? argv[1] : "standard input", strerror(errno));
        return EXIT_TROUBLE;
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("neap-symbolize: standard output");
        return EXIT_TROUBLE;
    }
    return EXIT_SUCCESS;
}
