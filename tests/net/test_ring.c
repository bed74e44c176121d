/* The single-producer single-consumer ring: order, wrapping, room, corrupt contents. */
#include "../unit.h"
#include "job.h"

#include "net/net_ring.h"

#include <sched.h>

#define RING_BYTES 4096

static struct net_ring *ring_make(uint32_t bytes)
{
    struct net_ring *ring = aligned_alloc(BASE_CACHE_LINE, bytes);
    memset((void *)ring, 0, bytes);
    return ring;
}

static void payload_fill(unsigned char *data, uint32_t size, uint64_t number)
{
    for (uint32_t i = 0; i < size; i++)
        data[i] = (unsigned char)(number * 31 + i * 7);
}

static bool payload_good(const unsigned char *data, uint32_t size, uint64_t number)
{
    for (uint32_t i = 0; i < size; i++)
        if (data[i] != (unsigned char)(number * 31 + i * 7))
            return false;
    return true;
}

static uint32_t size_of(uint64_t number, uint32_t max)
{
    uint64_t draw = base_mix(number + 1);
    return (uint32_t)(draw % 4 == 0 ? draw / 4 % (max + 1) : draw / 4 % 100);
}

static bool put(struct net_ring_writer *writer, uint64_t number)
{
    uint32_t size = size_of(number, net_ring_record_max(writer->capacity));
    unsigned char *room = net_ring_reserve(writer, size);
    if (room == NULL)
        return false;
    payload_fill(room, size, number);
    struct net_ring_record record = {.kind = NET_RING_MESSAGE,
                                     .type = (uint16_t)(number % 64),
                                     .attempt = (uint16_t)number,
                                     .epoch = (uint32_t)number,
                                     .size = size,
                                     .total = size};
    net_ring_publish(writer, &record);
    return true;
}

/** 1: took a good record; 0: empty; -1: a wrong one. */
static int take(struct net_ring_reader *reader, uint64_t number)
{
    struct net_ring_record record;
    enum net_ring_state state = net_ring_peek(reader, &record);
    if (state == NET_RING_EMPTY)
        return 0;
    uint32_t size = size_of(number, net_ring_record_max(reader->capacity));
    bool good = state == NET_RING_READY && record.kind == NET_RING_MESSAGE && record.size == size &&
                record.total == size && record.type == number % 64 && record.attempt == (uint16_t)number &&
                record.epoch == (uint32_t)number && (uintptr_t)record.data % 8 == 0 &&
                payload_good((const unsigned char *)record.data, size, number);
    if (!good)
        return -1;
    net_ring_consume(reader, &record);
    return 1;
}

/** Bursts of writes and reads of random lengths, for each seed and ring size. */
static void test_random(void)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint32_t bytes = seed % 2 ? RING_BYTES : 2 * RING_BYTES;
        struct net_ring *ring = ring_make(bytes);
        struct net_ring_writer writer;
        struct net_ring_reader reader;
        net_ring_writer_init(&writer, ring, bytes);
        net_ring_reader_init(&reader, ring, bytes);
        uint64_t state = seed, written = seed * 1000000, read = written;
        bool good = true;
        for (int burst = 0; burst < 4000 && good; burst++) {
            for (uint64_t left = job_random(&state) % 40; left > 0 && put(&writer, written); left--)
                written++;
            for (uint64_t left = job_random(&state) % 40; left > 0 && read < written && good; left--)
                good = take(&reader, read++) == 1;
        }
        while (read < written && good)
            good = take(&reader, read++) == 1;
        CU_ASSERT(good);
        CU_ASSERT_EQUAL(take(&reader, read), 0);
        free(ring);
    }
}

/** In an empty ring there is room for the longest record wherever the cursors are. */
static void test_room_when_empty(void)
{
    struct net_ring *ring = ring_make(RING_BYTES);
    struct net_ring_writer writer;
    struct net_ring_reader reader;
    net_ring_writer_init(&writer, ring, RING_BYTES);
    net_ring_reader_init(&reader, ring, RING_BYTES);
    uint32_t longest = net_ring_record_max(writer.capacity);
    int refused = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t size = i % 3 == 0 ? longest : i % longest;
        struct net_ring_record record = {.kind = NET_RING_MESSAGE, .size = size, .total = size};
        if (net_ring_reserve(&writer, size) == NULL) {
            refused++;
            continue;
        }
        net_ring_publish(&writer, &record);
        CU_ASSERT_EQUAL_FATAL(net_ring_peek(&reader, &record), NET_RING_READY);
        net_ring_consume(&reader, &record);
    }
    CU_ASSERT_EQUAL(refused, 0);
    free(ring);
}

/** Who finds the ring full is told when there is room again. */
static void test_blocked(void)
{
    struct net_ring *ring = ring_make(RING_BYTES);
    struct net_ring_writer writer;
    struct net_ring_reader reader;
    net_ring_writer_init(&writer, ring, RING_BYTES);
    net_ring_reader_init(&reader, ring, RING_BYTES);
    for (int round = 0; round < 1000; round++) {
        struct net_ring_record record = {.kind = NET_RING_MESSAGE, .size = 64, .total = 64};
        while (net_ring_reserve(&writer, 64) != NULL)
            net_ring_publish(&writer, &record);
        int told = 0;
        while (net_ring_peek(&reader, &record) == NET_RING_READY)
            told += net_ring_consume(&reader, &record);
        CU_ASSERT_EQUAL_FATAL(told, 1);
    }
    free(ring);
}

#define STREAM 200000

static void *stream_main(void *arg)
{
    struct net_ring_writer writer;
    net_ring_writer_init(&writer, arg, RING_BYTES);
    for (uint64_t number = 0; number < STREAM;) {
        if (put(&writer, number))
            number++;
        else
            sched_yield();
    }
    return NULL;
}

static void test_two_threads(void)
{
    struct net_ring *ring = ring_make(RING_BYTES);
    struct net_ring_reader reader;
    net_ring_reader_init(&reader, ring, RING_BYTES);
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, stream_main, ring), 0);
    uint64_t number = 0;
    int result = 0;
    while (number < STREAM && result >= 0) {
        result = take(&reader, number);
        if (result == 0)
            sched_yield();
        else
            number++;
    }
    CU_ASSERT_EQUAL(result, 1);
    pthread_join(thread, NULL);
    free(ring);
}

/** Whatever the memory holds: never outside of it, never for ever. */
static void test_garbage(void)
{
    struct net_ring *ring = ring_make(RING_BYTES);
    uint64_t state = 7;
    int corrupt = 0;
    for (int round = 0; round < 20000; round++) {
        struct net_ring_reader reader;
        net_ring_reader_init(&reader, ring, RING_BYTES);
        for (uint32_t i = 0; i + 8 <= reader.capacity; i += 8) {
            /* Mostly marks that are nearly right. */
            uint64_t word = job_random(&state);
            if (word % 8 != 0)
                word = UINT64_C(0xa5) << 56 | (1 + word / 8 % 4) << 48 | (word / 64 % 1100);
            memcpy(ring->data + i, &word, sizeof word);
        }
        int records = 0;
        struct net_ring_record record;
        enum net_ring_state found;
        while ((found = net_ring_peek(&reader, &record)) == NET_RING_READY && records++ < 1000) {
            CU_ASSERT_FATAL(record.data >= ring->data);
            CU_ASSERT_FATAL(record.data + record.size <= ring->data + reader.capacity);
            net_ring_consume(&reader, &record);
        }
        corrupt += found == NET_RING_CORRUPT;
    }
    CU_ASSERT(corrupt > 0);
    free(ring);
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"random bursts keep order and content", test_random},
        {"an empty ring takes the longest record", test_room_when_empty},
        {"a blocked producer is told once there is room", test_blocked},
        {"two threads", test_two_threads},
        {"garbage is found out", test_garbage},
    };
    return UNIT_MAIN("net: ring", tests);
}
