/* Who has read a block of this rank's, and may have a copy: all of them are told when the block is freed, and
 * of a long block later readers are sent to earlier ones. See task_present.h. */
#include "task/task_present.h"

#include <stdlib.h>

struct told_reader {
    struct told_reader *next;
    int rank;
    uint64_t serial; /* of its copy; 0: nobody may read that */
    uint32_t sent;   /* readers that were sent to it */
};

struct told {
    UT_hash_handle hh;
    struct store_place place;
    struct told_reader *readers; /* in the order in which they came */
};

/* Under the lock, as the next ones. */
static struct told *told_find(const struct task_present *present, struct store_place place)
{
    struct told *told;
    HASH_FIND(hh, present->told, &place, sizeof place, told);
    return told;
}

static struct told *told_new(struct task_present *present, struct store_place place)
{
    struct told *told = base_alloc_sure(sizeof *told, "task", "the readers of a block");
    *told = (struct told){.place = place};
    HASH_ADD_SURE(present->told, place, told, "the readers of a block");
    return told;
}

void told_add(struct task_present *present, struct store_place place, int rank, uint64_t serial)
{
    struct told *told = told_find(present, place);
    struct told_reader *reader;
    if (!told)
        told = told_new(present, place);
    LL_SEARCH_SCALAR(told->readers, reader, rank, rank);
    if (!reader) {
        reader = base_alloc_sure(sizeof *reader, "task", "a reader of a block");
        *reader = (struct told_reader){.rank = rank};
        LL_APPEND(told->readers, reader);
    }
    if (serial != 0)
        reader->serial = serial;
}

bool told_elsewhere(struct task_present *present, int rank, const struct pull *pull,
                    struct elsewhere *elsewhere)
{
    const struct told *told = told_find(present, pull->at.place);
    struct told_reader *reader, *best = NULL;
    if (!told)
        return false;
    LL_FOREACH (told->readers, reader)
        if (reader->rank != rank && reader->serial != 0 && (!best || reader->sent < best->sent))
            best = reader;
    if (!best)
        return false;
    best->sent++;
    *elsewhere = (struct elsewhere){pull->at, best->serial, best->rank, 0};
    told_add(present, pull->at.place, rank, pull->serial);
    return true;
}

/* First the block: who is told a lease later than that is refused, and so no reader is missed. */
void stored_free(struct task_room *room, struct store_place place)
{
    store_free(room->store, place);
    task_create_wake(room);
    base_spin_lock(&room->present->lock);
    struct told *told = told_find(room->present, place);
    if (told)
        HASH_DEL(room->present->told, told);
    base_spin_unlock(&room->present->lock);
    while (told && told->readers) {
        struct told_reader *reader = told->readers;
        told->readers = reader->next;
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

void told_close(struct task_present *present)
{
    struct told *told, *next;
    HASH_ITER (hh, present->told, told, next) {
        HASH_DEL(present->told, told);
        while (told->readers) {
            struct told_reader *reader = told->readers;
            told->readers = reader->next;
            free(reader);
        }
        free(told);
    }
}
