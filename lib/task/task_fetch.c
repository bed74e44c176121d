/* Values that are too long for a message to another host: fetched in chunks.
 *
 * Who tells such a value tells a lease on it in place of its bytes: the block stays as it is, whatever
 * becomes of the value, until the reader says that it has read it. The reader makes a block of its own at
 * once, asks for ranges of bytes, several at a time, and gets them in chunks that fit into packets, so that
 * other messages pass in between. What the message was about waits meanwhile: a task is not run, a result is
 * not there yet. A caller's later calls to an actor wait behind one that is being fetched; nothing else does.
 */
#include "task/task_internal.h"

#include <stdlib.h>

#define CHUNK_BYTES  (NET_MESSAGE_ONE - sizeof(struct chunk))
#define RANGE_BYTES  (8 * CHUNK_BYTES) /* asked for at once */
#define RANGES_MOST  8                 /* that were asked for and have not come, of all fetches */
#define LEASE_NOBODY UINT32_MAX

/* ---- messages */

struct pull {
    uint64_t lease, fetch;
    uint64_t offset, length;
};
/** Its bytes follow; none: there is no such lease. */
struct chunk {
    uint64_t fetch, offset;
};

static void tell(struct task_room *room, int rank, enum task_message_type type, const void *head, size_t size,
                 const void *data, size_t length)
{
    struct net_piece pieces[] = {{head, size}, {data, length}};
    if (task_tell(room, rank, type, pieces, length ? 2 : 1) != RAYMPI_OK)
        base_log(BASE_LOG_WARN, "task", "a value can not be fetched: %s", base_detail());
}

/* ---- who has the value: leases */

/** Its number on the wire: generation and index. */
struct lease {
    struct store_place place;
    const char *data;
    uint64_t extent;
    uint32_t generation;
    uint32_t next;  /* free, or of the same writer */
    int32_t reader; /* -1: free */
};

static uint64_t lease_name(const struct task_leases *leases, uint32_t index)
{
    return (uint64_t)leases->leases[index].generation << 32 | index;
}

/* Under the lock. */
static struct lease *lease_find(struct task_leases *leases, uint64_t name, int reader)
{
    uint32_t index = (uint32_t)name;
    if (index >= leases->size || leases->leases[index].reader != reader || lease_name(leases, index) != name)
        return NULL;
    return &leases->leases[index];
}

static bool leases_grow(struct task_leases *leases)
{
    uint32_t size = leases->size ? 2 * leases->size : 64;
    struct lease *longer = realloc(leases->leases, size * sizeof *longer);
    if (!longer)
        return false;
    for (uint32_t i = leases->size; i < size; i++)
        longer[i] = (struct lease){.reader = -1, .next = i + 1 < size ? i + 1 : LEASE_NOBODY};
    leases->free = leases->size;
    leases->leases = longer;
    leases->size = size;
    return true;
}

int lease_new(struct task_room *room, struct writer *writer, struct store_place place, uint64_t extent,
              uint64_t *name)
{
    struct task_leases *leases = &room->leases;
    const void *data;
    uint64_t length;
    int status = store_pin(room->store, place, &data, &length);
    if (status != RAYMPI_OK)
        return status;
    base_spin_lock(&leases->lock);
    if (leases->free == LEASE_NOBODY && !leases_grow(leases)) {
        base_spin_unlock(&leases->lock);
        store_unpin(room->store, place);
        return base_fail(RAYMPI_ERR_MEMORY, "no memory to tell another host of a value");
    }
    uint32_t index = leases->free;
    struct lease *lease = &leases->leases[index];
    leases->free = lease->next;
    *lease = (struct lease){.place = place,
                            .data = data,
                            .extent = extent,
                            .generation = lease->generation + 1,
                            .next = writer->leases,
                            .reader = writer->reader};
    writer->leases = index;
    *name = lease_name(leases, index);
    base_spin_unlock(&leases->lock);
    return RAYMPI_OK;
}

static void lease_end(struct task_room *room, uint64_t name, int reader)
{
    struct task_leases *leases = &room->leases;
    base_spin_lock(&leases->lock);
    struct lease *lease = lease_find(leases, name, reader);
    struct store_place place = lease ? lease->place : (struct store_place){0};
    if (lease) {
        lease->reader = -1;
        lease->next = leases->free;
        leases->free = (uint32_t)name;
    }
    base_spin_unlock(&leases->lock);
    if (lease)
        store_unpin(room->store, place);
}

void leases_unsend(struct task_room *room, struct writer *writer)
{
    while (writer->leases != LEASE_NOBODY) {
        uint32_t index = writer->leases;
        base_spin_lock(&room->leases.lock);
        uint64_t name = lease_name(&room->leases, index);
        writer->leases = room->leases.leases[index].next;
        base_spin_unlock(&room->leases.lock);
        lease_end(room, name, writer->reader);
    }
}

void fetch_on_pull(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct pull pull;
    if (message->length != sizeof pull) {
        base_log(BASE_LOG_WARN, "task", "malformed wish for a value from rank %d dropped", message->source);
        return;
    }
    memcpy(&pull, message->data, sizeof pull);
    base_spin_lock(&room->leases.lock);
    const struct lease *lease = lease_find(&room->leases, pull.lease, message->source);
    bool good = lease && pull.length <= RANGE_BYTES && pull.offset <= lease->extent &&
                pull.length <= lease->extent - pull.offset;
    const char *data = good ? lease->data : NULL; /* stays: its end would come after this message */
    base_spin_unlock(&room->leases.lock);
    struct chunk chunk = {pull.fetch, pull.offset};
    if (!data)
        tell(room, message->source, TASK_MESSAGE_CHUNK, &chunk, sizeof chunk, NULL, 0);
    for (uint64_t end = pull.offset + pull.length; data && chunk.offset < end;) {
        uint64_t left = end - chunk.offset, length = left < CHUNK_BYTES ? left : CHUNK_BYTES;
        tell(room, message->source, TASK_MESSAGE_CHUNK, &chunk, sizeof chunk, data + chunk.offset, length);
        chunk.offset += length;
    }
}

void fetch_on_read(void *arg, const struct net_message *message)
{
    uint64_t name;
    if (message->length != sizeof name)
        return;
    memcpy(&name, message->data, sizeof name);
    lease_end(arg, name, message->source);
}

/* ---- who wants it: fetches */

/** One value. Poller only, as all of this side. */
struct fetch {
    UT_hash_handle hh;
    uint64_t number;
    struct fetch *next; /* of those with something to ask for */
    struct fetch_batch *batch;
    uint64_t lease;
    int holder;
    struct store_place place; /* if it is stored; to be sealed */
    bool stored;
    char *to;
    uint64_t extent, asked, got;
};

static void fetches_ask(struct task_room *room)
{
    struct task_fetches *fetches = &room->fetches;
    while (fetches->first && fetches->ranges < RANGES_MOST) {
        struct fetch *fetch = fetches->first;
        uint64_t left = fetch->extent - fetch->asked;
        struct pull pull = {fetch->lease, fetch->number, fetch->asked,
                            left < RANGE_BYTES ? left : RANGE_BYTES};
        fetch->asked += pull.length;
        fetches->ranges++;
        fetches->first = fetch->next;
        if (!fetches->first)
            fetches->last = &fetches->first;
        if (fetch->asked < fetch->extent) { /* the others' turn first */
            fetch->next = NULL;
            *fetches->last = fetch;
            fetches->last = &fetch->next;
        }
        tell(room, fetch->holder, TASK_MESSAGE_PULL, &pull, sizeof pull, NULL, 0);
    }
}

static void batch_finish(struct fetch_batch *batch)
{
    if (--batch->pending > 0 || !batch->then)
        return;
    batch->then(batch);
    free(batch);
}

static void fetch_end(struct task_room *room, struct fetch *fetch)
{
    struct fetch_batch *batch = fetch->batch;
    HASH_DEL(room->fetches.table, fetch);
    tell(room, fetch->holder, TASK_MESSAGE_READ, &fetch->lease, sizeof fetch->lease, NULL, 0);
    free(fetch);
    if (batch)
        batch_finish(batch);
}

static struct fetch_batch *batch_of(struct task_room *room, struct reader *reader)
{
    if (reader->batch)
        return reader->batch;
    reader->batch = base_alloc_sure(sizeof *reader->batch, "task", "values that are fetched");
    *reader->batch = (struct fetch_batch){.room = room, .status = RAYMPI_OK};
    return reader->batch;
}

static void batch_fail(struct fetch_batch *batch, int status, const char *text)
{
    if (batch->status != RAYMPI_OK)
        return;
    batch->status = status;
    snprintf(batch->text, sizeof batch->text, "%s", text);
}

/* Memory for it: in the store, or private where that has no room. False: there is none. */
static bool fetch_memory(struct task_room *room, struct fetch *fetch, struct value *value)
{
    void *data;
    fetch->stored = store_create(room->store, fetch->extent, &fetch->place, &data) == RAYMPI_OK;
    if (fetch->stored) {
        value->u.store.place = fetch->place;
        atomic_init(&value->u.store.pinned, NULL);
        value->copied = 1;
        fetch->to = data;
        return true;
    }
    /* What malloc gives beyond that it does not have. */
    value->u.blob = fetch->extent <= base_memory_available() ? value_blob_new(fetch->extent) : NULL;
    fetch->to = value->u.blob ? value->u.blob->bytes : NULL;
    return fetch->to != NULL;
}

bool fetch_begin(struct task_room *room, struct reader *reader, struct value *value, uint64_t extent)
{
    struct task_fetches *fetches = &room->fetches;
    uint64_t lease = read_u64(reader);
    if (reader->failed || reader->near || extent == 0)
        return false;
    struct fetch_batch *batch = batch_of(room, reader);
    struct fetch *fetch = base_alloc_sure(sizeof *fetch, "task", "a value that is fetched");
    *fetch = (struct fetch){.number = ++fetches->number,
                            .batch = batch,
                            .lease = lease,
                            .holder = reader->source,
                            .extent = extent};
    batch->pending++;
    int tries = 0;
    while (fetch_memory(room, fetch, value)) {
        HASH_ADD(hh, fetches->table, number, sizeof fetch->number, fetch);
        if (fetch->hh.tbl)
            break;
        base_await_memory(&tries, "task", "a value that is fetched");
    }
    if (!fetch->to) {
        char text[160];
        snprintf(text, sizeof text,
                 "no memory for a value of %llu bytes from rank %d, in the store or elsewhere",
                 (unsigned long long)extent, reader->source);
        batch_fail(batch, RAYMPI_ERR_MEMORY, text);
        batch->pending--;
        tell(room, fetch->holder, TASK_MESSAGE_READ, &lease, sizeof lease, NULL, 0);
        value->kind = VALUE_NONE;
        free(fetch);
        return true;
    }
    value->kind = fetch->stored ? VALUE_STORE : VALUE_BLOB;
    *fetches->last = fetch;
    fetches->last = &fetch->next;
    fetches_ask(room);
    return true;
}

static void unlist(struct task_fetches *fetches, const struct fetch *fetch)
{
    struct fetch **link = &fetches->first;
    while (*link && *link != fetch)
        link = &(*link)->next;
    if (!*link)
        return;
    *link = fetch->next;
    if (!*link)
        fetches->last = link;
}

/* What was asked for still comes, and is nobody's; the lease ends after that. */
static void forget_one(struct task_room *room, struct fetch *fetch)
{
    unlist(&room->fetches, fetch);
    fetch->batch = NULL;
    fetch->to = NULL;
    fetch->extent = fetch->asked;
    if (fetch->got == fetch->extent)
        fetch_end(room, fetch);
}

void fetch_forget(struct task_room *room, struct reader *reader)
{
    struct fetch *fetch, *next;
    if (!reader->batch)
        return;
    HASH_ITER (hh, room->fetches.table, fetch, next)
        if (fetch->batch == reader->batch)
            forget_one(room, fetch);
    free(reader->batch);
    reader->batch = NULL;
}

static const char *chunk_wrong(const struct fetch *fetch, int source, const struct chunk *chunk,
                               uint64_t length)
{
    if (!fetch || fetch->holder != source)
        return "of a value that is not fetched from there";
    if (chunk->offset != fetch->got || length > fetch->asked - fetch->got)
        return "that was not asked for";
    return NULL;
}

void fetch_on_chunk(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct task_fetches *fetches = &room->fetches;
    struct chunk chunk = {0};
    struct fetch *fetch = NULL;
    if (message->length >= sizeof chunk)
        memcpy(&chunk, message->data, sizeof chunk);
    HASH_FIND(hh, fetches->table, &chunk.fetch, sizeof chunk.fetch, fetch);
    uint64_t length = message->length - sizeof chunk;
    const char *wrong = message->length < sizeof chunk ? "that is too short"
                                                       : chunk_wrong(fetch, message->source, &chunk, length);
    if (wrong) {
        base_log(BASE_LOG_WARN, "task", "a piece of a value from rank %d dropped: one %s", message->source,
                 wrong);
        return;
    }
    if (length == 0) { /* nothing was asked for that has no bytes */
        if (fetch->batch)
            batch_fail(fetch->batch, RAYMPI_ERR_LOST, "a value on another host is no longer there");
        fetch->got = fetch->asked < fetch->got + RANGE_BYTES ? fetch->asked : fetch->got + RANGE_BYTES;
    } else {
        if (fetch->to)
            memcpy(fetch->to + fetch->got, (const char *)message->data + sizeof chunk, length);
        fetch->got += length;
    }
    if (fetch->got % RANGE_BYTES == 0 || fetch->got == fetch->extent) {
        fetches->ranges--;
        fetches_ask(room);
    }
    if (fetch->got < fetch->extent)
        return;
    if (fetch->stored && fetch->to)
        store_seal(room->store, fetch->place);
    fetch_end(room, fetch);
}

/* ---- what waits for them: tasks (results and borrowed values: task_done.c, task_ref.c) */

/** A call of an actor that is fetched, or stands behind one of the same caller to the same actor. */
struct fetched_call {
    struct fetched_call *next;
    struct task *task;
    bool ready;
    int status;
    char text[FETCH_TEXT];
};

static void task_fetched(struct task *task, int status, const char *text)
{
    if (status == RAYMPI_OK)
        task_arrived(task);
    else
        task_fail(task, status, text);
}

static void plain_fetched(struct fetch_batch *batch)
{
    task_fetched(batch->arg, batch->status, batch->text);
}

static void plain_forget(struct fetch_batch *batch)
{
    task_forget(batch->arg);
}

static bool is_behind(const struct fetched_call *first, const struct fetched_call *end,
                      const struct task *task)
{
    for (; first != end; first = first->next)
        if (first->task->actor == task->actor && first->task->owner == task->owner)
            return true;
    return false;
}

/* All that are ready and stand behind nobody. */
static void calls_deliver(struct task_room *room)
{
    struct fetched_call **link = &room->fetches.calls;
    while (*link) {
        struct fetched_call *call = *link;
        if (!call->ready || is_behind(room->fetches.calls, call, call->task)) {
            link = &call->next;
            continue;
        }
        *link = call->next;
        task_fetched(call->task, call->status, call->text);
        free(call);
    }
}

static void call_fetched(struct fetch_batch *batch)
{
    struct fetched_call *call = batch->arg;
    call->ready = true;
    call->status = batch->status;
    snprintf(call->text, sizeof call->text, "%s", batch->text);
    calls_deliver(batch->room);
}

/* Calls are forgotten all at once. */
static void call_forget(struct fetch_batch *batch)
{
    (void)batch;
}

void fetch_then(struct fetch_batch *batch, void (*then)(struct fetch_batch *batch),
                void (*forget)(struct fetch_batch *batch), void *arg)
{
    batch->then = then;
    batch->forget = forget;
    batch->arg = arg;
    if (batch->pending > 0)
        return;
    then(batch); /* there was no memory for any of them */
    free(batch);
}

static struct fetched_call *call_new(struct task *task)
{
    struct fetched_call *call = base_alloc_sure(sizeof *call, "task", "a call of an actor");
    *call = (struct fetched_call){.task = task, .ready = true, .status = RAYMPI_OK};
    return call;
}

bool fetch_holds_back(struct task_room *room, struct task *task, struct fetch_batch *batch)
{
    struct fetched_call **last = &room->fetches.calls;
    if (!task->actor) {
        if (batch)
            fetch_then(batch, plain_fetched, plain_forget, task);
        return batch != NULL;
    }
    if (!batch && !is_behind(room->fetches.calls, NULL, task))
        return false;
    struct fetched_call *call = call_new(task);
    while (*last)
        last = &(*last)->next;
    *last = call;
    if (batch) {
        call->ready = false;
        fetch_then(batch, call_fetched, call_forget, call);
    }
    return true;
}

/* ---- open and close */

void fetch_open(struct task_room *room)
{
    base_spin_init(&room->leases.lock);
    room->leases.free = LEASE_NOBODY;
    room->fetches.last = &room->fetches.first;
    net_handle(room->net, TASK_MESSAGE_PULL, fetch_on_pull, room);
    net_handle(room->net, TASK_MESSAGE_CHUNK, fetch_on_chunk, room);
    net_handle(room->net, TASK_MESSAGE_READ, fetch_on_read, room);
}

void fetch_close(struct task_room *room)
{
    struct fetch *fetch, *next;
    HASH_ITER (hh, room->fetches.table, fetch, next) {
        struct fetch_batch *batch = fetch->batch;
        HASH_DEL(room->fetches.table, fetch);
        free(fetch);
        if (!batch || --batch->pending > 0)
            continue;
        batch->forget(batch);
        free(batch);
    }
    while (room->fetches.calls) {
        struct fetched_call *call = room->fetches.calls;
        room->fetches.calls = call->next;
        task_forget(call->task);
        free(call);
    }
    for (uint32_t i = 0; i < room->leases.size; i++)
        if (room->leases.leases[i].reader >= 0)
            store_unpin(room->store, room->leases.leases[i].place);
    free(room->leases.leases);
}
