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

/* False when a rank of it is not at rest. */
static bool host_read(const struct joint_net *joint, struct joint_report *report)
{
    *report = (struct joint_report){.reporter = joint->map.rank};
    for (int local = 0; local < joint->map.locals; local++) {
        const struct net_board *board = net_board(joint->inner, local);
        if (!atomic_load(&board->idle))
            return false;
        report->epochs += atomic_load(&board->idle_epoch);
        report->sent += atomic_load(&board->sent);
        report->received += atomic_load(&board->received);
        report->waiting += atomic_load(&board->waiting);
        report->finalizing += atomic_load(&board->finalizing) != 0;
    }
    return true;
}

/* Read twice: what two readings with the same epochs say was so at one moment. */
static bool host_at_rest(const struct joint_net *joint, struct joint_report *report)
{
    struct joint_report before;
    return host_read(joint, &before) && host_read(joint, report) && before.epochs == report->epochs &&
           before.sent == report->sent && before.received == report->received;
}

static bool host_still(const struct joint_net *joint, uint64_t epochs)
{
    struct joint_report report;
    return host_at_rest(joint, &report) && report.epochs == epochs;
}

/* ---- rank 0 */

static void tell(struct joint_net *joint, int rank, enum link_kind kind, const void *data, size_t length)
{
    int tries = 0;
    while (net_links_tell(&joint->links, rank, kind, data, length) != RAYMPI_OK)
        base_await_memory(&tries, "net", "a question about the end of the job");
}

/* Under the lock: do the sums allow a rest? */
static bool sums_agree(const struct joint_net *joint, struct joint_report *sum)
{
    *sum = (struct joint_report){0};
    for (int host = 0; host < joint->map.hosts; host++) {
        const struct joint_report *report = &joint->reports[host];
        if (report->reporter < 0)
            return false;
        sum->sent += report->sent;
        sum->received += report->received;
        sum->waiting += report->waiting;
        sum->finalizing += report->finalizing;
    }
    return sum->sent == sum->received;
}

static void round_end(struct joint_net *joint)
{
    struct joint_report sum;
    joint->asked = 0;
    if (joint->refused || !sums_agree(joint, &sum))
        return;
    for (int host = 0; host < joint->map.hosts; host++)
        joint->reports[host].reporter = -1; /* the next rest is another one */
    bool done = sum.finalizing == joint->map.size && sum.waiting == 0;
    atomic_store_explicit(&joint->answer, done ? NET_REST_DONE : NET_REST_DEADLOCK, memory_order_release);
    net_wake(joint->inner);
}

/* Under the lock. Hosts whose report is this rank's own answer at once. */
static void round_begin(struct joint_net *joint)
{
    struct joint_report sum;
    if (joint->asked || atomic_load(&joint->answer) != NET_REST_NO || !sums_agree(joint, &sum))
        return;
    joint->round++;
    joint->replied = 0;
    joint->refused = false;
    joint->asked = joint->map.hosts;
    for (int host = 0; host < joint->map.hosts; host++) {
        const struct joint_report *report = &joint->reports[host];
        struct rest_ask ask = {report->epochs, joint->round, 0};
        if (report->reporter != joint->map.rank) {
            tell(joint, report->reporter, LINK_REST_ASK, &ask, sizeof ask);
            continue;
        }
        joint->replied++;
        joint->refused = joint->refused || !host_still(joint, report->epochs);
    }
    if (joint->replied == joint->asked)
        round_end(joint);
}

static void on_report(struct joint_net *joint, int host, const struct joint_report *report)
{
    base_spin_lock(&joint->rest_lock);
    struct joint_report *known = &joint->reports[host];
    /* Two ranks of a host may report one after the other, on links of their own. */
    if (known->reporter < 0 || report->epochs >= known->epochs) {
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
    struct joint_report mine;
    if (!host_at_rest(joint, &mine))
        return;
    if (joint->map.rank == 0)
        on_report(joint, joint->map.host, &mine);
    else
        tell(joint, 0, LINK_REST_REPORT, &mine, sizeof mine);
    net_links_pump(&joint->links);
}

void joint_rest_control(void *arg, int peer, enum link_kind kind, const void *data, size_t length)
{
    struct joint_net *joint = arg;
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
        tell(joint, peer, LINK_REST_REPLY, &reply, sizeof reply);
    } else if (kind == LINK_REST_REPLY && length == sizeof message.reply && joint->map.rank == 0) {
        on_reply(joint, &message.reply);
    } else {
        net_malformed(&joint->net, peer, "a packet of the net's own that nobody knows");
    }
}

enum net_rest joint_rest_publish(struct net *net)
{
    struct joint_net *joint = joint_of(net);
    struct net_board *board = net_board(joint->inner, joint->inner->rank);
    if (!net->idle) {
        net->idle = true;
        atomic_store(&board->sent, net->operations->sent(net));
        atomic_store(&board->idle, 1);
        uint32_t idle = atomic_fetch_add(&joint->inner->rest->idle, 1) + 1;
        if (idle == (uint32_t)joint->map.locals && net_dead_peer(net) < 0)
            report(joint);
    }
    return (enum net_rest)atomic_exchange(&joint->answer, NET_REST_NO);
}

void joint_rest_withdraw(struct net *net)
{
    struct joint_net *joint = joint_of(net);
    struct net_board *board = net_board(joint->inner, joint->inner->rank);
    if (!net->idle)
        return;
    net->idle = false;
    atomic_store(&board->idle, 0);
    atomic_fetch_add(&board->idle_epoch, 1);
    atomic_fetch_sub(&joint->inner->rest->idle, 1);
}
