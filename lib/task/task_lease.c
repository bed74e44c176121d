/* Blocks of this rank's that other hosts read, and copies that it keeps. The first range that a reader asks
 * for pins the block for it, which is its lease: the block stays as it is until the reader says that it has
 * all. Of a copy that is still coming what has come is served, the rest when it comes. See task_present.h. */
#include "task/task_present.h"

#include <stdlib.h>

struct lease_name {
    struct stored at;
    int32_t reader;
    uint32_t nothing;
};

/** A range that was asked for and is not served yet: in the order in which they came. */
struct wish {
    struct wish *next;
    struct pull pull;
};

struct lease {
    UT_hash_handle hh;
    struct lease_name name;
    struct copy *copy;      /* NULL: the block is this rank's own */
    const char *data;       /* NULL: it is on disk */
    bool served;            /* it is read one-sidedly */
    struct net_range range; /* that is open for it; while a thread serves it, there */
    uint64_t length, ready;
    struct wish *wishes;
    uint64_t number; /* another lease of the same name has another one */
    bool serving;    /* some thread serves the wishes that it has taken */
    uint64_t serial; /* of the reader's copy, or of the one that it reads, as in struct pull */
};

/* ---- leases; under the lock */

static struct lease *lease_find(const struct task_present *present, const struct lease_name *name)
{
    struct lease *lease;
    HASH_FIND(hh, present->leases, name, sizeof *name, lease);
    return lease;
}

static struct lease *lease_new(struct task_present *present, const struct lease_name *name)
{
    struct lease *lease = base_alloc_sure(sizeof *lease, "task", "a reader on another host");
    *lease = (struct lease){.name = *name, .number = ++present->lease_number};
    HASH_ADD_SURE(present->leases, name, lease, "a reader on another host");
    return lease;
}

static void lease_end(struct task_room *room, struct lease *lease)
{
    if (lease->copy)
        copy_return(room, lease->copy);
    else if (lease->data)
        store_unpin(room->store, lease->name.at.place);
    net_range_close(room->net, &lease->range);
    if (lease->served)
        net_read_serve(room->net, -1);
    while (lease->wishes) {
        struct wish *wish = lease->wishes;
        lease->wishes = wish->next;
        free(wish);
    }
    HASH_DEL(room->present->leases, lease);
    free(lease);
}

static bool is_own(const struct task_room *room, const struct stored *at)
{
    return at->holder == room->config.rank;
}

/* OK, STORE_ON_DISK, LOST. A block that is being freed stays for those who have a lease, and gets no other.
 */
static int lease_pin_own(struct task_room *room, struct lease *lease)
{
    const void *data;
    struct store_look look;
    struct store_place place = lease->name.at.place;
    int status = store_pin(room->store, place, &data, &lease->length);
    if (status != RAYMPI_OK)
        return status;
    store_look(room->store, place, &look);
    if (look.freed) {
        store_unpin(room->store, place);
        return base_fail(RAYMPI_ERR_LOST, "the block is being freed");
    }
    lease->data = data;
    lease->ready = lease->length;
    told_add(room->present, place, lease->name.reader, lease->serial);
    return RAYMPI_OK;
}

/* Those who wait for more of it have a lease that began later than this copy: so nobody waits in a circle. */
static int lease_pin_copy(struct task_room *room, struct lease *lease)
{
    if (!lease->copy)
        lease->copy = copy_lend(room, &lease->name.at, lease->serial);
    lease->data = copy_lent(lease->copy, &lease->length, &lease->ready);
    return lease->data ? RAYMPI_OK : base_fail(RAYMPI_ERR_LOST, "its copy is not here any more");
}

static int lease_pin(struct task_room *room, struct lease *lease)
{
    if (!is_own(room, &lease->name.at))
        return lease_pin_copy(room, lease);
    return lease->data ? RAYMPI_OK : lease_pin_own(room, lease);
}

/* ---- serving */

/* What a thread has taken over of a lease: nobody else serves it meanwhile. */
struct serving {
    struct lease_name name;
    uint64_t number;
    struct wish *wishes;
    int status;
    const char *data;
    uint64_t length, ready, offset, checksum;
    struct store_place place; /* of the block, or of the copy */
    struct net_range range;
};

/* False: it can not be read one-sidedly. */
static bool range_open(struct task_room *room, struct serving *serving)
{
    uint64_t offset, length;
    if (serving->status != RAYMPI_OK || serving->range.region)
        return true;
    store_extents_of(room->store, serving->place, &offset, &length);
    return net_range_open(room->net, offset, length, &serving->range) == RAYMPI_OK;
}

/* Who reads one-sidedly is told where it lies, how much of it may be read, and what to show for it. */
static void tell_lease(struct task_room *room, struct serving *serving)
{
    bool open = range_open(room, serving);
    struct leased leased = {.at = serving->name.at,
                            .offset = serving->offset,
                            .ready = serving->ready,
                            .checksum = serving->checksum,
                            .pass = serving->range.pass,
                            .status = serving->status,
                            .closed = !open};
    present_tell(room, serving->name.reader, TASK_MESSAGE_LEASED, &leased, sizeof leased, NULL, 0);
}

static bool is_within(const struct pull *pull, uint64_t length)
{
    return pull->length <= RANGE_BYTES && pull->offset <= length && pull->length <= length - pull->offset;
}

/* The block stays: the reader's word that ends the lease comes after all that it has asked for. */
static void serve(struct task_room *room, struct serving *serving, const struct pull *pull)
{
    struct chunk chunk = {.at = pull->at, .offset = pull->offset, .checksum = serving->checksum};
    int reader = serving->name.reader, status = serving->status;
    if (pull->length == 0) {
        tell_lease(room, serving);
        return;
    }
    if (status == RAYMPI_OK && !is_within(pull, serving->length))
        status = RAYMPI_ERR_LOST; /* not of this block */
    if (status != RAYMPI_OK) {
        chunk.status = status;
        present_tell(room, reader, TASK_MESSAGE_CHUNK, &chunk, sizeof chunk, NULL, 0);
        return;
    }
    for (uint64_t end = pull->offset + pull->length; chunk.offset < end;) {
        uint64_t left = end - chunk.offset, bytes = left < CHUNK_BYTES ? left : CHUNK_BYTES;
        present_tell(room, reader, TASK_MESSAGE_CHUNK, &chunk, sizeof chunk, serving->data + chunk.offset,
                     bytes);
        chunk.offset += bytes;
        atomic_fetch_add_explicit(&room->present->served, bytes, memory_order_relaxed);
    }
}

static void wish_add(struct lease *lease, const struct pull *pull)
{
    struct wish *wish = base_alloc_sure(sizeof *wish, "task", "a reader on another host");
    *wish = (struct wish){.pull = *pull};
    LL_APPEND(lease->wishes, wish);
}

/* Has all come that is asked for? Of what is read one-sidedly a good step has to. */
static bool is_ready(const struct lease *lease, const struct pull *pull)
{
    uint64_t length = pull->length ? pull->length : STEP_BYTES;
    if (lease->ready == lease->length || pull->offset > lease->length)
        return true;
    return lease->ready >= pull->offset && length <= lease->ready - pull->offset;
}

/* The first of them, in their order. */
static struct wish *wishes_take(struct lease *lease, int status)
{
    struct wish **end = &lease->wishes, *taken;
    while (*end && (status != RAYMPI_OK || is_ready(lease, &(*end)->pull)))
        end = &(*end)->next;
    struct wish *rest = *end;
    *end = NULL;
    taken = lease->wishes;
    lease->wishes = rest;
    return taken;
}

/* Takes wishes of a lease. False: there are none that can be served, another thread serves it, or the block
 * is on disk. `failed`: not OK: why the block does not come. Under the lock. */
static bool serving_begin(struct task_room *room, struct lease *lease, int failed, struct serving *serving)
{
    if (!lease || !lease->wishes || lease->serving)
        return false;
    int status = failed == RAYMPI_OK ? lease_pin(room, lease) : failed;
    if (status == STORE_ON_DISK) {
        present_restore(room, lease->name.at.place, -1);
        return false;
    }
    *serving = (struct serving){.name = lease->name,
                                .number = lease->number,
                                .wishes = wishes_take(lease, status),
                                .status = status,
                                .data = lease->data,
                                .length = lease->length,
                                .ready = lease->ready};
    if (!serving->wishes)
        return false;
    if (status == RAYMPI_OK) {
        serving->place = lease->copy ? copy_place(lease->copy) : lease->name.at.place;
        serving->offset = store_offset(room->store, serving->place);
        serving->checksum =
            lease->copy ? copy_checksum(lease->copy) : store_checksum_of(room->store, serving->place);
    }
    serving->range = lease->range;
    lease->range = (struct net_range){.region = NULL};
    lease->serving = true;
    return true;
}

/* The reader may have read all by now, and the lease be over. Under the lock. */
static struct lease *serving_end(struct task_room *room, struct serving *serving)
{
    struct lease *lease = lease_find(room->present, &serving->name);
    if (!lease || lease->number != serving->number) {
        net_range_close(room->net, &serving->range);
        return NULL;
    }
    lease->range = serving->range;
    lease->serving = false;
    if (serving->status == RAYMPI_OK || lease->wishes)
        return lease;
    lease_end(room, lease);
    return NULL;
}

/* In the order in which they came, whoever has brought the block. */
static void lease_serve(struct task_room *room, const struct lease_name *name, int failed)
{
    struct task_present *present = room->present;
    struct serving serving;
    base_spin_lock(&present->lock);
    struct lease *lease = lease_find(present, name);
    while (serving_begin(room, lease, failed, &serving)) {
        base_spin_unlock(&present->lock);
        while (serving.wishes) {
            struct wish *wish = serving.wishes;
            serving.wishes = wish->next;
            serve(room, &serving, &wish->pull);
            free(wish);
        }
        base_spin_lock(&present->lock);
        lease = serving_end(room, &serving);
    }
    base_spin_unlock(&present->lock);
}

/* Leases of a block that lies in memory for its readers. */
static int lent_times(const struct task_present *present, const struct stored *at)
{
    struct lease *lease, *next;
    int count = 0;
    HASH_ITER (hh, present->leases, lease, next)
        count += lease->data && lease->length >= TREE_BYTES && memcmp(&lease->name.at, at, sizeof *at) == 0;
    return count;
}

/* A long block that has readers enough is read from one of them. Under the lock. */
static bool is_sent_on(struct task_room *room, int reader, const struct pull *pull)
{
    struct elsewhere elsewhere = {.at = pull->at};
    struct store_look look;
    if (!is_own(room, &pull->at) || pull->serial == 0 || lent_times(room->present, &pull->at) < TREE_READERS)
        return false;
    store_look(room->store, pull->at.place, &look);
    if (look.freed || !told_elsewhere(room->present, reader, pull, &elsewhere))
        return false;
    present_tell(room, reader, TASK_MESSAGE_ELSEWHERE, &elsewhere, sizeof elsewhere, NULL, 0);
    return true;
}

/* NULL: this wish is not for this rank, or not any more. Under the lock. */
static struct lease *lease_of(struct task_room *room, const struct lease_name *name, const struct pull *pull)
{
    struct lease *lease = lease_find(room->present, name);
    if (lease || (pull->serial != 0 && pull->offset > 0) || is_sent_on(room, name->reader, pull))
        return lease; /* what was asked for before the answer came that it is to be had elsewhere, or not */
    lease = lease_new(room->present, name);
    lease->serial = pull->serial;
    return lease;
}

static void pulled(struct task_room *room, int reader, const struct pull *pull)
{
    struct task_present *present = room->present;
    struct lease_name name = {pull->at, reader, 0};
    base_spin_lock(&present->lock);
    struct lease *lease = lease_of(room, &name, pull);
    if (lease) {
        if (pull->length == 0 && !lease->served) {
            lease->served = true;
            net_read_serve(room->net, 1);
        }
        wish_add(lease, pull);
    }
    base_spin_unlock(&present->lock);
    lease_serve(room, &name, RAYMPI_OK);
    task_present_look(room);
    present_mind(room);
}

static bool may_be_lent(const struct task_room *room, const struct stored *at)
{
    if (at->nothing || (unsigned)at->holder >= (unsigned)room->config.size)
        return false;
    return is_own(room, at) ? (int)at->place.rank == net_local(room->net, room->config.rank)
                            : !stored_near(room, at);
}

void lease_on_pull(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct pull pull;
    if (message->length == sizeof pull)
        memcpy(&pull, message->data, sizeof pull);
    if (message->length != sizeof pull || !may_be_lent(room, &pull.at)) {
        base_log(BASE_LOG_WARN, "task", "malformed wish for a value from rank %d dropped", message->source);
        return;
    }
    pulled(room, message->source, &pull);
}

void lease_on_read(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct stored at;
    if (message->length != sizeof at)
        return;
    memcpy(&at, message->data, sizeof at);
    struct lease_name name = {at, message->source, 0};
    base_spin_lock(&room->present->lock);
    struct lease *lease = lease_find(room->present, &name);
    if (lease)
        lease_end(room, lease);
    base_spin_unlock(&room->present->lock);
}

/* Its lease is over, so that memory that is wrong can go if the block is on disk, too. */
void lease_on_corrupt(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct stored at;
    if (message->length != sizeof at)
        return;
    memcpy(&at, message->data, sizeof at);
    lease_on_read(arg, message);
    if (is_own(room, &at))
        store_distrust(room->store, at.place);
    else
        copy_stale(room, &at);
}

/* The next after `number` of the leases that wait for a block. */
static bool waiting_next(struct task_room *room, const struct stored *at, uint64_t *number,
                         struct lease_name *name)
{
    struct lease *lease, *next, *found = NULL;
    base_spin_lock(&room->present->lock);
    HASH_ITER (hh, room->present->leases, lease, next)
        if (lease->wishes && lease->number > *number && memcmp(&lease->name.at, at, sizeof *at) == 0 &&
            (!found || lease->number < found->number))
            found = lease;
    if (found) {
        *number = found->number;
        *name = found->name;
    }
    base_spin_unlock(&room->present->lock);
    return found != NULL;
}

void leases_look(struct task_room *room, const struct stored *at, int status)
{
    struct lease_name name;
    uint64_t number = 0;
    while (waiting_next(room, at, &number, &name))
        lease_serve(room, &name, status);
}

void leases_close(struct task_room *room)
{
    struct lease *lease, *next;
    HASH_ITER (hh, room->present->leases, lease, next)
        lease_end(room, lease);
}
