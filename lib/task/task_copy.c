/* Copies of blocks of other hosts. Each host has at most one of a block, which the rank keeps that the
 * block's name falls to; it fetches in ranges, several at a time, in chunks that fill packets, so that other
 * messages pass in between. The other ranks of the host only know where it is while they read it. A copy that
 * nobody reads stays until memory is wanted or the block is gone. See task_present.h. */
#include "task/task_present.h"

#include <stdlib.h>

#define RANGES_MOST 8 /* that were asked for and have not come, of all copies */

enum copy_state {
    COPY_KNOWN,   /* another rank keeps it */
    COPY_PLANNED, /* there is no memory for it yet */
    COPY_COMING,
    COPY_HERE, /* this rank keeps it */
};

struct copy {
    UT_hash_handle hh; /* by name */
    struct stored at;
    struct store_place local;
    uint64_t extent;
    uint32_t users;           /* pins of this rank's */
    enum copy_state state;    /* what follows is of those that this rank keeps */
    bool stale;               /* the block is gone */
    struct copy *prev, *next; /* of those that are idle, planned, or have something to ask for */
    struct present_want *wants;
    uint64_t since;
    char *to;
    uint64_t asked, got;
    struct net_read read; /* where it is read one-sidedly */
    struct task_room *room;
};

static struct copy *copy_find(const struct task_present *present, const struct stored *at)
{
    struct copy *copy;
    HASH_FIND(hh, present->copies, at, sizeof *at, copy);
    return copy;
}

static struct copy *copy_new(struct task_present *present, const struct stored *at, enum copy_state state)
{
    struct copy *copy = base_alloc_sure(sizeof *copy, "task", "a copy of a value of another host");
    int tries = 0;
    *copy = (struct copy){.at = *at, .state = state};
    for (;;) {
        HASH_ADD(hh, present->copies, at, sizeof copy->at, copy);
        if (copy->hh.tbl)
            return copy;
        base_await_memory(&tries, "task", "a copy of a value of another host");
    }
}

/* One that is in no list. */
static void copy_end(struct task_present *present, struct copy *copy)
{
    HASH_DEL(present->copies, copy);
    free(copy);
}

/* ---- reading */

static bool is_idle(const struct copy *copy)
{
    return copy->state == COPY_HERE && copy->users == 0;
}

static void copy_give_up(struct task_room *room, struct copy *copy)
{
    if (is_idle(copy))
        DL_DELETE(room->present->idle, copy);
    room->present->count.bytes -= copy->extent;
    room->present->count.evicted += copy->extent;
    present_trace(TRACE_STORE_EVICT, (uint64_t)copy->at.holder, copy->extent);
    store_free(room->store, copy->local); /* what other ranks read of it stays until they have */
    copy_end(room->present, copy);
}

int copy_pin(struct task_room *room, const struct stored *at, const void **data, uint64_t *length)
{
    struct task_present *present = room->present;
    struct copy *copy = copy_find(present, at);
    if (!copy || copy->state == COPY_PLANNED || copy->state == COPY_COMING)
        return STORE_ON_DISK;
    if (store_pin(room->store, copy->local, data, length) != RAYMPI_OK) {
        if (copy->users == 0 && copy->state == COPY_KNOWN)
            copy_end(present, copy); /* its keeper has given it up: he is asked again */
        return STORE_ON_DISK;
    }
    if (is_idle(copy))
        DL_DELETE(present->idle, copy);
    copy->users++;
    return RAYMPI_OK;
}

void copy_unpin(struct task_room *room, const struct stored *at)
{
    struct task_present *present = room->present;
    struct copy *copy = copy_find(present, at);
    if (!copy || copy->users == 0) {
        base_log(BASE_LOG_ERROR, "task", "a copy of a block of rank %d was let go of too often", at->holder);
        return;
    }
    store_unpin(room->store, copy->local);
    if (--copy->users > 0)
        return;
    if (copy->state == COPY_KNOWN) {
        copy_end(present, copy);
        return;
    }
    DL_APPEND(present->idle, copy);
    if (copy->stale)
        copy_give_up(room, copy);
}

const void *copy_at(struct task_room *room, const struct stored *at)
{
    base_spin_lock(&room->present->lock);
    const struct copy *copy = copy_find(room->present, at);
    const void *data = copy ? store_at(room->store, copy->local) : NULL;
    base_spin_unlock(&room->present->lock);
    return data;
}

void copy_learn(struct task_room *room, const struct stored *at, struct store_place local)
{
    struct copy *copy = copy_find(room->present, at);
    if (!copy)
        copy = copy_new(room->present, at, COPY_KNOWN);
    if (copy->state == COPY_KNOWN && copy->users == 0)
        copy->local = local;
}

/* ---- keeping */

static void copy_plan(struct task_room *room, struct copy *copy)
{
    copy->state = COPY_PLANNED;
    copy->since = net_now(room->net);
    copy->asked = copy->got = 0;
    DL_APPEND(room->present->planned, copy);
    atomic_fetch_add(&room->present->pending, 1);
}

static void copy_plan_end(struct task_present *present, struct copy *copy)
{
    DL_DELETE(present->planned, copy);
    atomic_fetch_sub(&present->pending, 1);
}

struct present_news *copy_bring(struct task_room *room, const struct stored *at, uint64_t extent, int rank)
{
    struct present_want *want = NULL;
    struct copy *copy = copy_find(room->present, at);
    if (copy && copy->state == COPY_HERE && store_restore(room->store, copy->local) != RAYMPI_OK) {
        copy_give_up(room, copy); /* to read it from disk is not faster than from where it was */
        copy = NULL;
    }
    if (copy && copy->state == COPY_HERE) {
        present_want(&want, rank);
        return present_news_new(at, copy->local, RAYMPI_OK, "", want);
    }
    if (!copy)
        copy = copy_new(room->present, at, COPY_KNOWN);
    present_want(&copy->wants, rank);
    if (copy->state == COPY_KNOWN) {
        copy->extent = extent;
        copy_plan(room, copy);
    }
    return NULL;
}

/* The answer to all who want it. */
static struct present_news *copy_news(struct copy *copy, int status)
{
    struct present_news *news = present_news_new(&copy->at, copy->local, status, base_detail(), copy->wants);
    copy->wants = NULL;
    return news;
}

/* One-sidedly all of it, once it is known where it lies; else a range. Returns its length. */
static uint64_t copy_ask(struct task_room *room, struct copy *copy)
{
    bool one_sided = net_reads(room->net) != NET_READ_NONE;
    uint64_t left = copy->extent - copy->asked, length = left < RANGE_BYTES ? left : RANGE_BYTES;
    struct pull pull = {copy->at, copy->asked, one_sided ? 0 : length};
    present_tell(room, copy->at.holder, TASK_MESSAGE_PULL, &pull, sizeof pull, NULL, 0);
    return one_sided ? left : length;
}

/* Asks for what may be asked for, a range of each in turn. */
static void copies_ask(struct task_room *room)
{
    struct task_present *present = room->present;
    while (present->asking && present->ranges < RANGES_MOST) {
        struct copy *copy = present->asking;
        copy->asked += copy_ask(room, copy);
        present->ranges++;
        DL_DELETE(present->asking, copy);
        if (copy->asked < copy->extent)
            DL_APPEND(present->asking, copy);
    }
}

struct present_news *copies_advance(struct task_room *room, uint64_t *lacking)
{
    struct task_present *present = room->present;
    struct present_news *news = NULL;
    struct copy *copy, *next;
    uint64_t now = net_now(room->net);
    DL_FOREACH_SAFE (present->planned, copy, next) {
        void *to;
        int status = store_create(room->store, copy->extent, &copy->local, &to);
        if (status == RAYMPI_ERR_STORE_FULL &&
            (double)(now - copy->since) < 1e9 * room->config.create_timeout) {
            present_lack(room, lacking, copy->extent);
            continue;
        }
        copy_plan_end(present, copy);
        if (status == RAYMPI_OK) {
            store_note(room->store, copy->local, TASK_NOTE_COPY | (uint32_t)copy->at.holder);
            copy->state = COPY_COMING;
            copy->to = to;
            DL_APPEND(present->asking, copy);
            continue;
        }
        struct present_news *more = copy_news(copy, status);
        LL_PREPEND(news, more);
        copy_end(present, copy);
    }
    copies_ask(room);
    return news;
}

uint64_t copies_evict(struct task_room *room, uint64_t bytes)
{
    uint64_t freed = 0;
    while (room->present->idle && freed < bytes) {
        freed += room->present->idle->extent;
        copy_give_up(room, room->present->idle);
    }
    return freed;
}

/* ---- what comes */

static const char *chunk_wrong(const struct copy *copy, const struct chunk *chunk, uint64_t length)
{
    if (!copy || copy->state != COPY_COMING)
        return "of a value that is not fetched from there";
    if (length > 0 && (chunk->offset != copy->got || length > copy->asked - copy->got))
        return "that was not asked for";
    return NULL;
}

/* Bytes of a rank that has died may still come: its memory is not used again while this process lives. */
static struct present_news *copy_lost(struct task_room *room, struct copy *copy)
{
    struct present_news *news = copy_news(copy, RAYMPI_ERR_NODE_DIED);
    copy_end(room->present, copy);
    return news;
}

/* All of it is here, or it can not be had. */
static struct present_news *copy_came(struct task_room *room, struct copy *copy, int status)
{
    struct task_present *present = room->present;
    present_tell(room, copy->at.holder, TASK_MESSAGE_READ, &copy->at, sizeof copy->at, NULL, 0);
    store_seal(room->store, copy->local);
    copy->state = COPY_HERE;
    present->count.bytes += copy->extent;
    present->count.fetched += copy->got;
    present_trace(TRACE_STORE_FETCH, (uint64_t)copy->at.holder, copy->got);
    struct present_news *news = copy_news(copy, status);
    DL_APPEND(present->idle, copy);
    if (status != RAYMPI_OK || copy->stale)
        copy_give_up(room, copy);
    return news;
}

static int refused(int status)
{
    if (status == RAYMPI_ERR_STORE_FULL)
        return base_fail(status, "it is on disk, and the store of its host has no room for it");
    return base_fail(RAYMPI_ERR_LOST, "it is not there any more");
}

/* The holder has refused it: none of the ranges that were asked for comes. */
static struct present_news *copy_refused(struct task_room *room, struct copy *copy, int status)
{
    struct task_present *present = room->present;
    uint64_t ranges = (copy->asked - copy->got + RANGE_BYTES - 1) / RANGE_BYTES;
    present->ranges -= (int)ranges;
    if (copy->asked < copy->extent)
        DL_DELETE(present->asking, copy);
    return copy_came(room, copy, refused(status));
}

static struct present_news *chunk_take(struct task_room *room, struct copy *copy, const struct chunk *chunk,
                                       const void *data, uint64_t length)
{
    if (length == 0)
        return copy_refused(room, copy, (int)chunk->status);
    memcpy(copy->to + copy->got, data, length);
    copy->got += length;
    if (copy->got % RANGE_BYTES == 0 || copy->got == copy->extent) {
        room->present->ranges--;
        copies_ask(room);
    }
    return copy->got == copy->extent ? copy_came(room, copy, RAYMPI_OK) : NULL;
}

void copy_on_chunk(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct present_news *news = NULL;
    struct chunk chunk = {.at = {{0}, 0, 0}};
    uint64_t length = message->length - sizeof chunk;
    const char *wrong = "that is too short";
    base_spin_lock(&room->present->lock);
    if (message->length >= sizeof chunk) {
        memcpy(&chunk, message->data, sizeof chunk);
        struct copy *copy = copy_find(room->present, &chunk.at);
        wrong = chunk.at.holder != message->source ? "of another rank's" : chunk_wrong(copy, &chunk, length);
        if (!wrong)
            news = chunk_take(room, copy, &chunk, (const char *)message->data + sizeof chunk, length);
    }
    base_spin_unlock(&room->present->lock);
    present_announce(room, news);
    if (wrong && length > 0) /* several ranges of one that can not be read are each refused */
        base_log(BASE_LOG_WARN, "task", "a piece of a value from rank %d dropped: one %s", message->source,
                 wrong);
}

/* ---- one-sided reads: as one range */

static struct present_news *read_ended(struct task_room *room, struct copy *copy, int status)
{
    room->present->ranges--;
    copies_ask(room);
    copy->got = copy->extent;
    return status == RAYMPI_ERR_NODE_DIED ? copy_lost(room, copy) : copy_came(room, copy, status);
}

static void read_done(struct net_read *read, int status)
{
    struct copy *copy = read->arg;
    struct task_room *room = copy->room;
    base_spin_lock(&room->present->lock);
    struct present_news *news = read_ended(room, copy, status);
    base_spin_unlock(&room->present->lock);
    atomic_fetch_sub(&room->present->pending, 1);
    present_announce(room, news);
}

/* Under the lock. Which copy is to be read now; NULL: none. */
static struct copy *lease_take(struct task_room *room, const struct leased *leased, int source,
                               struct present_news **news)
{
    struct copy *copy = copy_find(room->present, &leased->at);
    if (!copy || copy->state != COPY_COMING || leased->at.holder != source || copy->asked == 0 ||
        copy->read.done) {
        base_log(BASE_LOG_WARN, "task", "a lease from rank %d that was not asked for is ignored", source);
        return NULL;
    }
    if (leased->status != RAYMPI_OK) {
        *news = read_ended(room, copy, refused(leased->status));
        return NULL;
    }
    copy->room = room;
    copy->read = (struct net_read){.rank = source,
                                   .offset = leased->offset,
                                   .to = copy->to,
                                   .length = copy->extent,
                                   .done = read_done,
                                   .arg = copy};
    return copy;
}

void copy_on_leased(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct present_news *news = NULL;
    struct leased leased;
    if (message->length != sizeof leased || net_reads(room->net) == NET_READ_NONE)
        return;
    memcpy(&leased, message->data, sizeof leased);
    base_spin_lock(&room->present->lock);
    struct copy *copy = lease_take(room, &leased, message->source, &news);
    base_spin_unlock(&room->present->lock);
    present_announce(room, news);
    if (!copy)
        return;
    atomic_fetch_add(&room->present->pending, 1); /* until it is done, which no message says */
    net_read(room->net, &copy->read);
    present_mind(room);
}

/* Its holder frees it. */
void copy_on_stale(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct stored at = {.holder = message->source};
    if (message->length != sizeof at.place)
        return;
    memcpy(&at.place, message->data, sizeof at.place);
    base_spin_lock(&room->present->lock);
    struct copy *copy = copy_find(room->present, &at);
    if (copy && is_idle(copy))
        copy_give_up(room, copy);
    else if (copy)
        copy->stale = true;
    base_spin_unlock(&room->present->lock);
}

void task_copies_count(struct task_room *room, struct task_copies *copies)
{
    struct task_present *present = room->present;
    base_spin_lock(&present->lock);
    *copies = present->count;
    base_spin_unlock(&present->lock);
    copies->served = atomic_load_explicit(&present->served, memory_order_relaxed);
}

void copies_close(struct task_room *room)
{
    struct copy *copy, *next;
    HASH_ITER (hh, room->present->copies, copy, next) {
        while (copy->wants) {
            struct present_want *want = copy->wants;
            copy->wants = want->next;
            free(want);
        }
        copy_end(room->present, copy);
    }
}
