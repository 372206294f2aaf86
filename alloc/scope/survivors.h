/* Who allocated what outlived its scope: with the option scope_survivors, call stacks of a sample of what is
 * allocated in scopes are taken, and kept by label and stack where the object is alive when its scope ends.
 *
 * Sampled by bytes: points lie on all the bytes that a scope allocates, on average one in an interval, with
 * exponential distances between them, so that nothing that a program does in turns meets or misses them. An object
 * that has one in it is sampled, and stands for as many as one had to see on average to meet one. With an interval
 * of 1 all are, and the figures are exact.
 *
 * While sampling is on, every allocation in a scope takes a slow path: threads keep nothing that they have freed
 * recently (recent.h). Nothing looks at frees: at the end of the scope its marks tell what is alive, and an object
 * that lies where a sampled one of that scope was has taken its place, which every allocation looks up. */
#ifndef NEAP_SCOPE_SURVIVORS_H
#define NEAP_SCOPE_SURVIVORS_H

#include "base/counter.h"
#include "scope/label.h"

enum { SURVIVOR_FRAMES = 32, SURVIVORS_NOT_SAMPLED = 0 };

struct scope;
struct scopes;
struct space;

struct call_stack {
    uint32_t depth;
    uintptr_t address[SURVIVOR_FRAMES]; /* where calls return to, the innermost first */
};

/* What survived, of one label and from one stack. */
struct survivor_site {
    const struct label *label;
    size_t samples;
    double bytes, objects; /* that these stand for */
    struct call_stack stack;
};

struct survivors {
    size_t interval; /* bytes; SURVIVORS_NOT_SAMPLED */
    uint64_t random;
    struct survivor_tables *tables;
    counter lost; /* samples that there was no room for */
};

/* Everything below takes the lock of the scopes by itself where it does not say otherwise. */

/* Switches sampling on, before there are scopes. False where the system refuses memory. */
bool survivors_init(struct scopes *scopes, size_t interval);

/* A scope begins, ends or destroys all it has. The caller holds the lock. */
void survivors_begin(struct scopes *scopes, struct scope *scope);
void survivors_end(struct scopes *scopes, struct scope *scope);
void survivors_drop(struct scopes *scopes, struct scope *scope);

/* The calling thread has allocated p in a scope that is its own; `caller` called malloc. */
void survivors_note(struct scopes *scopes, struct scope *scope, void *p, size_t size, const void *caller);

/* A large object of the scope with that handle has moved. */
void survivors_move(struct scopes *scopes, uint64_t handle, const void *from, const void *to);

/* The site that comes after *site, which was at *at, in the order of surviving bytes; *at is SURVIVOR_SITES before
 * the first. False where there is no other. */
enum { SURVIVOR_SITES = 1 << 12 };
bool survivors_next(struct scopes *scopes, struct survivor_site *site, size_t *at);

/* Walks everything; debug. The caller holds the lock. */
void survivors_check(const struct scopes *scopes);

#endif
