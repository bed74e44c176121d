/* The store of a host: blocks, pins, extents, and what happens when there is no more of something. */
#include "store_test.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#define MIB (UINT64_C(1) << 20)
#define KIB (UINT64_C(1) << 10)

static struct store_place block_put(struct store *store, uint64_t length)
{
    struct store_place place = {0, 0, 0};
    void *data;
    CU_ASSERT_EQUAL_FATAL(store_create(store, length, &place, &data), RAYMPI_OK);
    payload_fill(data, length, place_seed(place));
    store_seal(store, place);
    return place;
}

/* 1 the content is right, 0 it is not, -1 the block is lost. */
static int block_look(struct store *store, struct store_place place)
{
    const void *data;
    uint64_t length;
    if (store_pin(store, place, &data, &length) != RAYMPI_OK)
        return -1;
    int right = payload_right(data, length, place_seed(place));
    store_unpin(store, place);
    return right;
}

static bool store_empty(struct store *store)
{
    struct store_counters counters;
    store_counters(store, &counters);
    return counters.blocks == 0 && counters.bytes == 0 && counters.extents == 0 && counters.waiting == 0 &&
           counters.created == counters.freed;
}

/* ---- layout */

static void test_layout(void)
{
    for (int size = 1; size <= 512; size *= 2)
        for (uint64_t bytes = 64 * KIB; bytes <= 1024 * 1024 * MIB; bytes *= 4) {
            struct store_layout layout = layout_of(size, bytes);
            uint64_t total = layout.extents * layout.extent_bytes;
            CU_ASSERT(layout.extents >= 1 && total <= bytes);
            CU_ASSERT(layout.extent_bytes >= 64 * KIB && layout.extent_bytes <= 16 * MIB);
            CU_ASSERT(layout.extents >= (uint64_t)size || layout.extent_bytes == 64 * KIB);
            CU_ASSERT(layout.extents >= 16 || layout.extent_bytes <= 256 * KIB);
            CU_ASSERT(layout.control_bytes > (uint64_t)size * layout.descriptors * 64);
        }
}

static void test_open_wrong(void)
{
    struct host host;
    struct store *store = NULL;
    CU_ASSERT_FATAL(host_make(&host, layout_of(2, 4 * MIB)));
    CU_ASSERT_EQUAL(store_open(&store, &host.segment, &host.layout, HOST_PAGE, host.data_offset, 2, 1),
                    RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_EQUAL(
        store_open(&store, &host.segment, &host.layout, HOST_PAGE, host.data_offset + 64 * KIB, 0, 1),
        RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_PTR_NULL(store);
    host_end(&host);
}

/* ---- blocks and pins */

static void test_block(void)
{
    struct host host;
    CU_ASSERT_FATAL(host_make(&host, layout_of(2, 4 * MIB)));
    struct store *holder = host_open(&host, 0), *reader = host_open(&host, 1);
    CU_ASSERT_FATAL(holder && reader);
    struct store_place place;
    void *data;
    const void *view;
    uint64_t length;
    CU_ASSERT_EQUAL_FATAL(store_create(holder, 1000, &place, &data), RAYMPI_OK);
    CU_ASSERT_EQUAL((uintptr_t)data % 64, 0);
    CU_ASSERT_EQUAL(store_pin(reader, place, &view, &length), RAYMPI_ERR_LOST); /* unsealed */
    payload_fill(data, 1000, 5);
    store_seal(holder, place);
    CU_ASSERT_EQUAL_FATAL(store_pin(reader, place, &view, &length), RAYMPI_OK);
    CU_ASSERT_EQUAL(length, 1000);
    CU_ASSERT_EQUAL((uintptr_t)view % 64, 0);
    CU_ASSERT(payload_right(view, length, 5));
    store_unpin(reader, place);
    store_free(holder, place);
    CU_ASSERT_EQUAL(store_pin(reader, place, &view, &length), RAYMPI_ERR_LOST);
    CU_ASSERT(store_empty(holder));
    store_close(reader);
    store_close(holder);
    host_end(&host);
}

static void test_pins_nest(void)
{
    struct host host;
    CU_ASSERT_FATAL(host_make(&host, layout_of(3, 4 * MIB)));
    struct store *holder = host_open(&host, 0), *reader = host_open(&host, 2), *late = host_open(&host, 1);
    CU_ASSERT_FATAL(holder && reader && late);
    struct store_place place = block_put(holder, 4096);
    struct store_counters counters;
    const void *view, *own;
    uint64_t length;
    CU_ASSERT_EQUAL(store_pin(reader, place, &view, &length), RAYMPI_OK);
    CU_ASSERT_EQUAL(store_pin(reader, place, &view, &length), RAYMPI_OK);
    CU_ASSERT_EQUAL(store_pin(holder, place, &own, &length), RAYMPI_OK);
    store_free(holder, place);
    CU_ASSERT_EQUAL(store_pin(late, place, &own, &length), RAYMPI_ERR_LOST); /* being freed */
    CU_ASSERT_EQUAL(store_pin(reader, place, &own, &length), RAYMPI_OK);     /* which has it anyway */
    CU_ASSERT_PTR_EQUAL(own, view);
    CU_ASSERT_PTR_EQUAL(store_at(reader, place), view);
    store_unpin(reader, place);
    CU_ASSERT_EQUAL(store_collect(holder), 0);
    store_unpin(reader, place);
    CU_ASSERT_EQUAL(store_collect(holder), 0);
    store_unpin(holder, place); /* a pin of the holder's own counts like any other */
    CU_ASSERT_EQUAL(store_collect(holder), 0);
    CU_ASSERT(payload_right(view, length, place_seed(place)));
    store_counters(holder, &counters);
    CU_ASSERT_EQUAL(counters.waiting, 1);
    CU_ASSERT_EQUAL(counters.blocks, 1);
    store_unpin(reader, place);
    CU_ASSERT_EQUAL(store_collect(holder), 1);
    CU_ASSERT(store_empty(holder));
    store_close(late);
    store_close(reader);
    store_close(holder);
    host_end(&host);
}

static void test_stale(void)
{
    struct host host;
    CU_ASSERT_FATAL(host_make(&host, layout_of(2, 4 * MIB)));
    struct store *holder = host_open(&host, 0), *reader = host_open(&host, 1);
    CU_ASSERT_FATAL(holder && reader);
    struct store_place old = block_put(holder, 100);
    store_free(holder, old);
    struct store_place now = block_put(holder, 100);
    CU_ASSERT_EQUAL(now.index, old.index); /* else this test shows nothing */
    CU_ASSERT(now.generation > old.generation);
    const void *view;
    uint64_t length;
    CU_ASSERT_EQUAL(block_look(reader, old), -1);
    CU_ASSERT_EQUAL(store_pin(reader, now, &view, &length), RAYMPI_OK);
    CU_ASSERT_EQUAL(block_look(reader, old), -1); /* also while the successor is pinned */
    int threshold = atomic_exchange(&base_log_threshold, -1);
    store_unpin(reader, old); /* logged, ignored */
    store_free(holder, old);  /* the same */
    atomic_store(&base_log_threshold, threshold);
    CU_ASSERT_EQUAL(block_look(reader, now), 1);
    store_unpin(reader, now);
    store_free(holder, now);
    CU_ASSERT(store_empty(holder));
    struct store_place nowhere[] = {{0, 0, 0}, {0, 1, 1}, {0, UINT32_MAX, 1},
                                    {1, 0, 1}, {2, 0, 1}, {UINT32_MAX, 0, 1}};
    for (size_t i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++)
        CU_ASSERT_EQUAL(block_look(reader, nowhere[i]), -1);
    store_close(reader);
    store_close(holder);
    host_end(&host);
}

static void test_empty_block(void)
{
    struct host host;
    CU_ASSERT_FATAL(host_make(&host, layout_of(1, 4 * MIB)));
    struct store *store = host_open(&host, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(store);
    struct store_place place = block_put(store, 0), other = block_put(store, 0);
    CU_ASSERT_EQUAL(block_look(store, place), 1);
    store_free(store, place);
    CU_ASSERT_EQUAL(block_look(store, other), 1);
    store_free(store, other);
    CU_ASSERT(store_empty(store));
    store_close(store);
    host_end(&host);
}

struct writing {
    struct host host;
    struct store_place place;
};

static int write_to_view(void *arg)
{
    struct writing *writing = arg;
    struct store *store = host_open(&writing->host, 1);
    const void *view;
    uint64_t length;
    signal(SIGSEGV, SIG_DFL);
    if (!store || store_pin(store, writing->place, &view, &length) != RAYMPI_OK)
        return 1;
    *(volatile char *)view = 1;
    return 2;
}

static void test_write_faults(void)
{
    struct writing writing;
    CU_ASSERT_FATAL(host_make(&writing.host, layout_of(2, 4 * MIB)));
    struct store *holder = host_open(&writing.host, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(holder);
    writing.place = block_put(holder, 4096);
    CU_ASSERT_EQUAL(process_end(process_start(write_to_view, &writing)), 256 + SIGSEGV);
    CU_ASSERT_EQUAL(block_look(holder, writing.place), 1);
    store_close(holder);
    host_end(&writing.host);
}

/* The memory of a freed block that another rank has now: the pointer it was written through must be dead. */
static char *returned_pointer;
static int write_to_returned(void *arg)
{
    (void)arg;
    signal(SIGSEGV, SIG_DFL);
    *(volatile char *)returned_pointer = 1;
    return 2;
}

static void test_taken_faults(void)
{
    struct host host;
    CU_ASSERT_FATAL(host_make(&host, layout_of(2, 4 * MIB)));
    struct store *first = host_open(&host, 0), *second = host_open(&host, 1);
    CU_ASSERT_FATAL(first && second);
    struct store_place place, all;
    void *data;
    CU_ASSERT_EQUAL_FATAL(store_create(first, 2 * host.layout.extent_bytes, &place, &data), RAYMPI_OK);
    returned_pointer = (char *)data + host.layout.extent_bytes;
    CU_ASSERT_EQUAL(process_end(process_start(write_to_returned, NULL)), 2);
    store_free(first, place);
    CU_ASSERT_EQUAL(store_create(second, 4 * MIB, &all, &data), RAYMPI_OK);
    CU_ASSERT_EQUAL(store_collect(first), 0);
    CU_ASSERT_EQUAL(process_end(process_start(write_to_returned, NULL)), 256 + SIGSEGV);
    /* When it comes back, it is writable again. */
    store_free(second, all);
    place = block_put(first, 4 * MIB);
    CU_ASSERT_EQUAL(block_look(second, place), 1);
    store_close(second);
    store_close(first);
    host_end(&host);
}

/* ---- no room */

static void test_full(void)
{
    struct host host;
    CU_ASSERT_FATAL(host_make(&host, layout_of(2, 4 * MIB)));
    struct store *first = host_open(&host, 0), *second = host_open(&host, 1);
    CU_ASSERT_FATAL(first && second);
    struct store_place places[64], place;
    void *data;
    int count = 0;
    while (count < 64 && store_create(first, 100 * KIB, &places[count], &data) == RAYMPI_OK)
        count++;
    CU_ASSERT(count >= 30 && count < 64);
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "RAYMPI_STORE_BYTES"));
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "rank 0: 16 extents"));
    CU_ASSERT_EQUAL(store_create(second, 100 * KIB, &place, &data), RAYMPI_ERR_STORE_FULL);
    /* However often it fails: no descriptor gets lost. */
    int others = 0;
    for (uint32_t i = 0; i <= host.layout.descriptors; i++)
        others += store_create(second, 100 * KIB, &place, &data) != RAYMPI_ERR_STORE_FULL;
    CU_ASSERT_EQUAL(others, 0);
    CU_ASSERT_EQUAL(store_create(second, 4 * MIB + 1, &place, &data), RAYMPI_ERR_TOO_LARGE);
    uint32_t ticket = store_room_ticket(second);
    CU_ASSERT_FALSE(store_room_changed(second, ticket));
    CU_ASSERT_FALSE(store_room_wait(second, ticket, 0.001));
    for (int i = 0; i < count; i++)
        store_free(first, places[i]);
    CU_ASSERT(store_room_changed(second, ticket));
    CU_ASSERT(store_room_wait(second, ticket, 1000));
    CU_ASSERT_EQUAL(store_create(second, 100 * KIB, &place, &data), RAYMPI_OK);
    store_free(second, place);
    CU_ASSERT(store_empty(first) && store_empty(second));
    store_close(second);
    store_close(first);
    host_end(&host);
}

/* With what every rank keeps in reserve for itself still in its hands. */
static void test_whole_store(void)
{
    struct host host;
    CU_ASSERT_FATAL(host_make(&host, layout_of(4, 8 * MIB)));
    struct store *stores[4];
    for (int rank = 0; rank < 4; rank++) {
        stores[rank] = host_open(&host, rank);
        CU_ASSERT_PTR_NOT_NULL_FATAL(stores[rank]);
    }
    for (int round = 0; round < 3; round++)
        for (int rank = 0; rank < 4; rank++) {
            struct store_place small = block_put(stores[(rank + 1) % 4], 100), none;
            void *data;
            CU_ASSERT_EQUAL(store_create(stores[rank], 8 * MIB, &none, &data), RAYMPI_ERR_STORE_FULL);
            store_free(stores[(rank + 1) % 4], small);
            struct store_place whole = block_put(stores[rank], 8 * MIB);
            CU_ASSERT_EQUAL(store_create(stores[(rank + 1) % 4], 1, &none, &data), RAYMPI_ERR_STORE_FULL);
            CU_ASSERT_EQUAL(block_look(stores[(rank + 3) % 4], whole), 1);
            store_free(stores[rank], whole);
        }
    for (int rank = 0; rank < 4; rank++) {
        CU_ASSERT(store_empty(stores[rank]));
        store_close(stores[rank]);
    }
    host_end(&host);
}

struct waiter {
    struct store *store;
    uint32_t ticket;
};

static void *room_waiter(void *arg)
{
    struct waiter *waiter = arg;
    return store_room_wait(waiter->store, waiter->ticket, 1000) ? waiter : NULL;
}

/* Sleepers are woken by a free of another rank that gives extents back, and by one of their own rank that
 * does not. */
static void test_room_wait(void)
{
    struct host host;
    CU_ASSERT_FATAL(host_make(&host, layout_of(2, 1 * MIB)));
    struct store *first = host_open(&host, 0), *second = host_open(&host, 1);
    CU_ASSERT_FATAL(first && second);
    for (int i = 0; i < 200; i++) {
        struct store *freer = i % 2 ? first : second;
        struct store_place keep = block_put(freer, 64), place = block_put(freer, i % 4 < 2 ? 64 : 500 * KIB);
        struct waiter waiter = {i % 4 < 2 ? freer : first, 0};
        waiter.ticket = store_room_ticket(waiter.store);
        pthread_t thread;
        void *woken;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, room_waiter, &waiter), 0);
        store_free(freer, place);
        pthread_join(thread, &woken);
        CU_ASSERT_PTR_NOT_NULL(woken);
        store_free(freer, keep);
    }
    store_close(second);
    store_close(first);
    host_end(&host);
}

static void test_descriptors_end(void)
{
    struct host host;
    struct store_layout layout = layout_of(2, 1 * MIB);
    struct store_layout whole = layout;
    layout.descriptors = 1500; /* more than one chunk of the table, not a multiple of it */
    CU_ASSERT_FATAL(layout.descriptors < whole.descriptors);
    CU_ASSERT_FATAL(host_make(&host, layout));
    struct store *holder = host_open(&host, 1), *reader = host_open(&host, 0);
    CU_ASSERT_FATAL(holder && reader);
    static struct store_place places[1500];
    struct store_place more;
    void *data;
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < layout.descriptors; i++)
            places[i] = block_put(holder, 64);
        CU_ASSERT_EQUAL(store_create(holder, 64, &more, &data), RAYMPI_ERR_MEMORY);
        CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "RAYMPI_STORE_BYTES"));
        int wrong = 0;
        for (uint32_t i = 0; i < layout.descriptors; i++)
            wrong += block_look(reader, places[i]) != 1;
        CU_ASSERT_EQUAL(wrong, 0);
        for (uint32_t i = 0; i < layout.descriptors; i++)
            store_free(holder, places[i]);
    }
    CU_ASSERT(store_empty(holder));
    store_close(reader);
    store_close(holder);
    host_end(&host);
}

/* ---- several processes */

#define LEASERS 4

struct leasing {
    struct host host;
    int rank;
};

#define LEASES 5000
#define STRIDE 4096

/* Few stamps per extent: the time goes into leasing, not filling. */
static void stamps_set(char *data, uint64_t length, uint64_t seed)
{
    for (uint64_t at = 0; at + 8 <= length; at += STRIDE)
        *(uint64_t *)(data + at) = seed + at;
}

static bool stamps_right(struct store *store, struct store_place place)
{
    const void *data;
    uint64_t length, wrong = 0;
    if (store_pin(store, place, &data, &length) != RAYMPI_OK)
        return false;
    for (uint64_t at = 0; at + 8 <= length; at += STRIDE)
        wrong += *(const uint64_t *)((const char *)data + at) != place_seed(place) + at;
    store_unpin(store, place);
    return wrong == 0;
}

/* Stamps whatever it gets with its own numbers and looks at them again before it lets go: extents never
 * overlap. There are as few extents as ranks, so they change hands all the time. */
static int lease_and_return(void *arg)
{
    struct leasing *leasing = arg;
    struct store *store = host_open(&leasing->host, leasing->rank);
    uint64_t random = (uint64_t)leasing->rank + 1;
    struct store_place places[6];
    int held = 0;
    if (!store)
        return 1;
    interrupts_start();
    for (int made = 0; made < LEASES;) {
        void *data;
        uint32_t ticket = store_room_ticket(store);
        uint64_t length = 8 * (1 + random_next(&random) % (2 * leasing->host.layout.extent_bytes / 8));
        if (held < 6 && random_next(&random) % 2 &&
            store_create(store, length, &places[held], &data) == RAYMPI_OK) {
            stamps_set(data, length, place_seed(places[held]));
            store_seal(store, places[held++]);
            made++;
        } else if (held) {
            if (!stamps_right(store, places[--held]))
                return 2;
            store_free(store, places[held]);
        } else if (store_create(store, length, &places[0], &data) == RAYMPI_OK) {
            store_free(store, places[0]);
        } else if (!store_room_wait(store, ticket, 100)) {
            return 4; /* who holds nothing waits for those who do */
        }
    }
    while (held)
        store_free(store, places[--held]);
    interrupts_stop();
    if (!store_empty(store))
        return 3;
    store_close(store);
    return 0;
}

static void test_extents_concurrent(void)
{
    struct leasing *shared = shared_make(LEASERS * sizeof *shared);
    pid_t pids[LEASERS];
    CU_ASSERT_PTR_NOT_NULL_FATAL(shared);
    CU_ASSERT_FATAL(host_make(&shared[0].host, layout_of(LEASERS, 256 * KIB)));
    for (int rank = 0; rank < LEASERS; rank++) {
        shared[rank].host = shared[0].host;
        shared[rank].rank = rank;
        pids[rank] = process_start(lease_and_return, &shared[rank]);
    }
    for (int rank = 0; rank < LEASERS; rank++)
        CU_ASSERT_EQUAL(process_end(pids[rank]), 0);
    /* All is back: one block can have everything. */
    struct store *store = host_open(&shared[0].host, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(store);
    struct store_place whole = block_put(store, 256 * KIB);
    CU_ASSERT_EQUAL(block_look(store, whole), 1);
    store_close(store);
    host_end(&shared[0].host);
    munmap(shared, LEASERS * sizeof *shared);
}

struct dying {
    struct host host;
    struct store_place place;
    _Atomic int pinned;
};

static int pin_and_wait(void *arg)
{
    struct dying *dying = arg;
    struct store *store = host_open(&dying->host, 1);
    const void *view;
    uint64_t length;
    if (store && store_pin(store, dying->place, &view, &length) == RAYMPI_OK)
        atomic_store(&dying->pinned, 1);
    while (pause() < 0)
        continue;
    return 0;
}

static void test_rank_died(void)
{
    struct dying *dying = shared_make(sizeof *dying);
    CU_ASSERT_PTR_NOT_NULL_FATAL(dying);
    CU_ASSERT_FATAL(host_make(&dying->host, layout_of(3, 4 * MIB)));
    struct store *holder = host_open(&dying->host, 0), *third = host_open(&dying->host, 2);
    CU_ASSERT_FATAL(holder && third);
    dying->place = block_put(holder, 1 * MIB);
    pid_t pid = process_start(pin_and_wait, dying);
    while (!atomic_load(&dying->pinned))
        sched_yield();
    kill(pid, SIGKILL);
    CU_ASSERT_EQUAL(process_end(pid), 256 + SIGKILL);
    store_free(holder, dying->place);
    CU_ASSERT_EQUAL(store_collect(holder), 0);
    store_rank_died(third, 1); /* any survivor's call will do */
    CU_ASSERT_EQUAL(store_collect(holder), 1);
    CU_ASSERT(store_empty(holder));
    store_close(third);
    store_close(holder);
    host_end(&dying->host);
    munmap(dying, sizeof *dying);
}

/* ---- close */

static void test_close(void)
{
    struct host host;
    CU_ASSERT_FATAL(host_make(&host, layout_of(2, 4 * MIB)));
    struct store *holder = host_open(&host, 0), *other = host_open(&host, 1);
    CU_ASSERT_FATAL(holder && other);
    struct store_place kept = block_put(holder, 100), own = block_put(holder, 3 * MIB);
    struct store_place foreign = block_put(other, 100), whole;
    const void *view, *mine;
    uint64_t length, ignored;
    void *data;
    CU_ASSERT_EQUAL(store_pin(other, kept, &view, &length), RAYMPI_OK);
    CU_ASSERT_EQUAL(store_pin(holder, own, &mine, &ignored), RAYMPI_OK);
    CU_ASSERT_EQUAL(store_pin(holder, foreign, &mine, &ignored), RAYMPI_OK);
    store_close(holder);
    CU_ASSERT_EQUAL(block_look(other, own), -1);
    store_free(other, foreign); /* the pins of the closed rank are gone */
    CU_ASSERT(store_empty(other));
    /* All but the one extent with the block that is still pinned can be had, and written. */
    struct store_place rest = block_put(other, 4 * MIB - host.layout.extent_bytes);
    CU_ASSERT_EQUAL(store_create(other, 1, &whole, &data), RAYMPI_ERR_STORE_FULL);
    CU_ASSERT(payload_right(view, length, place_seed(kept)));
    /* A successor does not touch it either. */
    store_free(other, rest);
    holder = host_open(&host, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(holder);
    struct store_place next = block_put(holder, 100);
    CU_ASSERT(next.index != kept.index && (next.index != own.index || next.generation > own.generation));
    CU_ASSERT_EQUAL(block_look(other, next), 1);
    CU_ASSERT(payload_right(view, length, place_seed(kept)));
    store_close(holder);
    store_close(other);
    host_end(&host);
}

static void test_describe(void)
{
    struct host host;
    char text[1000], small[40];
    CU_ASSERT_FATAL(host_make(&host, layout_of(3, 4 * MIB)));
    struct store *first = host_open(&host, 0), *third = host_open(&host, 2);
    CU_ASSERT_FATAL(first && third);
    struct store_place place = block_put(first, 128);
    block_put(first, 100);
    block_put(third, 300 * KIB);
    const void *view;
    uint64_t length;
    CU_ASSERT_EQUAL(store_pin(third, place, &view, &length), RAYMPI_OK);
    store_describe(third, text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "rank 0: 1 extents, 256 bytes in 2 blocks, 1 pinned\n"
                                 "rank 2: 2 extents, 307200 bytes in 1 blocks, 0 pinned");
    store_describe(third, small, sizeof small);
    CU_ASSERT(strlen(small) == sizeof small - 1);
    store_close(first);
    store_close(third);
    host_end(&host);
}

/* ---- extents that others may read */

struct left {
    uint64_t bytes, offset; /* of all; the last one's */
    const void *memory;
};

static void on_left(void *arg, uint64_t offset, const void *memory, uint64_t length)
{
    struct left *left = arg;
    left->bytes += length;
    left->offset = offset;
    left->memory = memory;
}

static void test_extents_of(void)
{
    static const uint64_t lengths[] = {0, 100, 200 * KIB, 300 * KIB, MIB};
    struct host host;
    CU_ASSERT_FATAL(host_make(&host, layout_of(2, 4 * MIB)));
    const uint64_t extent = host.layout.extent_bytes;
    struct store *store = host_open(&host, 0);
    CU_ASSERT_FATAL(store != NULL);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct store_place place;
        void *data, *memory;
        uint64_t offset, length, around;
        CU_ASSERT_EQUAL_FATAL(store_create(store, lengths[i], &place, &data), RAYMPI_OK);
        uint64_t at = store_offset(store, place);
        store_extents_of(store, place, &offset, &length);
        CU_ASSERT((offset - host.data_offset) % extent == 0 && length % extent == 0);
        CU_ASSERT(offset <= at && at - offset < extent);
        CU_ASSERT(at + lengths[i] <= offset + length && length < lengths[i] + 2 * extent);
        store_writable_around(store, place, &memory, &around);
        CU_ASSERT_EQUAL(around, length);
        CU_ASSERT_PTR_EQUAL((char *)memory + (at - offset), data);
    }
    store_close(store);
    host_end(&host);
}

/* Not as long as they are in reserve, only when another rank has taken them. */
static void test_extents_left(void)
{
    struct host host;
    struct left left = {0, 0, NULL};
    struct store_place place;
    void *data, *memory;
    uint64_t offset, length;
    CU_ASSERT_FATAL(host_make(&host, layout_of(2, 4 * MIB)));
    struct store *first = host_open(&host, 0), *second = host_open(&host, 1);
    CU_ASSERT_FATAL(first && second);
    store_on_extent_left(first, on_left, &left);
    CU_ASSERT_EQUAL_FATAL(store_create(first, 4 * MIB, &place, &data), RAYMPI_OK);
    store_writable_around(first, place, &memory, &length);
    CU_ASSERT_EQUAL(length, 4 * MIB);
    store_free(first, place);
    CU_ASSERT_EQUAL(left.bytes, 0);
    CU_ASSERT_EQUAL_FATAL(store_create(second, 100, &place, &data), RAYMPI_OK);
    store_collect(first);
    store_extents_of(second, place, &offset, &length);
    CU_ASSERT_EQUAL(left.bytes, length);
    CU_ASSERT_EQUAL(left.offset, offset);
    CU_ASSERT_PTR_EQUAL(left.memory, (char *)memory + (offset - host.data_offset));
    store_on_extent_left(first, NULL, NULL);
    store_close(first);
    store_close(second);
    CU_ASSERT_EQUAL(left.bytes, length);
    host_end(&host);
}

static void test_copy(void)
{
    size_t most = 3 * MIB;
    char *from = malloc(most + 256), *to = malloc(most + 256);
    CU_ASSERT_FATAL(from && to);
    for (size_t i = 0; i < most + 256; i++)
        from[i] = (char)base_mix(i);
    size_t lengths[] = {0, 1, 63, 64, 1000, MIB - 1, MIB, MIB + 1, MIB + 63, 2 * MIB + 77, most};
    int wrong = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (size_t shift = 0; shift < 130; shift += 43) {
            memset(to, 0x55, most + 256);
            store_copy(to + 64 + shift % 67, from + shift, lengths[i]);
            char *start = to + 64 + shift % 67;
            wrong += memcmp(start, from + shift, lengths[i]) != 0;
            wrong += start[-1] != 0x55 || start[lengths[i]] != 0x55;
        }
    CU_ASSERT_EQUAL(wrong, 0);
    free(from);
    free(to);
}

static const struct unit_test tests[] = {
    {"store: layouts", test_layout},
    {"store: a layout that does not fit the segment", test_open_wrong},
    {"store: create, seal, pin, free", test_block},
    {"store: pins nest and hold up the free", test_pins_nest},
    {"store: a stale place is lost", test_stale},
    {"store: blocks of no bytes", test_empty_block},
    {"store: a write to a view faults", test_write_faults},
    {"store: a write to memory that another rank took faults", test_taken_faults},
    {"store: full is a status and recovers", test_full},
    {"store: one block as large as the store", test_whole_store},
    {"store: sleepers for room are woken", test_room_wait},
    {"store: the descriptor table ends", test_descriptors_end},
    {"store: processes lease and return extents", test_extents_concurrent},
    {"store: pins of a killed process are cleared", test_rank_died},
    {"store: close keeps what others pin", test_close},
    {"store: who holds what", test_describe},
    {"store: the extents that a block lies in", test_extents_of},
    {"store: extents that another rank has taken are told", test_extents_left},
    {"store: copies of all sizes and alignments", test_copy},
};

int main(void)
{
    return UNIT_MAIN("store: blocks", tests);
}
