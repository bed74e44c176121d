/* Two hosts of one rank each in one process, with a wire between them that the test sees through. */
#ifndef TESTS_NET_HOSTS_H
#define TESTS_NET_HOSTS_H

#include "job.h"
#include "net/net_joint.h"

#define HOSTS 2

struct loop_wire {
    struct net_wire wire;
    int rank;
    struct loop_wire *other;
    struct base_spin arrivals; /* around what is on its way to this rank: the hosts may have a thread each */
    struct net_packet *first, **last; /* on their way to this rank */
    struct net_packet *gone;          /* sent, not told yet */
    int room;                         /* packets that may be on their way from here */
    _Atomic int under_way;
    int posted;
};

struct hosts {
    struct job jobs[HOSTS];
    struct net *nets[HOSTS];
    struct loop_wire wires[HOSTS];
};

static inline struct loop_wire *loop_of(struct net_wire *wire)
{
    return base_container(wire, struct loop_wire, wire);
}

static inline void loop_put(struct loop_wire *to, const void *bytes, uint32_t length)
{
    struct net_packet *copy = net_packet_new(to->wire.links);
    JOB_CHECK(copy != NULL);
    memcpy(copy->bytes, bytes, length);
    copy->length = length;
    copy->next = NULL;
    base_spin_lock(&to->arrivals);
    *to->last = copy;
    to->last = &copy->next;
    base_spin_unlock(&to->arrivals);
}

static inline struct net_packet *loop_take(struct loop_wire *loop)
{
    base_spin_lock(&loop->arrivals);
    struct net_packet *packet = loop->first;
    if (packet)
        loop->first = packet->next;
    if (!loop->first)
        loop->last = &loop->first;
    base_spin_unlock(&loop->arrivals);
    return packet;
}

static inline bool loop_post(struct net_wire *wire, struct net_packet *packet)
{
    struct loop_wire *loop = loop_of(wire);
    if (loop->under_way >= loop->room)
        return false;
    loop->under_way++;
    loop->posted++;
    loop_put(loop->other, packet->bytes, packet->length);
    packet->next = loop->gone;
    loop->gone = packet;
    return true;
}

static inline int loop_poll(struct net_wire *wire)
{
    struct loop_wire *loop = loop_of(wire);
    struct net_packet *packet;
    int moved = 0;
    for (; (packet = loop->gone); moved++) {
        loop->gone = packet->next;
        net_link_sent(wire->links, packet);
    }
    for (; (packet = loop_take(loop)); moved++) {
        loop->other->under_way--;
        net_link_arrived(wire->links, packet, loop->other->rank);
    }
    return moved;
}

static inline bool loop_idle(const struct net_wire *wire)
{
    const struct loop_wire *loop = base_container((struct net_wire *)wire, struct loop_wire, wire);
    return loop->under_way == 0 && !loop->gone;
}

static inline void loop_close(struct net_wire *wire)
{
    struct loop_wire *loop = loop_of(wire);
    while (loop->first || loop->gone) {
        struct net_packet **list = loop->first ? &loop->first : &loop->gone, *packet = *list;
        *list = packet->next;
        free(packet);
    }
}

static inline void hosts_open_patient(struct hosts *hosts, uint64_t patience)
{
    /* As MPI it can be held, and no goodbye is said, which one thread could not wait for at both ends. */
    static const struct net_wire_operations operations = {.name = "loop",
                                                          .uses_mpi = true,
                                                          .post = loop_post,
                                                          .poll = loop_poll,
                                                          .idle = loop_idle,
                                                          .close = loop_close};
    static const int host_of[HOSTS] = {0, 1}, ranks[HOSTS] = {0, 1};
    memset(hosts, 0, sizeof *hosts);
    for (int rank = 0; rank < HOSTS; rank++) {
        struct net *inner;
        struct loop_wire *wire = &hosts->wires[rank];
        struct net_map map = {rank, HOSTS, rank, HOSTS, host_of, 1, &ranks[rank], NULL};
        job_create(&hosts->jobs[rank], 1, 1);
        JOB_CHECK(net_shm_open(&inner, &hosts->jobs[rank].segment, 16, 0, 1) == RAYMPI_OK);
        JOB_CHECK(net_joint_open(&hosts->nets[rank], inner, &map, patience) == RAYMPI_OK);
        *wire = (struct loop_wire){.wire = {.operations = &operations},
                                   .rank = rank,
                                   .other = &hosts->wires[1 - rank],
                                   .last = &wire->first,
                                   .room = 1000};
        net_joint_wire(hosts->nets[rank], &wire->wire);
    }
    for (int rank = 0; rank < HOSTS; rank++)
        net_hold(hosts->nets[rank], false);
}

static inline void hosts_open(struct hosts *hosts)
{
    hosts_open_patient(hosts, 0);
}

static inline void hosts_close(struct hosts *hosts)
{
    for (int rank = 0; rank < HOSTS; rank++) {
        net_close(hosts->nets[rank]);
        job_destroy(&hosts->jobs[rank]);
    }
}

#endif
