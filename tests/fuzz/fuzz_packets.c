/* Packets of another host, for rank 0: heads, and messages and parts of messages in them. An input is a
 * sequence of {how, length, bytes}: raw bytes, or what follows a head that is right but for what `how` says.
 */
#include "fuzz.h"

#include "../net/hosts.h"

enum { RAW = 1, WRONG_SERIAL = 2, WRONG_SOURCE = 4, WRONG_LENGTH = 8 }; /* above: the kind */

static struct hosts hosts;
static bool open;
static uint64_t handled, sum;

static void on_message(void *arg, const struct net_message *message)
{
    (void)arg;
    for (size_t i = 0; i < message->length; i++)
        sum += ((const unsigned char *)message->data)[i];
    handled++;
}

static struct net_links *links_of(int rank)
{
    return &joint_of(hosts.nets[rank])->links;
}

/* Once: after each input a good message shows that the receiver goes on. */
static void hosts_begin(void)
{
    if (open)
        return;
    open = true;
    hosts_open(&hosts);
    for (uint16_t type = 1; type < NET_HANDLERS; type++)
        net_handle(hosts.nets[0], type, on_message, NULL);
}

static void poll_all(void)
{
    for (int quiet = 0; quiet < 2; quiet++)
        for (int rank = 0; rank < HOSTS; rank++)
            while (net_poll(hosts.nets[rank], 64) > 0)
                quiet = 0;
}

static void put(unsigned how, const uint8_t *bytes, size_t length)
{
    static char packet[sizeof(struct link_head) + UINT16_MAX];
    struct net_link *link = atomic_load(&links_of(0)->links[1]);
    struct link_head head = {.magic = LINK_MAGIC,
                             .kind = (uint8_t)(how >> 4),
                             .source = how & WRONG_SOURCE ? 0 : 1,
                             .length = (uint32_t)(sizeof head + length + (how & WRONG_LENGTH ? 8 : 0)),
                             .serial = (link ? link->serial_in : 0) + (how & WRONG_SERIAL ? 2 : 1)};
    size_t before = how & RAW ? 0 : sizeof head;
    if (before + length > NET_PACKET_BYTES || (before && head.kind == LINK_BYE))
        return; /* a goodbye is the last packet of a link */
    memcpy(packet, &head, before);
    if (length)
        memcpy(packet + before, bytes, length);
    hosts.wires[1].under_way++;
    loop_put(&hosts.wires[0], packet, (uint32_t)(before + length));
    poll_all();
}

static struct link_record record(uint8_t kind, uint32_t size, uint32_t total)
{
    return (struct link_record){.type = 3, .kind = kind, .size = size, .total = total};
}

static void send_good(void)
{
    struct {
        struct link_record record;
        char text[8];
    } message = {record(NET_RING_MESSAGE, 5, 5), "whole"};
    uint64_t before = handled;
    put(LINK_MESSAGES << 4, (const uint8_t *)&message, sizeof message);
    FUZZ_CHECK(handled > before);
}

static void fuzz_seeds(void)
{
    unsigned char bytes[256];
    size_t used = 0;
    const struct link_record records[] = {record(NET_RING_MESSAGE, 0, 0), record(NET_RING_FIRST, 0, 16),
                                          record(NET_RING_NEXT, 0, 16)};
    bytes[used++] = LINK_MESSAGES << 4;
    bytes[used++] = sizeof records;
    bytes[used++] = 0;
    memcpy(bytes + used, records, sizeof records);
    fuzz_seed(bytes, used + sizeof records);
    for (unsigned kind = LINK_ACK; kind <= LINK_REST_REPLY; kind++) {
        memset(bytes, 0, sizeof bytes);
        bytes[0] = (unsigned char)(kind << 4);
        bytes[1] = kind == LINK_ACK ? 0 : kind == LINK_REST_REPORT ? sizeof(struct joint_report) : 16;
        fuzz_seed(bytes, 3 + (size_t)bytes[1]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hosts_begin();
    while (size > 0) {
        unsigned how = (unsigned)fuzz_take(&data, &size, 1);
        size_t length = (size_t)fuzz_take(&data, &size, 2);
        length = length < size ? length : size;
        put(how, data, length);
        data += length;
        size -= length;
    }
    send_good();
    return 0;
}
