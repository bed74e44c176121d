/* Copies of blocks of other hosts: who keeps them, who reads them, when they go. Each host has at most one of
 * a block, which the rank keeps that the block's name falls to. The other ranks of the host only know where
 * it is while they read it; ranks of other hosts may read it, too. A copy that nobody reads stays until
 * memory is wanted or the block is gone. task_fetch.c has how they come; see task_present.h. */
#include "task/task_copy.h"

#include <stdlib.h>

struct copy *copy_find(const struct task_present *present, const struct stored *at)
{
    struct copy *copy;
    HASH_FIND(hh, present->copies, at, sizeof *at, copy);
    return copy;
}

struct copy *copy_new(struct task_present *present, const struct stored *at, enum copy_state state)
{
    struct copy *copy = base_alloc_sure(sizeof *copy, "task", "a copy of a value of another host");
    *copy = (struct copy){.at = *at, .state = state};
    HASH_ADD_SURE(present->copies, at, copy, "a copy of a value of another host");
    return copy;
}

void copy_end(struct task_present *present, struct copy *copy)
{
    HASH_DEL(present->copies, copy);
    free(copy);
}

void copy_drop(struct task_room *room, struct copy *copy)
{
    if (!copy->dirty)
        store_free(room->store, copy->local);
    free(copy);
}

/* ---- reading */

void copy_give_up(struct task_room *room, struct copy *copy)
{
    if (copy_is_idle(copy))
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
    if (!copy || (copy->state != COPY_KNOWN && copy->state != COPY_HERE))
        return STORE_ON_DISK;
    if (store_pin(room->store, copy->local, data, length) != RAYMPI_OK) {
        if (copy->users == 0 && copy->state == COPY_KNOWN)
            copy_end(present, copy); /* its keeper has given it up: he is asked again */
        return STORE_ON_DISK;
    }
    if (copy_is_idle(copy))
        DL_DELETE(present->idle, copy);
    copy->users++;
    return RAYMPI_OK;
}

void copy_return(struct task_room *room, struct copy *copy)
{
    if (copy->state == COPY_KNOWN || copy->state == COPY_HERE)
        store_unpin(room->store, copy->local);
    if (--copy->users > 0)
        return;
    switch (copy->state) {
    case COPY_KNOWN:
        copy_end(room->present, copy);
        break;
    case COPY_HERE:
        DL_APPEND(room->present->idle, copy);
        if (copy->stale)
            copy_give_up(room, copy);
        break;
    case COPY_LOST:
        copy_drop(room, copy);
        break;
    default:
        break;
    }
}

void copy_unpin(struct task_room *room, const struct stored *at)
{
    struct copy *copy = copy_find(room->present, at);
    if (!copy || copy->users == 0)
        base_log(BASE_LOG_ERROR, "task", "a copy of a block of rank %d was let go of too often", at->holder);
    else
        copy_return(room, copy);
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

/* ---- reading by other hosts */

struct copy *copy_lend(struct task_room *room, const struct stored *at, uint64_t serial)
{
    const void *data;
    uint64_t length;
    struct copy *copy = copy_find(room->present, at);
    if (!copy || copy->serial != serial)
        return NULL;
    if (copy->state == COPY_HERE) {
        if (copy_pin(room, at, &data, &length) != RAYMPI_OK)
            return NULL;
        copy->data = data;
        return copy;
    }
    if (copy->state != COPY_COMING && copy->state != COPY_CHECKED)
        return NULL;
    copy->users++;
    return copy;
}

const char *copy_lent(const struct copy *copy, uint64_t *length, uint64_t *ready)
{
    if (!copy || copy->state == COPY_LOST)
        return NULL;
    *length = copy->extent;
    *ready = copy->got;
    return copy->data;
}

struct store_place copy_place(const struct copy *copy)
{
    return copy->local;
}

uint64_t copy_checksum(const struct copy *copy)
{
    return copy->checksum;
}

void copy_pin_lent(struct task_room *room, const struct copy *copy)
{
    const void *data;
    uint64_t length;
    for (uint32_t i = 0; i < copy->users; i++)
        if (store_pin(room->store, copy->local, &data, &length) != RAYMPI_OK)
            base_log(BASE_LOG_ERROR, "task", "a copy that is read can not be pinned: %s", base_detail());
}

/* ---- keeping */

void copy_plan(struct task_room *room, struct copy *copy)
{
    copy->state = COPY_PLANNED;
    copy->since = net_now(room->net);
    copy->asked = copy->got = 0;
    copy->serial = ++room->present->copy_serial;
    copy->source = copy->at.holder;
    copy->source_serial = copy->serial;
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

struct present_news *copy_news(struct copy *copy, int status)
{
    struct present_news *news = present_news_new(&copy->at, copy->local, status, base_detail(), copy->wants);
    copy->wants = NULL;
    return news;
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
            copy->data = copy->to = to;
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

void copy_stale(struct task_room *room, const struct stored *at)
{
    base_spin_lock(&room->present->lock);
    struct copy *copy = copy_find(room->present, at);
    if (copy && copy_is_idle(copy))
        copy_give_up(room, copy);
    else if (copy)
        copy->stale = true;
    base_spin_unlock(&room->present->lock);
}

/* Its holder frees it. */
void copy_on_stale(void *arg, const struct net_message *message)
{
    struct stored at = {.holder = message->source};
    if (message->length != sizeof at.place)
        return;
    memcpy(&at.place, message->data, sizeof at.place);
    copy_stale(arg, &at);
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
