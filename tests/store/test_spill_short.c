/* The short ways of the spill tier: blocks that the system still has in its cache, slots that are used again,
 * and writes before memory is short again. */
#include "spill_disk.h"

#include <errno.h>
#include <sched.h>

static struct host host;

static struct store *begin(uint64_t bytes, bool checksum)
{
    CU_ASSERT_FATAL(host_make(&host, layout_of(1, bytes)));
    struct store *store = host_open(&host, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(store);
    CU_ASSERT_FATAL(spill_open(store, checksum));
    return store;
}

static void end(struct store *store)
{
    store_collect(store);
    spill_settle(store);
    CU_ASSERT_EQUAL(spill_counters(store).blocks, 0);
    CU_ASSERT_EQUAL(spill_counters(store).memory_bytes, 0);
    CU_ASSERT_EQUAL(spill_counters(store).copies_bytes, 0);
    store_close(store);
    host_end(&host);
}

/* ---- what the system has in its cache */

static void test_cached(void)
{
    struct store *store = begin(4 * MIB, false);
    struct store_place place = spill_block(store, 100000);
    uint64_t coming;
    int status;
    spill_everything(store);
    CU_ASSERT_EQUAL(store_restore_cached(store, place), RAYMPI_OK);
    CU_ASSERT_EQUAL(store_spill_busy(store), 0);
    CU_ASSERT_EQUAL(spill_counters(store).restored, 1);
    CU_ASSERT(spill_block_right(store, place));
    /* It stays until it is let go. */
    CU_ASSERT_EQUAL(store_make_room(store, 1, &coming, &status), 0);
    CU_ASSERT_EQUAL(store_restore_cached(store, place), RAYMPI_OK);
    store_let_go(store, place);
    CU_ASSERT_EQUAL(store_make_room(store, 1, &coming, &status), 0);
    store_let_go(store, place);
    CU_ASSERT_EQUAL(store_make_room(store, 1, &coming, &status), base_align_up(100000, 64));
    store_free(store, place);
    CU_ASSERT_EQUAL(store_restore_cached(store, place), RAYMPI_ERR_LOST);
    end(store);
}

/* The reading thread does it then, and whoever asks meanwhile waits for the same. */
static void test_not_cached(void)
{
    struct store *store = begin(4 * MIB, false);
    struct store_place place = spill_block(store, 100000);
    spill_everything(store);
    disk_forget(true);
    disk_hold_reads(true);
    CU_ASSERT_EQUAL(store_restore_cached(store, place), STORE_ON_DISK);
    CU_ASSERT_EQUAL(store_restore_cached(store, place), STORE_ON_DISK);
    CU_ASSERT_EQUAL(store_restore(store, place), STORE_ON_DISK);
    CU_ASSERT_EQUAL(store_spill_busy(store), 1);
    disk_hold_reads(false);
    spill_told = 1;
    spill_settle(store);
    CU_ASSERT_EQUAL(spill_told, RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, place));
    disk_forget(false);
    store_free(store, place);
    end(store);
}

static void test_cached_no_room(void)
{
    struct store *store = begin(4 * MIB, false);
    struct store_place place = spill_block(store, 3 * MIB), other;
    spill_everything(store);
    other = spill_block(store, 3 * MIB);
    CU_ASSERT_EQUAL(store_restore_cached(store, place), RAYMPI_ERR_STORE_FULL);
    CU_ASSERT_EQUAL(store_spill_busy(store), 0);
    store_free(store, other);
    CU_ASSERT_EQUAL(store_restore_cached(store, place), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, place));
    store_free(store, place);
    end(store);
}

static void test_cached_corrupt(void)
{
    struct store *store = begin(4 * MIB, true);
    struct store_place place = spill_block(store, 100000);
    spill_everything(store);
    CU_ASSERT_FATAL(disk_corrupt_last());
    CU_ASSERT_EQUAL(store_restore_cached(store, place), RAYMPI_ERR_LOST);
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "is corrupt"));
    CU_ASSERT_EQUAL(spill_counters(store).memory_bytes, 0);
    store_free(store, place);
    end(store);
}

static void test_cached_unreadable(void)
{
    struct store *store = begin(4 * MIB, false);
    struct store_place place = spill_block(store, 100000);
    spill_everything(store);
    disk_fail_reads(EIO);
    CU_ASSERT_EQUAL(store_restore_cached(store, place), STORE_ON_DISK);
    spill_settle(store);
    CU_ASSERT_EQUAL(spill_told, RAYMPI_ERR_LOST);
    disk_fail_reads(0);
    store_free(store, place);
    end(store);
}

/* ---- slots that are used again */

/* Writes `next`, and tells whether that went to where `gone`, which is freed, was. A third block occupies the
 * thread meanwhile, so that it has no time to give the slot back. */
static bool goes_where(struct store *store, uint64_t gone, uint64_t next)
{
    struct store_place first = spill_block(store, gone), keeps = spill_block(store, 40000), busy, second;
    uint64_t coming;
    int status;
    spill_everything(store);
    off_t end = disk_last();
    busy = spill_block(store, 50000);
    disk_hold_writes(true);
    store_make_room(store, 1, &coming, &status);
    disk_await_write();
    store_free(store, first);
    second = spill_block(store, next);
    store_make_room(store, next, &coming, &status);
    disk_hold_writes(false);
    spill_settle(store);
    bool again = disk_last() <= end;
    CU_ASSERT_EQUAL(spill_fetch(store, keeps), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, keeps));
    CU_ASSERT_EQUAL(spill_fetch(store, second), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, second));
    store_free(store, keeps);
    store_free(store, busy);
    store_free(store, second);
    spill_settle(store);
    return again;
}

static void test_slots(void)
{
    static const struct {
        uint64_t gone, next;
        bool again;
    } cases[] = {
        {100000, 100000, true},  {100000, 99000, true}, /* as many pages */
        {100000, 100100, false},                        /* bytes of others may follow in the last page */
        {100000, 50000, false},  {50000, 100000, false}, {8000, 8000, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct store *store = begin(4 * MIB, false);
        CU_ASSERT_EQUAL(goes_where(store, cases[i].gone, cases[i].next), cases[i].again);
        end(store);
    }
}

/* Blocks that lie close to each other, some longer than a slot that is used again, keep their bytes. */
static void test_slots_mixed(void)
{
    struct store *store = begin(8 * MIB, true);
    struct store_place places[64];
    for (int i = 0; i < 64; i++)
        places[i] = spill_block(store, 16384 + 1234 * (uint64_t)(i % 8) + (uint64_t)i);
    for (int round = 0; round < 20; round++) {
        spill_everything(store);
        for (int i = round % 3; i < 64; i += 3) {
            store_free(store, places[i]);
            places[i] = spill_block(store, 16384 + 1234 * (uint64_t)((i + round) % 8) + (uint64_t)i);
        }
    }
    spill_everything(store);
    for (int i = 0; i < 64; i++) {
        CU_ASSERT_EQUAL(spill_fetch(store, places[i]), RAYMPI_OK);
        CU_ASSERT(spill_block_right(store, places[i]));
        store_free(store, places[i]);
    }
    end(store);
}

/* ---- before memory is short again */

static void test_ahead(void)
{
    struct store *store = begin(64 * MIB, false);
    struct store_place places[40], more[8];
    uint64_t coming;
    int status;
    for (int i = 0; i < 40; i++)
        places[i] = spill_block(store, MIB + MIB / 2);
    CU_ASSERT_EQUAL(spill_counters(store).spilled + (uint64_t)store_spill_busy(store), 0);
    store_make_room(store, MIB + MIB / 2, &coming, &status);
    spill_settle(store);
    for (int i = 0; i < 8; i++) {
        more[i] = spill_block(store, MIB + MIB / 2);
        CU_ASSERT_FATAL(more[i].generation > 0);
        spill_settle(store); /* nobody asks for room: it was made when the block was */
    }
    CU_ASSERT(spill_counters(store).spilled >= 8);
    for (int i = 0; i < 40; i++)
        store_free(store, places[i]);
    for (int i = 0; i < 8; i++)
        store_free(store, more[i]);
    end(store);
}

static const struct unit_test tests[] = {
    {"spill: read from the system's cache by who wants it", test_cached},
    {"spill: not in the cache", test_not_cached},
    {"spill: in the cache, and no room", test_cached_no_room},
    {"spill: in the cache, and corrupt", test_cached_corrupt},
    {"spill: in the cache, and not to be read", test_cached_unreadable},
    {"spill: slots of freed blocks are used again", test_slots},
    {"spill: slots of many lengths", test_slots_mixed},
    {"spill: written before memory is short again", test_ahead},
};

int main(void)
{
    return SPILL_MAIN("store: the short ways of spilling", tests);
}
