/* What the user may set: NEAP_OPTIONS="key:value,…", and the same in /etc/neap.conf for the whole machine, a line
 * or more, # for comments; the variable wins. Read once, at the first allocation; not read by programs with raised
 * privileges, but for the file. A key or value that neap does not know is reported on stderr and ignored. */
#ifndef NEAP_FRONT_OPTIONS_H
#define NEAP_FRONT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Huge pages for the heap: none, where memory is dense (purge/dense.h), or as the system has it for others. */
enum thp { THP_NEVER, THP_DENSE, THP_SYSTEM };

struct options {
    bool sized_check;       /* sized_check:on|off: verify what sized free and delete say */
    bool stats_exit;        /* stats_exit:on|off: print malloc_stats at exit */
    bool scavenger;         /* scavenger:on|off: a thread may return what is free */
    size_t purge_permille;  /* purge_cpu:N: percent, to a tenth: CPU time for what is returned too early */
    enum thp thp;           /* thp:never|dense|system */
    bool scope_thread;      /* scope:thread|off: every thread but the first is a scope */
    size_t scope_survivors; /* scope_survivors:N|off: of what outlives its scope, the stack of one in N bytes; 0:
                               off */
    size_t page_size;       /* page_size:N: for tests: pretend that pages are as large; power of two, to 64 KiB */
};

struct options options_default(void);

/* Reads both places. */
void options_read(struct options *options);

/* Applies one string; `origin` is where it comes from, for messages. */
void options_parse(struct options *options, const char *text, const char *origin);

#endif
