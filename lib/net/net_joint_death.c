/* How the loss of a rank becomes known on all hosts, with its cause: the loss that was first, not those that
 * follow from it.
 *
 * The ranks of the dead one's host know at once (net_life.h). The first of them to know writes it into the
 * host segment, which wakes the others, and tells the first rank of each other host, which does the same. Who
 * leaves because of it tells those that it has to do with (net_farewell), since its own end will look like a
 * death to them. An error of a connection tells nothing of the cause: it is believed when nothing better has
 * come for a moment. */
#include "net/net_joint.h"

#include <sched.h>
#include <string.h>

#define SUSPICION UINT64_C(50000000)  /* ns from an error of a connection until it counts */
#define FAREWELL  UINT64_C(200000000) /* ns that it may take at most */

static struct net_loss *loss_of(const struct joint_net *joint)
{
    return joint->net.loss;
}

/* ---- who is lost first */

static bool is_lost(const struct net *net, const struct net_death *death, int rank)
{
    const int *host_of = net->map->host_of;
    return rank == death->rank || (death->whole_host && host_of[rank] == host_of[death->rank]);
}

bool joint_death_has(void *arg, int rank)
{
    struct joint_net *joint = arg;
    const struct net_loss *loss = loss_of(joint);
    /* Acquire: the death is seen as it was written. */
    bool known = atomic_load_explicit(&loss->state, memory_order_acquire) == NET_LOSS_KNOWN;
    return (known && is_lost(&joint->net, &loss->death, rank)) || net_links_dead(&joint->links, rank);
}

static void tell_hosts(struct joint_net *joint, const struct net_death *death)
{
    const int *host_of = joint->map.host_of;
    int next = 0; /* hosts are numbered by their first ranks */
    for (int rank = 0; rank < joint->map.size; rank++) {
        if (host_of[rank] != next)
            continue;
        next++;
        if (host_of[rank] != joint->map.host && !is_lost(&joint->net, death, rank))
            net_links_tell(&joint->links, rank, LINK_DEATH, death, sizeof *death);
    }
}

/* Writes it down for all ranks of this host; false: another one was first. */
static bool death_found(struct joint_net *joint, const struct net_death *death)
{
    struct net_loss *loss = loss_of(joint);
    uint32_t none = NET_LOSS_NONE;
    if (!atomic_compare_exchange_strong(&loss->state, &none, NET_LOSS_BEGUN))
        return false;
    loss->death = *death;
    /* Release: who reads KNOWN sees the death. */
    atomic_store_explicit(&loss->state, NET_LOSS_KNOWN, memory_order_release);
    net_wake_all(joint->inner);
    return true;
}

/* ---- what is learnt of it */

void joint_death_control(struct joint_net *joint, int peer, const void *data, size_t length)
{
    struct net_death death;
    memcpy(&death, data, length < sizeof death ? length : sizeof death);
    if (length != sizeof death || death.rank < 0 || death.rank >= joint->map.size || death.whole_host > 1 ||
        !memchr(death.text, 0, sizeof death.text)) {
        net_malformed(&joint->net, peer, "a death of nobody");
        return;
    }
    death_found(joint, &death);
}

void joint_death_of_local(struct joint_net *joint, int rank)
{
    struct net_death death;
    net_death_read(&joint->net, rank, &death);
    joint_death_spread(joint, &death);
    joint_death_look(joint); /* another one may have been first */
    if (!joint->told || loss_of(joint)->death.rank != rank)
        net_died(&joint->net, rank);
}

void joint_death_suspected(void *arg, int peer, const char *text)
{
    struct joint_net *joint = arg;
    if (joint->local_of[peer] >= 0 || joint->suspicion != 0)
        return;
    joint->suspect = (struct net_death){.rank = peer};
    strncpy(joint->suspect.text, text, sizeof joint->suspect.text - 1);
    joint->suspicion = base_now() + SUSPICION;
}

/* ---- the poller's */

void joint_death_spread(struct joint_net *joint, const struct net_death *death)
{
    if (death_found(joint, death))
        tell_hosts(joint, death);
}

void joint_death_look(struct joint_net *joint)
{
    const struct net_loss *loss = loss_of(joint);
    if (joint->suspicion != 0 && !joint->told && base_now() >= joint->suspicion)
        joint_death_spread(joint, &joint->suspect);
    /* Acquire: the death is seen as it was written. */
    if (joint->told || atomic_load_explicit(&loss->state, memory_order_acquire) != NET_LOSS_KNOWN)
        return;
    joint->told = true;
    net_died(&joint->net, loss->death.rank);
}

static bool is_no_use(void *arg, int peer)
{
    struct joint_net *joint = arg;
    return is_lost(&joint->net, &loss_of(joint)->death, peer);
}

void joint_farewell(struct net *net)
{
    struct joint_net *joint = joint_of(net);
    const struct net_loss *loss = loss_of(joint);
    uint64_t end = base_now() + FAREWELL;
    if (atomic_load_explicit(&loss->state, memory_order_acquire) != NET_LOSS_KNOWN)
        return;
    net_links_tell_all(&joint->links, LINK_DEATH, &loss->death, sizeof loss->death, is_no_use, joint);
    while (base_now() < end && (net_links_pump_surely(&joint->links) || !net_links_gone(&joint->links)))
        sched_yield();
}
