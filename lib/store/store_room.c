/* Waiting for room, and telling who holds it. */
#include "store/store_internal.h"

#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- waiting for room */

static long room_futex(struct store *store, int operation, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, &store->pool->room, operation, value, timeout, NULL, 0);
}

void room_note(struct store *store, bool extents)
{
    /* Before the look at `waiters` in the one order of all seq_cst operations; see store_room_wait. */
    atomic_fetch_add_explicit(&store->room, 1, memory_order_seq_cst);
    uint32_t waiters = atomic_load_explicit(&store->pool->waiters, memory_order_seq_cst);
    if (!extents && !waiters)
        return;
    atomic_fetch_add_explicit(&store->pool->room, 1, memory_order_seq_cst);
    waiters = atomic_load_explicit(&store->pool->waiters, memory_order_seq_cst);
    if (waiters)
        room_futex(store, FUTEX_WAKE, INT32_MAX, NULL);
}

uint32_t store_room_ticket(struct store *store)
{
    return atomic_load_explicit(&store->room, memory_order_seq_cst) +
           atomic_load_explicit(&store->pool->room, memory_order_seq_cst);
}

bool store_room_changed(struct store *store, uint32_t ticket)
{
    return store_room_ticket(store) != ticket;
}

static bool room_sleep(struct store *store, uint32_t ticket, uint64_t deadline)
{
    /* The word first, the ticket after it: whatever is freed after the look at the ticket changes the word,
     * because the freer sees us among the waiters. */
    uint32_t word = atomic_load_explicit(&store->pool->room, memory_order_seq_cst);
    uint64_t now = base_now();
    if (store_room_changed(store, ticket) || now >= deadline)
        return false;
    uint64_t left = deadline - now;
    struct timespec timeout = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
    room_futex(store, FUTEX_WAIT, word, &timeout);
    return true;
}

bool store_room_wait(struct store *store, uint32_t ticket, double seconds)
{
    if (seconds < 0)
        seconds = store->create_timeout;
    uint64_t deadline = base_now() + (uint64_t)(seconds * 1e9);
    atomic_fetch_add_explicit(&store->pool->waiters, 1, memory_order_seq_cst);
    while (room_sleep(store, ticket, deadline))
        continue;
    atomic_fetch_sub_explicit(&store->pool->waiters, 1, memory_order_relaxed);
    return store_room_changed(store, ticket);
}

/* ---- who holds what */

void store_promise(struct store *store, int64_t bytes)
{
    /* In the one order of all seq_cst operations: of two who promise and then look, one sees the other. */
    atomic_fetch_add_explicit(&store->ranks[store->rank].promised, (uint64_t)bytes, memory_order_seq_cst);
}

uint64_t store_unleased(const struct store *store)
{
    uint64_t taken = 0, all = store_data_bytes(store);
    for (int rank = 0; rank < store->layout.size; rank++) {
        const struct store_rank *it = &store->ranks[rank];
        taken += atomic_load_explicit(&it->extents, memory_order_relaxed) * store->layout.extent_bytes;
        taken += atomic_load_explicit(&it->promised, memory_order_seq_cst);
    }
    return taken < all ? all - taken : 0;
}

static uint64_t rank_pinned(struct store *store, uint32_t rank)
{
    uint64_t pinned = 0;
    uint32_t ready = atomic_load_explicit(&store->ranks[rank].ready, memory_order_acquire);
    for (uint32_t index = 0; index < ready; index++)
        pinned += descriptor_pinned(store, store_entry_at(store, rank, index));
    return pinned;
}

void store_holders(struct store *store, bool pinned, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (uint32_t rank = 0; rank < (uint32_t)store->layout.size && used + 1 < size; rank++) {
        struct store_rank *it = &store->ranks[rank];
        unsigned long long disk = atomic_load_explicit(&it->disk, memory_order_relaxed);
        unsigned long long extents = atomic_load_explicit(&it->extents, memory_order_relaxed);
        unsigned long long bytes = atomic_load_explicit(&it->bytes, memory_order_relaxed);
        unsigned long long blocks = atomic_load_explicit(&it->blocks, memory_order_relaxed);
        if (!extents && !blocks)
            continue;
        int wrote = snprintf(text + used, size - used, "%srank %u: %llu extents, %llu bytes in %llu blocks",
                             used ? "\n" : "", rank, extents, bytes, blocks);
        if (disk && used + (size_t)wrote < size)
            wrote += snprintf(text + used + wrote, size - used - (size_t)wrote, ", %llu bytes on disk", disk);
        if (pinned && used + (size_t)wrote < size)
            wrote += snprintf(text + used + wrote, size - used - (size_t)wrote, ", %llu pinned",
                              (unsigned long long)rank_pinned(store, rank));
        used += (size_t)wrote;
    }
}

void store_describe(struct store *store, char *text, size_t size)
{
    store_holders(store, true, text, size);
}

void store_counters(struct store *store, struct store_counters *counters)
{
    pthread_mutex_lock(&store->lock);
    *counters = store->counters;
    pthread_mutex_unlock(&store->lock);
}
