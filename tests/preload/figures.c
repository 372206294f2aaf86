/* mallinfo2, mallinfo, malloc_info, malloc_stats, malloc_trim, mallopt: figures that one can believe, XML that
 * parses. */
#include "preload.h"

#include <ctype.h>

enum { OBJECTS = 1000 };

static void *objects[OBJECTS];

static void expect_rise(size_t size) {
    size_t before = mallinfo2().uordblks;
    for (size_t i = 0; i < OBJECTS; i++)
        CHECK((objects[i] = malloc(size)) != NULL);
    struct mallinfo2 now = mallinfo2();
    size_t rise = now.uordblks - before, asked = OBJECTS * size;
    size_t unit = size > 32 * KIB ? OBJECTS * (library_page() + 16 * KIB) : OBJECTS * 16;
    CHECK(rise >= asked && rise <= asked + asked / 7 + unit, "%d objects of %zu: live bytes rose by %zu", OBJECTS,
          size, rise);
    CHECK(now.arena >= now.uordblks, "arena %zu, live %zu", now.arena, now.uordblks);
    CHECK(now.uordblks + now.fordblks == now.arena, "live %zu and free %zu are not %zu", now.uordblks,
          now.fordblks, now.arena);
    struct mallinfo (*older)(void) = NULL; /* by name, for the compiler warns of it */
    *(void **)&older = dlsym(RTLD_DEFAULT, "mallinfo");
    struct mallinfo old = older();
    CHECK((size_t)old.uordblks == now.uordblks && (size_t)old.arena == now.arena);
    for (size_t i = 0; i < OBJECTS; i++)
        free(objects[i]);
    size_t after = mallinfo2().uordblks;
    CHECK(after <= before + 16 * KIB && after + 16 * KIB >= before, "%zu bytes live before, %zu after", before,
          after);
}

/* Follows one tag at *text and the stack of open elements. */
struct parser {
    const char *text;
    char open[16][32];
    size_t depth;
};

static void parse_name(struct parser *p, char name[32]) {
    size_t n = 0;
    while (isalnum((unsigned char)*p->text) || *p->text == '-' || *p->text == '_') {
        CHECK(n < 31);
        name[n++] = *p->text++;
    }
    name[n] = '\0';
    CHECK(n > 0, "no name at \"%.20s\"", p->text);
}

static void parse_tag(struct parser *p) {
    char name[32];
    bool closes = *++p->text == '/';
    p->text += closes;
    parse_name(p, name);
    if (closes) {
        CHECK(p->depth > 0 && strcmp(p->open[--p->depth], name) == 0, "</%s> closes nothing", name);
        CHECK(*p->text++ == '>');
        return;
    }
    while (*p->text == ' ') {
        char attribute[32];
        p->text++;
        parse_name(p, attribute);
        CHECK(p->text[0] == '=' && p->text[1] == '"', "attribute %s", attribute);
        p->text += 2;
        while (*p->text != '"')
            CHECK(*p->text != '\0' && *p->text != '<' && *p->text != '&', "attribute %s", attribute), p->text++;
        p->text++;
    }
    if (p->text[0] == '/') {
        CHECK(p->text[1] == '>');
        p->text += 2;
        return;
    }
    CHECK(*p->text++ == '>' && p->depth < 16);
    strcpy(p->open[p->depth++], name);
}

static void check_xml(const char *text) {
    struct parser p = {.text = text};
    bool began = false;
    CHECK(strncmp(text, "<malloc version=\"", 17) == 0);
    while (*p.text != '\0') {
        CHECK(p.depth > 0 || !began || isspace((unsigned char)*p.text), "something behind the root element");
        if (*p.text == '<')
            parse_tag(&p), began = true;
        else
            CHECK(isspace((unsigned char)*p.text), "text \"%.20s\"", p.text), p.text++;
    }
    CHECK(p.depth == 0, "<%s> is not closed", p.open[p.depth - 1]);
}

static size_t number_behind(const char *text, const char *words) {
    const char *at = strstr(text, words);
    CHECK(at != NULL, "no %s", words);
    return (size_t)strtoul(at + strlen(words), NULL, 10);
}

static void info(void) {
    char *text = NULL;
    size_t size;
    void *large = malloc(5 * MIB);
    FILE *out = open_memstream(&text, &size);
    CHECK(malloc_info(0, out) == 0);
    fclose(out);
    check_xml(text);
    CHECK(number_behind(text, "<total type=\"live\" size=\"") >= 5 * MIB);
    CHECK(number_behind(text, "<system type=\"current\" size=\"") >= 5 * MIB);
    free(text), free(large);
    errno = 0;
    CHECK(malloc_info(1, stdout) == -1 && errno == EINVAL);
    FILE *full = fopen("/dev/full", "w");
    CHECK(full != NULL);
    setvbuf(full, NULL, _IONBF, 0);
    CHECK(malloc_info(0, full) == -1, "writing to /dev/full succeeded");
    fclose(full);
}

static void stats(void) {
    int ends[2], kept = dup(STDERR_FILENO);
    CHECK(pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    complaints = kept;
    malloc_stats();
    CHECK(dup2(kept, STDERR_FILENO) >= 0);
    close(ends[1]);
    char said[4096];
    ssize_t n = 0, got;
    while ((got = read(ends[0], said + n, sizeof said - 1 - (size_t)n)) > 0)
        n += got;
    said[n] = '\0';
    size_t lines = 0;
    for (const char *line = said; *line != '\0'; line = strchr(line, '\n') + 1, lines++)
        CHECK(strncmp(line, "neap: ", 6) == 0 && strchr(line, '\n') != NULL, "malloc_stats said: %s", line);
    CHECK(lines >= 3, "malloc_stats said: %s", said);
}

static void trim(void) {
    malloc_trim(0);
    size_t before = status_bytes("VmRSS");
    enum { PARTS = 20000 };
    static void *p[PARTS];
    for (size_t i = 0; i < PARTS; i++) {
        CHECK((p[i] = malloc(3000)) != NULL);
        memset(p[i], 1, 3000);
    }
    CHECK(status_bytes("VmRSS") > before + 50 * MIB);
    for (size_t i = 0; i < PARTS; i++)
        free(p[i]);
    CHECK(malloc_trim(0) == 1, "nothing was returned of 60 MB");
    CHECK(malloc_trim(0) == 0, "something was returned twice");
    CHECK(status_bytes("VmRSS") < before + 2 * MIB, "%zu MiB resident at first, %zu after malloc_trim",
          before / MIB, status_bytes("VmRSS") / MIB);
    struct mallinfo2 now = mallinfo2();
    CHECK(now.keepcost == 0, "%zu bytes could still be returned", now.keepcost);
}

int main(void) {
    begin(60);
    expect_rise(100);
    for (size_t size = 1; size < 200000; size = size * 3 + 1)
        expect_rise(size);
    info();
    stats();
    trim();
    for (int parameter = M_ARENA_MAX; parameter <= M_TRIM_THRESHOLD; parameter++)
        CHECK(mallopt(parameter, 1) == 1, "mallopt(%d)", parameter);
    CHECK(mallopt(M_MXFAST, 64) == 1);
    exercise(1, 10000);
    return 0;
}
