/* Pins against drops: a block that was spilled leaves memory only while nobody reads it, and is read again only when
 * it has come back. (Pins against frees alone, and more of what can go wrong there: pin_free.pml.)
 *
 * From the code:
 *   reader  lib/store/store_descriptor.c store_pin(), entry_pin(), word_pinnable(), store_unpin(), bit_clear()
 *   holder  lib/store/store_descriptor.c descriptor_drop(), descriptor_free(), descriptor_seal();
 *           lib/store/store_spill.c block_drop(), block_restored(), read_take(); lib/store/store_block.c
 *           free_locked(), store_collect(). What it does is under the store's lock, so it is one process.
 * One descriptor, used for GENERATIONS blocks one after the other. Its content is its generation; when its memory is
 * dropped somebody else writes to it. Three reading threads of two ranks.
 *
 * Holds: what is read is of the generation that was asked for, from the pin to the unpin, also by a thread that
 * pins while another of its rank does and finds DISK; what was not dropped is SEALED again; every block is freed,
 * whether it is in memory or not.
 *
 * deep: TWO_DROPS
 * variants: NO_FENCE_PIN NO_FENCE_UNPIN NO_FENCE_FREE NO_FENCE_DROP LOOK_BEFORE_PIN PINS_BEFORE_DISK DROP_PINNED
 * variants: NOT_PUT_BACK SEALED_BEFORE_READ DISK_PINNABLE NO_UNDO NOT_READ */
#define READERS     3
#define RANKS       2
#define RANK_OF(r)  ((r) / 2) /* readers 0 and 1 are threads of rank 0 */
#define GENERATIONS 2
#ifdef TWO_DROPS
#define ROUNDS 2 /* drops of a block, each may be followed by a restore */
#else
#define ROUNDS 1
#endif

#define HOLDER READERS /* processors: readers first */
#define PROCS  (READERS + 1)

#define STATE   0 /* words; with the generation in it, as in the code */
#define CONTENT 1
#define COLLECT 2
#define LOCK(k) (3 + (k)) /* of a rank */
#define PIN(k)  (3 + RANKS + (k))
#define WORDS   (3 + 2 * RANKS)
#define DEPTH   16
#include "tso.h"

#define EMPTY   0
#define CREATED 1
#define SEALED  2
#define FREEING 3
#define DISK    4
#define WORD(generation, state) ((generation) * 8 + (state))

byte views[RANKS]; /* under the rank's lock */
bool dropped;      /* the block of now has been dropped and is not back */

inline bit_clear()
{
#ifdef NO_FENCE_UNPIN
    store(me, PIN(rank), 0);
#else
    exchange(me, PIN(rank), 0, old);
#endif
    word = load(me, STATE);
    if
    :: word % 8 == FREEING -> exchange(me, COLLECT, 1, old)
    :: else
    fi;
    old = 0;
    word = 0
}

inline pin_lock()
{
    d_step { flushed(me) && memory[LOCK(rank)] == 0 -> memory[LOCK(rank)] = 1 }
}

inline pin_unlock()
{
    store(me, LOCK(rank), 0)
}

active [READERS] proctype reader()
{
    byte me = _pid - PROCS, rank = RANK_OF(_pid - PROCS), place, word, old;
    bool pinned;
    /* A place that is not sealed yet can not be known. */
    if
    :: memory[STATE] / 8 >= 1 -> place = 1
    :: memory[STATE] / 8 >= 2 -> place = 2
    fi;
    /* store_pin() */
    pin_lock();
#ifdef LOOK_BEFORE_PIN
    word = load(me, STATE);
#endif
    if
    :: views[rank] == 0 ->
#ifdef NO_FENCE_PIN
        store(me, PIN(rank), 1)
#else
        exchange(me, PIN(rank), 1, old)
#endif
    :: else
    fi;
#ifndef LOOK_BEFORE_PIN
    word = load(me, STATE);
#endif
    old = 0;
    if
    :: word == WORD(place, SEALED) ->
        views[rank]++;
        pinned = true
#ifdef DISK_PINNABLE
    :: word == WORD(place, DISK) ->
#else
    :: word == WORD(place, DISK) && views[rank] > 0 ->
#endif
        views[rank]++;
        pinned = true
    :: else ->
#ifndef NO_UNDO
        if
        :: views[rank] == 0 -> bit_clear()
        :: else
        fi
#endif
    fi;
    word = 0;
    pin_unlock();
    if
    :: pinned ->
        /* Two reads, at any time. */
        assert(load(me, CONTENT) == place);
        assert(load(me, CONTENT) == place);
        /* store_unpin() */
        pin_lock();
        views[rank]--;
        if
        :: views[rank] == 0 -> bit_clear()
        :: else
        fi;
        pin_unlock()
    :: else
    fi
}

inline look_at_pins()
{
    pinned = false;
    if
    :: load(HOLDER, PIN(0)) -> pinned = true
    :: else
    fi;
    if
    :: load(HOLDER, PIN(1)) -> pinned = true
    :: else
    fi
}

/* descriptor_drop(): sets DISK, looks at the pins, puts SEALED back where there is one. */
inline drop()
{
#ifdef PINS_BEFORE_DISK
    look_at_pins();
    exchange(HOLDER, STATE, WORD(generation, DISK), old);
#else
#ifdef NO_FENCE_DROP
    store(HOLDER, STATE, WORD(generation, DISK));
#else
    exchange(HOLDER, STATE, WORD(generation, DISK), old);
#endif
    look_at_pins();
#endif
    old = 0;
#ifdef DROP_PINNED
    pinned = false;
#endif
    if
    :: pinned ->
#ifndef NOT_PUT_BACK
        store(HOLDER, STATE, WORD(generation, SEALED))
#endif
    :: else ->
        /* The memory is somebody else's. */
        store(HOLDER, CONTENT, 0);
        dropped = true
    fi
}

/* block_restored(): the content first, SEALED by a release. */
inline restore()
{
#ifdef SEALED_BEFORE_READ
    store(HOLDER, STATE, WORD(generation, SEALED));
    store(HOLDER, CONTENT, generation);
#else
#ifndef NOT_READ
    store(HOLDER, CONTENT, generation);
#endif
    store(HOLDER, STATE, WORD(generation, SEALED));
#endif
    dropped = false
}

active proctype holder()
{
    byte generation, old, rounds;
    bool pinned;
    do
    :: generation < GENERATIONS ->
        generation++;
        store(HOLDER, STATE, WORD(generation, CREATED));
        store(HOLDER, CONTENT, generation);
        store(HOLDER, STATE, WORD(generation, SEALED));
        rounds = 0;
        do
        :: rounds < ROUNDS && !dropped ->
            rounds++;
            drop();
            /* Put back, it is in memory, as store_restore() will tell who found DISK. */
            assert(dropped || load(HOLDER, STATE) == WORD(generation, SEALED))
        :: dropped -> restore()
        :: true -> break
        od;
        dropped = false;
        rounds = 0;
        /* free_locked(), descriptor_free() */
#ifdef NO_FENCE_FREE
        store(HOLDER, STATE, WORD(generation, FREEING));
#else
        exchange(HOLDER, STATE, WORD(generation, FREEING), old);
#endif
        look_at_pins();
        do
        :: !pinned -> break
        :: pinned ->
            /* In the list of those that wait: looked at again when the flag is there (store_collect()). */
            memory[COLLECT] == 1;
            exchange(HOLDER, COLLECT, 0, old);
            look_at_pins()
        od;
        old = 0;
        /* block_release(): the memory may be used for anything from here on. */
        store(HOLDER, STATE, WORD(generation, EMPTY));
        store(HOLDER, CONTENT, 0)
    :: else -> break
    od
}
