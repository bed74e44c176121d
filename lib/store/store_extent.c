/* The host's pool of extents. A rank leases extents by compare-exchange of their owner words, commits those
 * that were never used, and maps them writable into an address space of the pool's size, each at its own
 * place, so that neighbours are contiguous. Memory once committed stays committed and is used again before
 * fresh memory: fresh pages cost several times what copying into them does. */
#include "store/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* A claim that met another rank's starts again; each such meeting means that the other one got something. */
#define EXTENT_ATTEMPTS 100
#define EXTENT_TAKEN    -1
#define EXTENT_TOUCHED  (256u << 10) /* from this length on a block's extents are about to be filled */
#define EXTENT_POPULATE 23           /* MADV_POPULATE_WRITE, which older headers do not have */

static uint32_t owner_self(const struct store *store)
{
    return (uint32_t)store->rank + 1;
}

static uint32_t owner_reserve(const struct store *store)
{
    return owner_self(store) | STORE_RESERVE;
}

static bool extent_committed(const struct store *store, uint64_t extent)
{
    /* Acquire pairs with the release in extent_commit: who sees the bit may touch the memory. */
    return atomic_load_explicit(&store->committed[extent / 64], memory_order_acquire) >> extent % 64 & 1;
}

/* ---- finding */

/* What taking an extent would cost, in rough proportion; EXTENT_TAKEN if it can not be had. Opening a shut
 * extent costs a fraction of mapping it, and that a fraction of fresh memory. */
static int extent_price(const struct store *store, uint64_t extent)
{
    uint32_t owner = atomic_load_explicit(&store->owners[extent], memory_order_relaxed);
    if (owner == owner_reserve(store))
        return 0;
    if (owner && !(owner & STORE_RESERVE))
        return EXTENT_TAKEN;
    int price = owner ? 2 : 1;
    if (store->extents[extent] == EXTENT_UNMAPPED)
        price += extent_committed(store, extent) ? 6 : 14;
    return price;
}

/* Neighbouring extents that could be had, and what touches them: free memory of ours at either end. */
struct stretch {
    uint64_t first, end;
    uint64_t before, after; /* bytes */
};

struct choice {
    struct arena_run run; /* count 0: none */
    int64_t price;
    uint64_t room; /* bytes of its stretch, with what touches that */
};

static uint64_t extents_for(const struct store *store, uint64_t length, uint64_t there)
{
    return length > there ? (length - there - 1) / store->layout.extent_bytes + 1 : 1;
}

/* The cheapest `count` neighbours from `first` to `end`, the lowest of equals. One look at each extent. */
static void window_offer(const struct store *store, struct arena_run window, uint64_t count, uint64_t room,
                         struct choice *best)
{
    int64_t price = 0;
    for (uint64_t done = 0; done < window.count; done++) {
        price += extent_price(store, window.first + done);
        if (done >= count)
            price -= extent_price(store, window.first + done - count);
        if (done + 1 < count)
            continue;
        if (!best->run.count || price < best->price || (price == best->price && room < best->room))
            *best = (struct choice){{window.first + done + 1 - count, count}, price, room};
    }
}

/* At either end where free memory that touches it spares an extent, between two such where there is no other
 * way, and anywhere. */
static void stretch_offer(const struct store *store, const struct stretch *stretch, uint64_t length,
                          struct choice *best)
{
    uint64_t extents = stretch->end - stretch->first, all = extents_for(store, length, 0);
    uint64_t room = extents * store->layout.extent_bytes + stretch->before + stretch->after;
    uint64_t low = extents_for(store, length, stretch->before),
             high = extents_for(store, length, stretch->after);
    if (low < all && low <= extents)
        window_offer(store, (struct arena_run){stretch->first, low}, low, room, best);
    if (high < all && high <= extents)
        window_offer(store, (struct arena_run){stretch->end - high, high}, high, room, best);
    if (all <= extents)
        window_offer(store, (struct arena_run){stretch->first, extents}, all, room, best);
    else if (low > extents && high > extents && length <= room)
        window_offer(store, (struct arena_run){stretch->first, extents}, extents, room, best);
}

/* The cheapest place; of these in the stretch that it fits best, so that room for large blocks stays
 * together. What needs one extent takes the lowest: what is in use gathers there. */
static bool run_find(const struct store *store, uint64_t length, bool any, struct arena_run *run)
{
    struct choice best = {{0, 0}, 0, 0};
    uint64_t extents = store->layout.extents;
    bool one = length <= store->layout.extent_bytes;
    for (uint64_t first = 0; first < extents; first++) {
        if (extent_price(store, first) == EXTENT_TAKEN)
            continue;
        struct stretch stretch = {first, first + 1, arena_free_before(&store->arena, first, length, any), 0};
        while (stretch.end < extents && extent_price(store, stretch.end) != EXTENT_TAKEN)
            stretch.end++;
        stretch.after = arena_free_after(&store->arena, stretch.end, length, any);
        stretch_offer(store, &stretch, length, &best);
        if (one && best.run.count && best.price == 0)
            break;
        first = stretch.end;
    }
    *run = best.run;
    return best.run.count > 0;
}

/* ---- claiming */

static void extent_release(struct store *store, uint64_t extent)
{
    /* Release: our use of the memory, and shutting it, come before the next owner's use. */
    atomic_store_explicit(&store->owners[extent], 0, memory_order_release);
}

static bool extent_claim(struct store *store, uint64_t extent)
{
    uint32_t owner = atomic_load_explicit(&store->owners[extent], memory_order_relaxed);
    if (owner && !(owner & STORE_RESERVE))
        return false;
    /* Acquire pairs with the release of the last owner. */
    if (!atomic_compare_exchange_strong_explicit(&store->owners[extent], &owner, owner_self(store),
                                                 memory_order_acq_rel, memory_order_relaxed))
        return false;
    if (owner && owner != owner_reserve(store))
        atomic_fetch_or_explicit(&store->ranks[(owner & ~STORE_RESERVE) - 1].collect, STORE_COLLECT_TAKEN,
                                 memory_order_relaxed);
    return true;
}

static void extent_shut(struct store *store, uint64_t extent)
{
    uint64_t bytes = store->layout.extent_bytes, at = extent * bytes;
    if (store->extents[extent] != EXTENT_OPEN)
        return;
    /* Should the kernel refuse (it splits a mapping, and their number is limited), the extent stays writable
     * for us: a lost safeguard against stray writes, no error. */
    mprotect(store->write + at, bytes, PROT_NONE);
    store->extents[extent] = EXTENT_SHUT;
    if (store->left)
        store->left(store->left_arg, store->data_offset + at, store->write + at, bytes);
}

/* Undoes a claim; wakes those who found the pool empty meanwhile. */
static void run_release(struct store *store, struct arena_run run)
{
    for (uint64_t extent = run.first; extent < run.first + run.count; extent++) {
        extent_shut(store, extent);
        extent_release(store, extent);
    }
    room_note(store, true);
}

static bool run_claim(struct store *store, struct arena_run run)
{
    for (uint64_t done = 0; done < run.count; done++) {
        if (extent_claim(store, run.first + done))
            continue;
        if (done)
            run_release(store, (struct arena_run){run.first, done});
        return false;
    }
    return true;
}

/* ---- making usable */

static int commit_refused(const struct store *store)
{
    char cause[STORE_TEXT_BYTES / 2];
    snprintf(cause, sizeof cause, "%s", base_detail());
    return base_fail(RAYMPI_ERR_STORE_FULL,
                     "the host's store may grow to %llu bytes, but /dev/shm or the memory limit of the job "
                     "refuses %llu more (%llu are left in /dev/shm): free some there or lower "
                     "RAYMPI_STORE_BYTES; %s",
                     (unsigned long long)(store->layout.extents * store->layout.extent_bytes),
                     (unsigned long long)store->layout.extent_bytes, (unsigned long long)base_shm_available(),
                     cause);
}

static int extent_commit(struct store *store, uint64_t extent)
{
    uint64_t bytes = store->layout.extent_bytes;
    if (extent_committed(store, extent))
        return RAYMPI_OK;
    if (base_segment_commit(store->segment, store->data_offset + extent * bytes, bytes) != RAYMPI_OK)
        return commit_refused(store);
    /* Release pairs with extent_committed. */
    atomic_fetch_or_explicit(&store->committed[extent / 64], UINT64_C(1) << extent % 64,
                             memory_order_release);
    return RAYMPI_OK;
}

static int extent_open(struct store *store, uint64_t extent)
{
    uint64_t bytes = store->layout.extent_bytes;
    char *address = store->write + extent * bytes;
    bool open = true;
    if (store->extents[extent] == EXTENT_SHUT)
        open = mprotect(address, bytes, PROT_READ | PROT_WRITE) == 0;
    else if (store->extents[extent] == EXTENT_UNMAPPED)
        open = mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, store->segment->fd,
                    (off_t)(store->data_offset + extent * bytes)) != MAP_FAILED;
    if (!open)
        return base_fail(RAYMPI_ERR_MEMORY,
                         "can not map %llu bytes of the store for writing: %s (limits: ulimit -v, "
                         "sysctl vm.max_map_count)",
                         (unsigned long long)bytes, strerror(errno));
    store->extents[extent] = EXTENT_OPEN;
    return RAYMPI_OK;
}

/* All page faults of an extent at once cost less than one by one. Where the kernel cannot (before
 * Linux 5.14), they come one by one. */
static void extent_touch(struct store *store, uint64_t extent)
{
    uint64_t bytes = store->layout.extent_bytes;
    madvise(store->write + extent * bytes, bytes, EXTENT_POPULATE);
}

static int run_prepare(struct store *store, struct arena_run run, bool touch)
{
    for (uint64_t extent = run.first; extent < run.first + run.count; extent++) {
        bool mapped = store->extents[extent] != EXTENT_UNMAPPED;
        int status = extent_commit(store, extent);
        if (status == RAYMPI_OK)
            status = extent_open(store, extent);
        if (status != RAYMPI_OK)
            return status;
        if (touch && !mapped)
            extent_touch(store, extent);
    }
    return RAYMPI_OK;
}

/* ---- the interface */

static void extents_count(struct store *store, int64_t change)
{
    store->counters.extents += (uint64_t)change;
    atomic_store_explicit(&store->ranks[store->rank].extents, store->counters.extents, memory_order_relaxed);
}

static int lease_failed(struct store *store, uint64_t length)
{
    char text[STORE_TEXT_BYTES / 2];
    store_holders(store, false, text, sizeof text);
    return base_fail(RAYMPI_ERR_STORE_FULL,
                     "no room for %llu bytes in the host's store of %llu bytes (RAYMPI_STORE_BYTES): no %llu "
                     "neighbouring extents of %llu bytes are free; %s",
                     (unsigned long long)length,
                     (unsigned long long)(store->layout.extents * store->layout.extent_bytes),
                     (unsigned long long)extents_for(store, length, 0),
                     (unsigned long long)store->layout.extent_bytes, text);
}

int extent_lease(struct store *store, uint64_t length, struct arena_run *run)
{
    struct arena_run found;
    for (int attempt = 0; attempt < EXTENT_ATTEMPTS &&
                          (run_find(store, length, false, &found) || run_find(store, length, true, &found));
         attempt++) {
        if (!run_claim(store, found))
            continue;
        int status = run_prepare(store, found, length >= EXTENT_TOUCHED);
        if (status != RAYMPI_OK) {
            run_release(store, found);
            return status;
        }
        extents_count(store, (int64_t)found.count);
        *run = found;
        return RAYMPI_OK;
    }
    return lease_failed(store, length);
}

void extent_return(struct store *store, struct arena_run run)
{
    if (!run.count)
        return;
    extents_count(store, -(int64_t)run.count);
    /* They stay writable for us until another rank takes them: shutting and opening an extent at every large
     * block that comes and goes would cost as much as filling it. Release: our use of the memory comes before
     * its next. */
    for (uint64_t extent = run.first; extent < run.first + run.count; extent++)
        atomic_store_explicit(&store->owners[extent], owner_reserve(store), memory_order_release);
    room_note(store, true);
}

void store_extents_of(const struct store *store, struct store_place place, uint64_t *offset, uint64_t *length)
{
    const struct store_entry *entry = store_entry_at(store, place.rank, place.index);
    uint64_t extent = store->layout.extent_bytes, start = entry->offset - store->data_offset;
    uint64_t first = start / extent * extent, end = base_align_up(start + block_bytes(store, entry), extent);
    *offset = store->data_offset + first;
    *length = end - first;
}

void store_writable_around(const struct store *store, struct store_place place, void **memory,
                           uint64_t *length)
{
    const struct store_entry *entry = store_entry_at(store, place.rank, place.index);
    uint64_t offset = entry->offset;
    if (store->page)
        *length = block_bytes(store, entry);
    else
        store_extents_of(store, place, &offset, length);
    *memory = store->write + (offset - store->data_offset);
}

void store_on_extent_left(struct store *store, store_extent_left *left, void *arg)
{
    pthread_mutex_lock(&store->lock);
    store->left = left;
    store->left_arg = arg;
    pthread_mutex_unlock(&store->lock);
}

void extent_reserve_check(struct store *store)
{
    for (uint64_t extent = 0; extent < store->layout.extents; extent++) {
        uint32_t owner = atomic_load_explicit(&store->owners[extent], memory_order_relaxed);
        if (owner != owner_self(store) && owner != owner_reserve(store))
            extent_shut(store, extent);
    }
}

void extent_reserve_drop(struct store *store)
{
    for (uint64_t extent = 0; extent < store->layout.extents; extent++) {
        uint32_t owner = owner_reserve(store);
        extent_shut(store, extent);
        /* Fails where the extent is another's, or still has blocks that others pin. */
        atomic_compare_exchange_strong_explicit(&store->owners[extent], &owner, 0, memory_order_acq_rel,
                                                memory_order_relaxed);
    }
    room_note(store, true);
}
