/* Writes by mistake: blocks of one's own that can only be read once they are sealed (RAYMPI_PROTECT=1), and
 * whose block lies at an address.
 *
 * Others' blocks are mapped read-only anyway, and so is what views show. What is left is the pointer with
 * which a block was filled: it leads into memory that this rank maps writable. There a block gets whole pages
 * of its own and loses the right to write to them when it is sealed, in this process only: nobody else can
 * write to it. It gets it back before its memory is used again. */
#include "store/store_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void store_protect(struct store *store)
{
    store->page = (uint64_t)sysconf(_SC_PAGESIZE);
    /* Of the mappings that a process may have, stacks take two thirds at most, and a protected block amid
     * others that are not takes two. */
    store->protect_most = fiber_most() / 3;
}

/* ---- protecting; all under the lock */

/* The whole of what this rank has open. Between memory that it has not this takes no mapping more. */
static bool all_open(struct store *store)
{
    uint64_t bytes = store->layout.extent_bytes;
    for (uint64_t first = 0, end; first < store->layout.extents; first = end + 1) {
        for (end = first; end < store->layout.extents && store->extents[end] == EXTENT_OPEN; end++)
            continue;
        if (end > first &&
            mprotect(store->write + first * bytes, (end - first) * bytes, PROT_READ | PROT_WRITE) != 0)
            return false;
    }
    return true;
}

/* The system refuses to protect one block, or to stop it: no block is protected any more. */
static void protection_end(struct store *store)
{
    int tries = 0;
    base_log(
        BASE_LOG_WARN, "store",
        "RAYMPI_PROTECT=1 has no effect on this rank's own objects from here on: mprotect: %s; %u objects "
        "were protected, each may take two of the process's mappings: raise their number (sysctl "
        "vm.max_map_count), or make fewer and larger objects",
        strerror(errno), store->guarded);
    store->protect_most = store->guarded = 0;
    while (!all_open(store)) /* who writes to memory that is used again would crash */
        base_await_memory(&tries, "store", "making sealed objects writable again");
    for (uint32_t index = 0; index < store->fresh; index++)
        store->blocks[index].guarded = false;
}

static void protection_full(struct store *store)
{
    if (store->protect_told)
        return;
    store->protect_told = true;
    base_log(
        BASE_LOG_WARN, "store",
        "RAYMPI_PROTECT=1 protects %u of this rank's objects now, as many as vm.max_map_count allows beside "
        "the stacks of tasks; others can be written to meanwhile: raise it (sysctl vm.max_map_count), or "
        "make fewer and larger objects",
        store->guarded);
}

void block_protect(struct store *store, uint32_t index)
{
    struct store_block *block = &store->blocks[index];
    if (store->protect_most == 0)
        return;
    if (store->guarded == store->protect_most) {
        protection_full(store);
        return;
    }
    if (mprotect(store->write + block->chunk->offset, block->chunk->length, PROT_READ) != 0) {
        protection_end(store);
        return;
    }
    block->guarded = true;
    store->guarded++;
}

void block_unprotect(struct store *store, uint32_t index)
{
    struct store_block *block = &store->blocks[index];
    block->guarded = false;
    store->guarded--;
    if (mprotect(store->write + block->chunk->offset, block->chunk->length, PROT_READ | PROT_WRITE) != 0)
        protection_end(store);
}

/* ---- finding: no lock, and nothing that a signal handler may not do */

void store_note(struct store *store, struct store_place place, uint32_t note)
{
    /* Relaxed: readers want it for a message. */
    atomic_store_explicit(&store_entry_at(store, place.rank, place.index)->note, note, memory_order_relaxed);
}

/* The offset in the segment; false: it is in neither mapping of the data area. */
static bool offset_of(const struct store *store, const char *address, uint64_t *offset)
{
    uintptr_t at = (uintptr_t)address, bytes = store_data_bytes(store);
    uintptr_t write = (uintptr_t)store->write, read = (uintptr_t)store->segment->read + store->data_offset;
    if (at - write >= bytes && at - read >= bytes)
        return false;
    *offset = store->data_offset + (at - write < bytes ? at - write : at - read);
    return true;
}

/* Whether a sealed block covers the offset, perhaps one that is being freed. It may become another one
 * meanwhile, which its word shows; not quite for certain, as nothing that goes on depends on it. */
static bool block_there(const struct store *store, int rank, uint32_t index, uint64_t offset,
                        struct store_spot *spot)
{
    const struct store_entry *entry = store_entry_at(store, (uint32_t)rank, index);
    /* Acquire pairs with the release of who sealed it; those below: the word is looked at again after them.
     */
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_acquire);
    if (store_word_state(word) != STORE_SEALED && store_word_state(word) != STORE_FREEING)
        return false;
    struct store_spot found = {.rank = rank,
                               .note = atomic_load_explicit(&entry->note, memory_order_relaxed),
                               .length = __atomic_load_n(&entry->length, __ATOMIC_ACQUIRE),
                               .at = offset - __atomic_load_n(&entry->offset, __ATOMIC_ACQUIRE)};
    if (found.at >= block_bytes_for(store, found.length) ||
        atomic_load_explicit(&entry->word, memory_order_relaxed) != word)
        return false;
    *spot = found;
    return true;
}

bool store_find(const struct store *store, const void *address, struct store_spot *spot)
{
    uint64_t offset;
    *spot = (struct store_spot){.rank = -1};
    if (!offset_of(store, address, &offset))
        return false;
    uint32_t owner = atomic_load_explicit(
        &store->owners[(offset - store->data_offset) / store->layout.extent_bytes], memory_order_relaxed);
    uint32_t rank = (owner & ~STORE_RESERVE) - 1;
    if (rank >= (uint32_t)store->layout.size)
        return true;
    uint32_t ready = atomic_load_explicit(&store->ranks[rank].ready, memory_order_acquire);
    for (uint32_t index = 0; index < ready; index++)
        if (block_there(store, (int)rank, index, offset, spot))
            break;
    return true;
}
