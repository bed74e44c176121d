/* A ring whose memory holds anything at all: the reader stays inside it, and comes to an end. */
#include "fuzz.h"

#include "net/net_ring.h"

#define BYTES (sizeof(struct net_ring) + 1024)

static void fuzz_seeds(void)
{
    _Alignas(BASE_CACHE_LINE) char memory[BYTES] = {0};
    struct net_ring_writer writer;
    net_ring_writer_init(&writer, memory, BYTES);
    for (uint32_t size = 0; size < 200; size += 40) {
        void *room = net_ring_reserve(&writer, size);
        FUZZ_CHECK(room);
        memset(room, 'x', size);
        net_ring_publish(&writer, &(struct net_ring_record){NET_RING_MESSAGE, 3, 0, 0, size, size, NULL});
        fuzz_seed(memory + sizeof(struct net_ring), 1024);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_ring *ring = aligned_alloc(BASE_CACHE_LINE, BYTES);
    struct net_ring_reader reader;
    struct net_ring_record record;
    size_t used = size < BYTES - sizeof *ring ? size : BYTES - sizeof *ring;
    uint64_t sum = 0;
    FUZZ_CHECK(ring);
    memset(ring, 0, BYTES);
    memcpy(ring->data, data, used);
    net_ring_reader_init(&reader, ring, BYTES);
    for (int i = 0; i < 1000 && net_ring_peek(&reader, &record) == NET_RING_READY; i++) {
        for (uint32_t j = 0; j < record.size; j++)
            sum += (unsigned char)record.data[j];
        FUZZ_CHECK(record.data >= ring->data && record.data + record.size <= (char *)ring + BYTES);
        net_ring_consume(&reader, &record);
    }
    free(ring);
    return sum == UINT64_MAX;
}
