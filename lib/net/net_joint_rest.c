/* Finds out that a job on several hosts is at rest.
 *
 * The rank that completes its host's set reports the host's sums to rank 0, which adds them up. Where all
 * hosts have reported and as many messages were received as sent, it asks each reporter whether its host is
 * still at rest in the epoch of its report: if all say so, then all were at rest together, from the last of
 * the reports to the first of the answers, and nothing was on its way (the four-counter method again, hosts
 * in place of ranks). Reports, questions and replies are packets of the net's own: they count as no messages
 * and end no rest. */
#include "net/net_joint.h"

#include <stdlib.h>
#include <string.h>

struct rest_ask {
    uint64_t epochs;
    uint32_t round;
    uint32_t unused;
};
struct rest_reply {
    uint32_t round;
    uint32_t still;
};

int joint_rest_open(struct joint_net *joint)
{
    base_spin_init(&joint->rest_lock);
    if (joint->map.rank != 0)
        return RAYMPI_OK;
    joint->reports = calloc((size_t)joint->map.hosts, sizeof *joint->reports);
    for (int host = 0; joint->reports && host < joint->map.hosts; host++)
        joint->reports[host].reporter = -1;
    return joint->reports ? RAYMPI_OK : base_fail(RAYMPI_ERR_MEMORY, "no memory for the reports of hosts");
}

void joint_rest_close(struct joint_net *joint)
{
    free(joint->reports);
}

/* ---- this host */

static bool host_still(const struct joint_net *joint, uint64_t epochs)
{
    struct net_rest_view view;
    return net_rest_read(joint->inner, &view) && view.epochs == epochs;
}

/* ---- rank 0 */

/* Under the lock: do the sums allow a rest? */
static bool sums_agree(const struct joint_net *joint, struct net_rest_view *sum)
{
    *sum = (struct net_rest_view){0};
    for (int host = 0; host < joint->map.hosts; host++) {
        const struct joint_report *report = &joint->reports[host];
        if (report->reporter < 0)
            return false;
        sum->sent += report->view.sent;
        sum->received += report->view.received;
        sum->waiting += report->view.waiting;
        sum->finalizing += report->view.finalizing;
    }
    return sum->sent == sum->received;
}

static void round_end(struct joint_net *joint)
{
    struct net_rest_view sum;
    joint->asked = 0;
    if (joint->refused || !sums_agree(joint, &sum))
        return;
    for (int host = 0; host < joint->map.hosts; host++)
        joint->reports[host].reporter = -1; /* the next rest is another one */
    atomic_store_explicit(&joint->answer, (int)net_rest_answer(&sum, joint->map.size), memory_order_release);
    net_wake(joint->inner);
}

/* Under the lock. Hosts whose report is this rank's own answer at once. */
static void round_begin(struct joint_net *joint)
{
    struct net_rest_view sum;
    if (joint->asked || atomic_load(&joint->answer) != NET_REST_NO || !sums_agree(joint, &sum))
        return;
    joint->round++;
    joint->replied = 0;
    joint->refused = false;
    joint->asked = joint->map.hosts;
    for (int host = 0; host < joint->map.hosts; host++) {
        const struct joint_report *report = &joint->reports[host];
        struct rest_ask ask = {report->view.epochs, joint->round, 0};
        if (report->reporter != joint->map.rank) {
            net_links_tell(&joint->links, report->reporter, LINK_REST_ASK, &ask, sizeof ask);
            continue;
        }
        joint->replied++;
        joint->refused = joint->refused || !host_still(joint, report->view.epochs);
    }
    if (joint->replied == joint->asked)
        round_end(joint);
}

static void on_report(struct joint_net *joint, int host, const struct joint_report *report)
{
    base_spin_lock(&joint->rest_lock);
    struct joint_report *known = &joint->reports[host];
    /* Two ranks of a host may report one after the other, on links of their own. */
    if (known->reporter < 0 || report->view.epochs >= known->view.epochs) {
        *known = *report;
        /* A round about what was known before ends without an answer. */
        joint->refused = joint->refused || joint->asked > 0;
        round_begin(joint);
    }
    base_spin_unlock(&joint->rest_lock);
}

static void on_reply(struct joint_net *joint, const struct rest_reply *reply)
{
    base_spin_lock(&joint->rest_lock);
    if (joint->asked > 0 && reply->round == joint->round) {
        joint->refused = joint->refused || !reply->still;
        if (++joint->replied == joint->asked) {
            round_end(joint);
            round_begin(joint); /* a report that came meanwhile */
        }
    }
    base_spin_unlock(&joint->rest_lock);
}

/* ---- all */

static void report(struct joint_net *joint)
{
    struct joint_report mine = {.reporter = joint->map.rank};
    if (!net_rest_read(joint->inner, &mine.view))
        return;
    if (joint->map.rank == 0)
        on_report(joint, joint->map.host, &mine);
    else
        net_links_tell(&joint->links, 0, LINK_REST_REPORT, &mine, sizeof mine);
    net_links_pump(&joint->links);
}

void joint_rest_control(struct joint_net *joint, int peer, enum link_kind kind, const void *data,
                        size_t length)
{
    union {
        struct joint_report report;
        struct rest_ask ask;
        struct rest_reply reply;
    } message;
    memcpy(&message, data, length < sizeof message ? length : sizeof message);
    if (kind == LINK_REST_REPORT && length == sizeof message.report && joint->map.rank == 0) {
        message.report.reporter = peer;
        on_report(joint, joint->map.host_of[peer], &message.report);
    } else if (kind == LINK_REST_ASK && length == sizeof message.ask) {
        struct rest_reply reply = {message.ask.round, host_still(joint, message.ask.epochs)};
        net_links_tell(&joint->links, peer, LINK_REST_REPLY, &reply, sizeof reply);
    } else if (kind == LINK_REST_REPLY && length == sizeof message.reply && joint->map.rank == 0) {
        on_reply(joint, &message.reply);
    } else {
        net_malformed(&joint->net, peer, "a packet of the net's own that nobody knows");
    }
}

/* The inner net's boards and words are the host's; what this rank has sent is of both ways. */
enum net_rest joint_rest_publish(struct net *net)
{
    struct joint_net *joint = joint_of(net);
    if (reads_word(&joint->reads.under_way) > 0) /* its end moves something: who tells it publishes again */
        return NET_REST_NO;
    if (net_rest_enter(joint->inner, net->operations->sent(net)) && net_dead_peer(net) < 0)
        report(joint);
    return (enum net_rest)atomic_exchange(&joint->answer, NET_REST_NO);
}

void joint_rest_withdraw(struct net *net)
{
    net_rest_leave(joint_of(net)->inner);
}
