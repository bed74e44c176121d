/* A ref that threads look up though another one holds it: the holder, who ends the object by plain stores as long as
 * nobody has done so, and two threads that take holds, the first of which changes that for good. The slot is used for
 * another object meanwhile, which the same word counts.
 *
 * From the code, lib/task/task_inline.h and task_cross.c:
 *   holder   object_begin(), object_complete_fresh(), release_simple(), object_drop_named()
 *   lookers  hold_named(), cross(), refcount_retain_named(), object_drop()
 * Left out: marks but "ready", other ranks, who the slot's list is of.
 *
 * Holds: a hold that was taken of a handle keeps its object; every object ends exactly once, and ends at last.
 *
 * variants: NO_HEAVY_FENCE NO_LOOK_AT_ENDING NO_LOOK_AT_CROSSED NO_LOOK_AT_NAMES NO_LOOK_AT_HANDLE READY_PLAIN */
#define LAST 2 /* handles: 1, 2; 0 = a free slot */

#define PROCS   3 /* the holder, two lookers */
#define HOLDER  0

#define ENDING  0 /* words */
#define CROSSED 1
#define HANDLE  2
#define COUNT   3
#define WORDS   4
#define DEPTH   24
#include "tso.h"

#define HOLD  1 /* in COUNT: holds, a name, "ready" */
#define NAME  16
#define READY 32
#define holds(count) ((count) & 15)

byte ended[LAST + 1];
byte keeps[LAST + 1]; /* holds that are known to be of that handle */
bool locked;          /* the room's, of its list of threads */
bool told;            /* the first handle: the program has passed it on */

inline end(cpu)
{
    which = load(cpu, HANDLE);
    assert(which > 0 && keeps[which] == 0);
    store(cpu, HANDLE, 0);
    if
    :: cpu == HOLDER /* the slot goes to the thread's own list */
    :: else -> fence(cpu)
    fi;
    ended[which]++;
    assert(ended[which] == 1);
    which = 0
}

inline drop(cpu, units)
{
    if
    :: (units) == HOLD && holds(load(cpu, COUNT)) == 1 -> end(cpu) /* the last one, without a name: a look is enough */
    :: else ->
        d_step
        {
            flushed(cpu);
            count = memory[COUNT];
            assert(holds(count) > 0);
            memory[COUNT] = count - (units)
        }
        if
        :: holds(count) == 1 -> end(cpu)
        :: else
        fi
    fi;
    count = 0
}

active proctype holder()
{
    byte handle, count, which;
    do
    :: handle < LAST ->
        handle++;
        store(HOLDER, HANDLE, handle);
        store(HOLDER, COUNT, NAME + HOLD);
        /* a value that is there at once */
        count = load(HOLDER, COUNT);
        if
#ifndef READY_PLAIN
        :: load(HOLDER, CROSSED) != 0 ->
            d_step
            {
                flushed(HOLDER);
                memory[COUNT] = memory[COUNT] | READY
            }
#endif
        :: else -> store(HOLDER, COUNT, count | READY)
        fi;
        fence(HOLDER);
        told = true;
        /* released */
        count = load(HOLDER, COUNT);
        if
        :: count == READY + NAME + HOLD -> /* release_simple(): the count stays what it is */
            store(HOLDER, ENDING, 1);
            if
#ifndef NO_LOOK_AT_CROSSED
            :: load(HOLDER, CROSSED) != 0 ->
                store(HOLDER, ENDING, 0);
                drop(HOLDER, NAME + HOLD)
#endif
            :: else ->
                assert(keeps[handle] == 0);
                ended[handle]++;
                assert(ended[handle] == 1);
                store(HOLDER, HANDLE, 0);
                store(HOLDER, ENDING, 0)
            fi
        :: holds(count) == 1 -> /* object_drop_named() */
            store(HOLDER, ENDING, 1);
            if
#ifndef NO_LOOK_AT_CROSSED
            :: load(HOLDER, CROSSED) != 0 ->
                store(HOLDER, ENDING, 0);
                drop(HOLDER, NAME + HOLD)
#endif
            :: else ->
                store(HOLDER, COUNT, count & READY);
                store(HOLDER, ENDING, 0);
                end(HOLDER)
            fi
        :: else -> drop(HOLDER, NAME + HOLD)
        fi;
        count = 0;
        ended[handle] == 1 /* the slot is in a list */
    :: handle == LAST -> break
    od
}

inline cross(cpu)
{
    if
    :: load(cpu, CROSSED) == 2
    :: else ->
        atomic { !locked -> locked = true }
        if
        :: load(cpu, CROSSED) == 0 ->
            store(cpu, CROSSED, 1);
            fence(cpu);
#ifndef NO_HEAVY_FENCE
            fence(HOLDER); /* membarrier: every processor passes a full fence, some time before this ends */
#endif
#ifndef NO_LOOK_AT_ENDING
            !load(cpu, ENDING);
#endif
            store(cpu, CROSSED, 2)
        :: else
        fi;
        fence(cpu);
        locked = false
    fi
}

#ifdef NO_LOOK_AT_NAMES
#define named(count) true
#else
#define named(count) (((count) & NAME) != 0)
#endif

proctype looker(byte cpu)
{
    byte count, which;
    bool taken;
    told;
    if
    :: load(cpu, HANDLE) != 1 -> goto refused
    :: else
    fi;
    cross(cpu);
    if
    :: load(cpu, HANDLE) != 1 -> goto refused
    :: else
    fi;
    do
    :: !taken ->
        count = load(cpu, COUNT);
        if
        :: named(count) ->
            d_step
            {
                flushed(cpu);
                if
                :: memory[COUNT] == count ->
                    memory[COUNT] = count + HOLD;
                    taken = true
                :: else
                fi
            }
        :: else -> goto refused
        fi
    :: taken -> break
    od;
    count = 0;
    if
#ifndef NO_LOOK_AT_HANDLE
    :: load(cpu, HANDLE) != 1 /* it is another's */
#endif
    :: else ->
        keeps[1]++;
        assert(load(cpu, HANDLE) == 1 && ended[1] == 0);
        keeps[1]--
    fi;
    drop(cpu, HOLD);
refused:
    skip
}

init
{
    run looker(1);
    run looker(2)
}

active proctype observer()
{
    timeout;
    assert(ended[1] == 1 && ended[2] == 1 && !locked)
}
