/* Records of objects: type-stable slots for those owned here, a hash for those borrowed from other ranks.
 * A handle is rank (20 bits), actor flag, generation (19 bits), slot (24 bits); a slot whose generations are
 * used up is never used again. */
#include "task/task_internal.h"

#include <stdlib.h>

#define SLOT_BITS       24
#define GENERATION_BITS 19
#define GENERATION_LAST ((UINT64_C(1) << GENERATION_BITS) - 1)
#define THREAD_SPARE                                                                                         \
    256 /* free records that a thread keeps; surplus goes to the room, half of it at a time */

static uint64_t handle_make(int rank, uint64_t generation, uint64_t slot)
{
    return (uint64_t)rank << REFCOUNT_SEQUENCE_BITS | generation << SLOT_BITS | slot;
}

/* While a slot is free, its `child` word remembers the slot and `parent.word[0]` the generation. */
static struct object *slot_fresh(struct task_room *room)
{
    base_spin_lock(&room->slab_lock);
    struct object *object = NULL;
    if (room->free_objects) {
        object = room->free_objects;
        room->free_objects = object->next_free;
        base_spin_unlock(&room->slab_lock);
        return object;
    }
    if (room->slot_used == OBJECT_SLAB && room->slab_used < OBJECT_SLABS) {
        struct object *slab = aligned_alloc(BASE_CACHE_LINE, OBJECT_SLAB * sizeof *slab);
        if (slab) {
            memset(slab, 0, OBJECT_SLAB * sizeof *slab);
            /* Release: who finds a handle in this slab sees it zeroed. */
            atomic_store_explicit(&room->slabs[room->slab_used++], slab, memory_order_release);
            room->slot_used = 0;
        }
    }
    if (room->slot_used < OBJECT_SLAB) {
        uint32_t slab = room->slab_used - 1;
        object = atomic_load_explicit(&room->slabs[slab], memory_order_relaxed) + room->slot_used;
        object->child = slab * OBJECT_SLAB + room->slot_used++;
        object->parent.word[0] = 0;
    }
    base_spin_unlock(&room->slab_lock);
    return object;
}

struct object *object_alloc(struct task_room *room)
{
    struct task_thread *thread = task_self;
    struct object *object = thread && thread->room == room ? thread->free_objects : NULL;
    if (object) {
        thread->free_objects = object->next_free;
        thread->free_object_count--;
        return object;
    }
    object = slot_fresh(room);
    if (!object)
        base_fail(RAYMPI_ERR_MEMORY,
                  "no memory for another object record (16 million may live at once on a rank)");
    return object;
}

static void spare_give_back(struct task_room *room, struct task_thread *thread)
{
    base_spin_lock(&room->slab_lock);
    for (int i = 0; i < THREAD_SPARE / 2; i++) {
        struct object *object = thread->free_objects;
        thread->free_objects = object->next_free;
        object->next_free = room->free_objects;
        room->free_objects = object;
    }
    base_spin_unlock(&room->slab_lock);
    thread->free_object_count -= THREAD_SPARE / 2;
}

void object_free(struct task_room *room, struct object *object)
{
    uint64_t handle = object->count.handle;
    uint64_t generation = (handle >> SLOT_BITS) & GENERATION_LAST;
    object->count.handle = 0;
    if (generation == GENERATION_LAST)
        return; /* the slot has had all the handles that there are for it */
    object->child = (uint32_t)(handle & ((1u << SLOT_BITS) - 1));
    object->parent.word[0] = generation + 1;
    struct task_thread *thread = task_self;
    if (!thread || thread->room != room) {
        base_spin_lock(&room->slab_lock);
        object->next_free = room->free_objects;
        room->free_objects = object;
        base_spin_unlock(&room->slab_lock);
        return;
    }
    object->next_free = thread->free_objects;
    thread->free_objects = object;
    if (++thread->free_object_count > THREAD_SPARE)
        spare_give_back(room, thread);
}

void object_init(struct object *object, uint64_t handle, uint32_t holds, const char *label)
{
    refcount_init(&object->count, handle, holds);
    object->status = RAYMPI_OK;
    atomic_store_explicit(&object->scope_index, 0, memory_order_relaxed);
    atomic_store_explicit(&object->named, 0, memory_order_relaxed);
    object->child = 0;
    object->result = 0;
    object->attempt = 0;
    atomic_store_explicit(&object->seen, 0, memory_order_relaxed);
    atomic_store_explicit(&object->wanted, 0, memory_order_relaxed);
    object->unsealed = 0;
    object->nested_held = 0;
    object->borrowed = 0;
    object->label = label;
    object->producer = NULL;
    object->value.kind = VALUE_NONE;
    object->value.type = 0;
    object->value.nested = 0;
    object->value.length = 0;
    atomic_store_explicit(&object->waiters, 0, memory_order_relaxed);
}

struct object *object_new(struct task_room *room, uint32_t holds, const char *label)
{
    struct object *object = object_alloc(room);
    if (!object)
        return NULL;
    uint64_t slot = object->child, generation = object->parent.word[0];
    if (slot == 0 && generation == 0 && room->config.rank == 0)
        generation = 1; /* handle 0 is null */
    object_init(object, handle_make(room->config.rank, generation, slot), holds, label);
    return object;
}

struct object *object_by_slot(struct task_room *room, uint64_t handle)
{
    uint32_t slot = (uint32_t)(handle & ((1u << SLOT_BITS) - 1));
    struct object *slab = atomic_load_explicit(&room->slabs[slot / OBJECT_SLAB], memory_order_acquire);
    if (!slab)
        return NULL;
    struct object *object = slab + slot % OBJECT_SLAB;
    return object->count.handle == handle ? object : NULL;
}

struct object *object_find(struct task_room *room, uint64_t handle)
{
    if (!task_handle_is_actor(handle) && refcount_owner(handle) == room->config.rank)
        return object_by_slot(room, handle);
    struct object *object;
    base_spin_lock(&room->borrow_lock);
    HASH_FIND(hh, room->borrowed, &handle, sizeof handle, object);
    base_spin_unlock(&room->borrow_lock);
    return object;
}

int object_check(struct task_room *room, uint64_t handle, struct object **object)
{
    if (handle == 0)
        return base_fail(RAYMPI_ERR_ARGUMENT,
                         "the ref is null: it was never set, or the call that made it failed");
    *object = object_find(room, handle);
    if (!*object || atomic_load_explicit(&(*object)->named, memory_order_relaxed) == 0)
        return base_fail(
            RAYMPI_ERR_RELEASED,
            "ref %#llx is not held here: it was released (a task's refs end with the task unless "
            "kept), or it is no ref of this job",
            (unsigned long long)handle);
    return RAYMPI_OK;
}

struct task_id object_id(const struct object *object)
{
    if (object->borrowed)
        return object->parent;
    return task_id_child(task_id_child(object->parent, object->child),
                         (uint64_t)object->result + (UINT64_C(1) << 40));
}

void object_retain(struct object *object)
{
    refcount_retain(&object->count);
}

/* What the owner held for the object's bytes. */
static void nested_drop(struct task_room *room, struct object *object)
{
    uint32_t count;
    const raympi_wire_ref *wires = value_nested(room, &object->value, &count);
    for (uint32_t i = 0; i < count; i++)
        object_drop_handle(room, wires[i].handle);
}

/* Nobody can seal it any more. Whoever was promised the value (ranks that have let go of it since) is told.
 */
static void unsealed_end(struct task_room *room, struct object *object)
{
    value_drop(room, &object->value, true);
    atomic_store_explicit(&object->seen, 1, memory_order_relaxed);
    object_fail(room, object, RAYMPI_ERR_RELEASED, object->label, "it was released before it was sealed");
}

static void destroy_one(struct task_room *room, struct object *object)
{
    uint64_t handle = object_handle(object);
    bool owner = refcount_owner(handle) == room->config.rank;
    if (object->unsealed)
        unsealed_end(room, object);
    if (owner && object->status != RAYMPI_OK && !atomic_load_explicit(&object->seen, memory_order_relaxed))
        task_note_unseen(room, object);
    if (object->nested_held)
        nested_drop(room, object);
    value_drop(room, &object->value, owner);
    refcount_fini(&object->count);
    if (task_handle_is_actor(handle) || !owner)
        free(object);
    else
        object_free(room, object);
    if (task_handle_is_actor(handle) && owner)
        room->actor.handle_free(room->actor.arg, handle);
}

/* The last hold is gone, and the record is in no table that others look into with a hold. What an object
 * holds may go with it, and what that holds, and so on: a list that is as long as a user makes it, so not by
 * recursion. */
void object_destroy(struct task_room *room, struct object *object)
{
    static __thread struct object *doomed __attribute__((tls_model("initial-exec")));
    static __thread bool destroying __attribute__((tls_model("initial-exec")));
    object->next_free = doomed;
    doomed = object;
    if (destroying)
        return;
    destroying = true;
    while ((object = doomed)) {
        doomed = object->next_free;
        destroy_one(room, object);
    }
    destroying = false;
}

void object_drop(struct task_room *room, struct object *object)
{
    uint64_t handle = object_handle(object);
    int dropped = refcount_drop(&object->count);
    if (base_likely(dropped == 0))
        return;
    if (dropped < 0) {
        base_log(BASE_LOG_ERROR, "task", "object %#llx (%s) was released more often than held",
                 (unsigned long long)handle, object->label);
        return;
    }
    /* An owner's count that has reached 0 stays there: nobody is left to pass a hold on. No lock is needed.
     */
    if (refcount_owner(handle) == room->config.rank && !task_handle_is_actor(handle)) {
        /* Acquire: what every holder did under its hold comes before the end of the record. */
        (void)atomic_load_explicit(&object->count.count, memory_order_acquire);
        object_destroy(room, object);
    } else {
        object_zero(room, handle);
    }
}

/* ---- waiters: a list whose head word also says "ready" and is its own lock */

static uintptr_t waiters_lock(struct object *object)
{
    uintptr_t word = atomic_load_explicit(&object->waiters, memory_order_acquire);
    for (;;) {
        if (word == OBJECT_READY)
            return word;
        if (word & OBJECT_LOCKED) {
            ck_pr_stall();
            word = atomic_load_explicit(&object->waiters, memory_order_acquire);
            continue;
        }
        /* Acquire: the list as the last holder of the lock left it. */
        if (atomic_compare_exchange_weak_explicit(&object->waiters, &word, word | OBJECT_LOCKED,
                                                  memory_order_acquire, memory_order_acquire))
            return word;
    }
}

bool object_wait_add(struct object *object, struct waiter *waiter)
{
    uintptr_t word = waiters_lock(object);
    if (word == OBJECT_READY)
        return false;
    waiter->next = (struct waiter *)word;
    atomic_store_explicit(&object->waiters, (uintptr_t)waiter, memory_order_release);
    return true;
}

bool object_wait_remove(struct object *object, struct waiter *waiter)
{
    uintptr_t word = waiters_lock(object);
    if (word == OBJECT_READY)
        return false;
    struct waiter *head = (struct waiter *)word;
    struct waiter **link = &head;
    while (*link && *link != waiter)
        link = &(*link)->next;
    bool found = *link != NULL;
    if (found)
        *link = waiter->next;
    atomic_store_explicit(&object->waiters, (uintptr_t)head, memory_order_release);
    return found;
}

static struct waiter *oldest_first(struct waiter *list)
{
    struct waiter *first = NULL;
    while (list) {
        struct waiter *next = list->next;
        list->next = first;
        first = list;
        list = next;
    }
    return first;
}

static void fire_all(struct waiter *first, struct object *object)
{
    while (first) {
        struct waiter *next = first->next;
        first->fire(first, object);
        first = next;
    }
}

/* A waiter may complete the next object (an alias, a task whose argument failed), and so on along a chain
 * that is as long as a user makes it: those wait here, with a hold, until the one that was first has fired
 * all of its own. */
static void wake(struct task_room *room, struct object *object, struct waiter *first)
{
    static __thread struct object *queue __attribute__((tls_model("initial-exec")));
    static __thread struct object **queue_end __attribute__((tls_model("initial-exec")));
    if (queue_end) {
        object_retain(object);
        object->waking = first;
        object->next_free = NULL;
        *queue_end = object;
        queue_end = &object->next_free;
        return;
    }
    queue_end = &queue;
    fire_all(first, object);
    while ((object = queue)) {
        fire_all(object->waking, object);
        queue = object->next_free;
        if (!queue)
            queue_end = &queue;
        object_drop(room, object);
    }
    queue_end = NULL;
}

void object_complete(struct task_room *room, struct object *object)
{
    uintptr_t word = waiters_lock(object);
    if (word == OBJECT_READY) {
        base_log(BASE_LOG_ERROR, "task", "object %#llx (%s) was completed twice",
                 (unsigned long long)object_handle(object), object->label);
        return;
    }
    /* Release: the value comes before "ready". */
    atomic_store_explicit(&object->waiters, OBJECT_READY, memory_order_release);
    if (word)
        wake(room, object, oldest_first((struct waiter *)word));
}

void object_fail(struct task_room *room, struct object *object, int code, const char *task,
                 const char *message)
{
    object->status = code;
    value_error(&object->value, code, room->config.rank, task, message);
    object_complete(room, object);
}
