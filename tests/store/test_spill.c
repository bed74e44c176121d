/* The life of blocks that leave memory and come back, in every order. */
#include "spill_disk.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>

static struct host host;

static struct store *begin(int ranks, uint64_t bytes)
{
    CU_ASSERT_FATAL(host_make(&host, layout_of(ranks, bytes)));
    struct store *store = host_open(&host, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(store);
    CU_ASSERT_FATAL(spill_open(store, false));
    return store;
}

/* Everything has gone, and so have its bytes, wherever they were. */
static void end(struct store *store)
{
    store_collect(store);
    spill_settle(store);
    struct store_counters counters = spill_counters(store);
    CU_ASSERT_EQUAL(counters.blocks, 0);
    CU_ASSERT_EQUAL(counters.waiting, 0);
    CU_ASSERT_EQUAL(counters.bytes, 0);
    CU_ASSERT_EQUAL(counters.memory_bytes, 0);
    CU_ASSERT_EQUAL(counters.extents, 0);
    CU_ASSERT_EQUAL(counters.on_disk, 0);
    CU_ASSERT_EQUAL(counters.on_disk_bytes, 0);
    CU_ASSERT_EQUAL(counters.copies_bytes, 0);
    CU_ASSERT_EQUAL(store_cold_bytes(store, 0), 0);
    store_close(store);
    host_end(&host);
}

static int pin_status(struct store *store, struct store_place place)
{
    const void *data;
    uint64_t length;
    int status = store_pin(store, place, &data, &length);
    if (status == RAYMPI_OK)
        store_unpin(store, place);
    return status;
}

/* ---- there and back */

static const uint64_t lengths[] = {0, 8, 64, 1000, 4096, 4104, 16384, 20000, 65536, 100000, 1 << 20, 3000000};
#define LENGTHS (sizeof lengths / sizeof lengths[0])

static void test_round_trip(void)
{
    struct store *store = begin(1, 16 * MIB);
    struct store_place places[LENGTHS];
    for (size_t i = 0; i < LENGTHS; i++)
        places[i] = spill_block(store, lengths[i]);
    uint64_t cold = store_cold_bytes(store, 0);
    CU_ASSERT_EQUAL(cold, spill_counters(store).memory_bytes);
    spill_everything(store);
    struct store_counters counters = spill_counters(store);
    CU_ASSERT_EQUAL(store_cold_bytes(store, 0), 0);
    CU_ASSERT_EQUAL(counters.memory_bytes, 0);
    CU_ASSERT_EQUAL(counters.extents, 0);
    CU_ASSERT_EQUAL(counters.on_disk, LENGTHS);
    CU_ASSERT_EQUAL(counters.on_disk_bytes, cold);
    CU_ASSERT_EQUAL(counters.spilled, LENGTHS);
    for (size_t i = 0; i < LENGTHS; i++)
        CU_ASSERT_EQUAL(pin_status(store, places[i]), STORE_ON_DISK);
    for (size_t i = 0; i < LENGTHS; i++) {
        CU_ASSERT_EQUAL(spill_fetch(store, places[i]), RAYMPI_OK);
        CU_ASSERT(spill_block_right(store, places[i]));
        CU_ASSERT_EQUAL(store_restore(store, places[i]), RAYMPI_OK);
    }
    counters = spill_counters(store);
    CU_ASSERT_EQUAL(counters.on_disk, 0);
    CU_ASSERT_EQUAL(counters.restored, LENGTHS);
    CU_ASSERT_EQUAL(counters.memory_bytes, cold);
    CU_ASSERT_EQUAL(store_cold_bytes(store, 0), cold);
    for (size_t i = 0; i < LENGTHS; i++)
        store_free(store, places[i]);
    end(store);
}

static void test_describe(void)
{
    struct store *store = begin(1, 4 * MIB);
    struct store_place place = spill_block(store, 4096);
    char text[512];
    spill_everything(store);
    store_describe(store, text, sizeof text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "4096 bytes on disk"));
    store_free(store, place);
    end(store);
}

/* A block that has come back is dropped again without a write. */
static void test_clean(void)
{
    struct store *store = begin(1, 4 * MIB);
    struct store_place place = spill_block(store, 100000);
    uint64_t coming;
    int status;
    spill_everything(store);
    CU_ASSERT_EQUAL(spill_fetch(store, place), RAYMPI_OK);
    int writes = disk_writes();
    CU_ASSERT_EQUAL(store_make_room(store, 1, &coming, &status), base_align_up(100000, 64));
    CU_ASSERT_EQUAL(coming, 0);
    CU_ASSERT_EQUAL(status, RAYMPI_OK);
    CU_ASSERT_EQUAL(disk_writes(), writes);
    CU_ASSERT_EQUAL(pin_status(store, place), STORE_ON_DISK);
    CU_ASSERT_EQUAL(spill_fetch(store, place), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, place));
    store_free(store, place);
    end(store);
}

static void test_pinned(void)
{
    struct store *store = begin(1, 4 * MIB);
    struct store_place place = spill_block(store, 100000);
    const void *data;
    uint64_t length, coming;
    int status;
    CU_ASSERT_EQUAL(store_pin(store, place, &data, &length), RAYMPI_OK);
    CU_ASSERT_EQUAL(store_make_room(store, 1, &coming, &status), 0);
    CU_ASSERT_EQUAL(coming, 0);
    store_unpin(store, place);
    spill_everything(store);
    CU_ASSERT_EQUAL(spill_fetch(store, place), RAYMPI_OK);
    CU_ASSERT_EQUAL(store_pin(store, place, &data, &length), RAYMPI_OK);
    CU_ASSERT_EQUAL(store_make_room(store, 1, &coming, &status), 0);
    CU_ASSERT(payload_right(data, length, place_seed(place)));
    store_unpin(store, place);
    store_free(store, place);
    end(store);
}

static void test_unsealed(void)
{
    struct store *store = begin(1, 4 * MIB);
    struct store_place place;
    void *data;
    uint64_t coming;
    int status;
    CU_ASSERT_EQUAL(store_create(store, 100000, &place, &data), RAYMPI_OK);
    CU_ASSERT_EQUAL(store_make_room(store, 1, &coming, &status), 0);
    CU_ASSERT_EQUAL(coming, 0);
    CU_ASSERT_EQUAL(store_restore(store, place), RAYMPI_ERR_LOST);
    store_free(store, place);
    CU_ASSERT_EQUAL(store_restore(store, place), RAYMPI_ERR_LOST);
    end(store);
}

/* The least recently used goes first; one that was read is used. */
static void test_order(void)
{
    struct store *store = begin(1, 16 * MIB);
    struct store_place places[8];
    uint64_t coming;
    int status;
    for (int i = 0; i < 8; i++)
        places[i] = spill_block(store, MIB);
    CU_ASSERT(spill_block_right(store, places[0]));
    store_make_room(store, 2 * MIB, &coming, &status);
    CU_ASSERT_EQUAL(coming, 2 * MIB);
    spill_settle(store);
    for (int i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(pin_status(store, places[i]), i == 1 || i == 2 ? STORE_ON_DISK : RAYMPI_OK);
    for (int i = 0; i < 8; i++)
        store_free(store, places[i]);
    end(store);
}

/* ---- frees, at every moment */

static void test_free_on_disk(void)
{
    struct store *store = begin(1, 4 * MIB);
    struct store_place place = spill_block(store, 100000);
    spill_everything(store);
    store_free(store, place);
    CU_ASSERT_EQUAL(pin_status(store, place), RAYMPI_ERR_LOST);
    CU_ASSERT_EQUAL(store_restore(store, place), RAYMPI_ERR_LOST);
    end(store);
}

static void write_begin(struct store *store)
{
    uint64_t coming;
    int status;
    disk_hold_writes(true);
    CU_ASSERT_EQUAL(store_make_room(store, 1, &coming, &status), 0);
    CU_ASSERT(coming > 0);
    disk_await_write();
}

static void test_free_writing(void)
{
    struct store *store = begin(1, 4 * MIB);
    struct store_place place = spill_block(store, 100000);
    write_begin(store);
    CU_ASSERT(spill_block_right(store, place));
    store_free(store, place);
    store_collect(store);
    CU_ASSERT_EQUAL(pin_status(store, place), RAYMPI_ERR_LOST);
    CU_ASSERT_EQUAL(spill_counters(store).blocks, 1);
    CU_ASSERT_EQUAL(spill_counters(store).waiting, 1);
    disk_hold_writes(false);
    spill_settle(store);
    CU_ASSERT_EQUAL(spill_counters(store).blocks, 0);
    end(store);
}

/* A pin that comes while the block is being written keeps it in memory; its copy stays good. */
static void test_pin_writing(void)
{
    struct store *store = begin(1, 4 * MIB);
    struct store_place place = spill_block(store, 100000);
    const void *data;
    uint64_t length, coming;
    int status;
    write_begin(store);
    CU_ASSERT_EQUAL(store_pin(store, place, &data, &length), RAYMPI_OK);
    disk_hold_writes(false);
    spill_settle(store);
    CU_ASSERT_EQUAL(spill_counters(store).spilled, 1);
    CU_ASSERT_EQUAL(spill_counters(store).on_disk, 0);
    CU_ASSERT(payload_right(data, length, place_seed(place)));
    store_unpin(store, place);
    int writes = disk_writes();
    CU_ASSERT(store_make_room(store, 1, &coming, &status) > 0);
    CU_ASSERT_EQUAL(disk_writes(), writes);
    CU_ASSERT_EQUAL(spill_fetch(store, place), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, place));
    store_free(store, place);
    end(store);
}

/* Freed while it is written and pinned: the last of the two ends it. */
static void test_free_writing_pinned(void)
{
    for (int pin_last = 0; pin_last < 2; pin_last++) {
        struct store *store = begin(1, 4 * MIB);
        struct store_place place = spill_block(store, 100000);
        const void *data;
        uint64_t length;
        write_begin(store);
        CU_ASSERT_EQUAL(store_pin(store, place, &data, &length), RAYMPI_OK);
        store_free(store, place);
        if (!pin_last)
            store_unpin(store, place);
        disk_hold_writes(false);
        spill_settle(store);
        CU_ASSERT_EQUAL(spill_counters(store).blocks, (uint64_t)pin_last);
        CU_ASSERT(!pin_last || payload_right(data, length, place_seed(place)));
        if (pin_last)
            store_unpin(store, place);
        end(store);
    }
}

static void test_free_reading(void)
{
    struct store *store = begin(1, 4 * MIB);
    struct store_place place = spill_block(store, 100000);
    spill_everything(store);
    disk_hold_reads(true);
    CU_ASSERT_EQUAL(store_restore(store, place), STORE_ON_DISK);
    CU_ASSERT_EQUAL(store_restore(store, place), STORE_ON_DISK); /* the same one */
    disk_await_read();
    CU_ASSERT_EQUAL(store_spill_busy(store), 1);
    CU_ASSERT_EQUAL(pin_status(store, place), STORE_ON_DISK);
    store_free(store, place);
    store_collect(store);
    CU_ASSERT_EQUAL(pin_status(store, place), RAYMPI_ERR_LOST);
    CU_ASSERT_EQUAL(spill_counters(store).blocks, 1);
    disk_hold_reads(false);
    spill_told = RAYMPI_OK;
    spill_settle(store);
    CU_ASSERT_EQUAL(spill_told, RAYMPI_ERR_LOST);
    end(store);
}

/* Read, but not taken over. */
static void test_free_read(void)
{
    struct store *store = begin(1, 4 * MIB);
    struct store_place place = spill_block(store, 100000);
    spill_everything(store);
    int reads = disk_reads();
    CU_ASSERT_EQUAL(store_restore(store, place), STORE_ON_DISK);
    while (disk_reads() == reads)
        sched_yield();
    store_free(store, place);
    spill_settle(store);
    CU_ASSERT_EQUAL(spill_told, RAYMPI_ERR_LOST);
    end(store);
}

struct teller {
    struct store *store;
    const void *data;
    uint64_t length;
    bool frees;
};

/* Nothing takes the block away from who is being told of it. */
static void pin_restored(void *arg, struct store_place place, int status)
{
    struct teller *teller = arg;
    uint64_t coming;
    CU_ASSERT_EQUAL(status, RAYMPI_OK);
    CU_ASSERT_EQUAL(store_make_room(teller->store, 1, &coming, &status), 0);
    CU_ASSERT_EQUAL(coming, 0);
    if (teller->frees)
        store_free(teller->store, place);
    else
        CU_ASSERT_EQUAL(store_pin(teller->store, place, &teller->data, &teller->length), RAYMPI_OK);
}

static void test_told(void)
{
    for (int frees = 0; frees < 2; frees++) {
        struct store *store = begin(1, 4 * MIB);
        struct store_place place = spill_block(store, 100000);
        struct teller teller = {store, NULL, 0, frees};
        spill_everything(store);
        CU_ASSERT_EQUAL(store_restore(store, place), STORE_ON_DISK);
        while (store_spill_busy(store))
            store_spill_poll(store, pin_restored, &teller);
        if (!frees) {
            CU_ASSERT(payload_right(teller.data, teller.length, place_seed(place)));
            store_unpin(store, place);
            store_free(store, place);
        }
        end(store);
    }
}

/* The end of the store at any moment: what is held goes on after a while. */
static void *release_later(void *arg)
{
    (void)arg;
    struct timespec nap = {0, 20000000};
    nanosleep(&nap, NULL);
    disk_hold_writes(false);
    disk_hold_reads(false);
    return NULL;
}

static void test_close(void)
{
    for (int moment = 0; moment < 4; moment++) {
        struct store *store = begin(1, 4 * MIB);
        struct store_place place = spill_block(store, 100000);
        pthread_t thread;
        if (moment)
            spill_everything(store);
        spill_block(store, 200000);
        if (moment == 0) {
            write_begin(store);
            CU_ASSERT(spill_block(store, 300000).generation > 0);
        }
        disk_hold_reads(moment == 1);
        if (moment == 1 || moment == 2)
            CU_ASSERT_EQUAL(store_restore(store, place), STORE_ON_DISK);
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, release_later, NULL), 0);
        store_close(store);
        pthread_join(thread, NULL);
        host_end(&host);
    }
}

/* ---- other ranks */

static void test_ranks(void)
{
    struct store *store = begin(2, 4 * MIB);
    struct store *other = host_open(&host, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(other);
    struct store_place place = spill_block(store, 100000);
    const void *data;
    uint64_t length;
    CU_ASSERT_EQUAL(store_cold_bytes(other, 0), base_align_up(100000, 64));
    CU_ASSERT_EQUAL(store_pin(other, place, &data, &length), RAYMPI_OK);
    spill_everything(store);
    CU_ASSERT_EQUAL(spill_counters(store).on_disk, 0);
    store_unpin(other, place);
    spill_everything(store);
    CU_ASSERT_EQUAL(spill_counters(store).on_disk, 1);
    CU_ASSERT_EQUAL(store_pin(other, place, &data, &length), STORE_ON_DISK);
    CU_ASSERT_EQUAL(store_restore(other, place), RAYMPI_ERR_LOST); /* its holder can */
    CU_ASSERT_EQUAL(spill_fetch(store, place), RAYMPI_OK);
    CU_ASSERT(spill_block_right(other, place));
    CU_ASSERT_EQUAL(store_cold_bytes(other, 0), base_align_up(100000, 64));
    store_free(store, place);
    store_close(other);
    end(store);
}

/* ---- files */

static int files_seen(void)
{
    int count = 0;
    DIR *folder = opendir(".");
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        count += strncmp(entry->d_name, "raympi", 6) == 0;
    closedir(folder);
    return count;
}

static int crash(void *arg)
{
    struct store *store = arg;
    spill_block(store, MIB);
    spill_everything(store);
    raise(SIGKILL);
    return 0;
}

static void test_crash(void)
{
    struct store *store = begin(1, 4 * MIB);
    int before = files_seen();
    CU_ASSERT_EQUAL(process_end(process_start(crash, store)), 256 + SIGKILL);
    CU_ASSERT_EQUAL(files_seen(), before);
    store_close(store);
    host_end(&host);
}

static int descriptors_open(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* Files go with their slots: 600 MiB through a store of 16 MiB. */
static void test_files(void)
{
    struct store *store = begin(1, 16 * MIB);
    int before = descriptors_open();
    struct store_place held = spill_block(store, MIB);
    for (int i = 0; i < 75; i++) {
        struct store_place places[8];
        for (int j = 0; j < 8; j++)
            places[j] = spill_block(store, MIB);
        spill_everything(store);
        CU_ASSERT_EQUAL(spill_counters(store).on_disk, 9);
        for (int j = 0; j < 8; j++)
            store_free(store, places[j]);
    }
    CU_ASSERT(descriptors_open() <= before + 3);
    CU_ASSERT_EQUAL(spill_fetch(store, held), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, held));
    store_free(store, held);
    end(store);
}

static const struct unit_test tests[] = {
    {"spill: there and back", test_round_trip},
    {"spill: described", test_describe},
    {"spill: a block that came back goes without a write", test_clean},
    {"spill: what is pinned stays", test_pinned},
    {"spill: what is not sealed stays", test_unsealed},
    {"spill: the least recently used goes first", test_order},
    {"spill: free on disk", test_free_on_disk},
    {"spill: free while written", test_free_writing},
    {"spill: pin while written", test_pin_writing},
    {"spill: free while written and pinned", test_free_writing_pinned},
    {"spill: free while read", test_free_reading},
    {"spill: free when read", test_free_read},
    {"spill: who is told of a block can pin and free it", test_told},
    {"spill: close at any moment", test_close},
    {"spill: two ranks", test_ranks},
    {"spill: a crash leaves no files", test_crash},
    {"spill: files go with their slots", test_files},
};

int main(void)
{
    return SPILL_MAIN("store: spill", tests);
}
