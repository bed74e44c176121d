#include "place/place.h"

int place_task(const struct place_node *nodes, int count, int self, uint32_t threshold)
{
    if (nodes[self].allowed && nodes[self].available && nodes[self].load <= threshold)
        return self;
    int best = -1;
    for (int i = 0; i < count; i++) {
        int node = (self + 1 + i) % count;
        if (!nodes[node].allowed || (!nodes[node].available && node != self))
            continue;
        if (best < 0 || nodes[node].load < nodes[best].load)
            best = node;
    }
    for (int node = 0; best < 0 && node < count; node++)
        if (nodes[node].allowed)
            best = node; /* allowed only where main() computes just now: it waits there */
    /* A tie is decided for the node where the caller is: no message. */
    if (best >= 0 && nodes[self].allowed && nodes[self].available && nodes[self].load <= nodes[best].load)
        return self;
    return best;
}

int place_actor(const struct place_node *nodes, int count, int start)
{
    int best = -1;
    for (int i = 0; i < count; i++) {
        int node = (start + i) % count;
        if (!nodes[node].allowed)
            continue;
        if (best < 0 || (nodes[node].available && !nodes[best].available) ||
            (nodes[node].available == nodes[best].available && nodes[node].actors < nodes[best].actors))
            best = node;
    }
    return best;
}

int place_victim(const uint32_t *queued, int count, int self)
{
    int victim = -1;
    for (int i = 0; i < count; i++) {
        int node = (self + 1 + i) % count;
        if (node != self && queued[node] > 1 && (victim < 0 || queued[node] > queued[victim]))
            victim = node;
    }
    return victim;
}
