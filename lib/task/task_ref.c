/* Refs across ranks: the counting protocol (task_refcount.h) wired to tables, locks and messages; values of
 * borrowed objects. */
#include "task/task_internal.h"

#include <stdlib.h>

/* Under the borrow lock, so that a REGISTER can not overtake an earlier RELEASE. */
static void ref_send(struct task_room *room, const struct refcount_message *message)
{
    unsigned char bytes[REFCOUNT_WIRE_SIZE];
    if (refcount_encode(message, bytes, sizeof bytes) != REFCOUNT_OK ||
        (message->kind == REFCOUNT_RELEASE && base_defect(DEFECT_LOST_RELEASE)))
        return;
    struct net_piece piece = {bytes, sizeof bytes};
    if (task_tell(room, message->to, TASK_MESSAGE_REF, &piece, 1) != RAYMPI_OK)
        base_log(BASE_LOG_WARN, "task", "counting message to rank %d was not sent: %s", message->to,
                 base_detail());
}

/* Where a record that was found lately may be found again: most calls go to few actors. */
static struct borrowed **recent_of(struct task_room *room, uint64_t handle)
{
    return &room->recent[(handle ^ handle >> REFCOUNT_SEQUENCE_BITS) % BORROWED_RECENT];
}

/* Under the lock. */
static struct object *borrowed_find(struct task_room *room, uint64_t handle)
{
    struct borrowed **recent = recent_of(room, handle), *borrowed = *recent;
    if (base_likely(borrowed && object_handle(&borrowed->object) == handle))
        return &borrowed->object;
    HASH_FIND(hh, room->borrowed, &handle, sizeof handle, borrowed);
    if (!borrowed)
        return NULL;
    *recent = borrowed;
    return &borrowed->object;
}

struct object *object_find_borrowed(struct task_room *room, uint64_t handle)
{
    base_spin_lock(&room->borrow_lock);
    struct object *object = borrowed_find(room, handle);
    base_spin_unlock(&room->borrow_lock);
    return object;
}

struct object *object_hold_borrowed(struct task_room *room, uint64_t handle)
{
    base_spin_lock(&room->borrow_lock);
    struct object *object = borrowed_find(room, handle);
    if (object && refcount_names(&object->count) > 0)
        object_retain(object);
    else
        object = NULL;
    base_spin_unlock(&room->borrow_lock);
    return object;
}

uint32_t object_hint_borrowed(struct task_room *room, uint64_t handle)
{
    base_spin_lock(&room->borrow_lock);
    struct object *object = borrowed_find(room, handle);
    uint32_t hint = object ? atomic_load_explicit(&object->scope_index, memory_order_relaxed) : UINT32_MAX;
    base_spin_unlock(&room->borrow_lock);
    return hint;
}

/* Under the lock. */
static struct object *record_find(struct task_room *room, uint64_t handle)
{
    return object_owned(room, handle) ? object_by_slot(room, handle) : borrowed_find(room, handle);
}

/* Under the lock: a new record in the hash, which owns nothing yet. */
static struct object *hash_create(struct task_room *room, uint64_t handle, const char *const *label)
{
    struct borrowed *borrowed = aligned_alloc(BASE_CACHE_LINE, sizeof *borrowed);
    if (borrowed) {
        memset(borrowed, 0, sizeof *borrowed);
        borrowed->object.count.handle = handle;
        atomic_init(&borrowed->object.count.count, 1);
        borrowed->object.label = label;
        HASH_ADD(hh, room->borrowed, object.count.handle, sizeof handle, borrowed);
        if (borrowed->hh.tbl)
            return &borrowed->object;
        free(borrowed);
    }
    base_fail(RAYMPI_ERR_MEMORY, "no memory for a borrowed ref");
    return NULL;
}

/* Under the lock: nobody finds it any more. */
static void hash_remove(struct task_room *room, struct object *object)
{
    struct borrowed *borrowed = base_container(object, struct borrowed, object);
    struct borrowed **recent = recent_of(room, object_handle(object));
    if (*recent == borrowed)
        *recent = NULL;
    HASH_DEL(room->borrowed, borrowed);
}

/* Under the lock: the host's record of an actor. The maker has invented the handle and is its first holder,
 * as if it had registered. */
static struct object *actor_record(struct task_room *room, uint64_t handle, int maker,
                                   const char *const *label)
{
    struct refcount_output output = {0};
    struct object *object = hash_create(room, handle, label);
    if (!object || maker == room->config.rank)
        return object;
    struct refcount_message message = {REFCOUNT_REGISTER, handle, maker, handle, room->config.rank};
    if (refcount_receive(&object->count, room->config.rank, maker, &message, &output) != REFCOUNT_OK) {
        hash_remove(room, object);
        free(base_container(object, struct borrowed, object));
        return NULL;
    }
    refcount_drop(&object->count); /* the hold that hash_create() gave */
    return object;
}

/* Under the lock: the record of a handle that came from another rank. The handle of an actor can be here
 * before the maker's own news of it is: the maker told a third rank. What comes from another rank can not be
 * refused, so memory for it is waited for, with the lock, which only keeps others from needing memory too. */
static struct object *arrived(struct task_room *room, uint64_t handle, int *tries)
{
    struct object *object = record_find(room, handle);
    if (object || !task_handle_is_actor(handle))
        return object;
    static const char *const label = "actor";
    int maker = room->actor.unborn(room->actor.arg, handle);
    while (maker >= 0 && !(object = actor_record(room, handle, maker, &label)))
        base_await_memory(tries, "task", "an actor's handle from another rank");
    return object;
}

/* Carries out an output while locked; returns a record that has to be destroyed after unlocking. */
static struct object *apply(struct task_room *room, struct object *object,
                            const struct refcount_output *output)
{
    bool gone = output->verdict == REFCOUNT_FREE || output->verdict == REFCOUNT_ERASE;
    if (gone && !object_owned(room, object_handle(object)))
        hash_remove(room, object);
    if (output->has_message)
        ref_send(room, &output->message);
    return gone ? object : NULL;
}

static void finish(struct task_room *room, struct object *gone, uint64_t drop)
{
    if (gone)
        object_destroy(room, gone);
    if (drop)
        object_drop_handle(room, drop);
}

void object_zero(struct task_room *room, uint64_t handle)
{
    struct refcount_output output = {0};
    struct object *gone = NULL;
    base_spin_lock(&room->borrow_lock);
    struct object *object = record_find(room, handle);
    if (refcount_reached_zero(object ? &object->count : NULL, room->config.rank, &output) == REFCOUNT_OK)
        gone = apply(room, object, &output);
    base_spin_unlock(&room->borrow_lock);
    finish(room, gone, output.drop);
}

void object_drop_handle(struct task_room *room, uint64_t handle)
{
    struct object *object = object_find(room, handle);
    if (object)
        object_drop(room, object);
    else
        base_log(BASE_LOG_ERROR, "task", "a hold on %#llx was to be dropped, but there is no record of it",
                 (unsigned long long)handle);
}

struct object *object_accept(struct task_room *room, uint64_t handle, struct task_id id, int forwarder,
                             uint64_t token)
{
    static const char *const label = "borrowed ref";
    struct refcount_output output = {0};
    int tries = 0;
    base_spin_lock(&room->borrow_lock);
    struct object *object = arrived(room, handle, &tries);
    int status =
        refcount_accept(object ? &object->count : NULL, room->config.rank, handle, forwarder, token, &output);
    if (status == REFCOUNT_OK && output.verdict == REFCOUNT_CREATE) {
        while (!(object = hash_create(room, handle, &label)))
            base_await_memory(&tries, "task", "a ref from another rank");
        atomic_store_explicit(&object->first, OBJECT_BORROWED, memory_order_relaxed);
        object->parent = id;
    }
    if (status != REFCOUNT_OK) {
        base_spin_unlock(&room->borrow_lock);
        base_fail(RAYMPI_ERR_RELEASED, "ref %#llx can not be taken over: %s", (unsigned long long)handle,
                  refcount_status_name(status));
        return NULL;
    }
    if (output.has_message)
        ref_send(room, &output.message);
    base_spin_unlock(&room->borrow_lock);
    finish(room, NULL, output.drop);
    return object;
}

struct object *object_actor_borrow(struct task_room *room, uint64_t handle, const char *const *label)
{
    base_spin_lock(&room->borrow_lock);
    struct object *object = hash_create(room, handle, label);
    base_spin_unlock(&room->borrow_lock);
    return object;
}

struct object *object_actor_new(struct task_room *room, uint64_t handle, int holder, const char *const *label)
{
    base_spin_lock(&room->borrow_lock);
    struct object *object = record_find(room, handle); /* others may have been faster than this news */
    if (object)
        object->label = label;
    else
        object = actor_record(room, handle, holder, label);
    base_spin_unlock(&room->borrow_lock);
    return object;
}

struct object *object_retain_alive(struct task_room *room, uint64_t handle)
{
    base_spin_lock(&room->borrow_lock);
    struct object *object = record_find(room, handle);
    uint64_t count = object ? atomic_load_explicit(&object->count.count, memory_order_relaxed) : 0;
    while ((uint32_t)count > 0 &&
           !atomic_compare_exchange_weak_explicit(&object->count.count, &count, count + 1,
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
    base_spin_unlock(&room->borrow_lock);
    return (uint32_t)count > 0 ? object : NULL;
}

void ref_on_message(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct refcount_message decoded;
    struct refcount_output output = {0};
    if (refcount_decode(message->data, message->length, room->config.size, room->config.rank, &decoded) !=
        REFCOUNT_OK) {
        base_log(BASE_LOG_WARN, "task", "malformed counting message from rank %d dropped", message->source);
        return;
    }
    struct object *gone = NULL;
    int tries = 0, status;
    base_spin_lock(&room->borrow_lock);
    struct object *object = arrived(room, decoded.handle, &tries);
    while ((status = refcount_receive(object ? &object->count : NULL, room->config.rank, message->source,
                                      &decoded, &output)) == REFCOUNT_E_MEMORY)
        base_await_memory(&tries, "task", "the list of ranks that hold an object");
    if (status == REFCOUNT_OK)
        gone = apply(room, object, &output);
    base_spin_unlock(&room->borrow_lock);
    if (status != REFCOUNT_OK)
        base_log(BASE_LOG_ERROR, "task", "%s from rank %d about %#llx: %s", refcount_kind_name(decoded.kind),
                 message->source, (unsigned long long)decoded.handle, refcount_status_name(status));
    finish(room, gone, status == REFCOUNT_OK ? output.drop : 0);
}

/* ---- values of borrowed objects */

void object_want(struct task_room *room, struct object *object)
{
    uint64_t handle = object_handle(object);
    int owner = refcount_owner(handle);
    if (owner == room->config.rank || object_ready(object) ||
        __atomic_exchange_n(&object->wanted, 1, __ATOMIC_RELAXED))
        return;
    struct net_piece piece = {&handle, sizeof handle};
    int status = net_send(room->net, owner, TASK_MESSAGE_WANT, &piece, 1);
    if (status != RAYMPI_OK)
        object_fail(room, object, status, object_label(object), base_detail());
}

static void send_value(struct task_room *room, struct object *object, int rank)
{
    struct writer writer;
    writer_init(&writer);
    writer.sure = true;
    writer.far = net_local(room->net, rank) < 0;
    write_u64(&writer, object_handle(object));
    write_u32(&writer, (uint32_t)object->status);
    write_value(room, &writer, &object->value);
    object_see(object);
    value_error_see(value_behind(&object->value));
    if (writer_send(room, &writer, rank, TASK_MESSAGE_VALUE) != RAYMPI_OK)
        base_log(BASE_LOG_ERROR, "task", "the value of %s could not be sent to rank %d: %s",
                 object_label(object), rank, base_detail());
    writer_fini(&writer);
}

struct remote_waiter {
    struct waiter waiter;
    struct task_room *room;
    int rank;
};

static void remote_fire(struct waiter *waiter, struct object *object)
{
    struct remote_waiter *remote = base_container(waiter, struct remote_waiter, waiter);
    send_value(remote->room, object, remote->rank);
    free(remote);
}

bool waiter_is_remote(const struct waiter *waiter)
{
    return waiter->fire == remote_fire;
}

void ref_on_want(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    uint64_t handle;
    if (message->length != sizeof handle)
        return;
    memcpy(&handle, message->data, sizeof handle);
    struct object *object = object_find(room, handle);
    if (!object || !object_owned(room, handle)) { /* an actor has no value */
        base_log(BASE_LOG_ERROR, "task", "rank %d wants %#llx, which is not here", message->source,
                 (unsigned long long)handle);
        return;
    }
    if (object_ready(object)) {
        send_value(room, object, message->source);
        return;
    }
    struct remote_waiter *remote =
        base_alloc_sure(sizeof *remote, "task", "another rank's wish for the value of an object");
    *remote = (struct remote_waiter){{.fire = remote_fire}, room, message->source};
    if (!object_wait_add(object, &remote->waiter))
        remote_fire(&remote->waiter, object);
}

/* `object`: a hold of the caller's. */
static void value_arrived(struct task_room *room, struct object *object, int status, struct value *value)
{
    if (value->kind == VALUE_ERROR && status == RAYMPI_OK) { /* what there was could not be sent */
        value_error_name(value, object_label(object));
        status = value_error_code(value);
    }
    object->status = status;
    value_move(&object->value, value);
    object_complete(room, object);
    object_drop(room, object);
}

/* The record that wants it, held while we fill it, since it may go at any moment; NULL: it was released
 * meanwhile, or never wanted it. */
static struct object *who_wants(struct task_room *room, uint64_t handle, int source)
{
    base_spin_lock(&room->borrow_lock);
    struct object *object = record_find(room, handle);
    bool use =
        object && refcount_owner(handle) == source && source != room->config.rank && !object_ready(object);
    if (use)
        object_retain(object);
    base_spin_unlock(&room->borrow_lock);
    return use ? object : NULL;
}

void ref_on_value(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct reader reader = {.at = message->data, .end = (const char *)message->data + message->length};
    uint64_t handle = read_u64(&reader);
    int status = (int)read_u32(&reader);
    struct value value;
    if (!read_value(room, &reader, &value)) {
        base_log(BASE_LOG_WARN, "task", "malformed value from rank %d dropped", message->source);
        return;
    }
    struct object *object = who_wants(room, handle, message->source);
    if (object)
        value_arrived(room, object, status, &value);
    else
        value_drop(room, &value, false);
}
