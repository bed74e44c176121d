/* The links of a chain: see control_chain.h.
 *
 * Each link feeds one peer: its successor, or, at the tail, the joiner. It sends what the peer lacks from the
 * log, again from what the peer has confirmed if that does not move for a while; and the whole table where
 * the log does not reach back so far, which is a joiner's case, and of a successor that joined just before a
 * death.
 *
 * A tail that has reported its joiner commits from then on only what the joiner has, too: the next view may
 * have that as the tail, and lose any of the others. */
#include "control/control_chain.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define SEND_MOST  64 /* changes that are on their way to a peer */
#define COPY_MOST  4  /* parts of a copy */
#define COPY_BYTES (UINT64_C(1) << 40)

/** A change in the log. */
struct entry {
    struct entry *prev, *next;
    uint64_t index;
    int client;
    struct control_op op;
    char bytes[]; /* key, value */
};

/** Who gets from this link what it has. */
struct peer {
    int rank;       /* -1: nobody */
    bool known;     /* it has said, in this epoch, what it has */
    uint64_t have;  /* the last that it has applied */
    uint64_t sent;  /* and that was sent to it */
    uint64_t moved; /* when it got on */
    char *copy;     /* of the table, as bytes, or NULL */
    size_t copy_length, copy_sent, copy_got;
    uint64_t copy_index;
};

struct chain {
    struct chain_config config;
    struct chain_view view;
    int place; /* in the view; -1: none */
    struct control_table *table;
    struct entry *log; /* changes that somebody may lack; the last is the one applied last, if there is any */
    uint64_t log_length;
    uint64_t committed;
    struct peer peer;
    bool reported; /* the joiner */
    uint64_t lease_epoch, lease_until;
    /* A copy that is coming. */
    char *coming;
    uint64_t coming_index, coming_total, coming_got;
    bool joins; /* this is the joiner */
};

int chain_open(struct chain **chain, const struct chain_config *config)
{
    *chain = calloc(1, sizeof **chain);
    if (!*chain)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a shard of the control state");
    (*chain)->config = *config;
    (*chain)->place = -1;
    (*chain)->peer.rank = -1;
    (*chain)->view.joiner = -1;
    return RAYMPI_OK;
}

/* ---- places */

static bool is_head(const struct chain *chain)
{
    return chain->place == 0;
}

static bool is_tail(const struct chain *chain)
{
    return chain->place >= 0 && chain->place == chain->view.count - 1;
}

static int predecessor(const struct chain *chain)
{
    if (chain->joins)
        return chain->view.members[chain->view.count - 1];
    return chain->place > 0 ? chain->view.members[chain->place - 1] : -1;
}

static uint64_t applied(const struct chain *chain)
{
    return chain->table ? control_table_index(chain->table) : 0;
}

static void send(const struct chain *chain, int rank, struct chain_message *message)
{
    message->epoch = chain->view.epoch;
    chain->config.output.send(chain->config.output.arg, rank, message);
}

/* ---- the log */

static struct entry *entry_new(uint64_t index, int client, const struct control_op *op)
{
    struct entry *entry = malloc(sizeof *entry + op->key.length + op->value.length);
    if (!entry)
        return NULL;
    *entry = (struct entry){.index = index, .client = client, .op = *op};
    memcpy(entry->bytes, op->key.data, op->key.length);
    if (op->value.length)
        memcpy(entry->bytes + op->key.length, op->value.data, op->value.length);
    entry->op.key.data = entry->bytes;
    entry->op.value.data = entry->bytes + op->key.length;
    return entry;
}

static void log_drop_first(struct chain *chain)
{
    struct entry *first = chain->log;
    DL_DELETE(chain->log, first);
    chain->log_length--;
    free(first);
}

static void log_clear(struct chain *chain)
{
    while (chain->log)
        log_drop_first(chain);
}

/* What all have, and nobody has to be sent, goes. */
static void log_trim(struct chain *chain)
{
    while (chain->log && chain->log->index <= chain->committed &&
           (chain->peer.rank < 0 || (chain->peer.known && chain->log->index <= chain->peer.have)))
        log_drop_first(chain);
}

static struct entry *log_after(const struct chain *chain, uint64_t index)
{
    struct entry *entry;
    DL_FOREACH (chain->log, entry)
        if (entry->index > index)
            return entry;
    return NULL;
}

/* Whether all changes after that one are in the log. */
static bool log_covers(const struct chain *chain, uint64_t index)
{
    return index >= applied(chain) || (chain->log && chain->log->index <= index + 1);
}

/* ---- answers */

static void answer(const struct chain *chain, int client, const struct control_op *op, int status,
                   const struct control_reply *reply)
{
    struct chain_message message = {.kind = CHAIN_ANSWER, .client = client, .op = *op, .status = status};
    if (reply)
        message.reply = *reply;
    send(chain, client, &message);
}

static void answer_entry(const struct chain *chain, const struct entry *entry)
{
    struct control_reply reply;
    bool done;
    if (control_table_answered(chain->table, &entry->op, &reply, &done) == RAYMPI_OK && done)
        answer(chain, entry->client, &entry->op, RAYMPI_OK, &reply);
}

static void tell_predecessor(const struct chain *chain)
{
    struct chain_message message = {.kind = CHAIN_HAVE,
                                    .index = applied(chain),
                                    .committed = chain->committed,
                                    .copy = chain->coming_index,
                                    .offset = chain->coming_got};
    if (predecessor(chain) >= 0)
        send(chain, predecessor(chain), &message);
}

/* Up to there all is at every link. The tail answers. */
static void commit(struct chain *chain, uint64_t index)
{
    if (index <= chain->committed)
        return;
    struct entry *entry = log_after(chain, chain->committed);
    for (; is_tail(chain) && entry && entry->index <= index; entry = entry->next)
        answer_entry(chain, entry);
    chain->committed = index;
    log_trim(chain);
    tell_predecessor(chain);
}

static void commit_tail(struct chain *chain)
{
    uint64_t index = applied(chain);
    if (!is_tail(chain))
        return;
    if (chain->reported)
        index = chain->peer.have < index ? chain->peer.have : index;
    commit(chain, index);
}

/* ---- the peer */

static void copy_end(struct peer *peer)
{
    free(peer->copy);
    peer->copy = NULL;
    peer->copy_sent = peer->copy_length = peer->copy_got = 0;
}

static void peer_set(struct chain *chain, int rank, uint64_t now)
{
    copy_end(&chain->peer);
    chain->peer = (struct peer){.rank = rank, .moved = now};
}

static void copy_send(struct chain *chain)
{
    struct peer *peer = &chain->peer;
    while (peer->copy_sent < peer->copy_length &&
           peer->copy_sent < peer->copy_got + COPY_MOST * (size_t)chain->config.copy_bytes) {
        size_t left = peer->copy_length - peer->copy_sent;
        uint32_t length = left < chain->config.copy_bytes ? (uint32_t)left : chain->config.copy_bytes;
        struct chain_message message = {.kind = CHAIN_COPY,
                                        .copy = peer->copy_index,
                                        .bytes = {peer->copy + peer->copy_sent, length},
                                        .offset = peer->copy_sent,
                                        .total = peer->copy_length};
        send(chain, peer->rank, &message);
        peer->copy_sent += length;
    }
}

/* The table as of now; without memory for it the next tick tries again. */
static void copy_begin(struct chain *chain)
{
    struct peer *peer = &chain->peer;
    copy_end(peer);
    if (control_table_save(chain->table, &peer->copy, &peer->copy_length) != RAYMPI_OK) {
        peer->copy = NULL;
        return;
    }
    peer->copy_index = applied(chain);
    copy_send(chain);
}

static void log_send(struct chain *chain)
{
    struct peer *peer = &chain->peer;
    struct entry *entry = log_after(chain, peer->sent);
    for (; entry && peer->sent < peer->have + SEND_MOST; entry = entry->next) {
        struct chain_message message = {
            .kind = CHAIN_FORWARD, .index = entry->index, .client = entry->client, .op = entry->op};
        send(chain, peer->rank, &message);
        peer->sent = entry->index;
    }
}

static void ask(const struct chain *chain)
{
    struct chain_message message = {.kind = CHAIN_FORWARD};
    send(chain, chain->peer.rank, &message);
}

/* Sends what the peer lacks and was not sent yet. */
static void feed(struct chain *chain)
{
    struct peer *peer = &chain->peer;
    if (peer->rank < 0 || !chain->table)
        return;
    if (!peer->known)
        ask(chain);
    else if (log_covers(chain, peer->have))
        log_send(chain);
    else if (!peer->copy)
        copy_begin(chain);
    else
        copy_send(chain);
}

static void report(struct chain *chain)
{
    if (!is_tail(chain) || chain->peer.rank < 0 || !chain->peer.known || chain->peer.have < applied(chain))
        return;
    chain->reported = true;
    chain->config.output.joined(chain->config.output.arg, chain->view.epoch, chain->peer.rank);
}

/* Less than before: it has begun anew, or this was overtaken; then some is sent twice. */
static void copy_confirmed(struct peer *peer, const struct chain_message *message, uint64_t now)
{
    size_t got = peer->copy && message->copy == peer->copy_index ? (size_t)message->offset : 0;
    if (got > peer->copy_got)
        peer->moved = now;
    peer->copy_got = got;
    if (peer->copy_sent < got)
        peer->copy_sent = got;
}

static void on_have(struct chain *chain, int from, const struct chain_message *message, uint64_t now)
{
    struct peer *peer = &chain->peer;
    if (from != peer->rank || !chain->table || message->index > applied(chain))
        return;
    bool first = !peer->known, moved = message->index > peer->have;
    if (first || moved) {
        peer->have = message->index;
        peer->moved = now;
        peer->sent = first || peer->sent < peer->have ? peer->have : peer->sent;
    }
    peer->known = true;
    if (peer->copy && log_covers(chain, peer->have))
        copy_end(peer);
    copy_confirmed(peer, message, now);
    if (!is_tail(chain))
        commit(chain, message->committed < peer->have ? message->committed : peer->have);
    log_trim(chain);
    feed(chain);
    report(chain);
    commit_tail(chain);
}

/* ---- changes */

/* Puts it at the end of the log. MEMORY: it did not come. */
static int change_apply(struct chain *chain, uint64_t index, int client, const struct control_op *op)
{
    struct control_reply reply;
    struct entry *entry = entry_new(index, client, op);
    int status = entry ? control_table_apply(chain->table, index, op, &reply) : RAYMPI_ERR_MEMORY;
    if (status != RAYMPI_OK) {
        free(entry);
        return status;
    }
    DL_APPEND(chain->log, entry);
    chain->log_length++;
    feed(chain);
    commit_tail(chain);
    return RAYMPI_OK;
}

static bool is_under_way(const struct chain *chain, const struct control_op *op)
{
    const struct entry *entry = log_after(chain, chain->committed);
    for (; entry; entry = entry->next)
        if (entry->op.client == op->client && entry->op.serial == op->serial)
            return true;
    return false;
}

static int on_change(struct chain *chain, const struct chain_message *message)
{
    const struct control_op *op = &message->op;
    struct control_reply reply;
    bool done;
    if (!is_head(chain) || !chain->table || message->epoch != chain->view.epoch) {
        answer(chain, message->client, op, RAYMPI_ERR_NODE_DIED, NULL);
        return RAYMPI_OK;
    }
    int status = control_op_check(op);
    if (status == RAYMPI_OK)
        status = control_table_answered(chain->table, op, &reply, &done);
    if (status != RAYMPI_OK) {
        answer(chain, message->client, op, status, NULL);
        return RAYMPI_OK;
    }
    if (!done)
        return change_apply(chain, applied(chain) + 1, message->client, op);
    if (!is_under_way(chain, op))
        answer(chain, message->client, op, RAYMPI_OK, &reply);
    return RAYMPI_OK;
}

static int on_forward(struct chain *chain, int from, const struct chain_message *message)
{
    int status = RAYMPI_OK;
    if (from != predecessor(chain))
        return RAYMPI_OK;
    if (chain->table && message->index == applied(chain) + 1)
        status = change_apply(chain, message->index, message->client, &message->op);
    if (status != RAYMPI_OK)
        return status;
    tell_predecessor(chain);
    return RAYMPI_OK;
}

/* ---- reads */

static void on_read(const struct chain *chain, int from, const struct chain_message *message, uint64_t now)
{
    struct chain_message value = {.kind = CHAIN_VALUE, .client = from, .op = message->op};
    bool leased = chain->lease_epoch == chain->view.epoch && now < chain->lease_until;
    if (!is_tail(chain) || !chain->table || message->epoch != chain->view.epoch || !leased)
        value.status = RAYMPI_ERR_NODE_DIED;
    else if (chain->committed < applied(chain))
        return; /* a moment, while somebody joins: the client asks again */
    else
        value.reply.done =
            control_table_get(chain->table, message->op.key, &value.bytes, &value.reply.version);
    send(chain, from, &value);
}

/* ---- a copy that comes */

static void coming_end(struct chain *chain)
{
    free(chain->coming);
    chain->coming = NULL;
    chain->coming_got = chain->coming_total = chain->coming_index = 0;
}

static int coming_begin(struct chain *chain, const struct chain_message *message)
{
    coming_end(chain);
    chain->coming = malloc(message->total);
    if (!chain->coming)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a copy of a shard of the control state");
    chain->coming_index = message->copy;
    chain->coming_total = message->total;
    return RAYMPI_OK;
}

static int coming_done(struct chain *chain)
{
    struct control_table *table;
    int status = control_table_load(&table, chain->coming, chain->coming_total);
    if (status != RAYMPI_OK) {
        coming_end(chain);
        return status == RAYMPI_ERR_MEMORY ? status : RAYMPI_OK;
    }
    control_table_close(chain->table);
    chain->table = table;
    log_clear(chain);
    chain->committed = 0;
    coming_end(chain);
    commit_tail(chain);
    return RAYMPI_OK;
}

static int on_copy(struct chain *chain, int from, const struct chain_message *message)
{
    int status = RAYMPI_OK;
    if (from != predecessor(chain) || message->copy <= applied(chain) || message->total == 0 ||
        message->offset > message->total || message->bytes.length > message->total - message->offset ||
        message->total > COPY_BYTES)
        return RAYMPI_OK;
    if (message->offset == 0 && (!chain->coming || message->copy > chain->coming_index))
        status = coming_begin(chain, message);
    if (status != RAYMPI_OK || !chain->coming || message->copy != chain->coming_index ||
        message->total != chain->coming_total)
        return status;
    if (message->offset == chain->coming_got) {
        memcpy(chain->coming + message->offset, message->bytes.data, message->bytes.length);
        chain->coming_got += message->bytes.length;
        if (chain->coming_got == chain->coming_total)
            status = coming_done(chain);
    }
    tell_predecessor(chain);
    return status;
}

/* ---- views */

static void forget_all(struct chain *chain)
{
    control_table_close(chain->table);
    chain->table = NULL;
    log_clear(chain);
    coming_end(chain);
    chain->committed = 0;
}

static int place_in(const struct chain_view *view, int rank)
{
    for (int i = 0; i < view->count; i++)
        if (view->members[i] == rank)
            return i;
    return -1;
}

int chain_view(struct chain *chain, const struct chain_view *view, uint64_t now)
{
    if (view->epoch <= chain->view.epoch)
        return RAYMPI_OK;
    int place = place_in(view, chain->config.rank);
    bool joins = view->joiner == chain->config.rank;
    /* Who joins begins with nothing: what a link has that was left out may have been decided otherwise since.
     * A link that has nothing was one from the first view on, and has got nothing; had anybody waited for
     * what it lacks, that had not been committed. */
    bool afresh = joins && !chain->joins;
    if ((place >= 0 || joins) && (!chain->table || afresh)) {
        struct control_table *table;
        int status = control_table_open(&table);
        if (status != RAYMPI_OK)
            return status;
        forget_all(chain);
        chain->table = table;
    }
    coming_end(chain);
    chain->view = *view;
    chain->place = place;
    chain->joins = joins;
    chain->reported = false;
    if (place < 0 && !chain->joins)
        forget_all(chain);
    if (place < 0)
        peer_set(chain, -1, now);
    else
        peer_set(chain, is_tail(chain) ? view->joiner : view->members[place + 1], now);
    feed(chain);
    commit_tail(chain);
    return RAYMPI_OK;
}

/* ---- all that comes */

int chain_receive(struct chain *chain, int from, const struct chain_message *message, uint64_t now)
{
    if (message->kind == CHAIN_CHANGE)
        return on_change(chain, message);
    if (message->kind == CHAIN_READ) {
        on_read(chain, from, message, now);
        return RAYMPI_OK;
    }
    if (message->epoch != chain->view.epoch || (chain->place < 0 && !chain->joins))
        return RAYMPI_OK;
    switch (message->kind) {
    case CHAIN_FORWARD:
        return on_forward(chain, from, message);
    case CHAIN_HAVE:
        on_have(chain, from, message, now);
        return RAYMPI_OK;
    case CHAIN_COPY:
        return on_copy(chain, from, message);
    default:
        return RAYMPI_OK;
    }
}

void chain_tick(struct chain *chain, uint64_t now)
{
    struct peer *peer = &chain->peer;
    if (peer->rank < 0 || !chain->table || now - peer->moved < chain->config.patience)
        return;
    peer->moved = now;
    if (peer->known && peer->have >= applied(chain)) {
        if (chain->committed < applied(chain) || is_tail(chain))
            ask(chain); /* what was committed, or has joined */
        report(chain);
        return;
    }
    peer->sent = peer->have;
    peer->copy_sent = peer->copy_got;
    if (peer->known)
        ask(chain); /* how much of the copy it has, and whether it is there */
    feed(chain);
}

void chain_lease(struct chain *chain, uint64_t epoch, uint64_t until)
{
    chain->lease_epoch = epoch;
    chain->lease_until = until;
}

void chain_state(const struct chain *chain, struct chain_state *state)
{
    *state = (struct chain_state){.epoch = chain->view.epoch,
                                  .applied = applied(chain),
                                  .committed = chain->committed,
                                  .log = chain->log_length,
                                  .serves = chain->place >= 0,
                                  .table = chain->table};
}

void chain_close(struct chain *chain)
{
    if (!chain)
        return;
    forget_all(chain);
    copy_end(&chain->peer);
    free(chain);
}
