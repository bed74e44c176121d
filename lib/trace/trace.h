/* What happened when: a ring of events and an array of counters per thread, always on. Only the owner of a
 * thread's ring writes to it, without locks or atomic read-modify-writes; the oldest events are overwritten.
 */
#ifndef RAYMPI_TRACE_H
#define RAYMPI_TRACE_H

#include "base/base.h"

#include <stdio.h>

/** Kinds of events and what their two values mean; a value that is a registered name's hash is shown by name.
 */
enum trace_kind {
    TRACE_TASK_BEGIN = 0, /* a = name hash, b = handle */
    TRACE_TASK_END,       /* the same, also for the next three */
    TRACE_TASK_BLOCK,     /* the task leaves its worker to wait */
    TRACE_TASK_RESUME,
    TRACE_TASK, /* it has begun and ended at this moment */
    TRACE_SLEEP_BEGIN,
    TRACE_SLEEP_END,
    TRACE_SUBMIT,       /* a = name hash, b = handle */
    TRACE_SEND_TASK,    /* a = name hash, b = target rank */
    TRACE_STEAL,        /* a = victim rank, b = tasks got */
    TRACE_POLL,         /* a = messages delivered; only polls that found some */
    TRACE_SEND,         /* a = message type, b = target rank */
    TRACE_RECEIVE,      /* a = message type, b = source rank */
    TRACE_STORE_CREATE, /* a = handle, b = bytes; also for the next two */
    TRACE_STORE_SEAL,
    TRACE_STORE_RELEASE,
    TRACE_STORE_WAIT,    /* a = bytes asked of a full store */
    TRACE_STORE_SPILL,   /* a = objects written to disk, b = bytes; as it is noticed */
    TRACE_STORE_RESTORE, /* a = the holder's number on this host, b = bytes; from disk */
    TRACE_STORE_FETCH,   /* a = holder, b = bytes; from another host; also for the next one */
    TRACE_STORE_EVICT,   /* a copy was given up */
    TRACE_ACTOR_CREATE,  /* a = class name hash, b = handle; also for the next one */
    TRACE_ACTOR_END,
    TRACE_KINDS
};
/** E.g. "task begin"; "?" for what is no kind. Static storage. */
const char *trace_kind_text(unsigned kind);

enum trace_counter {
    TRACE_COUNT_SUBMITTED = 0, /* tasks and method calls made here */
    TRACE_COUNT_RUN,           /* tasks and method calls run here */
    TRACE_COUNT_FAILED,
    TRACE_COUNT_BLOCKED, /* times that a task left its worker to wait */
    TRACE_COUNT_SENT,    /* tasks placed on another rank */
    TRACE_COUNT_STOLEN,  /* tasks taken from another rank */
    TRACE_COUNT_ACTORS,  /* actors created here */
    TRACE_COUNT_PUTS,    /* objects made in the store */
    TRACE_COUNT_PUT_BYTES,
    TRACE_COUNT_MESSAGES, /* messages sent */
    TRACE_COUNT_MESSAGE_BYTES,
    TRACE_COUNT_FAR_MESSAGES, /* of those, to other hosts */
    TRACE_COUNT_FAR_BYTES,
    TRACE_COUNT_SLEEPS,
    TRACE_COUNT_MALFORMED, /* messages and packets that were dropped */
    TRACE_COUNTERS
};
/** Short, for a column: "submitted". */
const char *trace_counter_text(unsigned counter);

/** One event: nothing but words, so that a reader of a running ring sees no torn word. */
struct trace_slot {
    _Atomic uint64_t stamp; /* ticks since the trace was opened << 8 | kind */
    _Atomic uint64_t a, b;
};

struct trace;

/** Owned by one thread at a time. Private but for the inline functions below. */
struct trace_thread {
    _Alignas(BASE_CACHE_LINE) struct trace_slot *slots;
    uint64_t mask;         /* number of slots - 1 */
    uint64_t start;        /* tick at which the trace was opened */
    bool counter_register; /* ticks are the processor's; else base_now() */
    bool in_use;           /* by a thread; guarded by the trace's lock */
    _Atomic uint64_t head; /* events ever written */
    struct trace_thread *next;
    char name[32];
    _Alignas(BASE_CACHE_LINE) _Atomic uint64_t counters[TRACE_COUNTERS];
};

/** A trace of node `rank`, keeping at least events_per_thread - 1 events per thread. MEMORY. */
int trace_open(struct trace **trace, int rank, uint64_t events_per_thread);
/** No thread may write any more. */
void trace_close(struct trace *trace);

/** The calling thread's ring and counters; `name` is "worker 0", "progress", ... A closed ring of the same
 * name is continued, so that threads which come and go do not add up. NULL (and a detail text) without
 * memory: all functions take NULL and do nothing. */
struct trace_thread *trace_thread_open(struct trace *trace, const char *name);
/** What was recorded stays in the trace. */
void trace_thread_close(struct trace *trace, struct trace_thread *thread);

/** Gives a hash (base_hash_name) its name in timelines; the first name stays. Any thread. MEMORY. */
int trace_name(struct trace *trace, uint64_t hash, const char *name);

/** Tick of the cheapest clock: the processor's counter where it runs evenly, else nanoseconds. */
static inline uint64_t trace_ticks(bool counter_register)
{
#if defined(__x86_64__)
    if (base_likely(counter_register))
        return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    if (base_likely(counter_register)) {
        uint64_t ticks;
        __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
        return ticks;
    }
#else
    (void)counter_register;
#endif
    return base_now();
}

/* Ticks of something brief: a microsecond or less, as the processor's counter runs. */
#if defined(__aarch64__)
#define TRACE_BRIEF 25
#else
#define TRACE_BRIEF 1000
#endif

/** Ticks since the trace was opened. */
static inline uint64_t trace_now(const struct trace_thread *thread)
{
    return base_likely(thread != NULL) ? trace_ticks(thread->counter_register) - thread->start : 0;
}

/** Records an event of a moment that trace_now() told; owner of `thread` only. */
static inline void trace_event_at(struct trace_thread *thread, enum trace_kind kind, uint64_t a, uint64_t b,
                                  uint64_t ticks)
{
    if (base_unlikely(thread == NULL))
        return;
    /* relaxed: only this thread writes it */
    uint64_t head = atomic_load_explicit(&thread->head, memory_order_relaxed);
    struct trace_slot *slot = &thread->slots[head & thread->mask];
    /* release, each: whoever sees a word of this event also sees the head of the event before, and so knows
     * that this slot's old event is gone. Costs nothing on x86-64. */
    atomic_store_explicit(&slot->stamp, ticks << 8 | (uint64_t)kind, memory_order_release);
    atomic_store_explicit(&slot->a, a, memory_order_release);
    atomic_store_explicit(&slot->b, b, memory_order_release);
    /* release: the event is complete for whoever sees this head */
    atomic_store_explicit(&thread->head, head + 1, memory_order_release);
}

/** Records an event of now; owner of `thread` only. */
static inline void trace_event(struct trace_thread *thread, enum trace_kind kind, uint64_t a, uint64_t b)
{
    trace_event_at(thread, kind, a, b, trace_now(thread));
}

/** Adds n to a counter; owner of `thread` only. */
static inline void trace_count(struct trace_thread *thread, enum trace_counter counter, uint64_t n)
{
    if (base_unlikely(thread == NULL))
        return;
    /* relaxed, and no atomic add: one writer; readers want a number, not an order */
    uint64_t value = atomic_load_explicit(&thread->counters[counter], memory_order_relaxed);
    atomic_store_explicit(&thread->counters[counter], value + n, memory_order_relaxed);
}

/** Sum over all threads, closed ones included. Any thread, while others count. */
uint64_t trace_counter_sum(struct trace *trace, enum trace_counter counter);
/** All sums: a row of trace_table(). */
void trace_counters(struct trace *trace, uint64_t sums[TRACE_COUNTERS]);

/** This rank's events and names as bytes, times in nanoseconds of base_now(); free() them. Any thread, while
 * others write. MEMORY. */
int trace_serialize(struct trace *trace, char **buffer, size_t *length);
/**
 * Writes `count` serialized traces as Chrome/Perfetto JSON: a process per rank, a row per thread, slices for
 * tasks and sleep, marks for the rest. Nothing is written unless all buffers are well-formed. ARGUMENT for
 * one that is not, CONFIG when the file can not be written, MEMORY.
 */
int trace_write_json(FILE *file, const char *const *buffers, const size_t *lengths, int count);

/** Prints the table of RAYMPI_STATS: a row per rank, a column per counter, totals. `sums` holds `count` rows
 * of TRACE_COUNTERS, row i for rank i. */
void trace_table(FILE *file, const uint64_t *sums, int count);

#endif
