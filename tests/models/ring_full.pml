/* A ring that is full: what does not fit waits in parcels of the sending rank, until the receiver has made room.
 *
 * From the code:
 *   sender    lib/net/net_shm_send.c shm_send(), shm_out_put(), shm_out_queue(); lib/net/net_ring.c net_ring_reserve(),
 *             net_ring_publish(). Threads of one rank.
 *   poller    of that rank: lib/net/net_shm_send.c shm_flush(), from lib/net/net_shm_poll.c shm_poll() and
 *             lib/net/net_shm.c shm_sleep()
 *   receiver  of another rank: lib/net/net_ring.c net_ring_peek(), net_ring_tell(); lib/net/net_shm_poll.c
 *             shm_in_take(); with RECEIVER_SLEEPS lib/net/net_shm.c shm_sleep()
 * Every record takes one place: skip marks, records of several sizes and long messages are left out. So are doorbells
 * and futexes (sleep_net.pml has them): who finds "asleep" and takes it away has ended the sleep. `queues` and
 * `waiting` are one word. It is stored under the lock, and "blocked" is taken away by a store too: both are weaker than
 * the code's operations, so nothing leans on the order of those.
 *
 * A step is one access to memory that others may come between, with what the processor does by itself before and
 * after; with ALL_STEPS every statement is one.
 *
 * Holds: every message is received once, those of a thread in their order. A lost wake-up is an end in which the
 * poller sleeps while parcels wait.
 *
 * It shows too that the mark and the fence of a sending thread that finds no room are not leant on: what it queues
 * the poller sees, and marks the ring itself before it sleeps.
 *
 * cases: THREADS=2 RECEIVER_SLEEPS
 * deep: ALL_STEPS
 * variants: NO_FENCE_RESERVE NO_FENCE_CONSUME NO_FENCE_SLEEP NO_FENCE_KNOCK_SENDER NO_FENCE_KNOCK_RECEIVER
 * variants: NO_SECOND_LOOK NO_FLUSH_BEFORE_SLEEP NO_KNOCK_AFTER_QUEUE RECEIVER_SLEEPS:NO_KNOCK_AFTER_FLUSH
 * variants: CLEARED_LATE FLUSH_MARKS_NOTHING OVERTAKES FLUSH_WITHOUT_LOCK TOLD_LATE TOLD_FIRST NO_ROOM_FOR_MARK
 * variants: OLD_MARK_STAYS */
#ifdef RECEIVER_SLEEPS
#define THREADS 1
#endif
#ifndef THREADS
#define THREADS 2
#endif
#ifdef ALL_STEPS
#define together
#else
#define together atomic
#endif

#if THREADS == 1
#define MESSAGES(t) 4 /* of a thread */
#define ALL         4
#else
#define MESSAGES(t) (3 - (t))
#define ALL         5
#endif

#define POLLER   THREADS /* processors: sending threads first */
#define RECEIVER (THREADS + 1)
#define PROCS    (THREADS + 2)

#define PLACES 3 /* of the ring; one is left for the mark after the last record */
#ifdef TOLD_LATE
#define TOLD_EACH PLACES
#else
#define TOLD_EACH 2 /* records taken between two times that the senders are told so */
#endif

#define TAKEN     0 /* words */
#define BLOCKED   1
#define LOCK      2
#define WAITING   3
#define ASLEEP(p) (4 + (p) - POLLER) /* POLLER or RECEIVER */
#define MARK(i)   (6 + (i))          /* which message is there; 0: none */
#define WORDS     (6 + PLACES)
#define DEPTH     8
#include "tso.h"

#define MESSAGE(thread, number) (1 + (thread) * 4 + (number))

/* Under the lock. */
chan parcels = [ALL] of { byte };
byte put, taken_seen, writer;

byte received;

/* net_knock() */
inline knock(cpu, sleeper)
{
    if
#if defined NO_FENCE_KNOCK_SENDER
    :: cpu == RECEIVER -> fence(cpu)
#elif defined NO_FENCE_KNOCK_RECEIVER
    :: cpu != RECEIVER -> fence(cpu)
#else
    :: true -> fence(cpu)
#endif
    :: else
    fi;
    if
    :: load(cpu, ASLEEP(sleeper)) -> exchange(cpu, ASLEEP(sleeper), 0, old); old = 0
    :: else
    fi
}

inline lock(cpu)
{
    d_step { flushed(cpu) && memory[LOCK] == 0 -> memory[LOCK] = 1 }
}

inline unlock(cpu)
{
    store(cpu, LOCK, 0)
}

#define next(i) ((i) == PLACES - 1 -> 0 : (i) + 1)

inline look_for_room(cpu)
{
    d_step
    {
        taken_seen = load(cpu, TAKEN);
#ifdef NO_ROOM_FOR_MARK
        room = (put + 1 <= taken_seen + PLACES)
#else
        room = (put + 2 <= taken_seen + PLACES) /* a record, and the mark after it */
#endif
    }
}

/* net_ring_reserve(); without the look at what was seen last, which is for speed. */
inline reserve(cpu)
{
    look_for_room(cpu);
    if
    :: room
    :: else ->
#ifdef FLUSH_MARKS_NOTHING
        if
        :: cpu != POLLER -> store(cpu, BLOCKED, 1)
        :: else
        fi;
#else
        store(cpu, BLOCKED, 1);
#endif
#ifndef NO_FENCE_RESERVE
        fence(cpu);
#endif
#ifndef NO_SECOND_LOOK
        look_for_room(cpu)
#endif
    fi
}

/* net_ring_publish() */
inline publish(cpu, message)
{
#ifndef OLD_MARK_STAYS
    store(cpu, MARK(next(writer)), 0);
#endif
    store(cpu, MARK(writer), message);
    put++;
    writer = next(writer)
}

active [THREADS] proctype sender()
{
    byte me = _pid - PROCS, sent, old;
    bool room;
    do
    :: sent < MESSAGES(me) ->
        together
        {
            lock(me);
#ifdef OVERTAKES
            reserve(me);
#else
            if
            :: empty(parcels) -> reserve(me)
            :: nempty(parcels)
            fi;
#endif
            if
            :: room -> publish(me, MESSAGE(me, sent))
            :: else ->
                store(me, WAITING, 1);
                parcels ! MESSAGE(me, sent)
            fi;
            room = false;
            sent++;
            unlock(me)
        }
        together
        {
            knock(me, RECEIVER)
        }
#ifndef NO_KNOCK_AFTER_QUEUE
        together
        {
            if
            :: load(me, WAITING) -> knock(me, POLLER)
            :: else
            fi
        }
#endif
    :: else -> break
    od
}

/* shm_flush() */
inline flush()
{
    if
    :: load(POLLER, WAITING) ->
#ifndef FLUSH_WITHOUT_LOCK
        lock(POLLER);
#endif
        do
        :: nempty(parcels) ->
            reserve(POLLER);
            if
            :: room ->
                parcels ? message;
                publish(POLLER, message);
                moved = true
            :: else -> break
            fi
        :: empty(parcels) ->
            store(POLLER, WAITING, 0);
            break
        od;
        room = false;
        message = 0;
#ifndef FLUSH_WITHOUT_LOCK
        unlock(POLLER);
#endif
#ifndef NO_KNOCK_AFTER_FLUSH
        if
        :: moved -> knock(POLLER, RECEIVER)
        :: else
        fi
#endif
    :: else
    fi
}

active proctype poller()
{
    byte message, old;
    bool room, moved;
    do
    :: received == ALL -> break
    :: load(POLLER, WAITING) ->
        /* shm_poll() */
        together
        {
            flush();
            moved = false
        }
    :: received != ALL ->
        /* shm_sleep() */
        together
        {
            store(POLLER, ASLEEP(POLLER), 1);
#ifndef NO_FENCE_SLEEP
            fence(POLLER);
#endif
#ifndef NO_FLUSH_BEFORE_SLEEP
            flush();
#endif
            if
            :: moved
            :: else -> flushed(POLLER) && (memory[ASLEEP(POLLER)] == 0 || received == ALL)
            fi;
            store(POLLER, ASLEEP(POLLER), 0);
            moved = false
        }
    od
}

inline tell()
{
    if
    :: taken - told >= TOLD_EACH ->
        told = taken;
        store(RECEIVER, TAKEN, taken);
#ifndef NO_FENCE_CONSUME
        fence(RECEIVER);
#endif
        if
        :: load(RECEIVER, BLOCKED) ->
#ifdef CLEARED_LATE
            knock(RECEIVER, POLLER);
            store(RECEIVER, BLOCKED, 0)
#else
            store(RECEIVER, BLOCKED, 0);
            knock(RECEIVER, POLLER)
#endif
        :: else
        fi
    :: else
    fi
}

active proctype receiver()
{
    byte reader, taken, told, numbers[THREADS], old;
    do
    :: received == ALL -> break
    :: load(RECEIVER, MARK(reader)) != 0 ->
        together
        {
#ifdef TOLD_FIRST
            taken++;
            tell();
#endif
            /* The handler reads the record where it lies. */
            d_step
            {
                old = load(RECEIVER, MARK(reader)) - 1;
                assert(old % 4 == numbers[old / 4]);
                numbers[old / 4]++;
                received++;
                reader = next(reader);
                old = 0
            }
#ifndef TOLD_FIRST
            taken++;
            tell()
#endif
        }
#ifdef RECEIVER_SLEEPS
    :: received != ALL ->
        together
        {
            store(RECEIVER, ASLEEP(RECEIVER), 1);
            fence(RECEIVER);
            if
            :: load(RECEIVER, MARK(reader)) != 0
            :: else -> memory[ASLEEP(RECEIVER)] == 0
            fi;
            store(RECEIVER, ASLEEP(RECEIVER), 0)
        }
#endif
    od
}
