/* Reading stored values: pins, and how what is not here is brought. See task_present.h. */
#include "task/task_present.h"

#include <stdlib.h>

#define CACHED_MOST                                                                                          \
    (UINT64_C(4) << 20) /* bytes of a block that whoever wants it reads from the system's cache */

/** A thread that waits for a value. */
struct present_wait {
    struct present_wait *prev, *next;
    struct stored at;
    struct sched_parker parker;
    bool answered;
    int status;
    char text[PRESENT_TEXT];
    _Atomic int fired;
};

void present_tell(struct task_room *room, int rank, enum task_message_type type, const void *head,
                  size_t size, const void *data, size_t length)
{
    struct net_piece pieces[] = {{head, size}, {data, length}};
    if (task_tell(room, rank, type, pieces, length ? 2 : 1) != RAYMPI_OK)
        base_log(BASE_LOG_WARN, "task", "a stored value can not be asked for or told of: %s", base_detail());
}

void present_want(struct present_want **wants, int rank)
{
    struct present_want *want = base_alloc_sure(sizeof *want, "task", "a wish for a stored value");
    *want = (struct present_want){*wants, rank};
    *wants = want;
}

struct present_news *present_news_new(const struct stored *at, struct store_place local, int status,
                                      const char *text, struct present_want *wants)
{
    struct present_news *news = base_alloc_sure(sizeof *news, "task", "the answer to such a wish");
    *news = (struct present_news){.at = *at, .local = local, .status = status, .wants = wants};
    snprintf(news->text, sizeof news->text, "%s", status == RAYMPI_OK ? "" : text);
    return news;
}

/* ---- waiting */

static bool same(const struct stored *a, const struct stored *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Wakes who waits for it here. */
static void brought(struct task_room *room, const struct stored *at, struct store_place local, int status,
                    const char *text)
{
    struct task_present *present = room->present;
    struct present_wait *wait, *next, *woken = NULL;
    base_spin_lock(&present->lock);
    DL_FOREACH_SAFE (present->waits, wait, next) {
        if (!same(&wait->at, at))
            continue;
        DL_DELETE(present->waits, wait);
        DL_APPEND(woken, wait);
        wait->answered = true;
        wait->status = status;
        snprintf(wait->text, sizeof wait->text, "%s", text);
    }
    if (woken && status == RAYMPI_OK && !stored_near(room, at))
        copy_learn(room, at, local);
    base_spin_unlock(&present->lock);
    DL_FOREACH_SAFE (woken, wait, next) {
        sched_unpark(&wait->parker);
        /* Release: the last touch of the waiter's stack comes before it. */
        atomic_store_explicit(&wait->fired, 1, memory_order_release);
    }
}

void present_announce(struct task_room *room, struct present_news *news)
{
    while (news) {
        struct present_news *told = news;
        struct brought head = {told->at, told->local, told->status, 0};
        size_t length = strlen(told->text);
        while (told->wants) {
            struct present_want *want = told->wants;
            told->wants = want->next;
            if (want->rank == room->config.rank)
                brought(room, &told->at, told->local, told->status, told->text);
            else
                present_tell(room, want->rank, TASK_MESSAGE_BROUGHT, &head, sizeof head, told->text, length);
            free(want);
        }
        news = told->next;
        free(told);
    }
}

static void on_brought(void *arg, const struct net_message *message)
{
    struct brought head;
    char text[PRESENT_TEXT];
    if (message->length < sizeof head)
        return;
    memcpy(&head, message->data, sizeof head);
    snprintf(text, sizeof text, "%.*s", (int)(message->length - sizeof head),
             (const char *)message->data + sizeof head);
    brought(arg, &head.at, head.local, head.status, text);
}

/* The rank of this host that keeps the host's copies of such a block, or the holder. */
static int who_brings(const struct task_room *room, const struct stored *at)
{
    if (stored_near(room, at))
        return at->holder;
    uint64_t hash = base_mix((uint64_t)at->holder << 32 ^ at->place.index ^ at->place.generation << 20);
    return net_rank_of_local(room->net, (int)(hash % (uint64_t)net_locals(room->net)));
}

static void bring(struct task_room *room, int rank, const struct stored *at, uint64_t extent)
{
    struct task_present *present = room->present;
    struct present_news *news = NULL;
    base_spin_lock(&present->lock);
    if (stored_near(room, at))
        present_restore(room, at->place, rank);
    else
        news = copy_bring(room, at, extent, rank);
    base_spin_unlock(&present->lock);
    present_announce(room, news);
    task_present_look(room);
    present_mind(room);
}

static void on_bring(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct bring wish;
    if (message->length == sizeof wish)
        memcpy(&wish, message->data, sizeof wish);
    if (message->length != sizeof wish || wish.at.nothing ||
        (unsigned)wish.at.holder >= (unsigned)room->config.size ||
        who_brings(room, &wish.at) != room->config.rank) {
        base_log(BASE_LOG_WARN, "task", "malformed wish for a value from rank %d dropped", message->source);
        return;
    }
    bring(room, message->source, &wish.at, wish.extent);
}

static void ask(struct task_room *room, const struct stored *at, uint64_t extent)
{
    struct bring wish = {*at, extent};
    int rank = who_brings(room, at);
    if (rank == room->config.rank)
        bring(room, rank, at, extent);
    else
        present_tell(room, rank, TASK_MESSAGE_BRING, &wish, sizeof wish, NULL, 0);
}

static bool is_awaited(const struct task_present *present, const struct stored *at)
{
    const struct present_wait *wait;
    DL_FOREACH (present->waits, wait)
        if (same(&wait->at, at))
            return true;
    return false;
}

static int wait_failed(const struct stored *at, int status, const char *text)
{
    if (status == RAYMPI_ERR_TIMEOUT)
        return base_fail(status, "a value of rank %d was not here in time", at->holder);
    return base_fail(status, "a value of rank %d can not be read: %s", at->holder, text);
}

static int await(struct task_room *room, const struct stored *at, uint64_t extent, uint64_t deadline)
{
    struct task_present *present = room->present;
    struct present_wait wait = {.at = *at};
    atomic_init(&wait.fired, 0);
    sched_parker_init(room->sched, &wait.parker,
                      (struct sched_reason){task_self->context->name, "a stored value", 0, false});
    base_spin_lock(&present->lock);
    bool first = !is_awaited(present, at);
    DL_APPEND(present->waits, &wait);
    base_spin_unlock(&present->lock);
    if (first)
        ask(room, at, extent);
    int status = task_park(&wait.parker, deadline);
    base_spin_lock(&present->lock);
    if (!wait.answered)
        DL_DELETE(present->waits, &wait);
    base_spin_unlock(&present->lock);
    if (!wait.answered)
        return wait_failed(at, status, "everything in the job waits");
    base_spin_until(&wait.fired);
    return wait.status == RAYMPI_OK ? RAYMPI_OK : wait_failed(at, wait.status, wait.text);
}

/* ---- pins */

static int stored_pin(struct task_room *room, const struct stored *at, const void **data, uint64_t *length)
{
    if (stored_near(room, at))
        return store_pin(room->store, at->place, data, length);
    base_spin_lock(&room->present->lock);
    int status = copy_pin(room, at, data, length);
    base_spin_unlock(&room->present->lock);
    return status;
}

static void stored_unpin(struct task_room *room, const struct stored *at)
{
    if (stored_near(room, at)) {
        store_unpin(room->store, at->place);
        return;
    }
    base_spin_lock(&room->present->lock);
    copy_unpin(room, at);
    base_spin_unlock(&room->present->lock);
}

int value_pin_now(struct task_room *room, struct value *value, const void **data, uint64_t *length)
{
    uint64_t bytes;
    value = value_behind(value);
    *length = value->length;
    if (value->kind != VALUE_STORE) {
        *data = value_at(room, value, length);
        return RAYMPI_OK;
    }
    int status = stored_pin(room, value_stored(value), data, &bytes);
    if (status != RAYMPI_OK || bytes >= value_extent(value->length, value->nested))
        return status;
    stored_unpin(room, value_stored(value));
    return base_fail(RAYMPI_ERR_LOST, "a stored block is shorter than its object");
}

/* A block of this rank's that is on disk, without the reading thread, if the system has it in its cache. Else
 * STORE_ON_DISK: then it has to be waited for. */
static int pin_cached(struct task_room *room, struct value *value, const void **data, uint64_t *length)
{
    struct store_place place = value_stored(value)->place;
    uint64_t extent = value_extent(value->length, value->nested);
    if (value_stored(value)->holder != room->config.rank || extent > CACHED_MOST)
        return STORE_ON_DISK;
    int status = store_restore_cached(room->store, place);
    if (status == RAYMPI_ERR_STORE_FULL) {
        task_make_room(room, extent);
        status = store_restore_cached(room->store, place);
    }
    if (status != RAYMPI_OK)
        return status == RAYMPI_ERR_STORE_FULL ? STORE_ON_DISK : status;
    present_trace(TRACE_STORE_RESTORE, place.rank, extent);
    status = value_pin_now(room, value, data, length);
    store_let_go(room->store, place);
    task_present_look(room); /* others may wait for it */
    return status;
}

int value_pin(struct task_room *room, struct value *value, uint64_t deadline, const void **data,
              uint64_t *length)
{
    int status;
    value = value_behind(value);
    while ((status = value_pin_now(room, value, data, length)) == STORE_ON_DISK) {
        status = pin_cached(room, value, data, length);
        if (status != STORE_ON_DISK)
            return status;
        status = await(room, value_stored(value), value_extent(value->length, value->nested), deadline);
        if (status != RAYMPI_OK)
            return status;
    }
    return status;
}

void value_unpin(struct task_room *room, struct value *value)
{
    value = value_behind(value);
    if (value->kind == VALUE_STORE)
        stored_unpin(room, value_stored(value));
}

const void *value_at(struct task_room *room, struct value *value, uint64_t *length)
{
    value = value_behind(value);
    *length = value->length;
    switch (value->kind) {
    case VALUE_INLINE:
        return value->u.bytes;
    case VALUE_BLOB:
        return value->u.blob->bytes;
    case VALUE_STORE:
        return stored_near(room, value_stored(value)) ? store_at(room->store, value_stored(value)->place)
                                                      : copy_at(room, value_stored(value));
    default:
        *length = 0;
        return NULL;
    }
}

void value_fetch(struct task_room *room, struct value *value)
{
    const void *data;
    uint64_t length;
    value = value_behind(value);
    if (value->kind != VALUE_STORE)
        return;
    int status = value_pin_now(room, value, &data, &length);
    if (status == RAYMPI_OK)
        value_unpin(room, value);
    else if (status == STORE_ON_DISK)
        ask(room, value_stored(value), value_extent(value->length, value->nested));
}

/* ---- open and close */

static void on_extent_left(void *arg, uint64_t offset, const void *memory, uint64_t length)
{
    struct task_room *room = arg;
    net_ranges_drop(room->net, offset, memory, length);
}

int task_present_open(struct task_room *room)
{
    struct task_present *present = calloc(1, sizeof *present);
    if (!present)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the tasks");
    base_spin_init(&present->lock);
    present->room = room;
    room->present = present;
    restores_open(room);
    store_on_extent_left(room->store, on_extent_left, room);
    net_handle(room->net, TASK_MESSAGE_BRING, on_bring, room);
    net_handle(room->net, TASK_MESSAGE_BROUGHT, on_brought, room);
    net_handle(room->net, TASK_MESSAGE_PULL, lease_on_pull, room);
    net_handle(room->net, TASK_MESSAGE_READ, lease_on_read, room);
    net_handle(room->net, TASK_MESSAGE_CORRUPT, lease_on_corrupt, room);
    net_handle(room->net, TASK_MESSAGE_CHUNK, copy_on_chunk, room);
    net_handle(room->net, TASK_MESSAGE_LEASED, copy_on_leased, room);
    net_handle(room->net, TASK_MESSAGE_ELSEWHERE, copy_on_elsewhere, room);
    net_handle(room->net, TASK_MESSAGE_STALE, copy_on_stale, room);
    net_handle(room->net, TASK_MESSAGE_FREE, task_on_free, room);
    return RAYMPI_OK;
}

void task_present_close(struct task_room *room)
{
    store_on_extent_left(room->store, NULL, NULL);
    restores_close(room);
    leases_close(room);
    copies_close(room);
    told_close(room->present);
    free(room->present);
}
