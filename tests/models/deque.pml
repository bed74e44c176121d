/* The deque of a worker: its owner at the bottom, without atomic operations; thieves at the top, under a lock.
 *
 * From the code, lib/sched/sched_deque.h and sched_deque.c:
 *   owner   sched_deque_push(), sched_deque_publish(), sched_deque_pop(), sched_deque_pop_public()
 *   thief   sched_deque_steal(), split_move()
 * Left out: growth, which is the owner's under the lock. Thieves take one item at a time.
 *
 * Holds: every item is taken exactly once.
 *
 * UNEVEN: the owner's fence is light and the thief's heavy; EVEN: both are full fences, for kernels without.
 * cases: UNEVEN EVEN
 * deep: TWO_THIEVES
 * variants: UNEVEN:NO_HEAVY_FENCE UNEVEN:NO_SECOND_LOOK UNEVEN:NO_TAKING_BACK UNEVEN:PUBLISH_WITHOUT_LOCK EVEN:NO_LIGHT_FENCE */
#define ITEMS  3
#ifdef TWO_THIEVES
#define THIEFS 2
#define TRIES  1 /* of each thief */
#else
#define THIEFS 1
#define TRIES  3
#endif

#define PROCS (1 + THIEFS) /* the owner is processor 0 */

#define BOTTOM  0 /* words */
#define SPLIT   1
#define TOP     2
#define LOCK    3
#define SLOT(i) (4 + (i))
#define WORDS   (4 + ITEMS)
#define DEPTH   10
#include "tso.h"

byte taken[ITEMS + 1];
byte over; /* thieves that have done all their tries */

inline take(item)
{
    taken[item]++;
    assert(item > 0 && taken[item] == 1)
}

inline unlock(cpu)
{
    store(cpu, LOCK, 0)
}

inline light_fence()
{
#ifdef EVEN
#ifndef NO_LIGHT_FENCE
    fence(0);
#endif
#endif
    skip
}

/* membarrier: every processor passes a full fence, some time before this ends. */
inline heavy_fence(cpu)
{
#ifndef NO_HEAVY_FENCE
    fence(cpu);
#ifndef EVEN
    fence(0);
    fence(PROCS - 1);
    fence(1)
#endif
#else
    skip
#endif
}

inline publish()
{
    if
    :: load(0, BOTTOM) - load(0, SPLIT) > load(0, SPLIT) - load(0, TOP) ->
        split = load(0, SPLIT) + (load(0, BOTTOM) - load(0, SPLIT) + 1) / 2;
#ifdef PUBLISH_WITHOUT_LOCK
        store(0, SPLIT, split)
#else
        exchange(0, LOCK, 1, held);
        if
        :: !held ->
            if
            :: load(0, BOTTOM) > load(0, SPLIT) ->
                split = load(0, SPLIT) + (load(0, BOTTOM) - load(0, SPLIT) + 1) / 2;
                store(0, SPLIT, split)
            :: else
            fi;
            unlock(0)
        :: else
        fi
#endif
    :: else
    fi
}

inline pop_public()
{
    do
    :: exchange(0, LOCK, 1, held);
        if
        :: !held -> break
        :: else -> load(0, LOCK) == 0
        fi
    od;
    bottom = load(0, BOTTOM) + 1;
    split = load(0, SPLIT);
    top = load(0, TOP);
    if
    :: bottom <= split && split > top ->
#ifndef NO_TAKING_BACK
        split = top + (split - top) / 2;
        store(0, SPLIT, split)
#else
        split = top + (split - top) / 2
#endif
    :: else
    fi;
    if
    :: bottom > split ->
        bottom--;
        item = load(0, SLOT(bottom));
        take(item)
    :: else
    fi;
    store(0, BOTTOM, bottom);
    unlock(0)
}

inline pop()
{
    bottom = load(0, BOTTOM);
    if
    :: bottom == load(0, TOP)
    :: else ->
        bottom--;
        store(0, BOTTOM, bottom);
        light_fence();
        if
        :: bottom < load(0, SPLIT) -> pop_public()
        :: else ->
            item = load(0, SLOT(bottom));
            take(item)
        fi
    fi
}

active proctype owner()
{
    byte pushed, pops, bottom, split, top, item, held;
    do
    :: pushed < ITEMS ->
        pushed++;
        bottom = load(0, BOTTOM);
        store(0, SLOT(bottom), pushed);
        store(0, BOTTOM, bottom + 1);
        if
        :: publish()
        :: skip /* the only worker of its rank: only thieves from elsewhere move split */
        fi
    :: pops < ITEMS ->
        pops++;
        pop()
    :: pushed == ITEMS && over == THIEFS -> break
    od;
    fence(0);
    do
    :: load(0, BOTTOM) != load(0, TOP) -> pop()
    :: else -> break
    od;
    for (item : 1 .. ITEMS) {
        assert(taken[item] == 1)
    }
}

active [THIEFS] proctype thief()
{
    byte me = _pid - PROCS, tries, bottom, split, top, wanted, item, held;
    do
    :: tries < TRIES ->
        tries++;
        if
        :: load(me, TOP) >= load(me, BOTTOM)
        :: else ->
            exchange(me, LOCK, 1, held);
            if
            :: held
            :: else ->
                top = load(me, TOP);
                split = load(me, SPLIT);
                if
                :: split == top ->
                    bottom = load(me, BOTTOM);
                    if
                    :: bottom > split ->
                        wanted = split + (bottom - split + 1) / 2;
                        store(me, SPLIT, wanted);
                        heavy_fence(me);
#ifndef NO_SECOND_LOOK
                        bottom = load(me, BOTTOM);
#endif
                        if
                        :: bottom < wanted ->
                            wanted = (bottom > split -> bottom : split);
                            store(me, SPLIT, wanted)
                        :: else
                        fi;
                        split = wanted
                    :: else
                    fi
                :: else
                fi;
                if
                :: split > top ->
                    item = load(me, SLOT(top));
                    take(item);
                    store(me, TOP, top + 1)
                :: else
                fi;
                unlock(me)
            fi
        fi
    :: else -> break
    od;
    fence(me);
    over++
}
