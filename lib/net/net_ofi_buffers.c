/* Buffers for messages where libfabric wants all memory registered that it touches (FI_MR_LOCAL). Packets
 * come and go, and are many at times: so a few buffers are registered once, and packets copied, which costs
 * less than to register them. Elsewhere a packet is its own buffer. */
#include "net/net_ofi.h"

#include <stdlib.h>
#include <string.h>

#define BUFFERS (OFI_IN + OFI_OUT_LOCAL)

union ofi_buffer {
    union ofi_buffer *next; /* while it is free */
    _Alignas(BASE_CACHE_LINE) char bytes[sizeof((struct net_packet *)0)->bytes];
};

int ofi_buffers_open(struct ofi_wire *ofi)
{
    if (!ofi->local)
        return 0;
    const size_t size = base_align_up(BUFFERS * sizeof *ofi->buffers, 4096);
    ofi->buffers = aligned_alloc(4096, size);
    if (!ofi->buffers)
        return -FI_ENOMEM;
    for (int i = 0; i < BUFFERS; i++)
        ofi->buffers[i].next = i + 1 < BUFFERS ? &ofi->buffers[i + 1] : NULL;
    ofi->buffer_free = ofi->buffers;
    return ofi_mr_open(ofi, (char *)ofi->buffers, size, FI_SEND | FI_RECV, &ofi->buffers_mr);
}

static char *buffer_take(struct ofi_wire *ofi, struct net_packet *packet)
{
    union ofi_buffer *buffer = ofi->buffer_free;
    ofi->buffer_free = buffer->next;
    packet->buffer = buffer;
    return buffer->bytes;
}

char *ofi_buffer_in(struct ofi_wire *ofi, struct net_packet *packet)
{
    return ofi->local ? buffer_take(ofi, packet) : packet->bytes;
}

char *ofi_buffer_out(struct ofi_wire *ofi, struct net_packet *packet, size_t length)
{
    return ofi->local ? memcpy(buffer_take(ofi, packet), packet->bytes, length) : packet->bytes;
}

void ofi_buffer_back(struct ofi_wire *ofi, struct net_packet *packet, size_t length)
{
    union ofi_buffer *buffer = packet->buffer;
    if (!ofi->local)
        return;
    memcpy(packet->bytes, buffer->bytes, length < sizeof packet->bytes ? length : sizeof packet->bytes);
    buffer->next = ofi->buffer_free;
    ofi->buffer_free = buffer;
}
