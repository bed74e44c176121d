/* Finds out that the whole job is at rest: every rank idle and no message on its way.
 *
 * The rank whose publication makes the count complete reads all boards twice (Mattern's four-counter method,
 * 1987, with epochs instead of a second wave). If every rank is idle in the epoch of the first reading still,
 * then all were idle together at some moment between the two, the counters did not move in that time, and
 * sent = received means that nothing is on its way: nothing can wake anybody. A message that is still in a
 * ring makes the sums differ; its receiver will withdraw, handle it and publish again, so that a later
 * publication looks again. */
#include "net/net_internal.h"

/* Reads all boards; false when a rank is not idle. All orders are seq_cst: nothing here is hot. */
static bool view_read(const struct net *net, struct net_rest_view *view)
{
    *view = (struct net_rest_view){0};
    for (int rank = 0; rank < net->size; rank++) {
        const struct net_board *board = &net->boards[rank];
        if (!atomic_load(&board->idle))
            return false;
        view->epochs += atomic_load(&board->idle_epoch);
        view->sent += atomic_load(&board->sent);
        view->received += atomic_load(&board->received);
        view->waiting += atomic_load(&board->waiting);
        view->finalizing += atomic_load(&board->finalizing) != 0;
    }
    return true;
}

bool net_rest_read(const struct net *net, struct net_rest_view *view)
{
    struct net_rest_view before;
    return view_read(net, &before) && view_read(net, view) && before.epochs == view->epochs &&
           before.sent == view->sent && before.received == view->received;
}

static enum net_rest idle_check(struct net *net)
{
    /* Read before the boards: when another rank gets the answer, acts, and withdraws while this one reads
     * them, the number has moved on and the exchange below fails. So one rest is answered once. */
    uint64_t answer = atomic_load(&net->rest->answer);
    if (answer & 1)
        return NET_REST_NO;
    struct net_rest_view view;
    if (!net_rest_read(net, &view) || view.sent != view.received)
        return NET_REST_NO;
    if (!atomic_compare_exchange_strong(&net->rest->answer, &answer, answer + 1))
        return NET_REST_NO;
    net->answered = true;
    return net_rest_answer(&view, net->size);
}

bool net_rest_enter(struct net *net, uint64_t sent)
{
    if (net->idle)
        return false;
    net->idle = true;
    atomic_store(&net->own->sent, sent);
    /* seq_cst: the counters and what the caller wrote to its board are visible before "idle" is. */
    atomic_store(&net->own->idle, 1);
    return atomic_fetch_add(&net->rest->idle, 1) + 1 == (uint32_t)net->size;
}

bool net_rest_leave(struct net *net)
{
    if (!net->idle)
        return false;
    net->idle = false;
    /* The epoch moves before anything that this rank does next, so a reader that sees such an effect in its
     * second reading sees the new epoch too. */
    atomic_store(&net->own->idle, 0);
    atomic_fetch_add(&net->own->idle_epoch, 1);
    atomic_fetch_sub(&net->rest->idle, 1);
    return true;
}

enum net_rest net_idle_publish(struct net *net)
{
    if (net->operations->idle_publish)
        return net->operations->idle_publish(net);
    /* Nobody sends while a rank is at rest, so this count is whole. */
    if (!net_rest_enter(net, net->operations->sent(net)))
        return NET_REST_NO;
    /* What a dead rank had sent or received is unknown: the sums tell nothing any more. */
    if (net_dead_peer(net) >= 0)
        return NET_REST_NO;
    return idle_check(net);
}

void net_idle_withdraw(struct net *net)
{
    if (net->operations->idle_withdraw) {
        net->operations->idle_withdraw(net);
        return;
    }
    if (!net_rest_leave(net) || !net->answered)
        return;
    net->answered = false;
    /* The rest that was answered is over: the next one has a new number. */
    atomic_fetch_add(&net->rest->answer, 1);
}
