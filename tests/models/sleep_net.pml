/* Sleep of a rank's poller, and who wakes it: other ranks by messages, threads of its own by net_wake().
 *
 * From the code:
 *   sender    lib/net/net_ring.c net_ring_publish(); lib/net/net_inline.h net_knock(); lib/net/net_shm.c shm_look_at_bell()
 *   waker     lib/net/net_shm.c shm_wake(), after something was pushed
 *   sleeper   lib/net/net_shm.c shm_sleep(), shm_sleep_wait(); lib/net/net_shm_poll.c shm_ready(), shm_poll()
 * Left out: deadlines, deaths, parcels.
 *
 * Holds: whatever was sent or pushed is handled. A lost wake-up is an end in which the sleeper stays in its futex.
 *
 * UNEVEN: the sleeper's fence is a heavy one, and who wakes it has none but the compiler's.
 *
 * cases: EVEN UNEVEN
 * deep: TWO_EACH
 * variants: UNEVEN:NO_HEAVY_FENCE NO_FENCE_SENDER NO_FENCE_SLEEPER NO_SECOND_LOOK DOORBELL_READ_LATE PENDING_BIT */
#define SENDERS     2
#ifdef TWO_EACH
#define MESSAGES(s) 2 /* of each sender */
#else
#define MESSAGES(s) (2 - (s))
#endif

#define SLEEPER SENDERS /* processors: senders first */
#define WAKER   (SENDERS + 1)
#define PROCS   (SENDERS + 2)

#define ASLEEP   0 /* words */
#define DOORBELL 1
#define WAKE     2
#define WORK     3
#define BIT      4
#define MARK(s)  (5 + (s)) /* messages in the ring */
#define WORDS    (5 + SENDERS)
#define DEPTH    4
#include "tso.h"

/* net_knock(), shm_look_at_bell() */
inline knock(cpu)
{
#ifndef UNEVEN
#ifndef NO_FENCE_SENDER
    fence(cpu);
#endif
#endif
    if
    :: load(cpu, ASLEEP) ->
        exchange(cpu, ASLEEP, 0, old);
        if
        :: old ->
            add(cpu, DOORBELL, 1);
            futex_wake(cpu, SLEEPER)
        :: else
        fi
    :: else
    fi
}

active [SENDERS] proctype sender()
{
    byte me = _pid - PROCS, sent, old;
    do
    :: sent < MESSAGES(me) ->
        sent++;
        store(me, MARK(me), sent);
#ifdef PENDING_BIT
        /* "Set the pending bit unless it is set": no fence, as an atomic per message seems to do without. */
        if
        :: load(me, BIT) == 0 ->
            exchange(me, BIT, 1, old);
            if
            :: old == 0 ->
                add(me, DOORBELL, 1);
                futex_wake(me, SLEEPER)
            :: else
            fi
        :: else
        fi
#else
        knock(me)
#endif
    :: else -> break
    od
}

active proctype waker()
{
    byte old;
    store(WAKER, WORK, 1);
#ifdef PENDING_BIT
    exchange(WAKER, BIT, 1, old);
    add(WAKER, DOORBELL, 1);
    futex_wake(WAKER, SLEEPER)
#else
    store(WAKER, WAKE, 1);
    knock(WAKER)
#endif
}

active proctype sleeper()
{
    byte taken[SENDERS], bell, old;
    bool worked;
#define busy     (load(SLEEPER, WORK) && !worked)
#define all_done (taken[0] == MESSAGES(0) && taken[1] == MESSAGES(1) && worked)
    do
    :: load(SLEEPER, MARK(0)) != taken[0] -> taken[0]++
    :: load(SLEEPER, MARK(1)) != taken[1] -> taken[1]++
    :: busy -> worked = true
    :: all_done -> break
    :: !all_done ->
        /* It has looked around and found nothing, or what it found came since: it goes to sleep. */
#ifndef DOORBELL_READ_LATE
        bell = load(SLEEPER, DOORBELL);
#endif
#ifdef PENDING_BIT
        exchange(SLEEPER, BIT, 0, old);
#else
        store(SLEEPER, ASLEEP, 1);
#ifndef NO_FENCE_SLEEPER
        fence(SLEEPER);
#ifdef UNEVEN
#ifndef NO_HEAVY_FENCE
        /* membarrier: every processor passes a full fence, some time before this ends. */
        fence(0);
        fence(1);
        fence(WAKER);
#endif
#endif
#endif
#endif
        if
#ifndef NO_SECOND_LOOK
        :: load(SLEEPER, WAKE) -> goto awake
        :: else
        fi;
        if
        :: load(SLEEPER, MARK(0)) != taken[0] -> goto awake
        :: else
        fi;
        if
        :: load(SLEEPER, MARK(1)) != taken[1] -> goto awake
        :: else
        fi;
        if
        :: busy -> goto awake
#endif
        :: else
        fi;
#ifdef DOORBELL_READ_LATE
        bell = load(SLEEPER, DOORBELL);
#endif
        futex_wait(SLEEPER, DOORBELL, bell);
    awake:
#ifndef PENDING_BIT
        store(SLEEPER, ASLEEP, 0);
        exchange(SLEEPER, WAKE, 0, old)
#else
        skip
#endif
    od
}
