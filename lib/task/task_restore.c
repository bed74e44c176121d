/* What waits for memory or disk: blocks of this rank's that are to come back, room that is made for blocks,
 * and who looks at all of it again. See task_present.h. */
#include "task/task_present.h"

#include <stdlib.h>

#define LACKING_PART 4                 /* of what tasks may read at once: for which room is made in one go */
#define MIND_REST    UINT64_C(1000000) /* ns between two looks at what waits for memory or disk */

/** A block of this rank's that is on disk. */
struct restore {
    struct restore *next;
    struct store_place place;
    uint64_t extent; /* bytes */
    uint64_t since;
    bool ended; /* the disk has said */
    bool kept;  /* pinned, until those who wait have been told */
    int status;
    struct present_want *wants;
};

/* ---- blocks of this rank's on disk */

void present_restore(struct task_room *room, struct store_place place, int rank)
{
    struct task_present *present = room->present;
    struct restore *restore;
    LL_FOREACH (present->restores, restore)
        if (!restore->ended && memcmp(&restore->place, &place, sizeof place) == 0)
            break;
    if (!restore) {
        struct store_look look;
        store_look(room->store, place, &look);
        restore = base_alloc_sure(sizeof *restore, "task", "a value that is on disk");
        *restore = (struct restore){
            .place = place, .extent = look.length, .since = net_now(room->net), .status = STORE_ON_DISK};
        LL_APPEND(present->restores, restore);
        atomic_fetch_add(&present->pending, 1);
    }
    if (rank >= 0)
        present_want(&restore->wants, rank);
}

/* The disk says how a block came back. It can not be spilled again before this returns. */
static void on_restored(void *arg, struct store_place place, int status)
{
    struct task_room *room = arg;
    struct restore *restore;
    base_spin_lock(&room->present->lock);
    LL_FOREACH (room->present->restores, restore)
        if (memcmp(&restore->place, &place, sizeof place) == 0) {
            restore->ended = true;
            restore->status = status;
            present_trace(TRACE_STORE_RESTORE, place.rank, restore->extent);
            const void *data;
            uint64_t length;
            restore->kept = status == RAYMPI_OK && store_pin(room->store, place, &data, &length) == RAYMPI_OK;
        }
    base_spin_unlock(&room->present->lock);
}

/* Under the lock. Those that have ended are taken out: their news and, in *ended, they themselves. */
static struct present_news *restores_advance(struct task_room *room, struct restore **ended,
                                             uint64_t *lacking)
{
    struct task_present *present = room->present;
    struct present_news *news = NULL;
    struct restore *restore, *next;
    uint64_t now = net_now(room->net);
    LL_FOREACH_SAFE(present->restores, restore, next)
    {
        int status = restore->ended ? restore->status : store_restore(room->store, restore->place);
        if (status == STORE_ON_DISK)
            continue;
        if (status == RAYMPI_ERR_STORE_FULL &&
            (double)(now - restore->since) < 1e9 * room->config.create_timeout) {
            present_lack(room, lacking, restore->extent);
            continue;
        }
        LL_DELETE(present->restores, restore);
        atomic_fetch_sub(&present->pending, 1);
        struct stored at = {restore->place, room->config.rank, 0};
        struct present_news *more =
            present_news_new(&at, restore->place, status, base_detail(), restore->wants);
        LL_PREPEND(news, more);
        restore->status = status;
        LL_PREPEND(*ended, restore);
    }
    return news;
}

static void restores_end(struct task_room *room, struct restore *ended)
{
    while (ended) {
        struct restore *next = ended->next;
        struct stored at = {ended->place, room->config.rank, 0};
        leases_look(room, &at, ended->status);
        if (ended->kept)
            store_unpin(room->store, ended->place);
        free(ended);
        ended = next;
    }
}

/* ---- memory */

void present_lack(const struct task_room *room, uint64_t *lacking, uint64_t bytes)
{
    /* Not for all at once: what has just come back would go for what is to come. */
    if (*lacking == 0 || *lacking + bytes <= room->admission.most / LACKING_PART)
        *lacking += bytes;
}

/* In turn those ranks of the host that have something to give, at most one in a millisecond; -1: none.
 * Under the lock. */
static int room_giver(struct task_room *room)
{
    struct task_present *present = room->present;
    uint64_t now = net_now(room->net);
    int locals = net_locals(room->net), self = net_local(room->net, room->config.rank);
    if (now - present->room_asked < MIND_REST)
        return -1;
    present->room_asked = now;
    for (int i = 0; i < locals; i++) {
        int local = (present->room_turn + i) % locals;
        if (local == self || store_cold_bytes(room->store, local) == 0)
            continue;
        present->room_turn = local + 1;
        return local;
    }
    return -1;
}

static void ask_for_room(struct task_room *room, uint64_t bytes)
{
    base_spin_lock(&room->present->lock);
    int local = room_giver(room);
    base_spin_unlock(&room->present->lock);
    if (local >= 0)
        present_tell(room, net_rank_of_local(room->net, local), TASK_MESSAGE_ROOM, &bytes, sizeof bytes, NULL,
                     0);
}

static uint64_t give_up(struct task_room *room, uint64_t bytes)
{
    uint64_t coming = 0;
    int status;
    base_spin_lock(&room->present->lock);
    uint64_t freed = copies_evict(room, bytes);
    base_spin_unlock(&room->present->lock);
    if (freed < bytes)
        freed += store_make_room(room->store, bytes - freed, &coming, &status);
    return freed + coming;
}

void task_make_room(struct task_room *room, uint64_t bytes)
{
    if (give_up(room, bytes) < bytes)
        ask_for_room(room, bytes);
}

static void on_room(void *arg, const struct net_message *message)
{
    uint64_t bytes;
    if (message->length != sizeof bytes)
        return;
    memcpy(&bytes, message->data, sizeof bytes);
    give_up(arg, bytes);
}

/* ---- looking again */

/* Written by a thread that has no timeline. */
static void note_spilled(struct task_room *room)
{
    struct task_present *present = room->present;
    struct store_counters counters;
    store_counters(room->store, &counters);
    base_spin_lock(&present->lock);
    uint64_t blocks = counters.spilled - present->spilled,
             bytes = counters.spilled_bytes - present->spilled_bytes;
    bool more = counters.spilled > present->spilled;
    if (more) {
        present->spilled = counters.spilled;
        present->spilled_bytes = counters.spilled_bytes;
    }
    base_spin_unlock(&present->lock);
    if (more)
        present_trace(TRACE_STORE_SPILL, blocks, bytes);
}

void task_present_look(struct task_room *room)
{
    struct task_present *present = room->present;
    struct restore *ended = NULL;
    uint64_t lacking = 0;
    if (base_unlikely(store_spill_poll(room->store, on_restored, room) > 0)) {
        note_spilled(room);
        task_create_wake(room);
    }
    if (base_likely(!atomic_load_explicit(&present->pending, memory_order_relaxed)) ||
        atomic_exchange(&present->looking, 1))
        return;
    base_spin_lock(&present->lock);
    struct present_news *news = restores_advance(room, &ended, &lacking), *more;
    more = copies_advance(room, &lacking);
    LL_CONCAT(news, more);
    base_spin_unlock(&present->lock);
    present_announce(room, news);
    restores_end(room, ended);
    if (lacking > 0)
        task_make_room(room, lacking);
    atomic_store(&present->looking, 0);
}

static void mind(struct sched_item *item)
{
    struct task_present *present = base_container(item, struct task_present, minder);
    struct task_room *room = present->room;
    struct task_thread *thread = task_self;
    struct context *outer = thread->context;
    thread->context = &thread->root;
    while (atomic_load(&present->pending) > 0) {
        struct sched_parker parker;
        sched_parker_init(room->sched, &parker, (struct sched_reason){"raympi", "memory or disk", 0, true});
        task_park(&parker, net_now(room->net) + MIND_REST);
        task_present_look(room);
    }
    thread->context = outer;
    atomic_store(&present->minded, 0);
    present_mind(room); /* something may have come since the last look */
}

void present_mind(struct task_room *room)
{
    struct task_present *present = room->present;
    if (atomic_load(&present->pending) > 0 && !atomic_exchange(&present->minded, 1))
        sched_push_pinned(room->sched, &present->minder);
}

void restores_open(struct task_room *room)
{
    room->present->minder.run = mind;
    net_handle(room->net, TASK_MESSAGE_ROOM, on_room, room);
}

void restores_close(struct task_room *room)
{
    struct restore *restore, *next;
    LL_FOREACH_SAFE(room->present->restores, restore, next)
    {
        while (restore->wants) {
            struct present_want *want = restore->wants;
            restore->wants = want->next;
            free(want);
        }
        free(restore);
    }
}
