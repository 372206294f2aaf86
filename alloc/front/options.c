/* Options. No locks: called once, by the thread that makes the heap. */
#include "front/options.h"

#include "base/bits.h"
#include "os/os.h"

#include <string.h>

#define OPTIONS_FILE "/etc/neap.conf"

enum { WORD_MAX = 64, FILE_MAX = 4096 };

/* Each parser says whether it understood the value. */
static bool parse_switch(const char *value, bool *out) {
    *out = strcmp(value, "on") == 0;
    return *out || strcmp(value, "off") == 0;
}

static bool parse_number(const char *value, size_t *out) {
    size_t n = 0;
    if (*value == '\0')
        return false;
    for (; *value != '\0'; value++) {
        if (*value < '0' || *value > '9' || n > SIZE_MAX / 10 - 1)
            return false;
        n = n * 10 + (size_t)(*value - '0');
    }
    *out = n;
    return true;
}

/* Percent from 0.1 to 100, with one digit behind the point at most. */
static bool parse_percent(const char *value, size_t *permille) {
    char whole[8];
    size_t n, length = strcspn(value, "."), tenths = 0;
    if (length >= sizeof whole)
        return false;
    memcpy(whole, value, length);
    whole[length] = '\0';
    if (value[length] == '.' && (!parse_number(value + length + 1, &tenths) || value[length + 2] != '\0'))
        return false;
    if (!parse_number(whole, &n) || n * 10 + tenths < 1 || n * 10 + tenths > 1000)
        return false;
    *permille = n * 10 + tenths;
    return true;
}

static bool parse_thp(const char *value, enum thp *out) {
    static const char *const names[] = {[THP_NEVER] = "never", [THP_DENSE] = "dense", [THP_SYSTEM] = "system"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(value, names[i]) == 0) {
            *out = (enum thp)i;
            return true;
        }
    return false;
}

static bool parse_page_size(const char *value, size_t *out) {
    size_t n;
    if (!parse_number(value, &n) || !is_power_of_two(n) || n < os_page_size() || n > (64 << 10))
        return false;
    *out = n;
    return true;
}

static bool parse_scope(const char *value, bool *out) {
    *out = strcmp(value, "thread") == 0;
    return *out || strcmp(value, "off") == 0;
}

/* Bytes from 1 to 1 GiB. */
static bool parse_survivors(const char *value, size_t *out) {
    size_t n = 0;
    if (strcmp(value, "off") != 0 && (!parse_number(value, &n) || n < 1 || n > (1 << 30)))
        return false;
    *out = n;
    return true;
}

/* The parsed value reaches *options only if it is good. */
static const char *apply(struct options *options, const char *key, const char *value) {
    struct options parsed = *options;
    bool good;
    if (strcmp(key, "sized_check") == 0)
        good = parse_switch(value, &parsed.sized_check);
    else if (strcmp(key, "stats_exit") == 0)
        good = parse_switch(value, &parsed.stats_exit);
    else if (strcmp(key, "scavenger") == 0)
        good = parse_switch(value, &parsed.scavenger);
    else if (strcmp(key, "purge_cpu") == 0)
        good = parse_percent(value, &parsed.purge_permille);
    else if (strcmp(key, "thp") == 0)
        good = parse_thp(value, &parsed.thp);
    else if (strcmp(key, "scope") == 0)
        good = parse_scope(value, &parsed.scope_thread);
    else if (strcmp(key, "scope_survivors") == 0)
        good = parse_survivors(value, &parsed.scope_survivors);
    else if (strcmp(key, "page_size") == 0)
        good = parse_page_size(value, &parsed.page_size);
    else
        return "unknown option";
    if (!good)
        return "bad value for option";
    *options = parsed;
    return NULL;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* One "key:value", in text[0, length). */
static void parse_item(struct options *options, const char *text, size_t length, const char *origin) {
    char item[WORD_MAX];
    while (length > 0 && is_blank(*text))
        text++, length--;
    while (length > 0 && is_blank(text[length - 1]))
        length--;
    if (length == 0)
        return;
    size_t kept = min_size(length, sizeof item - 1);
    memcpy(item, text, kept);
    item[kept] = '\0';
    char *value = strchr(item, ':');
    const char *complaint = kept < length ? "too long an option" : value == NULL ? "option without a value" : NULL;
    if (complaint == NULL) {
        *value++ = '\0';
        complaint = apply(options, item, value);
    }
    if (complaint != NULL) {
        memcpy(item, text, kept); /* whole again */
        os_say("%s: %s: \"%s\" (ignored)", origin, complaint, item);
    }
}

void options_parse(struct options *options, const char *text, const char *origin) {
    while (*text != '\0') {
        size_t length = strcspn(text, ",\n#");
        parse_item(options, text, length, origin);
        text += length;
        if (*text == '#')
            text += strcspn(text, "\n");
        if (*text != '\0')
            text++;
    }
}

struct options options_default(void) {
    return (struct options){.scavenger = true, .purge_permille = 10, .page_size = os_page_size()};
}

void options_read(struct options *options) {
    static char file[FILE_MAX + 1]; /* not on the stack: most have no such file, and touch no page of this */
    ptrdiff_t length = os_read_file(OPTIONS_FILE, file, sizeof file);
    if (length > FILE_MAX) {
        os_say(OPTIONS_FILE ": longer than %z bytes (ignored)", (size_t)FILE_MAX);
    } else if (length > 0) {
        file[length] = '\0';
        options_parse(options, file, OPTIONS_FILE);
    }
    const char *variable = os_environment("NEAP_OPTIONS");
    if (variable != NULL)
        options_parse(options, variable, "NEAP_OPTIONS");
}
