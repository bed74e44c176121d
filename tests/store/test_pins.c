/* Ranks pin each other's blocks, often by places that are long stale, while the holders free and make new
 * ones. */
#include "store_test.h"

#include <pthread.h>
#include <sched.h>

#define RANKS   3
#define READERS 2 /* threads per rank, beside the one that makes and frees */
#define SLOTS   8 /* per rank */
#define STEPS   5000
#define KNOWN   12
#define BYTES   (UINT64_C(1) << 20)

/* A block that may be borrowed: while it is, its holder does not free it. */
struct slot {
    _Atomic int borrowers; /* or SLOT_CLOSED */
    struct store_place place;
};

struct board {
    struct host host;
    struct slot slots[RANKS * SLOTS];
    _Atomic int reading; /* threads that still pin */
    _Atomic uint64_t wrong_content, lost_held, reused, created, seen, stale, leaked;
};

struct node {
    struct board *board;
    struct store *store;
    int rank;
};

struct reader {
    struct node *node;
    uint64_t random;
    struct store_place known[KNOWN];
};

static void content_check(struct board *board, struct store_place place, const void *data, uint64_t length)
{
    const uint64_t *words = data;
    bool right =
        length >= 16 && words[0] == length && payload_right(words + 1, length - 8, place_seed(place));
    atomic_fetch_add(&board->seen, 1);
    if (!right)
        atomic_fetch_add(&board->wrong_content, 1);
}

/* ---- readers */

/* Pins a block that is surely there, and goes on looking at it when its holder is free to free it. */
static void held_look(struct reader *reader)
{
    struct node *node = reader->node;
    struct slot *slot = &node->board->slots[random_next(&reader->random) % (RANKS * SLOTS)];
    const void *data;
    uint64_t length;
    if (!slot_borrow(&slot->borrowers))
        return;
    struct store_place place = slot->place;
    int status = store_pin(node->store, place, &data, &length);
    if (status == RAYMPI_OK && random_next(&reader->random) % 4 == 0) {
        status = store_pin(node->store, place, &data, &length);
        store_unpin(node->store, place);
    }
    atomic_fetch_sub(&slot->borrowers, 1);
    reader->known[random_next(&reader->random) % KNOWN] = place;
    if (status != RAYMPI_OK) {
        atomic_fetch_add(&node->board->lost_held, 1);
        return;
    }
    if (random_next(&reader->random) % 8 == 0)
        sched_yield();
    content_check(node->board, place, data, length);
    store_unpin(node->store, place);
}

/* Pins by an old place: it is lost, or still there and right. */
static void stale_look(struct reader *reader)
{
    struct node *node = reader->node;
    struct store_place place = reader->known[random_next(&reader->random) % KNOWN];
    const void *data;
    uint64_t length;
    if (store_pin(node->store, place, &data, &length) != RAYMPI_OK) {
        atomic_fetch_add(&node->board->stale, 1);
        return;
    }
    /* Time for a holder that overlooked this pin to use the memory again. */
    if (random_next(&reader->random) % 4 == 0)
        sched_yield();
    content_check(node->board, place, data, length);
    store_unpin(node->store, place);
}

/* However the threads are scheduled, enough of everything has happened at the end. */
static bool enough(struct board *board)
{
    return atomic_load(&board->created) > 300 && atomic_load(&board->seen) > 1000 &&
           atomic_load(&board->stale) > 1000;
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

struct holder {
    struct node *node;
    uint64_t random;
    uint64_t *generations; /* by index, the last */
};

static void slot_fill(struct holder *holder, struct slot *slot)
{
    struct node *node = holder->node;
    struct store_place place;
    void *data;
    uint64_t words = 2 + random_next(&holder->random) % (random_next(&holder->random) % 16 ? 200 : 20000);
    if (store_create(node->store, words * 8, &place, &data) != RAYMPI_OK)
        return;
    if (place.generation <= holder->generations[place.index])
        atomic_fetch_add(&node->board->reused, 1);
    holder->generations[place.index] = place.generation;
    *(uint64_t *)data = words * 8;
    payload_fill((uint64_t *)data + 1, words * 8 - 8, place_seed(place));
    store_seal(node->store, place);
    slot->place = place;
    atomic_fetch_add(&node->board->created, 1);
    atomic_store(&slot->borrowers, 0);
}

static void slot_turn(struct holder *holder, struct slot *slot)
{
    int none = 0;
    if (atomic_load(&slot->borrowers) == SLOT_CLOSED)
        slot_fill(holder, slot);
    else if (atomic_compare_exchange_strong(&slot->borrowers, &none, SLOT_CLOSED))
        store_free(holder->node->store, slot->place);
}

static void holder_run(struct holder *holder)
{
    struct node *node = holder->node;
    struct slot *slots = &node->board->slots[node->rank * SLOTS];
    while (atomic_load(&node->board->reading)) {
        slot_turn(holder, &slots[random_next(&holder->random) % SLOTS]);
        store_collect(node->store);
    }
    for (int i = 0; i < SLOTS; i++)
        if (atomic_load(&slots[i].borrowers) != SLOT_CLOSED)
            slot_turn(holder, &slots[i]);
    store_collect(node->store);
}

/* ---- a rank */

static void *node_run(void *arg)
{
    struct node *node = arg;
    struct reader readers[READERS] = {0};
    pthread_t threads[READERS];
    struct holder holder = {node, (uint64_t)node->rank + 1000, NULL};
    holder.generations = calloc(node->board->host.layout.descriptors, sizeof *holder.generations);
    if (!holder.generations)
        return NULL;
    for (int i = 0; i < READERS; i++) {
        readers[i].node = node;
        readers[i].random = (uint64_t)(node->rank * READERS + i);
        pthread_create(&threads[i], NULL, reader_run, &readers[i]);
    }
    holder_run(&holder);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    struct store_counters counters;
    store_counters(node->store, &counters);
    if (counters.blocks || counters.waiting || counters.bytes || counters.extents)
        atomic_fetch_add(&node->board->leaked, 1);
    free(holder.generations);
    return node;
}

static struct board *board_make(void)
{
    struct board *board = shared_make(sizeof *board);
    CU_ASSERT_PTR_NOT_NULL_FATAL(board);
    CU_ASSERT_FATAL(host_make(&board->host, layout_of(RANKS, BYTES)));
    for (int i = 0; i < RANKS * SLOTS; i++)
        board->slots[i].borrowers = SLOT_CLOSED;
    board->reading = RANKS * READERS;
    return board;
}

static void board_check(struct board *board)
{
    CU_ASSERT_EQUAL(board->wrong_content, 0);
    CU_ASSERT_EQUAL(board->lost_held, 0);
    CU_ASSERT_EQUAL(board->reused, 0);
    CU_ASSERT_EQUAL(board->leaked, 0);
    host_end(&board->host);
    munmap(board, sizeof *board);
}

static int node_process(void *arg)
{
    struct node *node = arg;
    node->store = host_open(&node->board->host, node->rank);
    if (!node->store)
        return 1;
    interrupts_start();
    bool ran = node_run(node) != NULL;
    interrupts_stop();
    store_close(node->store);
    return ran ? 0 : 2;
}

static void test_processes(void)
{
    struct board *board = board_make();
    struct node nodes[RANKS];
    pid_t pids[RANKS];
    for (int rank = 0; rank < RANKS; rank++) {
        nodes[rank] = (struct node){board, NULL, rank};
        pids[rank] = process_start(node_process, &nodes[rank]);
    }
    for (int rank = 0; rank < RANKS; rank++)
        CU_ASSERT_EQUAL(process_end(pids[rank]), 0);
    board_check(board);
}

/* The same with all ranks in one process, where ThreadSanitizer sees them. */
static void test_threads(void)
{
    struct board *board = board_make();
    struct node nodes[RANKS];
    pthread_t threads[RANKS];
    void *ran;
    for (int rank = 0; rank < RANKS; rank++) {
        nodes[rank] = (struct node){board, host_open(&board->host, rank), rank};
        CU_ASSERT_PTR_NOT_NULL_FATAL(nodes[rank].store);
    }
    interrupts_start();
    for (int rank = 0; rank < RANKS; rank++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[rank], NULL, node_run, &nodes[rank]), 0);
    for (int rank = 0; rank < RANKS; rank++) {
        CU_ASSERT_EQUAL(pthread_join(threads[rank], &ran), 0);
        CU_ASSERT_PTR_NOT_NULL(ran);
    }
    interrupts_stop();
    for (int rank = 0; rank < RANKS; rank++)
        store_close(nodes[rank].store);
    board_check(board);
}

/* Threads of one rank that create, write, read and free at the same time. */
#define MAKERS 3

struct maker {
    struct store *store;
    uint64_t random;
    uint64_t wrong;
};

static void *maker_run(void *arg)
{
    struct maker *maker = arg;
    for (int step = 0; step < STEPS; step++) {
        struct store_place place;
        void *data;
        const void *view;
        uint64_t length = 8 * (1 + random_next(&maker->random) % 500), seen;
        if (store_create(maker->store, length, &place, &data) != RAYMPI_OK)
            continue;
        payload_fill(data, length, place_seed(place));
        store_seal(maker->store, place);
        if (store_pin(maker->store, place, &view, &seen) != RAYMPI_OK) {
            maker->wrong++;
            continue;
        }
        store_free(maker->store, place);
        maker->wrong += seen != length || !payload_right(view, length, place_seed(place));
        store_unpin(maker->store, place);
        store_collect(maker->store);
    }
    return NULL;
}

static void test_makers(void)
{
    struct host host;
    struct store_counters counters;
    struct maker makers[MAKERS];
    pthread_t threads[MAKERS];
    CU_ASSERT_FATAL(host_make(&host, layout_of(1, BYTES)));
    struct store *store = host_open(&host, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(store);
    for (int i = 0; i < MAKERS; i++) {
        makers[i] = (struct maker){store, (uint64_t)i, 0};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, maker_run, &makers[i]), 0);
    }
    for (int i = 0; i < MAKERS; i++) {
        pthread_join(threads[i], NULL);
        CU_ASSERT_EQUAL(makers[i].wrong, 0);
    }
    store_collect(store);
    store_counters(store, &counters);
    CU_ASSERT_EQUAL(counters.blocks, 0);
    CU_ASSERT_EQUAL(counters.extents, 0);
    CU_ASSERT(counters.created > STEPS);
    store_close(store);
    host_end(&host);
}

static const struct unit_test tests[] = {
    {"pins: processes pin stale places while holders free", test_processes},
    {"pins: the same with ranks as threads", test_threads},
    {"pins: threads of one rank create and free", test_makers},
};

int main(void)
{
    return UNIT_MAIN("store: pins", tests);
}
