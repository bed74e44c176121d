/* Checksums of blocks: worked out once, when a block is sealed, and looked at whenever its bytes have been
 * somewhere else: on disk (store_spill_file.c), or on the way from another host. What wrote to a block after
 * its seal is found there, too. */
#include "store/store_checksum.h"
#include "store/store_spill.h"

int store_checksums_open(struct store *store)
{
    if (!store_checksum_there())
        return base_fail(
            RAYMPI_ERR_UNSUPPORTED,
            "checksums of objects need xxHash, which this build lacks: install it (Debian and Ubuntu: "
            "libxxhash-dev), then configure and build again, or unset RAYMPI_CHECKSUM");
    store->checksums = true;
    return RAYMPI_OK;
}

uint64_t block_checksum(const struct store *store, struct store_place place)
{
    const struct store_entry *entry = store_entry_at(store, place.rank, place.index);
    return store_checksum(store->write + (entry->offset - store->data_offset), entry->length);
}

uint64_t store_checksum_of(const struct store *store, struct store_place place)
{
    return store->blocks[place.index].checksum;
}

bool store_seal_copy(struct store *store, struct store_place place, uint64_t checksum, uint64_t *found)
{
    if (!descriptor_mine(store, place, 1u << STORE_CREATED, "seal"))
        return false;
    *found = store->checksums ? block_checksum(store, place) : checksum;
    if (*found != checksum)
        return false;
    store->blocks[place.index].checksum = checksum;
    pthread_mutex_lock(&store->lock);
    store->blocks[place.index].kept++;
    pthread_mutex_unlock(&store->lock);
    block_seal(store, place);
    return true;
}

/* False: somebody reads it, or it is not on disk. */
static bool memory_drop(struct store *store, struct store_place place)
{
    pthread_mutex_lock(&store->lock);
    const struct store_entry *entry = store_entry_at(store, place.rank, place.index);
    const struct spill_copy *copy = store->blocks[place.index].copy;
    bool sealed = atomic_load_explicit(&entry->word, memory_order_relaxed) ==
                  store_word(place.generation, STORE_SEALED);
    bool dropped = sealed && copy && !spill_copy_busy(copy) && !store->blocks[place.index].kept &&
                   spill_block_drop(store, place.index) > 0;
    pthread_mutex_unlock(&store->lock);
    return dropped;
}

void store_distrust(struct store *store, struct store_place place)
{
    const void *data;
    uint64_t length;
    if (!store->checksums || place.rank != (uint32_t)store->rank ||
        store_pin(store, place, &data, &length) != RAYMPI_OK)
        return;
    bool right = block_checksum(store, place) == store->blocks[place.index].checksum;
    store_unpin(store, place);
    if (right)
        return;
    bool dropped = memory_drop(store, place);
    base_log(BASE_LOG_WARN, "store",
             "block %u.%u.%llu, %llu bytes, is not what was sealed: something wrote to it since (by a "
             "pointer kept past raympi_seal?), or memory is bad; %s",
             place.rank, place.index, (unsigned long long)place.generation, (unsigned long long)length,
             dropped ? "it is read again from disk" : "it stays: it is in use, or not on disk");
}
