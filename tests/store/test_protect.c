/* Blocks that can only be read once they are sealed, and what is found at an address. mprotect is refused on
 * demand. */
#include "spill_disk.h"
#include "store/store_internal.h"

#include <errno.h>
#include <pthread.h>

static _Atomic int refusals; /* of the next calls of mprotect */

int __real_mprotect(void *address, size_t length, int protection);
int __wrap_mprotect(void *address, size_t length, int protection)
{
    if (atomic_load(&refusals) <= 0 || atomic_fetch_sub(&refusals, 1) <= 0)
        return __real_mprotect(address, length, protection);
    errno = ENOMEM;
    return -1;
}

#define RANKS 2
static struct host host;
static struct store *stores[RANKS];

/* What rank 0 does is looked at. */
static struct store *begin(void)
{
    CU_ASSERT_FATAL(host_make(&host, layout_of(RANKS, 4 * MIB)));
    for (int rank = 0; rank < RANKS; rank++) {
        CU_ASSERT_FATAL((stores[rank] = host_open(&host, rank)) != NULL);
        store_protect(stores[rank]);
    }
    return stores[0];
}

static void end(void)
{
    CU_ASSERT_EQUAL(spill_counters(stores[0]).blocks, 0);
    CU_ASSERT_EQUAL(spill_counters(stores[0]).bytes, 0);
    CU_ASSERT_EQUAL(spill_counters(stores[0]).memory_bytes, 0);
    CU_ASSERT_EQUAL(stores[0]->guarded, 0);
    for (int rank = 0; rank < RANKS; rank++)
        store_close(stores[rank]);
    host_end(&host);
}

/* An unsealed block of rank 0's. */
static struct store_place make(uint64_t length, char **data)
{
    struct store_place place = {0, 0, 0};
    void *memory;
    CU_ASSERT_EQUAL_FATAL(store_create(stores[0], length, &place, &memory), RAYMPI_OK);
    memset(memory, 'a', length);
    *data = memory;
    return place;
}

static struct store_place make_sealed(uint64_t length, char **data)
{
    struct store_place place = make(length, data);
    store_seal(stores[0], place);
    return place;
}

__attribute__((noinline, no_sanitize("all"))) static int strike(void *data)
{
    signal(SIGSEGV, SIG_DFL);   /* sanitizers have handlers of their own */
    volatile char *byte = data; /* what is there stays: the memory is shared */
    *byte = *byte;
    return 0;
}

/* Whether a write is the end of who does it. */
static bool is_protected(const void *data)
{
    int code = process_end(process_start(strike, (void *)data));
    CU_ASSERT(code == 0 || code == 256 + SIGSEGV);
    return code != 0;
}

/* Every byte of a block, and none of its neighbours'. */
static void test_sealed(void)
{
    static const uint64_t lengths[] = {0, 1, 600, 4096, 4097, 100000, 1 << 20};
    enum { LENGTHS = sizeof lengths / sizeof lengths[0] };
    struct store *store = begin();
    struct store_place first[LENGTHS], second[LENGTHS];
    for (size_t i = 0; i < LENGTHS; i++) {
        char *data, *neighbour;
        uint64_t last = lengths[i] ? lengths[i] - 1 : 0;
        first[i] = make(lengths[i], &data);
        second[i] = make(lengths[i], &neighbour);
        CU_ASSERT_EQUAL((uintptr_t)data % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
        CU_ASSERT(!is_protected(data) && !is_protected(data + last));
        void *around;
        uint64_t writable;
        store_writable_around(store, first[i], &around, &writable);
        CU_ASSERT(around == data && writable == store_takes(store, lengths[i]));
        store_seal(store, first[i]);
        CU_ASSERT(is_protected(data) && is_protected(data + last));
        CU_ASSERT(!is_protected(neighbour) && !is_protected(neighbour + last));
        CU_ASSERT(lengths[i] == 0 || *data == 'a');
        CU_ASSERT_EQUAL(store_takes(store, lengths[i]) % (uint64_t)sysconf(_SC_PAGESIZE), 0);
    }
    for (size_t i = 0; i < LENGTHS; i++) {
        store_free(store, first[i]);
        store_free(store, second[i]);
    }
    end();
}

static void test_without(void)
{
    char *data;
    CU_ASSERT_FATAL(host_make(&host, layout_of(1, 4 * MIB)));
    stores[0] = host_open(&host, 0);
    struct store_place place = make_sealed(5000, &data);
    CU_ASSERT(!is_protected(data));
    CU_ASSERT_EQUAL(store_takes(stores[0], 5000), base_align_up(5000, 64));
    store_free(stores[0], place);
    store_close(stores[0]);
    host_end(&host);
}

/* Memory that is used again can be written to; that of a view cannot, as long as it is open. */
static void test_freed(void)
{
    struct store *store = begin();
    char *data, *again;
    const void *view;
    uint64_t length;
    for (int i = 0; i < 3; i++) {
        struct store_place place = make_sealed(10000, &data);
        CU_ASSERT(is_protected(data));
        CU_ASSERT_EQUAL(store_pin(stores[1], place, &view, &length), RAYMPI_OK);
        store_free(store, place);
        CU_ASSERT(is_protected(data));
        store_unpin(stores[1], place);
        CU_ASSERT_EQUAL(store_collect(store), 1);
        struct store_place next = make(10000, &again);
        CU_ASSERT_PTR_EQUAL(again, data);
        memset(again, 'b', 10000);
        store_seal(store, next);
        CU_ASSERT(is_protected(again));
        store_free(store, next);
    }
    end();
}

/* Extents that the store gives back and takes again, in pieces of other sizes. */
static void test_extents(void)
{
    struct store *store = begin();
    struct store_place places[16];
    char *data;
    for (uint64_t length = 4 * MIB; length >= 64 << 10; length /= 2) {
        int count = (int)(4 * MIB / length < 16 ? 4 * MIB / length : 16);
        for (int i = 0; i < count; i++)
            places[i] = make_sealed(length, &data);
        CU_ASSERT(is_protected(data));
        for (int i = 0; i < count; i++)
            store_free(store, places[i]);
    }
    void *others;
    CU_ASSERT_EQUAL_FATAL(store_create(stores[1], 4 * MIB, &places[0], &others), RAYMPI_OK);
    memset(others, 'o', 4 * MIB);
    store_free(stores[1], places[0]);
    end();
}

static void test_restored(void)
{
    struct store *store = begin();
    struct store_place places[8];
    CU_ASSERT_FATAL(spill_open(store, false));
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < 8; i++)
            places[i] = spill_block(store, 100000);
        spill_everything(store);
        CU_ASSERT_EQUAL(store->guarded, 0);
        for (int i = 0; i < 8; i++) {
            CU_ASSERT_EQUAL(spill_fetch(store, places[i]), RAYMPI_OK);
            CU_ASSERT(spill_block_right(store, places[i]));
            CU_ASSERT(is_protected(store->write + store_offset(store, places[i]) - store->data_offset));
        }
        CU_ASSERT_EQUAL(store->guarded, 8);
        for (int i = 0; i < 8; i++)
            store_free(store, places[i]);
    }
    end();
}

/* ---- what is said */

static int usual_stderr;
static FILE *heard;

static void listen_begin(void)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL((heard = tmpfile()));
    usual_stderr = dup(STDERR_FILENO);
    dup2(fileno(heard), STDERR_FILENO);
}

/* How many lines say so; others go on to where they would have gone. */
static int listen_end(const char *what)
{
    char line[1024];
    int lines = 0;
    dup2(usual_stderr, STDERR_FILENO);
    close(usual_stderr);
    rewind(heard);
    while (fgets(line, sizeof line, heard)) {
        bool found = strstr(line, what) != NULL;
        lines += found;
        if (!found)
            fputs(line, stderr);
    }
    fclose(heard);
    return lines;
}

/* ---- limits */

/* More blocks than may be protected: the rest can be written to, and once others are gone the next are. */
static void test_many(void)
{
    struct store *store = begin();
    struct store_place places[5];
    char *data[5];
    CU_ASSERT(store->protect_most > 1000);
    store->protect_most = 3;
    listen_begin();
    for (int i = 0; i < 5; i++)
        places[i] = make_sealed(4096, &data[i]);
    for (int i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(is_protected(data[i]), i < 3);
    store_free(store, places[4]);
    store_free(store, places[0]);
    places[0] = make_sealed(4096, &data[0]);
    CU_ASSERT(is_protected(data[0]));
    for (int i = 0; i < 4; i++)
        store_free(store, places[i]);
    CU_ASSERT_EQUAL(listen_end("RAYMPI_PROTECT=1 protects 3 of"), 1);
    end();
}

/* Where the system refuses to protect the third of four blocks, or to let go of the first, nothing is
 * protected, and everything works. The wish for all memory at once may be refused a few times, too. */
static void refuse(bool at_free, int times)
{
    struct store *store = begin();
    struct store_place places[4];
    char *data[4];
    listen_begin();
    for (int i = 0; i < 4; i++) {
        atomic_store(&refusals, i == 2 && !at_free ? times : 0);
        places[i] = make_sealed(i == 3 ? 2 * MIB : 100, &data[i]);
    }
    CU_ASSERT_EQUAL(is_protected(data[0]), at_free);
    atomic_store(&refusals, at_free ? times : 0);
    store_free(store, places[0]);
    CU_ASSERT_EQUAL(atomic_load(&refusals), 0);
    places[0] = make_sealed(100, &data[0]);
    for (int i = 0; i < 4; i++) {
        CU_ASSERT(!is_protected(data[i]));
        CU_ASSERT_EQUAL(*data[i], 'a');
        store_free(store, places[i]);
    }
    CU_ASSERT_EQUAL(
        listen_end("no effect on this rank's own objects from here on: mprotect: Cannot allocate memory"), 1);
    end();
}

static void test_refused(void)
{
    for (int times = 1; times < 4; times++) {
        refuse(false, times);
        refuse(true, times);
    }
}

/* ---- several threads make, look at and free blocks of all sizes */

#define ROUNDS 400
#define HELD   5

static void *churn(void *arg)
{
    struct store_place held[HELD] = {{0, 0, 0}};
    uint64_t state = (uintptr_t)arg;
    struct store_spot spot;
    for (int i = 0; i < ROUNDS; i++) {
        struct store_place *place = &held[i % HELD];
        if (place->generation) {
            CU_ASSERT(spill_block_right(stores[0], *place));
            store_free(stores[0], *place);
        }
        *place = spill_block(stores[0], random_next(&state) % (i % 10 ? 9000 : 300000));
        store_find(stores[0], stores[0]->write + random_next(&state) % (4 * MIB), &spot);
        if (arg == (void *)1 && i == ROUNDS / 2)
            atomic_store(&refusals, 2);
    }
    for (int i = 0; i < HELD; i++)
        if (held[i].generation)
            store_free(stores[0], held[i]);
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[4];
    begin();
    listen_begin();
    for (uintptr_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(listen_end("no effect"), 1);
    end();
}

/* ---- finding */

static void test_find(void)
{
    struct store *store = begin();
    struct store_spot spot;
    char *data, *open;
    const void *view;
    uint64_t length;
    int elsewhere;
    struct store_place before = make_sealed(100, &open), place = make(70000, &data);
    store_note(store, place, 77);
    CU_ASSERT(store_find(store, data + 5, &spot));
    CU_ASSERT_EQUAL(spot.rank, -1); /* not sealed */
    store_seal(store, place);
    CU_ASSERT_EQUAL_FATAL(store_pin(stores[1], place, &view, &length), RAYMPI_OK);
    const char *const addresses[] = {data, data + 69999, view, (const char *)view + 69999};
    for (int i = 0; i < 4; i++) {
        CU_ASSERT(store_find(stores[i < 2 ? 0 : 1], addresses[i], &spot));
        CU_ASSERT_EQUAL(spot.rank, 0);
        CU_ASSERT_EQUAL(spot.length, 70000);
        CU_ASSERT_EQUAL(spot.at, i % 2 ? 69999 : 0);
        CU_ASSERT_EQUAL(spot.note, 77);
    }
    store_free(store, place); /* there as long as it is looked at */
    CU_ASSERT(store_find(stores[1], view, &spot) && spot.rank == 0);
    store_unpin(stores[1], place);
    store_collect(store);
    CU_ASSERT(store_find(stores[1], view, &spot) && spot.rank == -1 && spot.length == 0);
    CU_ASSERT(store_find(store, open, &spot) && spot.rank == 0 && spot.note == 0 && spot.length == 100);
    struct store_place next = make_sealed(70000, &data); /* the same descriptor without its note */
    CU_ASSERT(store_find(store, data, &spot) && spot.note == 0);
    CU_ASSERT_EQUAL(next.index, place.index);
    store_free(store, next);
    store_free(store, before);
    CU_ASSERT(!store_find(store, &elsewhere, &spot));
    CU_ASSERT(!store_find(store, NULL, &spot));
    CU_ASSERT(!store_find(store, host.segment.read, &spot)); /* the control area */
    CU_ASSERT(store_find(stores[1], stores[1]->write + 4 * MIB - 1, &spot) && spot.rank == -1);
    CU_ASSERT(!store_find(stores[1], stores[1]->write + 4 * MIB, &spot) ||
              stores[1]->write + 4 * MIB == host.segment.read);
    end();
}

static const struct unit_test tests[] = {
    {"protect: sealed blocks can not be written to, their neighbours can", test_sealed},
    {"protect: not unless it is asked for", test_without},
    {"protect: freed memory can be written to, and not before its views end", test_freed},
    {"protect: extents that are used again", test_extents},
    {"protect: restored blocks are right, and protected", test_restored},
    {"protect: more blocks than may be", test_many},
    {"protect: a refused mprotect ends it, and nothing else", test_refused},
    {"protect: four threads, and an mprotect that is refused amid them", test_threads},
    {"protect: whose block is at an address", test_find},
};

int main(void)
{
    return SPILL_MAIN("store: protection", tests);
}
