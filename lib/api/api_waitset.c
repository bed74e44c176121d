/* Wait sets: every member reports itself once, so that waiting costs the same whatever the size of the set.
 */
#include "api/api.h"

#include <stdlib.h>

struct entry {
    struct waiter waiter;
    struct raympi_waitset *set;
    struct object *object; /* one hold */
    uint64_t tag;
    bool ready;                /* in the ready list; under the set's lock */
    _Atomic int fired;         /* the one who completed the object has let go of us */
    struct entry *prev, *next; /* all members */
    struct entry *ready_next;
};

struct raympi_waitset {
    struct task_room *room;
    struct base_spin lock;
    struct entry *all;
    struct entry *ready_head, *ready_tail;
    size_t count;
    struct sched_parker *parker;
};

static void ready_append(struct raympi_waitset *set, struct entry *entry)
{
    entry->ready = true;
    entry->ready_next = NULL;
    if (set->ready_tail)
        set->ready_tail->ready_next = entry;
    else
        set->ready_head = entry;
    set->ready_tail = entry;
}

static void entry_fire(struct waiter *waiter, struct object *object)
{
    (void)object;
    struct entry *entry = base_container(waiter, struct entry, waiter);
    struct raympi_waitset *set = entry->set;
    base_spin_lock(&set->lock);
    ready_append(set, entry);
    if (set->parker)
        sched_unpark(set->parker); /* under the lock: the parker can not go away */
    base_spin_unlock(&set->lock);
    /* Release: the last touch of entry and set. */
    atomic_store_explicit(&entry->fired, 1, memory_order_release);
}

int raympi_waitset_create(raympi_waitset **set)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    raympi_waitset *made = set ? calloc(1, sizeof *made) : NULL;
    if (!made) {
        status = set ? base_fail(RAYMPI_ERR_MEMORY, "no memory for a wait set")
                     : base_fail(RAYMPI_ERR_ARGUMENT, "raympi_waitset_create needs a place for the set");
    } else {
        made->room = thread->room;
        base_spin_init(&made->lock);
        *set = made;
    }
    api_leave(thread);
    return status;
}

static void link_entry(raympi_waitset *set, struct entry *entry)
{
    entry->prev = NULL;
    entry->next = set->all;
    if (set->all)
        set->all->prev = entry;
    set->all = entry;
    set->count++;
}

static int add(struct task_thread *thread, raympi_waitset *set, uint64_t handle, uint64_t tag)
{
    struct object *object = NULL;
    int status = task_handle_is_actor(handle) ? base_fail(RAYMPI_ERR_TYPE, "an actor handle is no ref")
                                              : object_hold(thread, handle, &object);
    if (status != RAYMPI_OK)
        return status;
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry) {
        object_drop(thread->room, object);
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a member of a wait set");
    }
    *entry = (struct entry){.waiter = {.fire = entry_fire}, .set = set, .object = object, .tag = tag};
    base_spin_lock(&set->lock);
    link_entry(set, entry);
    base_spin_unlock(&set->lock);
    if (object_wait_add(object, &entry->waiter))
        object_want(thread->room, object);
    else
        entry_fire(&entry->waiter, object);
    return RAYMPI_OK;
}

int raympi_waitset_add(raympi_waitset *set, raympi_ref ref, uint64_t tag)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = set ? add(thread, set, ref.handle, tag)
                 : base_fail(RAYMPI_ERR_ARGUMENT, "the wait set is a null pointer");
    api_leave(thread);
    return status;
}

static void unlink_entry(raympi_waitset *set, struct entry *entry)
{
    if (entry->prev)
        entry->prev->next = entry->next;
    else
        set->all = entry->next;
    if (entry->next)
        entry->next->prev = entry->prev;
    set->count--;
}

/* Takes the oldest ready member out. */
static struct entry *take(raympi_waitset *set, struct sched_parker *parker)
{
    base_spin_lock(&set->lock);
    struct entry *entry = set->ready_head;
    if (entry) {
        set->ready_head = entry->ready_next;
        if (!set->ready_head)
            set->ready_tail = NULL;
        unlink_entry(set, entry);
    }
    set->parker = entry ? NULL : parker;
    base_spin_unlock(&set->lock);
    return entry;
}

/* As if it had not been taken. */
static void put_back(raympi_waitset *set, struct entry *entry)
{
    base_spin_lock(&set->lock);
    link_entry(set, entry);
    entry->ready_next = set->ready_head;
    set->ready_head = entry;
    if (!set->ready_tail)
        set->ready_tail = entry;
    base_spin_unlock(&set->lock);
}

static int take_waiting(struct task_thread *thread, raympi_waitset *set, uint64_t deadline,
                        struct entry **entry)
{
    int status = RAYMPI_OK;
    while (!(*entry = take(set, NULL)) && status == RAYMPI_OK) {
        struct sched_parker parker;
        sched_parker_init(thread->room->sched, &parker,
                          (struct sched_reason){thread->context->name, "wait set", 0, false});
        if ((*entry = take(set, &parker)))
            return RAYMPI_OK;
        status = task_park(&parker, deadline);
        base_spin_lock(&set->lock);
        set->parker = NULL;
        base_spin_unlock(&set->lock);
    }
    if (*entry)
        return RAYMPI_OK;
    if (status == RAYMPI_ERR_TIMEOUT)
        return base_fail(status, "no ref of the wait set was ready in time");
    if (status == RAYMPI_ERR_DEADLOCK)
        return base_fail(status, "no ref of the wait set can ever be ready: everything in the job waits (see "
                                 "the report on stderr)");
    return status;
}

static void entry_free(struct entry *entry)
{
    base_spin_until(&entry->fired); /* its firer is in its last instructions */
    free(entry);
}

static int wait_one(struct task_thread *thread, raympi_waitset *set, double timeout, raympi_ref *ref,
                    uint64_t *tag)
{
    struct entry *entry;
    if (!set || !ref)
        return base_fail(RAYMPI_ERR_ARGUMENT, "raympi_waitset_wait needs a set and a place for the ref");
    if (timeout != timeout)
        return base_fail(RAYMPI_ERR_ARGUMENT, "the timeout is not a number");
    if (set->count == 0)
        return base_fail(RAYMPI_ERR_ARGUMENT, "the wait set is empty");
    int status = take_waiting(thread, set, task_deadline(thread->room, timeout), &entry);
    if (status != RAYMPI_OK)
        return status;
    status = context_hold(thread->context, entry->object);
    if (status != RAYMPI_OK) {
        put_back(set, entry);
        return status;
    }
    ref->handle = object_handle(entry->object);
    if (tag)
        *tag = entry->tag;
    entry_free(entry);
    return RAYMPI_OK;
}

int raympi_waitset_wait(raympi_waitset *set, double timeout, raympi_ref *ref, uint64_t *tag)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = wait_one(thread, set, timeout, ref, tag);
    api_leave(thread);
    return status;
}

size_t raympi_waitset_size(const raympi_waitset *set)
{
    return set ? set->count : 0;
}

/* In two rounds: a member that fires is linked behind one that has fired before. */
static void destroy(struct task_room *room, raympi_waitset *set)
{
    for (struct entry *entry = set->all; entry; entry = entry->next) {
        if (object_wait_remove(entry->object, &entry->waiter))
            atomic_store_explicit(&entry->fired, 1, memory_order_relaxed);
        base_spin_until(&entry->fired);
    }
    for (struct entry *entry = set->all, *next; entry; entry = next) {
        next = entry->next;
        object_drop(room, entry->object);
        free(entry);
    }
    free(set);
}

int raympi_waitset_destroy(raympi_waitset *set)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    if (!set)
        status = base_fail(RAYMPI_ERR_ARGUMENT, "the wait set is a null pointer");
    else
        destroy(thread->room, set);
    api_leave(thread);
    return status;
}
