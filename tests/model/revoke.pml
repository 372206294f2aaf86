/* Taking back a thread's cache (alloc/cache/revoke.c), with the owner's stores and loads as a processor performs
 * them. spin visits every order of events.
 *
 * The owner pops and pushes without a lock, goes to the bins in its slow paths, and ends. The revoker takes the
 * cache back twice. What it must keep: no object is held twice, none is lost.
 *
 * The owner's stores go through a store buffer. In order (x86), or with -DWEAK in any order that keeps stores to one
 * address, and store-releases, in their place (aarch64, and more than that allows). With -DWEAK its loads may also
 * be performed early: any number of instructions, and of operations, before their place. membarrier is what an
 * interrupt does to the owner between two of its instructions: what it stored before is visible, what it loads after
 * is loaded then. The revoker's own accesses between two membarriers are to different addresses, or each depends on
 * the one before, so they need no buffer.
 *
 * The third process, `fork`, looks at any moment at what a forked child would find, if the owner were not in it.
 *
 * Each of these leaves out a step, and spin must find a history that goes wrong:
 *   NO_SWAP        the owner's pointer stays
 *   NO_BARRIER_1   no membarrier after the pointer is swapped
 *   NO_BARRIER_2   no membarrier after the topmost slots are NULL
 *   NO_NULL        the topmost objects are taken without the NULL
 *   NO_RECHECK     the owner does not look at the slot again after the pop
 *   NO_UNDO        the owner does not undo the pop of a NULL
 *   NO_DOUBT       an object that may or may not have been popped is forgotten
 *   CLAIM_DOUBT    … or taken
 *   NO_LOCK        the owner's slow paths take no lock
 *   NO_SETTLE      the owner does not look for what its last operation left
 *   NO_RESTORE     where the second membarrier is refused, the topmost objects are not put back
 *   LATE_RESTORE   … or only after the owner's pointer
 */
#ifndef OPERATIONS
#define OPERATIONS 4 /* of the owner's, before its end */
#endif
#ifndef CLASSES
#define CLASSES 1
#endif
#ifndef ROOM
#define ROOM 2 /* slots of a magazine */
#endif
#ifndef OBJECTS
#define OBJECTS 3 /* of all classes together: object o is of class o % CLASSES */
#endif
#define BUFFER 4

/* Memory that both access. Object 0 is NULL. A top counts the slots in use; slot 0 is the NULL below the first. */
#define POINTER    0
#define TOP(c)     (1 + (c))
#define SLOT(c, i) (1 + CLASSES + (c) * (ROOM + 1) + (i))
#define ADDRESSES  (1 + CLASSES + CLASSES * (ROOM + 1))
#define ABSENT 0
#define MINE   1
byte memory[ADDRESSES];

/* Where each object is, as the truth has it. */
#define IN_BIN    0
#define IN_CACHES 1
#define LIVE      2
byte place[OBJECTS + 1];

/* The cache's other fields, all under its lock. */
bool locked, installed;
byte doubt_class, doubt_top, doubt_object; /* object 0: no doubt */

/* The owner's store buffer. */
byte pending;
byte address[BUFFER], value[BUFFER];
bool release[BUFFER];

/* Loads that were performed early: bit a: address a, early[a]. */
bool is_early[ADDRESSES];
byte early[ADDRESSES];

bool owner_done, revoker_done;

inline remove_pending(k) {
    d_step {
        memory[address[k]] = value[k];
        j = k;
        do
        :: j + 1 < pending ->
            address[j] = address[j + 1]; value[j] = value[j + 1]; release[j] = release[j + 1];
            j++
        :: else -> break
        od;
        pending--;
        address[pending] = 0; value[pending] = 0; release[pending] = false;
        j = 0
    }
}

inline drain() {
    do
    :: pending > 0 -> remove_pending(0)
    :: else -> break
    od
}

inline forget_early() {
    j = 0;
    do
    :: j < ADDRESSES -> is_early[j] = false; early[j] = 0; j++
    :: else -> break
    od;
    j = 0
}

inline membarrier() {
    atomic { drain(); forget_early() }
}

inline store(a, v, rel) {
    atomic {
        pending < BUFFER;
        address[pending] = a; value[pending] = v; release[pending] = rel;
        pending++;
        is_early[a] = false; early[a] = 0
    }
}

/* The newest store in the buffer, else memory. */
inline look(a, result) {
    result = memory[a];
    j = 0;
    do
    :: j < pending ->
        if
        :: address[j] == a -> result = value[j]
        :: else
        fi;
        j++
    :: else -> break
    od;
    j = 0
}

inline load(a, result) {
    d_step {
        if
        :: is_early[a] -> result = early[a]; is_early[a] = false; early[a] = 0
        :: else -> look(a, result)
        fi
    }
}

/* The processor at its own pace: performs a buffered store, or a load ahead of its time. */
active proctype processor() {
    byte k, j;
end:
    do
    :: atomic {
        pending > 0 ->
        k = 0;
#ifdef WEAK
        do /* any store that no earlier one to its address precedes, nor any at all where it is a release */
        :: k + 1 < pending -> k++
        :: break
        od;
        j = 0;
        do
        :: j < k && !release[k] && address[j] != address[k] -> j++
        :: else -> break
        od;
        if
        :: j == k -> j = 0; remove_pending(k)
        :: else -> j = 0
        fi;
        k = 0
#else
        remove_pending(0)
#endif
       }
#ifdef WEAK
    :: atomic { /* the pointer, a top, a slot */
        !owner_done ->
        k = 0;
        do
        :: k + 1 < ADDRESSES -> k++
        :: break
        od;
        if
        :: !is_early[k] -> look(k, early[k]); is_early[k] = true
        :: else
        fi;
        k = 0
       }
#endif
    od
}

/* The bins: one process at a time holds a bin's lock, so these are atomic. */
inline put(o) {
    d_step {
        assert(place[o] == IN_CACHES); /* nobody's but the one that gives it back */
        place[o] = IN_BIN
    }
}

inline take(c, result) {
    d_step {
        result = 0;
        j = 1;
        do
        :: j <= OBJECTS && !(place[j] == IN_BIN && j % CLASSES == c) -> j++
        :: else -> break
        od;
        if
        :: j <= OBJECTS -> place[j] = IN_CACHES; result = j
        :: else
        fi;
        j = 0
    }
}

inline get_live(o) {
    d_step {
        assert(place[o] == IN_CACHES); /* not in a bin, and nobody else has it */
        place[o] = LIVE;
        o = 0
    }
}

inline lock() {
    atomic {
#ifndef NO_LOCK
        !locked;
        locked = true;
#endif
        forget_early(); /* acquire */
#ifndef WEAK
        drain()
#endif
    }
}

inline unlock() {
    atomic { drain(); locked = false } /* release */
}

/* Empties all magazines; also of what an operation left that was under way while the cache was taken back. */
inline settle(skip_objects) {
    c = 0;
    do
    :: c < CLASSES ->
        load(TOP(c), t);
        i = t;
        do
        :: i > 0 ->
            load(SLOT(c, i), p);
            if
            :: p != 0 && !skip_objects -> put(p)
            :: else
            fi;
            store(SLOT(c, i), 0, false);
            i--
        :: else -> break
        od;
        if
        :: doubt_object != 0 && doubt_class == c && doubt_top == t -> put(doubt_object)
        :: else
        fi;
        store(TOP(c), 0, false);
        c++
    :: else -> break
    od;
    atomic { doubt_object = 0; doubt_class = 0; doubt_top = 0; c = 0; t = 0; p = 0; i = 0 }
}

/* `installed` is no part of the modelled memory: what the owner stores before it is visible before it, as its
 * release of the lock would have it. */
inline drain_here() {
    atomic { drain() }
}

inline lock_mine() {
    lock();
    if
    :: !installed ->
#ifdef NO_SETTLE
        settle(true);
#else
        settle(false);
#endif
        store(POINTER, MINE, false);
        drain_here();
        installed = true
    :: else
    fi
}

/* For a caller that has an object in p. */
byte kept;
inline lock_mine_keeping() {
    kept = p;
    lock_mine()
}

proctype owner() {
    byte operations, c, t, p, m, i, j, chosen;
    do
    :: operations < OPERATIONS ->
        operations++;
        if :: chosen = 0 :: CLASSES > 1 -> chosen = CLASSES - 1 fi;
        if
        :: true -> /* malloc */
            load(POINTER, m);
            p = 0;
            if
            :: m == MINE ->
                load(TOP(chosen), t);
                load(SLOT(chosen, t), p);
                if
                :: p != 0 ->
                    store(TOP(chosen), t - 1, false);
#ifndef NO_RECHECK
                    load(SLOT(chosen, t), p);
#ifndef NO_UNDO
                    if
                    :: p == 0 -> store(TOP(chosen), t, false)
                    :: else
                    fi
#endif
#endif
                :: else
                fi
            :: else
            fi;
            if
            :: p != 0 -> get_live(p)
            :: else -> /* refill: one for the caller, and perhaps one to keep */
                lock_mine();
                load(TOP(chosen), t);
                load(SLOT(chosen, t), p);
                if
                :: p != 0 -> store(TOP(chosen), t - 1, false); get_live(p)
                :: else ->
                    take(chosen, p);
                    if
                    :: p != 0 ->
                        get_live(p);
                        t = 0;
                        do
                        :: t < ROOM ->
                            take(chosen, p);
                            if
                            :: p != 0 -> t++; store(SLOT(chosen, t), p, false)
                            :: else -> break
                            fi
                        :: break
                        od;
                        store(TOP(chosen), t, true)
                    :: else
                    fi
                fi;
                unlock()
            fi
        :: true -> /* free, of any live object of the class */
            atomic {
                p = 1;
                do
                :: p <= OBJECTS && !(place[p] == LIVE && p % CLASSES == chosen) -> p++
                :: else -> break
                od;
                if
                :: p <= OBJECTS -> place[p] = IN_CACHES
                :: else -> p = 0
                fi
            };
            if
            :: p != 0 ->
                load(POINTER, m);
                t = ROOM;
                if
                :: m == MINE -> load(TOP(chosen), t)
                :: else
                fi;
                if
                :: t < ROOM ->
                    store(SLOT(chosen, t + 1), p, false);
                    store(TOP(chosen), t + 1, true)
                :: else -> /* overflow: the oldest goes to the bin */
                    lock_mine_keeping();
                    load(TOP(chosen), t);
                    if
                    :: t == ROOM ->
                        load(SLOT(chosen, 1), p);
                        put(p);
                        m = 1;
                        do
                        :: m < ROOM ->
                            load(SLOT(chosen, m + 1), p);
                            store(SLOT(chosen, m), p, false);
                            m++
                        :: else -> break
                        od;
                        t = ROOM - 1
                    :: else
                    fi;
                    p = kept;
                    kept = 0;
                    store(SLOT(chosen, t + 1), p, false);
                    store(TOP(chosen), t + 1, true);
                    unlock()
                fi
            :: else
            fi
        :: true -> /* a flush */
            lock_mine();
            settle(false);
            unlock()
        fi;
        atomic { p = 0; t = 0; m = 0; i = 0; chosen = 0 }
    :: else -> break
    od;
    /* the thread's end */
    lock_mine();
    settle(false);
    store(POINTER, ABSENT, false);
    drain_here();
    installed = false;
    unlock();
    owner_done = true
}

proctype revoker() {
    byte rounds, c, j, i, now, p;
    byte top[CLASSES], topmost[CLASSES];
    bool refused;
    do
    :: rounds < 2 ->
        rounds++;
        atomic { !locked -> locked = true };
        if
        :: installed ->
#ifndef NO_SWAP
            memory[POINTER] = ABSENT;
#endif
            refused = false;
            if
            :: true -> skip
#ifndef NO_BARRIER_1
                ; membarrier()
            :: refused = true
#endif
            fi;
            if
            :: refused -> memory[POINTER] = MINE; goto next
            :: else
            fi;
            do
            :: c < CLASSES ->
                top[c] = memory[TOP(c)];
                topmost[c] = memory[SLOT(c, top[c])];
#ifndef NO_NULL
                if
                :: topmost[c] != 0 -> memory[SLOT(c, top[c])] = 0
                :: else
                fi;
#endif
                c++
            :: else -> c = 0; break
            od;
            if
            :: true -> skip
#ifndef NO_BARRIER_2
                ; membarrier()
            :: refused = true
#endif
            fi;
            if
            :: refused ->
#ifdef LATE_RESTORE
                memory[POINTER] = MINE;
#endif
#ifndef NO_RESTORE
                do
                :: c < CLASSES ->
                    if
                    :: topmost[c] != 0 -> memory[SLOT(c, top[c])] = topmost[c]
                    :: else
                    fi;
                    c++
                :: else -> c = 0; break
                od;
#endif
                memory[POINTER] = MINE;
                goto next
            :: else
            fi;
            do
            :: c < CLASSES ->
                i = 1;
                do
                :: i < top[c] ->
                    p = memory[SLOT(c, i)];
                    memory[SLOT(c, i)] = 0;
                    put(p);
                    i++
                :: else -> break
                od;
                now = memory[TOP(c)];
                if
                :: topmost[c] == 0
#ifndef CLAIM_DOUBT
                :: topmost[c] != 0 && now < top[c] ->
#ifndef NO_DOUBT
                    assert(doubt_object == 0); /* one operation, so one doubt */
                    doubt_class = c; doubt_top = top[c]; doubt_object = topmost[c]
#endif
#endif
                :: else -> put(topmost[c])
                fi;
                c++
            :: else -> c = 0; break
            od;
            installed = false
        :: else
        fi;
next:   skip;
        d_step {
            locked = false; i = 0; now = 0; p = 0; refused = false; c = 0;
            do :: c < CLASSES -> top[c] = 0; topmost[c] = 0; c++ :: else -> c = 0; break od
        }
    :: else -> break
    od;
    revoker_done = true
}

/* What a child may free of a cache that nobody held the lock of: each object once, none that is live. */
bool seen[OBJECTS + 1];
proctype fork() {
    byte c, i, t, j;
    atomic {
        !locked;
        drain();
        do
        :: c < CLASSES ->
            t = memory[TOP(c)];
            i = 1;
            do
            :: i <= t ->
                if
                :: memory[SLOT(c, i)] != 0 ->
                    assert(place[memory[SLOT(c, i)]] == IN_CACHES && !seen[memory[SLOT(c, i)]]);
                    seen[memory[SLOT(c, i)]] = true
                :: else
                fi;
                i++
            :: else -> break
            od;
            if
            :: doubt_object != 0 && doubt_class == c && doubt_top == t ->
                assert(place[doubt_object] == IN_CACHES && !seen[doubt_object])
            :: else
            fi;
            c++
        :: else -> break
        od;
        c = 0; i = 0; t = 0;
        do :: i <= OBJECTS -> seen[i] = false; i++ :: else -> i = 0; break od
    }
}

init {
    byte o;
    atomic { run owner(); run revoker(); run fork() };
    atomic {
        owner_done && revoker_done ->
        o = 1;
        do
        :: o <= OBJECTS -> assert(place[o] == IN_BIN || place[o] == LIVE); o++
        :: else -> break
        od
    }
}
