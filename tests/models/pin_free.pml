/* Pins against frees: a block of the store is read only while it is what its place says, and is freed once nobody
 * reads it.
 *
 * From the code:
 *   reader  lib/store/store_descriptor.c store_pin(), entry_pin(), bit_set(), store_unpin(), bit_clear(), pin_lock()
 *   holder  lib/store/store_block.c block_make(), store_seal(), free_locked(), store_collect(),
 *           block_waiting_release(), block_release(); lib/store/store_descriptor.c descriptor_free(), descriptor_pinned()
 * One descriptor, used for GENERATIONS blocks one after the other, each with its generation as its content. Three
 * reading threads of two ranks; each tries any one of the places there are or were. Ranks set bits of one word by
 * read-modify-write; here each has a word of its own, so that a bit may also be set by a store (NO_FENCE_PIN), which
 * is what a relaxed operation amounts to where the processor is not an x86.
 *
 * Holds: what is read is of the generation that was asked for, from the pin to the unpin; every block is freed (else
 * the holder waits for ever for a pin to go).
 *
 * variants: NO_FENCE_PIN NO_FENCE_UNPIN NO_FENCE_FREE LOOK_BEFORE_PIN LOOK_BEFORE_UNPIN PINS_BEFORE_FREEING
 * variants: NO_GENERATION NO_STATE NO_UNDO NO_SECOND_READER_COUNT FLAG_TAKEN_LATE */
#define READERS     3
#define RANKS       2
#define RANK_OF(r)  ((r) / 2) /* readers 0 and 1 are threads of rank 0 */
#define GENERATIONS 2

#define HOLDER READERS /* processors: readers first */
#define PROCS  (READERS + 1)

#define STATE   0 /* words; with the generation in it, as in the code */
#define CONTENT 1
#define COLLECT 2
#define LOCK(k) (3 + (k)) /* of a rank */
#define PIN(k)  (3 + RANKS + (k))
#define WORDS   (3 + 2 * RANKS)
#define DEPTH   12
#include "tso.h"

#define EMPTY   0
#define CREATED 1
#define SEALED  2
#define FREEING 3
#define WORD(generation, state) ((generation) * 4 + (state))

byte views[RANKS]; /* under the rank's lock */

inline bit_clear()
{
#ifdef LOOK_BEFORE_UNPIN
    word = load(me, STATE);
    exchange(me, PIN(rank), 0, old);
#else
#ifdef NO_FENCE_UNPIN
    store(me, PIN(rank), 0);
#else
    exchange(me, PIN(rank), 0, old);
#endif
    word = load(me, STATE);
#endif
    if
    :: word % 4 == FREEING -> exchange(me, COLLECT, 1, old)
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
    :: memory[STATE] / 4 >= 1 -> place = 1
    :: memory[STATE] / 4 >= 2 -> place = 2
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
#if defined NO_GENERATION
    :: word % 4 == SEALED ->
#elif defined NO_STATE
    :: word / 4 == place ->
#else
    :: word == WORD(place, SEALED) ->
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
#ifdef NO_SECOND_READER_COUNT
        :: true -> bit_clear();
#else
        :: views[rank] == 0 -> bit_clear()
        :: else
#endif
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

active proctype holder()
{
    byte generation, old;
    bool pinned;
    do
    :: generation < GENERATIONS ->
        generation++;
        store(HOLDER, STATE, WORD(generation, CREATED));
        store(HOLDER, CONTENT, generation);
        store(HOLDER, STATE, WORD(generation, SEALED));
        /* free_locked(), descriptor_free() */
#ifdef PINS_BEFORE_FREEING
        look_at_pins();
        exchange(HOLDER, STATE, WORD(generation, FREEING), old);
#else
#ifdef NO_FENCE_FREE
        store(HOLDER, STATE, WORD(generation, FREEING));
#else
        exchange(HOLDER, STATE, WORD(generation, FREEING), old);
#endif
        look_at_pins();
#endif
        do
        :: !pinned -> break
        :: pinned ->
            /* In the list of those that wait: looked at again when the flag is there (store_collect()). */
            memory[COLLECT] == 1;
#ifdef FLAG_TAKEN_LATE
            look_at_pins();
            exchange(HOLDER, COLLECT, 0, old)
#else
            exchange(HOLDER, COLLECT, 0, old);
            look_at_pins()
#endif
        od;
        old = 0;
        /* block_release(): the memory may be used for anything from here on. */
        store(HOLDER, STATE, WORD(generation, EMPTY));
        store(HOLDER, CONTENT, 0)
    :: else -> break
    od
}
