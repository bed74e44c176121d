/* What the system refuses: memory, committing, mapping. Linked with --wrap for the functions below. The n-th
 * call is refused for every n until the whole scene goes through; whatever was refused, the store is as it
 * was before. */
#include "store_test.h"

#include <signal.h>

#define MIB (UINT64_C(1) << 20)

static long calls_left = -1; /* before a refusal; negative: none */
static bool refused;

static bool refuse(void)
{
    if (calls_left < 0 || calls_left-- > 0)
        return false;
    refused = true;
    return true;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return refuse() ? NULL : __real_calloc(count, size);
}

int __real_base_segment_commit(struct base_segment *segment, uint64_t offset, uint64_t length);
int __wrap_base_segment_commit(struct base_segment *segment, uint64_t offset, uint64_t length)
{
    if (refuse())
        return base_fail(RAYMPI_ERR_STORE_FULL, "refused by the test");
    return __real_base_segment_commit(segment, offset, length);
}

void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    return refuse() ? MAP_FAILED : __real_mmap(address, length, protection, flags, fd, offset);
}

int __real_mprotect(void *address, size_t length, int protection);
int __wrap_mprotect(void *address, size_t length, int protection)
{
    return refuse() ? -1 : __real_mprotect(address, length, protection);
}

static void refuse_after(long calls)
{
    calls_left = calls;
    refused = false;
}

static bool refuse_end(void)
{
    calls_left = -1;
    return refused;
}

static bool counters_same(const struct store_counters *a, const struct store_counters *b)
{
    return a->blocks == b->blocks && a->bytes == b->bytes && a->extents == b->extents &&
           a->created == b->created && a->freed == b->freed && a->waiting == b->waiting &&
           a->peak_bytes == b->peak_bytes;
}

static void test_open(void)
{
    struct host host;
    long calls = 0;
    CU_ASSERT_FATAL(host_make(&host, layout_of(2, 4 * MIB)));
    for (bool again = true; again; calls++) {
        struct store *store = NULL;
        refuse_after(calls);
        int status =
            store_open(&store, &host.segment, &host.layout, host.control_offset, host.data_offset, 0, 1);
        again = refuse_end();
        CU_ASSERT_EQUAL(status != RAYMPI_OK, again);
        CU_ASSERT_EQUAL(store != NULL, !again);
        if (store)
            store_close(store);
    }
    CU_ASSERT(calls > 6);
    host_end(&host);
}

/* A create that may be refused once: then nothing but the status tells, and the next one is not. */
static struct store_place create_again(struct store *store, uint64_t length)
{
    struct store_counters before, after;
    struct store_place place = {0, 0, 0};
    void *data;
    store_counters(store, &before);
    int status = store_create(store, length, &place, &data);
    if (status != RAYMPI_OK) {
        CU_ASSERT(status == RAYMPI_ERR_MEMORY || status == RAYMPI_ERR_STORE_FULL);
        store_counters(store, &after);
        CU_ASSERT(counters_same(&before, &after));
        status = store_create(store, length, &place, &data);
    }
    CU_ASSERT_EQUAL_FATAL(status, RAYMPI_OK);
    memset(data, 1, length);
    return place;
}

/* Small, large, small beside large, everything; then another rank gets everything. */
static void scene(struct store *store, struct store *other)
{
    struct store_place small = create_again(store, 100);
    struct store_place large = create_again(store, 2 * MIB);
    struct store_place many[200]; /* past the first slab of records */
    for (int i = 0; i < 200; i++)
        many[i] = create_again(store, 64);
    for (int i = 0; i < 200; i++)
        store_free(store, many[i]);
    store_free(store, small);
    store_free(store, large);
    store_free(store, create_again(store, 4 * MIB));
    store_free(other, create_again(other, 4 * MIB));
}

static void test_create(void)
{
    long calls = 0;
    for (bool again = true; again; calls++) {
        struct host host;
        CU_ASSERT_FATAL(host_make(&host, layout_of(2, 4 * MIB)));
        struct store *store = host_open(&host, 0), *other = host_open(&host, 1);
        CU_ASSERT_FATAL(store && other);
        refuse_after(calls);
        scene(store, other);
        again = refuse_end();
        store_close(other);
        store_close(store);
        host_end(&host);
    }
    /* Per rank records and descriptors, per extent commit and two mappings, and opening them again. */
    CU_ASSERT(calls > 50);
}

static void test_shm_text(void)
{
    struct host host;
    struct store_place place;
    void *data;
    CU_ASSERT_FATAL(host_make(&host, layout_of(1, 4 * MIB)));
    struct store *store = host_open(&host, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(store);
    CU_ASSERT_EQUAL(store_create(store, 100, &place, &data), RAYMPI_OK);
    refuse_after(0);
    CU_ASSERT_EQUAL(store_create(store, 1 * MIB, &place, &data), RAYMPI_ERR_STORE_FULL);
    CU_ASSERT(refuse_end());
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "/dev/shm"));
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "refused by the test"));
    store_close(store);
    host_end(&host);
}

/* Shutting a returned extent is a safeguard: when the kernel can not, nothing else goes wrong. */
static void test_free(void)
{
    struct host host;
    struct store_place place;
    void *data;
    CU_ASSERT_FATAL(host_make(&host, layout_of(1, 4 * MIB)));
    struct store *store = host_open(&host, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(store);
    for (long calls = 0; calls < 16; calls++) {
        CU_ASSERT_EQUAL(store_create(store, 4 * MIB, &place, &data), RAYMPI_OK);
        memset(data, 1, 4 * MIB);
        refuse_after(calls);
        store_free(store, place);
        refuse_end();
    }
    struct store_counters counters;
    store_counters(store, &counters);
    CU_ASSERT_EQUAL(counters.extents, 0);
    CU_ASSERT_EQUAL(counters.bytes, 0);
    store_close(store);
    host_end(&host);
}

static char *stray;
static int write_stray(void *arg)
{
    (void)arg;
    signal(SIGSEGV, SIG_DFL);
    *(volatile char *)stray = 1;
    return 2;
}

/* Extents that a refused create had opened already are closed to its rank again. */
static void test_rollback(void)
{
    struct host host;
    struct store_place place, large;
    void *data;
    CU_ASSERT_FATAL(host_make(&host, layout_of(1, 4 * MIB)));
    struct store *store = host_open(&host, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(store);
    CU_ASSERT_EQUAL(store_create(store, 100, &place, &data), RAYMPI_OK);
    stray = (char *)data + host.layout.extent_bytes;
    CU_ASSERT_EQUAL(store_create(store, 1 * MIB, &large, &data), RAYMPI_OK);
    CU_ASSERT_EQUAL(process_end(process_start(write_stray, NULL)), 2);
    store_free(store, large);
    refuse_after(6);
    CU_ASSERT_EQUAL(store_create(store, 3 * MIB, &large, &data), RAYMPI_ERR_STORE_FULL);
    CU_ASSERT(refuse_end());
    CU_ASSERT_EQUAL(process_end(process_start(write_stray, NULL)), 256 + SIGSEGV);
    store_close(store);
    host_end(&host);
}

static const struct unit_test tests[] = {
    {"faults: open", test_open},
    {"faults: create leaves no trace", test_create},
    {"faults: a full /dev/shm is named", test_shm_text},
    {"faults: free", test_free},
    {"faults: a refused create keeps no memory open", test_rollback},
};

int main(void)
{
    return UNIT_MAIN("store: refusals", tests);
}
