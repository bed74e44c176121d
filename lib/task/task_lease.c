/* Blocks of this rank's that other hosts read. The first range that a reader asks for pins the block for it,
 * which is its lease: the block stays as it is until the reader says that it has all. See task_present.h. */
#include "task/task_present.h"

#include <stdlib.h>

struct lease_name {
    struct store_place place;
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
    const char *data; /* NULL: it is on disk */
    bool served;      /* it is read one-sidedly */
    uint64_t length;
    struct wish *wishes;
    uint64_t number; /* another lease of the same name has another one */
    bool serving;    /* some thread serves the wishes that it has taken */
};

/** Ranks that have read a block: they may have copies. */
struct told {
    UT_hash_handle hh;
    struct store_place place;
    struct present_want *ranks;
};

/* ---- who has copies */

/* Under the lock. */
static void told_add(struct task_present *present, struct store_place place, int rank)
{
    struct told *told;
    struct present_want *reader;
    int tries = 0;
    HASH_FIND(hh, present->told, &place, sizeof place, told);
    if (!told) {
        told = base_alloc_sure(sizeof *told, "task", "the readers of a block");
        *told = (struct told){.place = place};
        for (;;) {
            HASH_ADD(hh, present->told, place, sizeof told->place, told);
            if (told->hh.tbl)
                break;
            base_await_memory(&tries, "task", "the readers of a block");
        }
    }
    LL_FOREACH (told->ranks, reader)
        if (reader->rank == rank)
            return;
    present_want(&told->ranks, rank);
}

/* First the block: who is told a lease later than that is refused, and so no reader is missed. */
void stored_free(struct task_room *room, struct store_place place)
{
    struct told *told = NULL;
    store_free(room->store, place);
    base_spin_lock(&room->present->lock);
    HASH_FIND(hh, room->present->told, &place, sizeof place, told);
    if (told)
        HASH_DEL(room->present->told, told);
    base_spin_unlock(&room->present->lock);
    while (told && told->ranks) {
        struct present_want *reader = told->ranks;
        told->ranks = reader->next;
        present_tell(room, reader->rank, TASK_MESSAGE_STALE, &place, sizeof place, NULL, 0);
        free(reader);
    }
    free(told);
}

void task_on_free(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct store_place place;
    if (message->length != sizeof place)
        return;
    memcpy(&place, message->data, sizeof place);
    if ((int)place.rank == net_local(room->net, room->config.rank))
        stored_free(room, place);
}

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
    int tries = 0;
    *lease = (struct lease){.name = *name, .number = ++present->lease_number};
    for (;;) {
        HASH_ADD(hh, present->leases, name, sizeof lease->name, lease);
        if (lease->hh.tbl)
            return lease;
        base_await_memory(&tries, "task", "a reader on another host");
    }
}

static void lease_end(struct task_room *room, struct lease *lease)
{
    if (lease->data)
        store_unpin(room->store, lease->name.place);
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

/* OK, STORE_ON_DISK, LOST. A block that is being freed stays for those who have a lease, and gets no other.
 */
static int lease_pin(struct task_room *room, struct lease *lease)
{
    const void *data;
    struct store_look look;
    if (lease->data)
        return RAYMPI_OK;
    int status = store_pin(room->store, lease->name.place, &data, &lease->length);
    if (status != RAYMPI_OK)
        return status;
    store_look(room->store, lease->name.place, &look);
    if (look.freed) {
        store_unpin(room->store, lease->name.place);
        return base_fail(RAYMPI_ERR_LOST, "the block is being freed");
    }
    lease->data = data;
    told_add(room->present, lease->name.place, lease->name.reader);
    return RAYMPI_OK;
}

/* ---- serving */

/* Who reads one-sidedly is told where it lies. */
static void tell_lease(struct task_room *room, int reader, const struct stored *at, int status)
{
    struct leased leased = {.at = *at, .status = status};
    if (status == RAYMPI_OK) {
        leased.offset = store_offset(room->store, at->place);
        leased.checksum = store_checksum_of(room->store, at->place);
    }
    present_tell(room, reader, TASK_MESSAGE_LEASED, &leased, sizeof leased, NULL, 0);
}

/* The block stays: the reader's word that ends the lease comes after all that it has asked for. */
static void serve(struct task_room *room, int reader, const struct pull *pull, int status, const char *data,
                  uint64_t length)
{
    struct chunk chunk = {.at = pull->at, .offset = pull->offset};
    if (pull->length == 0) {
        tell_lease(room, reader, &pull->at, status);
        return;
    }
    if (status == RAYMPI_OK &&
        (pull->length > RANGE_BYTES || pull->offset > length || pull->length > length - pull->offset))
        status = RAYMPI_ERR_LOST; /* not of this block */
    if (status != RAYMPI_OK) {
        chunk.status = status;
        present_tell(room, reader, TASK_MESSAGE_CHUNK, &chunk, sizeof chunk, NULL, 0);
        return;
    }
    chunk.checksum = store_checksum_of(room->store, pull->at.place);
    for (uint64_t end = pull->offset + pull->length; chunk.offset < end;) {
        uint64_t left = end - chunk.offset, bytes = left < CHUNK_BYTES ? left : CHUNK_BYTES;
        present_tell(room, reader, TASK_MESSAGE_CHUNK, &chunk, sizeof chunk, data + chunk.offset, bytes);
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

/* What a thread has taken over of a lease: nobody else serves it meanwhile. */
struct serving {
    struct lease_name name;
    uint64_t number;
    struct wish *wishes;
    int status;
    const char *data;
    uint64_t length;
};

/* Takes all wishes of a lease. False: there are none, another thread serves it, or the block is on disk.
 * `failed`: not OK: why the block does not come. Under the lock. */
static bool serving_begin(struct task_room *room, struct lease *lease, int failed, struct serving *serving)
{
    if (!lease || !lease->wishes || lease->serving)
        return false;
    int status = failed == RAYMPI_OK ? lease_pin(room, lease) : failed;
    if (status == STORE_ON_DISK) {
        present_restore(room, lease->name.place, -1);
        return false;
    }
    *serving =
        (struct serving){lease->name, lease->number, lease->wishes, status, lease->data, lease->length};
    lease->wishes = NULL;
    lease->serving = true;
    return true;
}

/* The reader may have read all by now, and the lease be over. Under the lock. */
static struct lease *serving_end(struct task_room *room, const struct serving *serving)
{
    struct lease *lease = lease_find(room->present, &serving->name);
    if (!lease || lease->number != serving->number)
        return NULL;
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
            serve(room, serving.name.reader, &wish->pull, serving.status, serving.data, serving.length);
            free(wish);
        }
        base_spin_lock(&present->lock);
        lease = serving_end(room, &serving);
    }
    base_spin_unlock(&present->lock);
}

static void pulled(struct task_room *room, int reader, const struct pull *pull)
{
    struct task_present *present = room->present;
    struct lease_name name = {pull->at.place, reader, 0};
    base_spin_lock(&present->lock);
    struct lease *lease = lease_find(present, &name);
    if (!lease)
        lease = lease_new(present, &name);
    if (pull->length == 0 && !lease->served) {
        lease->served = true;
        net_read_serve(room->net, 1);
    }
    wish_add(lease, pull);
    base_spin_unlock(&present->lock);
    lease_serve(room, &name, RAYMPI_OK);
    task_present_look(room);
    present_mind(room);
}

void lease_on_pull(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct pull pull;
    if (message->length == sizeof pull)
        memcpy(&pull, message->data, sizeof pull);
    if (message->length != sizeof pull || pull.at.holder != room->config.rank || pull.at.nothing ||
        (int)pull.at.place.rank != net_local(room->net, room->config.rank)) {
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
    struct lease_name name = {at.place, message->source, 0};
    base_spin_lock(&room->present->lock);
    struct lease *lease = lease_find(room->present, &name);
    if (lease)
        lease_end(room, lease);
    base_spin_unlock(&room->present->lock);
}

/* Its lease is over, so that memory that is wrong can go if the block is on disk, too. */
void lease_on_corrupt(void *arg, const struct net_message *message)
{
    const struct task_room *room = arg;
    struct stored at;
    if (message->length != sizeof at)
        return;
    memcpy(&at, message->data, sizeof at);
    lease_on_read(arg, message);
    store_distrust(room->store, at.place);
}

/* The next after `number` of the leases that wait for a block. */
static bool waiting_next(struct task_room *room, struct store_place place, uint64_t *number,
                         struct lease_name *name)
{
    struct lease *lease, *next, *found = NULL;
    base_spin_lock(&room->present->lock);
    HASH_ITER (hh, room->present->leases, lease, next)
        if (lease->wishes && lease->number > *number &&
            memcmp(&lease->name.place, &place, sizeof place) == 0 &&
            (!found || lease->number < found->number))
            found = lease;
    if (found) {
        *number = found->number;
        *name = found->name;
    }
    base_spin_unlock(&room->present->lock);
    return found != NULL;
}

void leases_restored(struct task_room *room, struct store_place place, int status)
{
    struct lease_name name;
    uint64_t number = 0;
    while (waiting_next(room, place, &number, &name))
        lease_serve(room, &name, status);
}

void leases_close(struct task_room *room)
{
    struct lease *lease, *next;
    struct told *told, *next_told;
    HASH_ITER (hh, room->present->leases, lease, next)
        lease_end(room, lease);
    HASH_ITER (hh, room->present->told, told, next_told) {
        HASH_DEL(room->present->told, told);
        while (told->ranks) {
            struct present_want *reader = told->ranks;
            told->ranks = reader->next;
            free(reader);
        }
        free(told);
    }
}
