/* More data than memory, and everybody at once: ranks that make, spill, restore and free blocks while threads
 * of all ranks pin them, by places that are good or long stale. */
#include "spill_disk.h"
#include "store/store_checksum.h"

#include <pthread.h>
#include <sched.h>

/* ---- a store of 16 MiB, and 64 MiB in it */

#define VOLUME_BLOCKS 300

static uint64_t volume_length(uint64_t *random)
{
    return 8 * (1 + random_next(random) % (2 * 64 * MIB / VOLUME_BLOCKS / 8));
}

/* A block, where the store has to make room for it. */
static struct store_place block_force(struct store *store, uint64_t length)
{
    struct store_place place;
    while ((place = spill_block(store, length)).generation == 0) {
        uint64_t coming;
        int status;
        CU_ASSERT_FATAL(store_make_room(store, length, &coming, &status) || coming);
        CU_ASSERT_EQUAL_FATAL(status, RAYMPI_OK);
        spill_settle(store);
    }
    return place;
}

static void volume_pass(struct store *store, const struct store_place *places, uint64_t *random)
{
    uint32_t order[VOLUME_BLOCKS];
    for (uint32_t i = 0; i < VOLUME_BLOCKS; i++) {
        uint32_t j = (uint32_t)(random_next(random) % (i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    for (uint32_t i = 0; i < VOLUME_BLOCKS; i++) {
        CU_ASSERT_EQUAL(spill_fetch(store, places[order[i]]), RAYMPI_OK);
        CU_ASSERT(spill_block_right(store, places[order[i]]));
    }
}

static void test_volume(void)
{
    struct host host;
    struct store_place places[VOLUME_BLOCKS];
    uint64_t random = 1;
    CU_ASSERT_FATAL(host_make(&host, layout_of(1, 16 * MIB)));
    struct store *store = host_open(&host, 0);
    CU_ASSERT_FATAL(store && spill_open(store, false));
    for (int i = 0; i < VOLUME_BLOCKS; i++)
        places[i] = block_force(store, volume_length(&random));
    CU_ASSERT(spill_counters(store).bytes > 48 * MIB);
    volume_pass(store, places, &random);
    uint64_t spilled = spill_counters(store).spilled;
    CU_ASSERT_EQUAL(spilled, VOLUME_BLOCKS); /* each once: they are immutable */
    volume_pass(store, places, &random);
    CU_ASSERT_EQUAL(spill_counters(store).spilled, spilled);
    for (int i = 0; i < VOLUME_BLOCKS; i++)
        store_free(store, places[i]);
    spill_settle(store);
    CU_ASSERT_EQUAL(spill_counters(store).blocks, 0);
    CU_ASSERT_EQUAL(spill_counters(store).copies_bytes, 0);
    store_close(store);
    host_end(&host);
}

/* More descriptors than one sample of victims looks at. */
static void test_many(void)
{
    enum { MANY = 9000 };
    struct host host;
    static struct store_place places[MANY];
    CU_ASSERT_FATAL(host_make(&host, layout_of(1, 64 * MIB)));
    struct store *store = host_open(&host, 0);
    CU_ASSERT_FATAL(store && spill_open(store, false));
    for (int i = 0; i < MANY; i++)
        places[i] = spill_block(store, 4096);
    uint64_t coming;
    int status;
    store_make_room(store, 4 * MIB, &coming, &status);
    spill_settle(store);
    int young = 0;
    for (int i = MANY / 2; i < MANY; i++)
        young += !spill_block_right(store, places[i]);
    CU_ASSERT_EQUAL(young, 0); /* victims are of the older half */
    spill_everything(store);
    CU_ASSERT_EQUAL(spill_counters(store).on_disk, MANY);
    for (int i = 0; i < MANY; i += 100) {
        CU_ASSERT_EQUAL(spill_fetch(store, places[i]), RAYMPI_OK);
        CU_ASSERT(spill_block_right(store, places[i]));
    }
    store_close(store);
    host_end(&host);
}

/* ---- everybody at once */

#define RANKS   2
#define READERS 2 /* threads per rank */
#define SLOTS   24
#define STEPS   3000
#define KNOWN   12

/* A block that may be borrowed: while it is, its holder does not free it. */
struct slot {
    _Atomic int borrowers; /* or SLOT_CLOSED */
    _Atomic bool wanted;   /* somebody found it on disk */
    struct store_place place;
};

struct board {
    struct host host;
    struct slot slots[RANKS * SLOTS];
    _Atomic int reading;
    _Atomic uint64_t wrong_content, lost_held, lost_restored, seen, stale, found_on_disk, reused;
    _Atomic uint64_t restored[RANKS];
};

struct node {
    struct board *board;
    struct store *store;
    int rank;
    uint64_t random;
    uint64_t *generations;
};

struct reader {
    struct node *node;
    uint64_t random;
    struct store_place known[KNOWN];
};

static void content_check(struct board *board, struct store_place place, const void *data, uint64_t length)
{
    atomic_fetch_add(&board->seen, 1);
    if (!payload_right(data, length, place_seed(place)))
        atomic_fetch_add(&board->wrong_content, 1);
}

/* A block that its holder does not free is in memory, or comes there. */
static void held_look(struct reader *reader)
{
    struct board *board = reader->node->board;
    struct store *store = reader->node->store;
    struct slot *slot = &board->slots[random_next(&reader->random) % (RANKS * SLOTS)];
    const void *data;
    uint64_t length;
    int status;
    if (!slot_borrow(&slot->borrowers))
        return;
    struct store_place place = slot->place;
    while ((status = store_pin(store, place, &data, &length)) == STORE_ON_DISK) {
        atomic_fetch_add(&board->found_on_disk, 1);
        atomic_store(&slot->wanted, true);
        sched_yield();
    }
    atomic_fetch_sub(&slot->borrowers, 1);
    reader->known[random_next(&reader->random) % KNOWN] = place;
    if (status != RAYMPI_OK) {
        atomic_fetch_add(&board->lost_held, 1);
        return;
    }
    if (random_next(&reader->random) % 8 == 0)
        sched_yield();
    content_check(board, place, data, length);
    store_unpin(store, place);
}

/* By an old place: it is lost, on disk, or right. */
static void stale_look(struct reader *reader)
{
    struct store *store = reader->node->store;
    struct store_place place = reader->known[random_next(&reader->random) % KNOWN];
    const void *data;
    uint64_t length;
    if (store_pin(store, place, &data, &length) != RAYMPI_OK) {
        atomic_fetch_add(&reader->node->board->stale, 1);
        return;
    }
    if (random_next(&reader->random) % 4 == 0)
        sched_yield();
    content_check(reader->node->board, place, data, length);
    store_unpin(store, place);
}

/* However the threads are scheduled, enough of everything has happened at the end. */
static bool enough(struct board *board)
{
    bool restored = true;
    for (int rank = 0; rank < RANKS; rank++)
        restored = restored && atomic_load(&board->restored[rank]) > 100;
    return restored && atomic_load(&board->seen) > 1000 && atomic_load(&board->stale) > 500 &&
           atomic_load(&board->found_on_disk) > 100;
}

static void *reader_run(void *arg)
{
    struct reader *reader = arg;
    for (int step = 0; step < STEPS || !enough(reader->node->board); step++)
        if (random_next(&reader->random) % 2)
            held_look(reader);
        else
            stale_look(reader);
    atomic_fetch_sub(&reader->node->board->reading, 1);
    return NULL;
}

/* ---- holders */

static void slot_fill(struct node *node, struct slot *slot)
{
    uint64_t most = random_next(&node->random) % 8 ? 4000 : 60000;
    struct store_place place = spill_block(node->store, 8 * (1 + random_next(&node->random) % most));
    if (!place.generation)
        return;
    if (place.generation <= node->generations[place.index])
        atomic_fetch_add(&node->board->reused, 1);
    node->generations[place.index] = place.generation;
    slot->place = place;
    atomic_store(&slot->wanted, false);
    atomic_store(&slot->borrowers, 0);
}

static void slot_turn(struct node *node, struct slot *slot)
{
    int none = 0;
    if (atomic_load(&slot->borrowers) == SLOT_CLOSED)
        slot_fill(node, slot);
    else if (atomic_compare_exchange_strong(&slot->borrowers, &none, SLOT_CLOSED))
        store_free(node->store, slot->place);
}

static void slot_restore(struct node *node, struct slot *slot)
{
    if (atomic_load(&slot->borrowers) == SLOT_CLOSED)
        return;
    bool wanted = atomic_exchange(&slot->wanted, false);
    if (!wanted && random_next(&node->random) % 4)
        return;
    uint64_t coming;
    int status = store_restore(node->store, slot->place);
    if (status == RAYMPI_ERR_STORE_FULL)
        store_make_room(node->store, MIB, &coming, &status);
    else if (status != RAYMPI_OK && status != STORE_ON_DISK)
        atomic_fetch_add(&node->board->lost_restored, 1);
}

/* Only the holder frees, so a restored block is lost where it was freed meanwhile, and else never. */
static void node_restored(void *arg, struct store_place place, int status)
{
    struct node *node = arg;
    atomic_fetch_add(&node->board->restored[node->rank], status == RAYMPI_OK);
    for (int i = 0; status != RAYMPI_OK && i < SLOTS; i++) {
        struct slot *slot = &node->board->slots[node->rank * SLOTS + i];
        if (atomic_load(&slot->borrowers) != SLOT_CLOSED && slot->place.index == place.index &&
            slot->place.generation == place.generation)
            atomic_fetch_add(&node->board->lost_restored, 1);
    }
}

static void *spiller_run(void *arg)
{
    struct node *node = arg;
    uint64_t random = 77, coming;
    int status;
    while (atomic_load(&node->board->reading)) {
        store_make_room(node->store, random_next(&random) % (MIB / 2), &coming, &status);
        if (status != RAYMPI_OK)
            atomic_fetch_add(&node->board->lost_restored, 1);
        sched_yield();
    }
    return NULL;
}

static void holder_run(struct node *node)
{
    struct slot *slots = &node->board->slots[node->rank * SLOTS];
    while (atomic_load(&node->board->reading)) {
        for (int i = 0; i < SLOTS; i++)
            slot_restore(node, &slots[i]);
        slot_turn(node, &slots[random_next(&node->random) % SLOTS]);
        store_spill_poll(node->store, node_restored, node);
        store_collect(node->store);
    }
    for (int i = 0; i < SLOTS; i++)
        if (atomic_load(&slots[i].borrowers) != SLOT_CLOSED)
            slot_turn(node, &slots[i]);
}

static void node_check(struct node *node)
{
    store_collect(node->store);
    spill_settle(node->store);
    struct store_counters counters = spill_counters(node->store);
    CU_ASSERT_EQUAL(counters.blocks, 0);
    CU_ASSERT_EQUAL(counters.waiting, 0);
    CU_ASSERT_EQUAL(counters.bytes, 0);
    CU_ASSERT_EQUAL(counters.memory_bytes, 0);
    CU_ASSERT_EQUAL(counters.extents, 0);
    CU_ASSERT_EQUAL(counters.on_disk, 0);
    CU_ASSERT_EQUAL(counters.on_disk_bytes, 0);
    CU_ASSERT_EQUAL(counters.copies_bytes, 0);
    CU_ASSERT_EQUAL(store_cold_bytes(node->store, node->rank), 0);
    CU_ASSERT(counters.spilled > 10);
    CU_ASSERT_EQUAL(counters.restored, atomic_load(&node->board->restored[node->rank]));
}

static void *node_run(void *arg)
{
    struct node *node = arg;
    struct reader readers[READERS] = {0};
    pthread_t threads[READERS + 1];
    for (int i = 0; i < READERS; i++) {
        readers[i].node = node;
        readers[i].random = (uint64_t)(node->rank * READERS + i);
        pthread_create(&threads[i], NULL, reader_run, &readers[i]);
    }
    pthread_create(&threads[READERS], NULL, spiller_run, node);
    holder_run(node);
    for (int i = 0; i <= READERS; i++)
        pthread_join(threads[i], NULL);
    return NULL;
}

static struct board *board_make(void)
{
    struct board *board = calloc(1, sizeof *board);
    CU_ASSERT_PTR_NOT_NULL_FATAL(board);
    CU_ASSERT_FATAL(host_make(&board->host, layout_of(RANKS, 2 * MIB)));
    for (int i = 0; i < RANKS * SLOTS; i++)
        board->slots[i].borrowers = SLOT_CLOSED;
    board->reading = RANKS * READERS;
    return board;
}

static void test_everybody(void)
{
    struct board *board = board_make();
    struct node nodes[RANKS];
    pthread_t threads[RANKS];
    for (int rank = 0; rank < RANKS; rank++) {
        nodes[rank] = (struct node){board, host_open(&board->host, rank), rank, (uint64_t)rank + 1000,
                                    calloc(board->host.layout.descriptors, sizeof(uint64_t))};
        CU_ASSERT_FATAL(nodes[rank].store && nodes[rank].generations &&
                        spill_open(nodes[rank].store, rank && store_checksum_there()));
    }
    interrupts_start();
    for (int rank = 0; rank < RANKS; rank++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[rank], NULL, node_run, &nodes[rank]), 0);
    for (int rank = 0; rank < RANKS; rank++)
        pthread_join(threads[rank], NULL);
    interrupts_stop();
    CU_ASSERT_EQUAL(board->wrong_content, 0);
    CU_ASSERT_EQUAL(board->lost_held, 0);
    CU_ASSERT_EQUAL(board->lost_restored, 0);
    CU_ASSERT_EQUAL(board->reused, 0);
    for (int rank = 0; rank < RANKS; rank++)
        node_check(&nodes[rank]);
    for (int rank = 0; rank < RANKS; rank++) {
        store_close(nodes[rank].store);
        free(nodes[rank].generations);
    }
    host_end(&board->host);
    free(board);
}

static const struct unit_test tests[] = {
    {"spill: four times the store, two random passes", test_volume},
    {"spill: more blocks than one sample", test_many},
    {"spill: everybody at once", test_everybody},
};

int main(void)
{
    return SPILL_MAIN("store: spill stress", tests);
}
