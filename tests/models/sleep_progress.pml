/* Sleep of the progress thread, and who wakes it: it may sleep for good only while every worker sleeps.
 *
 * From the code:
 *   progress  lib/sched/sched_progress.c progress_main(), progress_wait(), all_asleep()
 *   worker    lib/sched/sched_worker.c worker_sleep(), worker_awake(); lib/sched/sched_progress.c progress_kick()
 *   waker     lib/sched/sched_worker.c sched_wake_worker(), with its progress_kick()
 * One worker; it wakes for a task, or by itself for a message, whose handling is the task then. The task ends only when
 * a second message was handled, which the worker can not do while the task runs.
 *
 * Holds: both messages are handled, the task ends.
 *
 * variants: NO_FENCE_PROGRESS NO_FENCE_KICK NO_SECOND_LOOK NO_KICK_BY_WAKER NO_KICK_BY_WORKER */
#define WORKER   0 /* processors */
#define WAKER    1
#define PROGRESS 2
#define PROCS    3

#define SLEEPERS 0 /* words */
#define ASLEEP   1
#define WORD     2 /* progress_word */
#define RING     3
#define QUEUE    4
#define WORDS    5
#define DEPTH    5
#include "tso.h"

#define AWAKE 0
#define TASKS 2

byte handled, begun; /* messages, tasks */
bool stop;

inline progress_kick(cpu)
{
#ifndef NO_FENCE_KICK
    fence(cpu);
#endif
    if
    :: load(cpu, WORD) == 1 ->
        d_step { flushed(cpu); kicked = (memory[WORD] == 1); memory[WORD] = 0 }
        if
        :: kicked -> futex_wake(cpu, PROGRESS)
        :: else
        fi;
        kicked = false
    :: else
    fi
}

/* True for whoever turned "asleep" into "awake": he counts the worker. */
inline awake(cpu, mine)
{
    d_step { flushed(cpu); mine = (memory[ASLEEP] != AWAKE); memory[ASLEEP] = AWAKE }
    if
    :: mine -> add_relaxed(cpu, SLEEPERS, 255)
    :: else
    fi
}

active proctype worker()
{
    bool mine, kicked;
    do
    :: stop -> break
    :: !stop && load(WORKER, QUEUE) > begun ->
        begun++;
        handled == begun || stop /* the task: it needs one more message than there were tasks */
    :: !stop && load(WORKER, QUEUE) == begun ->
        add_relaxed(WORKER, SLEEPERS, 1);
        store(WORKER, ASLEEP, 1);
        fence(WORKER);
        if
        :: load(WORKER, QUEUE) == begun ->
            /* Until a waker or a message; the second message comes in the task, not here. */
            (memory[ASLEEP] == AWAKE || stop)
        :: else
        fi;
        awake(WORKER, mine);
        mine = false;
#ifndef NO_KICK_BY_WORKER
        progress_kick(WORKER)
#endif
    od
}

active proctype waker()
{
    byte pushed;
    bool mine, kicked;
    do
    :: pushed < TASKS ->
        pushed++;
        store(WAKER, QUEUE, pushed);
        fence(WAKER);
        if
        :: load(WAKER, ASLEEP) != AWAKE ->
            awake(WAKER, mine);
#ifndef NO_KICK_BY_WAKER
            if
            :: mine -> progress_kick(WAKER)
            :: else
            fi;
#endif
            mine = false
        :: else
        fi
    :: else -> break
    od
}

active proctype sender()
{
    memory[RING] = 1;
    handled == 1 || stop;
    memory[RING] = 2
}

active proctype progress()
{
    do
    :: stop -> break
    :: !stop && load(PROGRESS, SLEEPERS) == 0 ->
        /* A tick; it polls when nobody else did. */
        if
        :: memory[RING] > handled && !stop -> handled++
        :: else
        fi
    :: !stop && load(PROGRESS, SLEEPERS) > 0 ->
        store(PROGRESS, WORD, 1);
#ifndef NO_FENCE_PROGRESS
        fence(PROGRESS);
#endif
        if
#ifndef NO_SECOND_LOOK
        :: load(PROGRESS, SLEEPERS) == 0
#endif
        :: load(PROGRESS, SLEEPERS) > 0 ->
            d_step { flushed(PROGRESS); sleeps[PROGRESS] = (memory[WORD] == 1) }
            (!sleeps[PROGRESS] || stop)
#ifdef NO_SECOND_LOOK
        :: else -> (false)
#endif
        fi;
        store(PROGRESS, WORD, 0)
    od
}

active proctype observer()
{
    timeout;
    assert(begun == TASKS && handled == TASKS);
    stop = true
}
