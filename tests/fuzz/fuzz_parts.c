/* Records of another rank that do not fit together: parts of long messages that are missing, too long, of
 * another type. An input is a sequence of {kind, type, size, total, bytes}. */
#include "fuzz.h"

#include "net/net_shm.h"

static struct base_segment segment;
static struct net *nets[2];
static uint64_t handled, sum;

static void on_message(void *arg, const struct net_message *message)
{
    (void)arg;
    for (size_t i = 0; i < message->length; i++)
        sum += ((const unsigned char *)message->data)[i];
    handled++;
}

/* Once: after each input a whole message puts the receiver in order again. */
static void nets_open(void)
{
    const uint64_t cookie[2] = {1, 2};
    uint64_t bytes = base_align_up(16 + net_shm_bytes(2), 65536);
    if (nets[0])
        return;
    FUZZ_CHECK(base_segment_create(&segment, bytes, bytes, cookie) == RAYMPI_OK);
    base_segment_unlink(&segment);
    for (int rank = 0; rank < 2; rank++)
        FUZZ_CHECK(net_shm_open(&nets[rank], &segment, 16, rank, 2) == RAYMPI_OK);
    for (uint16_t type = 0; type < NET_HANDLERS; type++)
        net_handle(nets[0], type, on_message, NULL);
}

static void send_whole(void)
{
    char text[] = "whole";
    uint64_t before = handled;
    struct net_piece piece = {text, sizeof text};
    FUZZ_CHECK(net_send(nets[1], 0, 1, &piece, 1) == RAYMPI_OK);
    while (net_poll(nets[0], 64) > 0)
        ;
    FUZZ_CHECK(handled > before);
}

static void fuzz_seeds(void)
{
    const unsigned char parts[] = {1, 3,   2,   2, 0, 'a', 'b', 2, 3,   2,   5,
                                   0, 'a', 'b', 3, 3, 3,   5,   0, 'c', 'd', 'e'};
    fuzz_seed(parts, sizeof parts);
    fuzz_seed(parts + 7, sizeof parts - 7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nets_open();
    send_whole();
    struct shm_out *out = &shm_of(nets[1])->out[0];
    while (size > 0) {
        struct net_ring_record record = {.kind = (enum net_ring_kind)fuzz_take(&data, &size, 1)};
        record.type = (uint16_t)fuzz_take(&data, &size, 1);
        record.size = (uint32_t)fuzz_take(&data, &size, 1);
        record.total = (uint32_t)fuzz_take(&data, &size, 2);
        record.size = record.size < size ? record.size : (uint32_t)size;
        /* Other kinds are what fuzz_ring is for: they close the ring for good. */
        if (record.kind < NET_RING_MESSAGE || record.kind > NET_RING_NEXT)
            record.kind = NET_RING_NEXT;
        void *room = net_ring_reserve(&out->lane->writer, record.size);
        FUZZ_CHECK(room);
        memcpy(room, data, record.size);
        net_ring_publish(&out->lane->writer, &record);
        data += record.size;
        size -= record.size;
        while (net_poll(nets[0], 64) > 0)
            ;
    }
    send_whole();
    return 0;
}
