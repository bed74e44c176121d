/*
 * What the bare programs share: records from a pool, which are also the table of results.
 *
 * A task is a record with function pointer, argument and result inside. It is named by a handle, which
 * carries slot and generation, so that an old handle is told from a new one. It has two holds, the
 * submitter's and its own, since either may end first, on any thread.
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

struct record {
    uint64_t handle;        /* generation and slot */
    _Atomic uint64_t state; /* holds, and READY */
    int64_t (*function)(int64_t argument);
    int64_t argument;
    int64_t result;
    uint64_t name;     /* ring: the handle at the submitter's */
    uint64_t fill[10]; /* as large as a record with waiters and a result of 40 bytes */
} __attribute__((aligned(128)));
_Static_assert(sizeof(struct record) == 128, "two cache lines");

static struct record *table;
static uint32_t *free_slots;
static unsigned free_count;

static inline void pool_init(void)
{
    table = mmap(NULL, SLOTS * sizeof *table, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(table, SLOTS * sizeof *table, MADV_HUGEPAGE);
    free_slots = malloc(SLOTS * sizeof *free_slots);
    bench_require(table != MAP_FAILED && free_slots != NULL, "memory");
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        table[slot].handle = 1u << SLOT_BITS | slot;
        free_slots[SLOTS - 1 - slot] = slot;
    }
    free_count = SLOTS;
}

static inline struct record *record_new(void)
{
    bench_require(free_count > 0, "pool is empty");
    struct record *record = &table[free_slots[--free_count]];
    atomic_store_explicit(&record->state, 2, memory_order_relaxed);
    return record;
}

static inline void record_free(struct record *record)
{
    record->handle += 1u << SLOT_BITS;
    free_slots[free_count++] = (uint32_t)(record - table);
}

/** The object of a handle, if that is still the one it names. */
static inline struct record *look_up(uint64_t handle)
{
    struct record *record = &table[handle & ((1u << SLOT_BITS) - 1)];
    bench_require(record->handle == handle, "stale handle");
    return record;
}

static inline int is_ready(struct record *record)
{
    /* acquire: the result before READY */
    return atomic_load_explicit(&record->state, memory_order_acquire) >= READY;
}

static inline void complete(struct record *record, int64_t result)
{
    record->result = result;
    /* ready, and the task's own hold goes; release: the result before that */
    atomic_fetch_add_explicit(&record->state, READY - 1, memory_order_release);
}

/** Lets go of the submitter's hold. Here tasks have always ended by then, so this is the last. */
static API void release(uint64_t handle)
{
    struct record *record = look_up(handle);
    bench_require(atomic_load_explicit(&record->state, memory_order_acquire) == READY + 1, "holds");
    record_free(record);
}

#endif
