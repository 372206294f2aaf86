/* The lock that its owner takes without an atomic operation (alloc/os/lock.h), with the owner's stores as a processor
 * performs them: they wait in a buffer, in order, while its loads go ahead. spin visits every order of events; never
 * may two be within at once, and the owner gets in in the end.
 *
 * Each of these leaves out a step, and spin must find a history that goes wrong:
 *   NO_BARRIER   who asks does not call membarrier
 *   NO_ASK       … or does not say that he asks
 *   NO_LOOK      the owner does not look whether somebody has asked
 *   NO_CHECK     who asks does not look whether the owner is within
 *   NO_WAIT      an owner that saw somebody ask goes on at once
 *   EARLY_LEAVE  the store by which the owner leaves is performed before it is done
 */
#define TURNS 3

bool owner_within, asked; /* as all see them */
byte others;              /* 0: free; 1: an asker has it; 2: the owner */
byte inside;              /* who really is */
bool buffered, value;     /* the owner's last store to owner_within is not performed yet */
byte askers_done;
bool owner_done;

inline perform() {
    if
    :: buffered -> owner_within = value; buffered = false
    :: else
    fi
}

/* A second store to the same place waits for the first. */
inline store_within(v) {
    atomic { perform(); buffered = true; value = v }
}

active proctype processor() {
end:
    do
    :: atomic { buffered -> perform() }
    od
}

active proctype owner() {
    byte turn;
    do
    :: turn < TURNS ->
        store_within(true);
#ifndef NO_LOOK
        if
        :: asked ->
#ifndef NO_WAIT
            atomic { others == 0 -> perform(); others = 2 } /* an atomic operation: what was stored is seen */
            others = 0
#endif
        :: else
        fi;
#endif
#ifdef EARLY_LEAVE
        store_within(false);
#endif
        inside++;
        assert(inside == 1);
        inside--;
#ifndef EARLY_LEAVE
        store_within(false); /* a release: behind all that was done */
#endif
        turn++
    :: else -> break
    od;
    owner_done = true
}

active [2] proctype asker() {
    byte turn;
    bool entered;
    do
    :: turn < TURNS ->
        if
        :: atomic { others == 0 -> others = 1 };
#ifndef NO_ASK
            asked = true;
#endif
#ifndef NO_BARRIER
            atomic { perform() }; /* membarrier */
#endif
#ifdef NO_CHECK
            entered = true;
#else
            entered = !owner_within;
#endif
            if
            :: entered ->
                inside++;
                assert(inside == 1);
                inside--
            :: else
            fi;
            asked = false;
            others = 0
        :: others != 0 /* somebody else has asked: not now */
        fi;
        turn++
    :: else -> break
    od;
    askers_done++
}

/* Nobody waits for ever. */
active proctype end_of_all() {
    owner_done && askers_done == 2;
    assert(others == 0 && !asked && inside == 0)
}
