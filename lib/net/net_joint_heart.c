/* Finds out that a host has fallen silent: it has crashed, or the network to it is a black hole, which no
 * error tells of.
 *
 * The hosts stand in a ring. The first rank of each asks the first one of the next host from time to time,
 * and, where that is silent, others of that host: a rank that is stopped (a debugger) is no lost host.
 * Whatever comes from one of these is a sign of life. Silence is counted in questions that were asked, not in
 * time: who is stopped himself, or gets no processor, blames nobody for it. Questions and answers end no
 * rest, and wake no poller. */
#include "net/net_joint.h"

#include <stdio.h>

#define HEART_BEATS 5 /* questions without an answer, until a host is lost */
#define HEART_DOUBT 2 /* until others of the host are asked, too */

static bool is_beating(const struct joint_net *joint)
{
    return joint_heart_due(joint) != UINT64_MAX;
}

void joint_heart_begin(struct joint_net *joint)
{
    struct joint_heart *heart = &joint->heart;
    const struct net_map *map = &joint->map;
    int next = (map->host + 1) % map->hosts;
    heart->interval = heart->patience / HEART_BEATS;
    heart->count = 0;
    if (heart->interval == 0 || map->ranks[0] != map->rank)
        return;
    for (int rank = 0; rank < map->size && heart->count < HEART_RANKS; rank++)
        if (map->host_of[rank] == next)
            heart->ranks[heart->count++] = rank;
    heart->heard = heart->first_heard = UINT64_MAX;
    atomic_store(&heart->due, base_now() + heart->interval);
}

void joint_heart_end(struct joint_net *joint)
{
    atomic_store(&joint->heart.due, UINT64_MAX);
}

void joint_heart_quiet(struct joint_net *joint)
{
    const struct net_map *map = &joint->map;
    int before = (map->host + map->hosts - 1) % map->hosts;
    joint_heart_end(joint);
    if (map->ranks[0] != map->rank)
        return;
    for (int rank = 0; rank < map->size; rank++)
        if (map->host_of[rank] == before) {
            net_links_tell(&joint->links, rank, LINK_QUIET, NULL, 0);
            return;
        }
}

static uint64_t heard(struct joint_net *joint)
{
    uint64_t sum = 0;
    for (int i = 0; i < joint->heart.count; i++)
        sum += net_links_heard(&joint->links, joint->heart.ranks[i]);
    return sum;
}

/* The host is not lost while others of it answer, but who looks for the cause of a job that stands still will
 * want to know. */
static void look_at_first(struct joint_net *joint)
{
    struct joint_heart *heart = &joint->heart;
    int first = heart->ranks[0];
    uint64_t now_heard = net_links_heard(&joint->links, first);
    heart->first_silent = now_heard == heart->first_heard ? heart->first_silent + 1 : 0;
    heart->first_heard = now_heard;
    if (heart->first_silent == HEART_BEATS)
        base_log(BASE_LOG_WARN, "net",
                 "rank %d on host %s has not answered for %g s, others of that host have: is it stopped?",
                 first, net_host_name(&joint->net, first), (double)heart->patience / 1e9);
}

static void lose_host(struct joint_net *joint)
{
    const struct joint_heart *heart = &joint->heart;
    struct net_death death = {.rank = heart->ranks[0], .whole_host = 1};
    snprintf(death.text, sizeof death.text,
             "rank %d has heard nothing from it for %g s (RAYMPI_HOST_TIMEOUT): is it down, or cut off from "
             "the network (RAYMPI_OFI_INTERFACE)?",
             joint->map.rank, (double)heart->patience / 1e9);
    joint_heart_end(joint);
    joint_death_spread(joint, &death);
}

static void beat(struct joint_net *joint)
{
    struct joint_heart *heart = &joint->heart;
    uint64_t now_heard = heard(joint);
    heart->silent = now_heard == heart->heard ? heart->silent + 1 : 0;
    heart->heard = now_heard;
    if (heart->silent >= HEART_BEATS) {
        lose_host(joint);
        return;
    }
    look_at_first(joint);
    for (int i = 0; i < (heart->first_silent < HEART_DOUBT ? 1 : heart->count); i++)
        net_links_tell(&joint->links, heart->ranks[i], LINK_PING, NULL, 0);
    net_links_pump(&joint->links);
    /* From now on, not from when it was due: who is late does not catch up. */
    atomic_store(&heart->due, base_now() + heart->interval);
}

void joint_heart_look(struct joint_net *joint)
{
    if (!is_beating(joint) || base_now() < joint_heart_due(joint))
        return;
    if (net_links_left(&joint->links, joint->heart.ranks[0])) {
        joint_heart_end(joint);
        return;
    }
    net_links_pump_surely(&joint->links); /* what came while this rank did not look */
    beat(joint);
}
