/*
 * What the bare programs share: records of tasks from a pool, and a table of results with tags and counts.
 *
 * A task is a record with function pointer and argument; it goes back to the pool when the task has run. Its
 * result is an entry of the table, which lives as long as somebody counts: the submitter and the task, of
 * which either may end first, on any thread. It is named by a handle, which carries slot and tag (a
 * generation), so that an old handle is told from a new one.
 */
#ifndef BARE_H
#define BARE_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#include "../bench.h"

/* What a user would call; in a library these are calls and no more can be known about their arguments. */
#define API BENCH_NOINLINE

#define SLOTS     (1u << 17)
#define SLOT_BITS 24
#define READY     (UINT64_C(1) << 32)

struct entry {
    uint64_t handle;        /* tag and slot */
    _Atomic uint64_t state; /* holds, and READY */
    int64_t result;
    uint64_t fill[5]; /* as large as an entry with waiters and a result of 40 bytes */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct entry) == 64, "a cache line");

struct record {
    int64_t (*function)(int64_t argument);
    int64_t argument;
    uint64_t handle;   /* of the result; ring: at the submitter's */
    uint64_t fill[13]; /* as large as a record with a few arguments */
} __attribute__((aligned(128)));
_Static_assert(sizeof(struct record) == 128, "two cache lines");

static struct entry *table;
static uint32_t *free_slots;
static unsigned free_count;
static struct record *pool;
static struct record **free_records;
static unsigned free_record_count;
static struct record *returned[SLOTS]; /* by another thread */
static _Atomic unsigned returned_end;

static inline void *huge(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bench_require(memory != MAP_FAILED, "memory");
    madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
}

static inline void pool_init(void)
{
    table = huge(SLOTS * sizeof *table);
    pool = huge(SLOTS * sizeof *pool);
    free_slots = malloc(SLOTS * sizeof *free_slots);
    free_records = malloc(SLOTS * sizeof *free_records);
    bench_require(free_slots != NULL && free_records != NULL, "memory");
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        table[slot].handle = 1u << SLOT_BITS | slot;
        free_slots[SLOTS - 1 - slot] = slot;
        free_records[SLOTS - 1 - slot] = &pool[slot];
    }
    free_count = free_record_count = SLOTS;
}

static inline void record_free(struct record *record)
{
    free_records[free_record_count++] = record;
}

/** Several from the one thread that is not the pool's. */
static inline void records_return(struct record *const *records, unsigned count)
{
    unsigned end = atomic_load_explicit(&returned_end, memory_order_relaxed);
    for (unsigned i = 0; i < count; i++)
        returned[(end + i) % SLOTS] = records[i];
    atomic_store_explicit(&returned_end, end + count, memory_order_release);
}

static API void records_collect(void)
{
    static unsigned taken;
    unsigned end = atomic_load_explicit(&returned_end, memory_order_acquire);
    bench_require(end != taken, "pool is empty");
    for (; taken != end; taken++)
        record_free(returned[taken % SLOTS]);
}

static inline struct record *record_new(void)
{
    if (free_record_count == 0)
        records_collect();
    return free_records[--free_record_count];
}

static inline struct entry *entry_new(uint64_t holds)
{
    bench_require(free_count > 0, "table is full");
    struct entry *entry = &table[free_slots[--free_count]];
    atomic_store_explicit(&entry->state, holds, memory_order_relaxed);
    return entry;
}

/** The entry of a handle, if that is still the one it names. */
static inline struct entry *look_up(uint64_t handle)
{
    struct entry *entry = &table[handle & ((1u << SLOT_BITS) - 1)];
    bench_require(entry->handle == handle, "stale handle");
    return entry;
}

static inline int is_ready(struct entry *entry)
{
    /* acquire: the result before READY */
    return atomic_load_explicit(&entry->state, memory_order_acquire) >= READY;
}

static inline void entry_free(struct entry *entry)
{
    entry->handle += 1u << SLOT_BITS;
    free_slots[free_count++] = (uint32_t)(entry - table);
}

/** Lets go of a hold; `more` is READY when a result has just come. */
static inline void drop(struct entry *entry, uint64_t more)
{
    /* release: the result before READY, and all uses before the end; acquire: the end after all of them */
    uint64_t before = atomic_fetch_add_explicit(&entry->state, more - 1, memory_order_acq_rel);
    if (before + more == READY + 1)
        entry_free(entry);
}

static inline void complete(struct entry *entry, int64_t result)
{
    entry->result = result;
    drop(entry, READY);
}

/** Lets go of the submitter's hold. */
static API void release(uint64_t handle)
{
    drop(look_up(handle), 0);
}

#endif
