/* Ends of tasks that travel together: the thread that leaves them and sends them, without atomic operations, and the
 * progress thread, which sends what is late.
 *
 * From the code, lib/task/task_internal.h and task_ends.c:
 *   thread    task_end_later(), task_ends_enter(), task_ends_enter_second(), task_ends_leave(), task_ends_settle()
 *   progress  ends_look()
 * Left out: that ends of several owners do not mix.
 *
 * Holds: the two are never in at once, and every end is sent exactly once, as it was left.
 *
 * UNEVEN: the thread's fence is light and the progress thread's heavy; EVEN: both are full fences, for kernels without.
 * cases: UNEVEN EVEN
 * variants: UNEVEN:NO_HEAVY_FENCE EVEN:NO_LIGHT_FENCE UNEVEN:NO_LOOK_AT_LATE UNEVEN:NO_LOOK_AT_BUSY */
#define ENDS  3
#define TICKS 3

#define PROCS    2 /* the thread, the progress thread */
#define THREAD   0
#define PROGRESS 1

#define BUSY   0 /* words */
#define LATE   1
#define COUNT  2
#define END(i) (3 + (i))
#define WORDS  (3 + ENDS)
#define DEPTH  24
#include "tso.h"

byte sent[ENDS + 1];
byte inside;

inline send(cpu)
{
    i = 0;
    do
    :: i < load(cpu, COUNT) ->
        end = load(cpu, END(i));
        assert(end > 0);
        sent[end]++;
        assert(sent[end] == 1);
        i++
    :: else -> break
    od;
    i = 0;
    end = 0;
    store(cpu, COUNT, 0)
}

inline light_fence()
{
#ifdef EVEN
#ifndef NO_LIGHT_FENCE
    fence(THREAD);
#endif
#endif
    skip
}

/* membarrier: every processor passes a full fence, some time before this ends. */
inline heavy_fence()
{
#ifndef NO_HEAVY_FENCE
    fence(PROGRESS);
#ifdef UNEVEN
    fence(THREAD);
#endif
#endif
    skip
}

inline enter()
{
    store(THREAD, BUSY, 1);
    light_fence();
#ifndef NO_LOOK_AT_LATE
    do
    :: load(THREAD, LATE) ->
        store(THREAD, BUSY, 0);
        !load(THREAD, LATE);
        store(THREAD, BUSY, 1);
        light_fence();
    :: !load(THREAD, LATE) -> break
    od;
#endif
    inside++;
    assert(inside == 1)
}

inline leave()
{
    inside--;
    store(THREAD, BUSY, 0)
}

active proctype thread()
{
    byte left, i, end;
    do
    :: left < ENDS ->
        left++;
        enter();
        end = load(THREAD, COUNT);
        store(THREAD, END(end), left);
        store(THREAD, COUNT, end + 1);
        end = 0;
        leave();
        if
        :: left < ENDS /* another follows */
        :: enter(); send(THREAD); leave()
        fi
    :: left == ENDS -> break
    od
}

active proctype progress()
{
    byte ticks, i, end;
    do
    :: ticks < TICKS && load(PROGRESS, COUNT) > 0 ->
        ticks++;
        store(PROGRESS, LATE, 1);
        heavy_fence();
#ifndef NO_LOOK_AT_BUSY
        !load(PROGRESS, BUSY);
#endif
        inside++;
        assert(inside == 1);
        send(PROGRESS);
        inside--;
        store(PROGRESS, LATE, 0)
    :: break
    od
}

active proctype observer()
{
    timeout;
    assert(sent[1] == 1 && sent[2] == 1 && sent[3] == 1)
}
