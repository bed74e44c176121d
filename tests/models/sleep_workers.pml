/* Sleep of a rank's workers, and who wakes them: pushes, wake-ups of blocked fibers, messages; and the poller's role.
 *
 * From the code:
 *   pusher    lib/sched/sched_inline.h sched_push_here(), sched_pushed(); lib/sched/sched_queue.c pushed();
 *             lib/sched/sched_worker.c sched_wake_one(), sched_wake_worker()
 *             lib/sched/sched_worker.c parker_wake(), of a fiber of worker 0
 *   worker    lib/sched/sched_worker.c worker_idle(), sched_poll(), worker_sleep(), worker_awake()
 *   progress  lib/sched/sched_progress.c progress_main(): some polls at any time
 * net_sleep() and net_wake() are taken for what sleep_net.pml shows of them. The pusher is a third worker who pushes
 * out of one long task. Tasks are long: each ends when all have begun, so an idle worker beside a waiting task is
 * an error too.
 *
 * Holds: every task begins, all at once; the fiber goes on; the message is handled; never two threads poll.
 *
 * UNEVEN: the worker's fence before it sleeps is a heavy one, and who pushes has none but the compiler's.
 *
 * cases: BESIDE=0 BESIDE=1 BESIDE=4 UNEVEN
 * deep: BESIDE=2 BESIDE=3
 * variants: UNEVEN:NO_HEAVY_FENCE BESIDE=0:NO_FENCE_PUSH BESIDE=1:NO_FENCE_UNPARK BESIDE=0:NO_FENCE_SLEEP BESIDE=3:WAKE_ONE_GIVES_UP
 * variants: BESIDE=4:SLEEP_BESIDE_PROGRESS BESIDE=4:ROLE_NOT_TAKEN_AT_ONCE */
#define WORKERS 2
/* What happens beside one task: 0: a second one; 1: a fiber's wake-up; 2: a message, and a poll of the progress
 * thread; 3: a second task, pushed by another thread at the same time. 4: as 2, without the task. */
#ifndef BESIDE
#define BESIDE 0
#endif
#if BESIDE == 4
#define TASKS 0 /* in all */
#else
#define TASKS (BESIDE == 0 || BESIDE == 3 -> 2 : 1)
#endif
#define UNPARKS  (BESIDE == 1)
#define MESSAGES (BESIDE == 2 || BESIDE == 4)
#define POLLS    MESSAGES

#if BESIDE == 3
#define PROCS (WORKERS + 2) /* workers first */
#else
#define PROCS (WORKERS + 1)
#endif

#define TOP       0 /* words; of all deques together */
#define READY     1 /* worker 0's remote_ready */
#define SLEEPERS  2
#define POLLER    3 /* 0: none, else processor + 1 */
#define WAKE      4
#define RING      5
#define ASLEEP(w) (6 + (w))
#define BOTTOM(p) (6 + (p)) /* of a pusher's deque, by processor */
#define WORDS     (6 + PROCS)
#define DEPTH     5
#include "tso.h"

#define AWAKE         0
#define ALONE         1
#define IN_NET        2
#define ROLE_PROGRESS 100

/* What has happened. */
byte begun, pollers;
bool resumed, handled, stop;

inline compare_exchange(cpu, word, expected, new, done)
{
    d_step {
        flushed(cpu);
        if
        :: memory[word] == expected ->
            memory[word] = new;
            done = true
        :: else ->
            expected = memory[word];
            done = false
        fi
    }
}

inline sched_wake_worker(cpu, w, woken)
{
    seen = load(cpu, ASLEEP(w));
    woken = false;
    do
    :: seen == AWAKE || woken -> break
    :: else ->
        was = seen;
        compare_exchange(cpu, ASLEEP(w), seen, AWAKE, woken)
    od;
    if
    :: woken ->
        add_relaxed(cpu, SLEEPERS, 255);
        if
        :: was == IN_NET -> store(cpu, WAKE, 1) /* net_wake(): keeps it, and wakes */
        :: else -> futex_wake(cpu, w)
        fi
    :: else
    fi;
    was = 0;
    seen = 0
}

inline sched_wake_one(cpu)
{
    i = 0;
    do
    :: i < WORKERS && load(cpu, ASLEEP(i)) != AWAKE ->
        sched_wake_worker(cpu, i, found);
#ifdef WAKE_ONE_GIVES_UP
        break
#else
        if
        :: found -> break
        :: else -> i++
        fi
#endif
    :: i < WORKERS && load(cpu, ASLEEP(i)) == AWAKE -> i++
    :: i == WORKERS -> break
    od;
    found = false;
    i = 0
}

/* sched_poll(); who holds the role handles what is there. */
inline poll(cpu)
{
    seen = 0;
#ifdef ROLE_NOT_TAKEN_AT_ONCE
    if
    :: load(cpu, POLLER) == 0 -> store(cpu, POLLER, cpu + 1); found = true
    :: else
    fi;
#else
    compare_exchange(cpu, POLLER, seen, cpu + 1, found);
#endif
    seen = 0;
    if
    :: found ->
        pollers++;
        assert(pollers == 1);
        if
        :: load(cpu, RING) && !handled -> handled = true
        :: else -> found = false
        fi;
        pollers--;
        store(cpu, POLLER, 0)
    :: else
    fi
}

active [WORKERS] proctype worker()
{
    byte me = _pid - PROCS, i, seen, was;
    bool found, role;
#if BESIDE == 3
#define bottoms (load(me, BOTTOM(WORKERS)) + load(me, BOTTOM(WORKERS + 1)))
#else
#define bottoms load(me, BOTTOM(WORKERS))
#endif
#define queued   (load(me, TOP) < bottoms)
#define has_work ((me == 0 && load(me, READY)) || queued)
    do
    :: stop -> break
    :: !stop && me == 0 && load(me, READY) ->
        exchange(me, READY, 0, seen);
        seen = 0;
        resumed = true
    :: d_step { !stop && queued -> seen = load(me, TOP) }
        compare_exchange(me, TOP, seen, seen + 1, found);
        seen = 0;
        if
        :: found -> found = false; begun++; (begun == TASKS || stop)
        :: else
        fi
    :: !stop && !has_work ->
        poll(me);
        if
        :: found -> found = false; goto next
        :: else
        fi;
        /* worker_sleep() */
        compare_exchange(me, POLLER, seen, me + 1, role);
        if
        :: role -> pollers++; assert(pollers == 1)
#ifndef SLEEP_BESIDE_PROGRESS
        :: !role && seen == ROLE_PROGRESS -> seen = 0; goto next
#endif
        :: else
        fi;
        seen = 0;
        add_relaxed(me, SLEEPERS, 1);
        store(me, ASLEEP(me), (role -> IN_NET : ALONE));
#ifndef NO_FENCE_SLEEP
        fence(me);
#ifdef UNEVEN
#ifndef NO_HEAVY_FENCE
        /* membarrier: every processor passes a full fence, some time before this ends. */
        fence(0);
        fence(1);
        fence(2);
#endif
#endif
#endif
        if
        :: has_work ->
            exchange(me, ASLEEP(me), AWAKE, seen);
            if
            :: seen != AWAKE -> add_relaxed(me, SLEEPERS, 255)
            :: else
            fi
        :: else ->
            if
            :: role && has_work
            :: role && !has_work ->
                (memory[WAKE] || memory[RING] && !handled || stop);
            :: !role && load(me, ASLEEP(me)) == ALONE ->
                d_step { flushed(me); sleeps[me] = (memory[ASLEEP(me)] == ALONE) }
                (!sleeps[me] || stop)
            :: else
            fi;
            if
            :: role -> exchange(me, WAKE, 0, seen)
            :: else
            fi;
            /* worker_awake() */
            seen = load(me, ASLEEP(me));
            do
            :: seen == AWAKE -> break
            :: else ->
                compare_exchange(me, ASLEEP(me), seen, AWAKE, found);
                if
                :: found -> add_relaxed(me, SLEEPERS, 255); break
                :: else
                fi
            od;
            found = false
        fi;
        seen = 0;
        if
        :: role ->
            role = false;
            pollers--;
            store(me, POLLER, 0);
            if
            :: has_work ->
                settled(me, SLEEPERS);
                if
                :: load(me, SLEEPERS) > 0 -> sched_wake_one(me)
                :: else
                fi
            :: else
            fi
        :: else
        fi;
        fence(me); /* progress_kick() */
    next:
        skip
    od
}

/* Pushes tasks, and wakes worker 0's fiber between any two of them. */
active [PROCS - WORKERS] proctype pusher()
{
    byte me = _pid - PROCS, i, seen, was, pushes;
    bool found, unparked;
    do
    :: pushes < TASKS / (PROCS - WORKERS) ->
        pushes++;
        store(me, BOTTOM(me), pushes);
#ifndef UNEVEN
#ifndef NO_FENCE_PUSH
        fence(me);
#endif
#endif
        if
        :: settled(me, SLEEPERS) && load(me, SLEEPERS) > 0 -> sched_wake_one(me)
        :: settled(me, SLEEPERS) && load(me, SLEEPERS) == 0
        fi
    :: UNPARKS && !unparked ->
        unparked = true;
        /* A compare-exchange of release order, whose store may come after later loads where the processor is not an
         * x86: a plain store stands for it. */
        store(me, READY, 1);
#ifndef NO_FENCE_UNPARK
        fence(me);
#endif
        sched_wake_worker(me, 0, found);
        found = false
    :: pushes == TASKS / (PROCS - WORKERS) && unparked == UNPARKS -> break
    od
}

/* Of another rank. It stores once, so a buffer of its own would add nothing. */
active proctype sender()
{
    if
    :: MESSAGES -> memory[RING] = 1
    :: else
    fi
}

/* Needs no buffer either: its only store, the role's release, is followed by nothing but read-modify-writes. */
active proctype progress()
{
    byte polls;
    do
    :: d_step {
           polls < POLLS && memory[POLLER] == 0 ->
           memory[POLLER] = ROLE_PROGRESS;
           polls++;
           pollers++;
           assert(pollers == 1)
       }
        handled = handled || memory[RING];
        d_step {
            pollers--;
            memory[POLLER] = 0
        }
    :: break
    od
}

active proctype observer()
{
    timeout;
    assert(begun == TASKS);
    assert(resumed == UNPARKS);
    assert(handled == MESSAGES);
    stop = true
}
