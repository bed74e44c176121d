/* How copies of blocks of other hosts come: by messages, in ranges, several at a time, in chunks that fill
 * packets, so that other messages pass in between; or one-sidedly, in steps. From the holder, or from a rank
 * that he has named. See task_copy.h and task_present.h. */
#include "task/task_copy.h"

#define RANGES_MOST  8 /* that holders were asked for and have not come, of all copies */
#define COPY_TRIES   3 /* until one that comes corrupt each time is given up */
#define RANGES_OTHER 4 /* that another rank than the holder was asked for, of one copy */

/* ---- asking */

static bool is_one_sided(const struct task_room *room, const struct copy *copy)
{
    return net_reads(room->net) != NET_READ_NONE && !copy->closed;
}

/* One-sidedly all of it, once it is known where it lies; else a range. */
static void copy_ask(struct task_room *room, struct copy *copy)
{
    bool one_sided = is_one_sided(room, copy);
    uint64_t left = copy->extent - copy->asked, length = left < RANGE_BYTES ? left : RANGE_BYTES;
    struct pull pull = {copy->at, copy->asked, one_sided ? 0 : length, copy->source_serial};
    present_tell(room, copy->source, TASK_MESSAGE_PULL, &pull, sizeof pull, NULL, 0);
    copy->asked += one_sided ? left : length;
}

static bool is_from_holder(const struct copy *copy)
{
    return copy->source == copy->at.holder;
}

void copies_ask(struct task_room *room)
{
    struct task_present *present = room->present;
    while (present->asking && present->ranges < RANGES_MOST) {
        struct copy *copy = present->asking;
        copy_ask(room, copy);
        present->ranges++;
        DL_DELETE(present->asking, copy);
        if (copy->asked < copy->extent)
            DL_APPEND(present->asking, copy);
    }
}

/* Others are not counted with the holders: they may have to wait for what they do not have themselves so far,
 * and what waits for them must not keep holders from being asked. */
static void copy_ask_other(struct task_room *room, struct copy *copy)
{
    while (copy->asked < copy->extent && copy->asked - copy->got < RANGES_OTHER * RANGE_BYTES)
        copy_ask(room, copy);
}

/* The holder is asked for no more of it, and what he was asked for does not come. */
static void copy_ask_end(struct task_room *room, struct copy *copy)
{
    uint64_t ranges = (copy->asked - copy->got + RANGE_BYTES - 1) / RANGE_BYTES;
    room->present->ranges -= is_one_sided(room, copy) ? 1 : (int)ranges;
    if (copy->asked < copy->extent)
        DL_DELETE(room->present->asking, copy);
    copies_ask(room);
}

/* For the rest of it; what has come of whole ranges stays. */
static void copy_ask_on(struct task_room *room, struct copy *copy)
{
    if (!is_one_sided(room, copy))
        copy->got -= copy->got % RANGE_BYTES;
    copy->asked = copy->got;
    if (!is_from_holder(copy)) {
        copy_ask_other(room, copy);
        return;
    }
    DL_APPEND(room->present->asking, copy);
    copies_ask(room);
}

static void copy_ask_holder(struct task_room *room, struct copy *copy)
{
    copy->source = copy->at.holder;
    copy->source_serial = 0;
    copy->closed = false;
    copy_ask_on(room, copy);
}

/* Its source does not let it be read one-sidedly. */
static void copy_ask_ranges(struct task_room *room, struct copy *copy)
{
    if (is_from_holder(copy))
        copy_ask_end(room, copy);
    copy->closed = true;
    copy_ask_on(room, copy);
}

/* ---- the end */

static void copy_let_go_of(struct task_room *room, const struct copy *copy)
{
    present_tell(room, copy->source, TASK_MESSAGE_READ, &copy->at, sizeof copy->at, NULL, 0);
}

static struct present_news *copy_came(struct task_room *room, struct copy *copy)
{
    struct task_present *present = room->present;
    copy_let_go_of(room, copy);
    net_range_close(room->net, &copy->into);
    copy_pin_lent(room, copy);
    store_let_go(room->store, copy->local);
    copy->state = COPY_HERE;
    present->count.bytes += copy->extent;
    present->count.fetched += copy->extent;
    present->count.relayed += is_from_holder(copy) ? 0 : copy->extent;
    present_trace(TRACE_STORE_FETCH, (uint64_t)copy->source, copy->extent);
    struct present_news *news = copy_news(copy, RAYMPI_OK);
    if (copy_is_idle(copy)) {
        DL_APPEND(present->idle, copy);
        if (copy->stale)
            copy_give_up(room, copy);
    }
    return news;
}

/* Nobody finds it any more; those who read it are told when they ask for more. Bytes of a rank that has died
 * may still come: then its memory is not used again while this process lives. */
static void copy_lose(struct task_room *room, struct copy *copy, int status)
{
    HASH_DEL(room->present->copies, copy);
    copy->state = COPY_LOST;
    copy->dirty = status == RAYMPI_ERR_NODE_DIED;
    if (!copy->dirty)
        net_range_close(room->net, &copy->into);
    if (copy->users == 0)
        copy_drop(room, copy);
}

static struct present_news *copy_failed(struct task_room *room, struct copy *copy, int status)
{
    struct present_news *news = copy_news(copy, status);
    copy_let_go_of(room, copy);
    copy_lose(room, copy, status);
    return news;
}

/* From the holder, and into other memory. */
static void copy_anew(struct task_room *room, struct copy *copy, int status)
{
    struct copy *again;
    struct stored at = copy->at;
    struct present_want *wants = copy->wants;
    uint64_t extent = copy->extent;
    copy_let_go_of(room, copy);
    copy_lose(room, copy, status);
    again = copy_new(room->present, &at, COPY_KNOWN);
    again->extent = extent;
    again->wants = wants;
    copy_plan(room, again);
    again->source_serial = 0;
}

/* ---- is it what was sealed? */

/* Without the lock. */
static void corrupt_log(const struct task_room *room, const struct copy *copy, uint64_t found)
{
    const struct store_place *place = &copy->at.place;
    base_log(BASE_LOG_WARN, "task",
             "block %u.%u.%llu of rank %d, %llu bytes, came corrupt from rank %d on host %s by %s: checksum "
             "%016llx instead "
             "of %016llx (try %d of %d)",
             place->rank, place->index, (unsigned long long)place->generation, copy->at.holder,
             (unsigned long long)copy->extent, copy->source, net_host_name(room->net, copy->source),
             net_way_name(net_reads(room->net)), (unsigned long long)found,
             (unsigned long long)copy->checksum, copy->corrupt, COPY_TRIES);
}

static int corrupt(const struct task_room *room, const struct copy *copy)
{
    return base_fail(RAYMPI_ERR_LOST,
                     "%d times its %llu bytes came corrupt, the last time from host %s by %s: memory (there, "
                     "here), the network, "
                     "or a write after its seal; try another RAYMPI_FETCH",
                     COPY_TRIES, (unsigned long long)copy->extent, net_host_name(room->net, copy->source),
                     net_way_name(net_reads(room->net)));
}

static void copy_refetch(struct task_room *room, struct copy *copy)
{
    present_tell(room, copy->source, TASK_MESSAGE_CORRUPT, &copy->at, sizeof copy->at, NULL, 0);
    copy->state = COPY_COMING;
    copy->got = 0;
    copy->read = (struct net_read){.done = NULL};
    copy_ask_holder(room, copy);
}

/* All bytes are here. Nobody else ends or shows a copy that is being checked: the lock is let go of
 * meanwhile. */
static struct present_news *copy_check(struct task_room *room, struct copy *copy)
{
    struct task_present *present = room->present;
    uint64_t found;
    copy->state = COPY_CHECKED;
    base_spin_unlock(&present->lock);
    bool right = store_seal_copy(room->store, copy->local, copy->checksum, &found);
    copy->corrupt += !right;
    if (!right)
        corrupt_log(room, copy, found);
    base_spin_lock(&present->lock);
    if (right)
        return copy_came(room, copy);
    if (copy->corrupt == COPY_TRIES)
        return copy_failed(room, copy, corrupt(room, copy));
    copy_refetch(room, copy);
    return NULL;
}

static int refused(int status)
{
    if (status == RAYMPI_ERR_STORE_FULL)
        return base_fail(status, "it is on disk, and the store of its host has no room for it");
    return base_fail(RAYMPI_ERR_LOST, "it is not there any more");
}

/* None of the ranges that were asked for comes. */
static struct present_news *copy_refused(struct task_room *room, struct copy *copy, int status)
{
    if (!is_from_holder(copy)) {
        copy_ask_holder(room, copy);
        return NULL;
    }
    copy_ask_end(room, copy);
    return copy_failed(room, copy, refused(status));
}

/* ---- what comes by messages */

static const char *chunk_wrong(const struct copy *copy, int source, const struct chunk *chunk,
                               uint64_t length)
{
    if (!copy || copy->state != COPY_COMING || copy->source != source)
        return "of a value that is not fetched from there";
    if (length > 0 && (chunk->offset != copy->got || length > copy->asked - copy->got ||
                       length > RANGE_BYTES - copy->got % RANGE_BYTES))
        return "that was not asked for";
    return NULL;
}

static struct present_news *chunk_take(struct task_room *room, struct copy *copy, const struct chunk *chunk,
                                       const void *data, uint64_t length)
{
    if (length == 0)
        return copy_refused(room, copy, (int)chunk->status);
    memcpy(copy->to + copy->got, data, length);
    copy->got += length;
    copy->checksum = chunk->checksum;
    if (copy->got % RANGE_BYTES == 0 || copy->got == copy->extent) {
        if (is_from_holder(copy)) {
            room->present->ranges--;
            copies_ask(room);
        } else {
            copy_ask_other(room, copy);
        }
    }
    return copy->got == copy->extent ? copy_check(room, copy) : NULL;
}

void copy_on_chunk(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct present_news *news = NULL;
    struct chunk chunk = {.at = {{0}, 0, 0}};
    uint64_t length = message->length - sizeof chunk;
    const char *wrong = "that is too short";
    bool lent = false;
    base_spin_lock(&room->present->lock);
    if (message->length >= sizeof chunk) {
        memcpy(&chunk, message->data, sizeof chunk);
        struct copy *copy = copy_find(room->present, &chunk.at);
        wrong = chunk_wrong(copy, message->source, &chunk, length);
        lent = !wrong && copy->users > 0;
        if (!wrong)
            news = chunk_take(room, copy, &chunk, (const char *)message->data + sizeof chunk, length);
    }
    base_spin_unlock(&room->present->lock);
    present_announce(room, news);
    if (lent)
        leases_look(room, &chunk.at, RAYMPI_OK);
    if (wrong && length > 0) /* several ranges of one that can not be read are each refused */
        base_log(BASE_LOG_WARN, "task", "a piece of a value from rank %d dropped: one %s", message->source,
                 wrong);
}

/* ---- one-sided reads: as one range */

static void read_done(struct net_read *read, int status);

/* A step of what may be read. To be begun without the lock. */
static struct copy *read_next(struct task_room *room, struct copy *copy)
{
    uint64_t left = copy->ready - copy->got;
    copy->room = room;
    copy->read = (struct net_read){.rank = copy->source,
                                   .offset = copy->offset + copy->got,
                                   .to = copy->to + copy->got,
                                   .length = left < STEP_BYTES ? left : STEP_BYTES,
                                   .pass = copy->pass,
                                   .done = read_done,
                                   .arg = copy};
    return copy;
}

/* False: what is read one-sidedly can not come here. */
static bool into_open(struct task_room *room, struct copy *copy)
{
    void *memory;
    uint64_t length;
    if (copy->into.region)
        return true;
    store_writable_around(room->store, copy->local, &memory, &length);
    return net_range_open_to(room->net, memory, length, &copy->into) == RAYMPI_OK;
}

static void read_refused(struct task_room *room, struct copy *copy)
{
    base_spin_lock(&room->present->lock);
    copy->read.done = NULL;
    copy_ask_ranges(room, copy);
    base_spin_unlock(&room->present->lock);
}

/* It is under way until it is done, which no message says. */
static void read_begin(struct task_room *room, struct copy *copy)
{
    if (!copy)
        return;
    if (!into_open(room, copy)) {
        read_refused(room, copy);
        return;
    }
    copy->read.into = copy->into;
    atomic_fetch_add(&room->present->pending, 1);
    net_read(room->net, &copy->read);
    present_mind(room);
}

static struct present_news *read_failed(struct task_room *room, struct copy *copy, int status)
{
    if (!is_from_holder(copy)) {
        copy_anew(room, copy, status);
        return NULL;
    }
    copy_ask_end(room, copy);
    return copy_failed(room, copy, status);
}

/* Returns the copy that is to be read on. */
static struct copy *read_advance(struct task_room *room, struct copy *copy, struct present_news **news)
{
    copy->got += copy->read.length;
    copy->read.done = NULL;
    if (copy->got == copy->extent) {
        if (is_from_holder(copy))
            copy_ask_end(room, copy);
        *news = copy_check(room, copy);
        return NULL;
    }
    if (copy->got < copy->ready)
        return read_next(room, copy);
    copy->asked = copy->got;
    copy_ask(room, copy);
    return NULL;
}

static void read_done(struct net_read *read, int status)
{
    struct copy *copy = read->arg, *next = NULL;
    struct task_room *room = copy->room;
    struct present_news *news = NULL;
    base_spin_lock(&room->present->lock);
    struct stored at = copy->at;
    bool lent = copy->users > 0;
    if (status == RAYMPI_OK)
        next = read_advance(room, copy, &news);
    else
        news = read_failed(room, copy, status);
    base_spin_unlock(&room->present->lock);
    read_begin(room, next);
    atomic_fetch_sub(&room->present->pending, 1);
    present_announce(room, news);
    if (lent)
        leases_look(room, &at, RAYMPI_OK);
    present_mind(room);
}

/* Under the lock. Which copy is to be read now; NULL: none. */
static struct copy *lease_take(struct task_room *room, const struct leased *leased, int source,
                               struct present_news **news)
{
    struct copy *copy = copy_find(room->present, &leased->at);
    if (!copy || copy->state != COPY_COMING || copy->source != source || copy->asked == 0 ||
        copy->read.done || copy->closed) {
        base_log(BASE_LOG_WARN, "task", "a lease from rank %d that was not asked for is ignored", source);
        return NULL;
    }
    if (leased->status != RAYMPI_OK || leased->ready <= copy->got || leased->ready > copy->extent) {
        *news = copy_refused(room, copy, leased->status);
        return NULL;
    }
    if (leased->closed) {
        copy_ask_ranges(room, copy);
        return NULL;
    }
    copy->offset = leased->offset;
    copy->pass = leased->pass;
    copy->ready = leased->ready;
    copy->checksum = leased->checksum;
    return read_next(room, copy);
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
    read_begin(room, copy);
}

/* ---- what its holder says */

static bool may_be_elsewhere(const struct task_room *room, const struct copy *copy, int source,
                             const struct elsewhere *elsewhere)
{
    return copy && copy->state == COPY_COMING && copy->at.holder == source && is_from_holder(copy) &&
           copy->source_serial != 0 && copy->asked > 0 && copy->got == 0 && !copy->read.done &&
           (unsigned)elsewhere->rank < (unsigned)room->config.size && elsewhere->rank != source &&
           net_local(room->net, elsewhere->rank) < 0 && elsewhere->serial != 0;
}

void copy_on_elsewhere(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct elsewhere elsewhere;
    if (message->length != sizeof elsewhere)
        return;
    memcpy(&elsewhere, message->data, sizeof elsewhere);
    base_spin_lock(&room->present->lock);
    struct copy *copy = copy_find(room->present, &elsewhere.at);
    bool right = may_be_elsewhere(room, copy, message->source, &elsewhere);
    if (right) {
        copy_ask_end(room, copy);
        copy->source = elsewhere.rank;
        copy->source_serial = elsewhere.serial;
        copy->closed = false;
        copy->asked = 0;
        copy_ask_other(room, copy);
    }
    base_spin_unlock(&room->present->lock);
    if (!right)
        base_log(BASE_LOG_WARN, "task", "rank %d names another that has a value, unasked: ignored",
                 message->source);
}
