/* Which block leaves memory next.
 *
 * Where this rank has no more than VICTIMS_MOST descriptors in use, all of them are sorted by when they were
 * used last: that is LRU, as exact as the clock (a few thousand ticks while the store is filled once). Else a
 * sample of so many, spread over the table, is sorted, and its oldest quarter goes before another sample is
 * taken: a victim is among the oldest third of the blocks, near enough, and each choice costs four looks.
 * Between samples, what was used meanwhile is passed over. Of equals in age those lie together that lie
 * together in memory, so that whole extents become free. */
#include "store/store_spill.h"

#include <stdlib.h>

#define SAMPLE_PART 4
/* A prime larger than any table: its multiples visit every descriptor once, far from each other. */
#define STRIDE UINT64_C(1000003)

static bool block_candidate(const struct store *store, uint32_t index, struct victim *victim)
{
    const struct store_block *block = &store->blocks[index];
    if (!block->chunk || block->kept || spill_copy_busy(block->copy))
        return false;
    const struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, index);
    /* Acquire pairs with the release of whoever sealed it: the payload may be written, and shown again. */
    if (store_word_state(atomic_load_explicit(&entry->word, memory_order_acquire)) != STORE_SEALED ||
        descriptor_pinned(store, entry))
        return false;
    uint32_t used = atomic_load_explicit(&entry->used, memory_order_relaxed);
    uint32_t now = atomic_load_explicit(&store->pool->clock, memory_order_relaxed);
    *victim = (struct victim){index, used, now - used, entry->offset};
    return true;
}

static int victim_compare(const void *left, const void *right)
{
    const struct victim *a = left, *b = right;
    if (a->age != b->age)
        return a->age > b->age ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Takes a sample of the descriptors that may still be looked at. */
static void victims_sample(struct store *store)
{
    struct victims *victims = &store->spill->victims;
    victims->next = victims->count = 0;
    for (uint32_t looks = 0; looks < VICTIMS_MOST && victims->left; looks++, victims->left--) {
        victims->hand = (uint32_t)((victims->hand + STRIDE) % store->fresh);
        if (block_candidate(store, victims->hand, &victims->list[victims->count]))
            victims->count++;
    }
    qsort(victims->list, victims->count, sizeof victims->list[0], victim_compare);
    if (store->fresh > VICTIMS_MOST)
        victims->count = (victims->count + SAMPLE_PART - 1) / SAMPLE_PART;
}

void victims_start(struct store *store)
{
    store->spill->victims.left = store->fresh;
}

uint32_t victims_next(struct store *store)
{
    struct victims *victims = &store->spill->victims;
    for (;;) {
        while (victims->next < victims->count) {
            struct victim now, was = victims->list[victims->next++];
            if (block_candidate(store, was.index, &now) && now.used == was.used)
                return was.index;
        }
        if (!victims->left)
            return STORE_NONE;
        victims_sample(store);
    }
}
