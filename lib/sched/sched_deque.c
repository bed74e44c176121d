#include "sched/sched_deque.h"

#include <stdlib.h>

#define DEQUE_FIRST 256

int sched_deque_init(struct sched_deque *deque)
{
    deque->slot = calloc(DEQUE_FIRST, sizeof deque->slot[0]);
    if (!deque->slot)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a worker's queue");
    deque->mask = DEQUE_FIRST - 1;
    deque->room_until = DEQUE_FIRST;
    base_spin_init(&deque->lock);
    atomic_init(&deque->bottom, 0);
    atomic_init(&deque->split, 0);
    atomic_init(&deque->top, 0);
    return RAYMPI_OK;
}

void sched_deque_fini(struct sched_deque *deque)
{
    free(deque->slot);
}

/* Under the lock: twice the slots. */
static bool enlarge(struct sched_deque *deque, int64_t top, int64_t bottom)
{
    int64_t slots = 2 * (deque->mask + 1);
    /* All of it is something: the owner looks at the slot below an empty deque too. */
    _Atomic(struct sched_item *) *larger = calloc((size_t)slots, sizeof larger[0]);
    if (!larger)
        return false;
    for (int64_t i = top; i < bottom; i++)
        atomic_init(&larger[i & (slots - 1)],
                    atomic_load_explicit(&deque->slot[i & deque->mask], memory_order_relaxed));
    free(deque->slot);
    deque->slot = larger;
    deque->mask = slots - 1;
    return true;
}

bool sched_deque_grow(struct sched_deque *deque)
{
    base_spin_lock(&deque->lock); /* thieves read the array under it, so the old one can go */
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    int64_t top = atomic_load_explicit(&deque->top, memory_order_relaxed);
    bool room = bottom - top <= deque->mask || enlarge(deque, top, bottom);
    if (room)
        deque->room_until = top + deque->mask + 1;
    base_spin_unlock(&deque->lock);
    return room;
}

void sched_deque_publish_half(struct sched_deque *deque)
{
    if (!base_spin_try(&deque->lock))
        return; /* a thief is at it, and takes what it needs */
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    int64_t split = atomic_load_explicit(&deque->split, memory_order_relaxed);
    if (bottom > split)
        atomic_store_explicit(&deque->split, split + (bottom - split + 1) / 2, memory_order_relaxed);
    base_spin_unlock(&deque->lock);
}

struct sched_item *sched_deque_pop_public(struct sched_deque *deque)
{
    struct sched_item *item = NULL;
    base_spin_lock(&deque->lock);
    /* The claim was one too far, or a thief has moved split meanwhile: what is below it is taken back. */
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed) + 1;
    int64_t split = atomic_load_explicit(&deque->split, memory_order_relaxed);
    int64_t top = atomic_load_explicit(&deque->top, memory_order_relaxed);
    if (bottom <= split && split > top) {
        split = top + (split - top) / 2;
        atomic_store_explicit(&deque->split, split, memory_order_relaxed);
    }
    if (bottom > split) {
        bottom--;
        item = atomic_load_explicit(&deque->slot[bottom & deque->mask], memory_order_relaxed);
    }
    atomic_store_explicit(&deque->bottom, bottom, memory_order_relaxed);
    base_spin_unlock(&deque->lock);
    return item;
}

/* Under the lock: makes the older half of the owner's public. The new split. */
static int64_t split_move(struct sched_deque *deque, int64_t split, enum sched_thief thief)
{
    /* Acquire: the slots up to bottom, and what the items point to. */
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_acquire);
    if (bottom <= split)
        return split;
    int64_t wanted = split + (bottom - split + 1) / 2;
    atomic_store_explicit(&deque->split, wanted, memory_order_relaxed);
    /* From here on the owner sees the new split when it claims; what it has claimed before, we see. */
    if (thief != SCHED_THIEF_OWNER)
        base_fence_heavy();
    bottom = atomic_load_explicit(&deque->bottom, memory_order_acquire);
    if (bottom < wanted) {
        wanted = bottom > split ? bottom : split;
        atomic_store_explicit(&deque->split, wanted, memory_order_relaxed);
    }
    return wanted;
}

int sched_deque_steal(struct sched_deque *deque, struct sched_item **items, int most, enum sched_thief thief)
{
    int count = 0;
    bool patient = thief == SCHED_THIEF_PATIENT;
    int64_t top = atomic_load_explicit(&deque->top, memory_order_relaxed);
    if (top >= (patient ? atomic_load_explicit(&deque->split, memory_order_relaxed)
                        : atomic_load_explicit(&deque->bottom, memory_order_relaxed)) ||
        !base_spin_try(&deque->lock))
        return 0;
    top = atomic_load_explicit(&deque->top, memory_order_relaxed);
    int64_t split = atomic_load_explicit(&deque->split, memory_order_relaxed);
    if (split == top && !patient)
        split = split_move(deque, split, thief);
    for (int64_t half = (split - top + 1) / 2; count < most && count < half; count++)
        items[count] = atomic_load_explicit(&deque->slot[(top + count) & deque->mask], memory_order_relaxed);
    atomic_store_explicit(&deque->top, top + count, memory_order_relaxed);
    base_spin_unlock(&deque->lock);
    return count;
}
