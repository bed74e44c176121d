/* Actors on their host: making, mailbox, running, end. */
#include "actor/actor_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define TURN 16 /* methods that an actor runs before others get their turn */

static void actor_item_run(struct sched_item *item);

static struct actor *table_find(struct actor_room *room, uint64_t handle)
{
    struct actor *actor = room->recent;
    if (base_likely(actor && actor->handle == handle))
        return actor;
    HASH_FIND(hh, room->table, &handle, sizeof handle, actor);
    if (actor)
        room->recent = actor;
    return actor;
}

static struct actor *table_add(struct actor_room *room, uint64_t handle)
{
    struct actor *actor = calloc(1, sizeof *actor);
    if (!actor)
        return NULL;
    actor->item.run = actor_item_run;
    actor->room = room;
    actor->handle = handle;
    base_spin_init(&actor->lock);
    base_spin_init(&actor->kept.lock);
    HASH_ADD(hh, room->table, handle, sizeof handle, actor);
    if (actor->hh.tbl)
        return actor;
    free(actor);
    return NULL;
}

static int creator_of(uint64_t handle)
{
    return (int)(handle >> ACTOR_NUMBER_BITS & ((1u << REFCOUNT_RANK_BITS) - 1));
}

static uint32_t number_of(uint64_t handle)
{
    return (uint32_t)(handle & ((1u << ACTOR_NUMBER_BITS) - 1));
}

void actor_delete(struct actor *actor)
{
    free(actor->state);
    free(actor);
}

/* Called with the actor's lock held. */
static void schedule(struct actor *actor)
{
    if (actor->scheduled || !actor->born)
        return;
    actor->scheduled = true;
    sched_push_pinned(actor->room->tasks->sched, &actor->item);
}

/* ---- what its end is called */

static const char *ending_reason(enum actor_ending ending)
{
    switch (ending) {
    case ACTOR_KILLED:
        return "the actor was killed";
    case ACTOR_EXITED:
        return "the actor has exited";
    case ACTOR_FAILED:
        return "the actor could not be made";
    case ACTOR_JOB_ENDS:
        return "the job has ended";
    default:
        return "the actor's last handle was released";
    }
}

/* The maker has counted it, so that others see at once where actors are. */
static void uncount(struct actor_room *room)
{
    atomic_fetch_sub(&net_board(room->tasks->net, room->tasks->config.rank)->actors, 1);
}

/* Under the lock. The first ending counts. */
static bool set_ending(struct actor *actor, enum actor_ending ending, int code, const char *reason)
{
    if (actor->dead || actor->ending != ACTOR_LIVES)
        return false;
    actor->ending = ending;
    uncount(actor->room);
    actor->code = code ? code : RAYMPI_ERR_ACTOR_DEAD;
    snprintf(actor->reason, sizeof actor->reason, "%s", reason ? reason : ending_reason(ending));
    atomic_store_explicit(&actor->unseen, ending == ACTOR_FAILED, memory_order_relaxed);
    return true;
}

/* ---- making */

/* Called with the actor's lock held. */
static void take_class(struct actor *actor, uint64_t class_hash)
{
    struct task_function *klass = task_function_find(class_hash);
    if (class_hash == ACTOR_NO_CLASS)
        return; /* a handle that only tells why there is no actor; that is said next */
    actor->klass = klass;
    if (!klass || !klass->definition || !klass->is_class) {
        set_ending(actor, ACTOR_FAILED, 0, "its class is not registered on its rank");
        return;
    }
    size_t size = base_align_up(klass->definition->state_size ? klass->definition->state_size : 1, 64);
    actor->state = aligned_alloc(64, size);
    if (!actor->state) {
        set_ending(actor, ACTOR_FAILED, 0, "no memory for its state");
        return;
    }
    memset(actor->state, 0, size);
}

int actor_born(struct actor_room *room, uint64_t handle, uint64_t class_hash, int creator)
{
    static const char *const unknown = "actor";
    struct task_function *klass = task_function_find(class_hash);
    if (!object_actor_new(room->tasks, handle, creator, klass ? &klass->name : &unknown))
        return RAYMPI_ERR_MEMORY;
    base_spin_lock(&room->lock);
    struct actor *actor = table_find(room, handle);
    if (actor && actor->born) {
        base_spin_unlock(&room->lock);
        return base_fail(RAYMPI_ERR_ARGUMENT, "there is one of this handle");
    }
    if (!actor)
        actor = table_add(room, handle);
    /* Release: who sees the number finds the record of the handle. */
    atomic_store_explicit(&room->born[creator], number_of(handle), memory_order_release);
    if (actor) {
        base_spin_lock(&actor->lock);
        actor->born = true;
        take_class(actor, class_hash);
        if (actor->head || actor->ending != ACTOR_LIVES)
            schedule(actor);
        base_spin_unlock(&actor->lock);
    }
    base_spin_unlock(&room->lock);
    return actor ? RAYMPI_OK : base_fail(RAYMPI_ERR_MEMORY, "no memory for an actor");
}

void actor_on_new(void *arg, const struct net_message *message)
{
    struct actor_room *room = arg;
    uint64_t words[2];
    if (message->length != sizeof words)
        return;
    memcpy(words, message->data, sizeof words);
    if (refcount_owner(words[0]) != room->tasks->config.rank || !task_handle_is_actor(words[0]) ||
        creator_of(words[0]) != message->source) {
        base_log(BASE_LOG_WARN, "actor", "malformed news of an actor from rank %d dropped", message->source);
        return;
    }
    int tries = 0, status;
    /* A maker on another host has counted it on what it knows of this rank's board only. */
    bool far = net_local(room->tasks->net, message->source) < 0;
    if (far)
        atomic_fetch_add(&net_board(room->tasks->net, room->tasks->config.rank)->actors, 1);
    while ((status = actor_born(room, words[0], words[1], message->source)) == RAYMPI_ERR_MEMORY)
        base_await_memory(&tries, "actor", "another rank's actor");
    if (status == RAYMPI_OK)
        return;
    if (far)
        uncount(room);
    base_log(BASE_LOG_WARN, "actor", "news of an actor from rank %d dropped: %s", message->source,
             base_detail());
}

/* ---- mailbox */

static void mailbox_append(struct actor *actor, struct task *first, struct task *last)
{
    last->next = NULL;
    if (actor->head && base_defect(DEFECT_REORDERED_CALL)) {
        last->next = actor->head;
        actor->head = first;
        return;
    }
    if (actor->tail)
        actor->tail->next = first;
    else
        actor->head = first;
    actor->tail = last;
}

/* The next call to run. Before construction that is the constructor, wherever it stands: other ranks may have
 * been faster than the maker. */
static struct task *mailbox_next(struct actor *actor)
{
    struct task **link = &actor->head, *before = NULL;
    if (!actor->constructed)
        while (*link && task_hash(*link) != actor->room->constructor_hash) {
            before = *link;
            link = &(*link)->next;
        }
    struct task *task = *link;
    if (!task)
        return NULL;
    *link = task->next;
    if (actor->tail == task)
        actor->tail = before;
    task->next = NULL;
    return task;
}

/* The rank whose news of this actor is still on its way to us, -1: none. */
int actor_unborn(void *arg, uint64_t handle)
{
    struct actor_room *room = arg;
    int creator = creator_of(handle);
    if (refcount_owner(handle) != room->tasks->config.rank || creator >= room->tasks->config.size)
        return -1;
    return number_of(handle) > atomic_load_explicit(&room->born[creator], memory_order_acquire) ? creator
                                                                                                : -1;
}

/* Finds an actor, or makes a place for what comes before the news of it, and locks it. NULL: it is gone. */
static struct actor *actor_lock(struct actor_room *room, uint64_t handle)
{
    int tries = 0;
    base_spin_lock(&room->lock);
    struct actor *actor = table_find(room, handle);
    while (!actor && actor_unborn(room, handle) >= 0 && !(actor = table_add(room, handle)))
        base_await_memory(&tries, "actor", "calls of another rank's actor");
    if (actor)
        base_spin_lock(&actor->lock);
    base_spin_unlock(&room->lock);
    return actor;
}

/* These calls are not waited for; the others let those run that were made before the end. */
static bool ending_at_once(enum actor_ending ending)
{
    return ending == ACTOR_KILLED || ending == ACTOR_FAILED || ending == ACTOR_EXITED;
}

static void fail_call(struct actor *actor, struct task *task)
{
    struct object *record = task_object(task);
    if (!record->function && actor->klass)
        record->function = task_method_find(actor->klass, task_hash(task));
    atomic_store_explicit(&actor->unseen, false, memory_order_relaxed);
    task_fail(task, actor->code, actor->reason);
}

static void fail_mailbox(struct actor *actor, struct task *head)
{
    while (head) {
        struct task *next = head->next;
        fail_call(actor, head);
        head = next;
    }
}

/* Calls of one actor, linked. */
static void deliver(struct actor_room *room, struct task *first, struct task *last)
{
    struct actor *actor = actor_lock(room, first->rest->actor);
    last->next = NULL;
    if (base_unlikely(!actor)) {
        for (struct task *next; first; first = next) {
            next = first->next;
            task_fail(first, RAYMPI_ERR_ACTOR_DEAD, "the actor has ended");
        }
        return;
    }
    bool closed = ending_at_once(actor->ending);
    if (!closed) {
        mailbox_append(actor, first, last);
        schedule(actor);
    }
    base_spin_unlock(&actor->lock);
    if (closed) /* its reason does not change any more, and the calls' holds keep the actor */
        fail_mailbox(actor, first);
}

void actor_deliver(struct actor_room *room, struct task *task)
{
    deliver(room, task, task);
}

/* What came in this poll and is not delivered yet. */
static void arrived_deliver(struct actor_room *room)
{
    struct task *first = room->arrived;
    room->arrived = NULL;
    if (first)
        deliver(room, first, room->arrived_last);
}

void actor_arrive(void *arg, struct task *task)
{
    struct actor_room *room = arg;
    if (room->arrived && room->arrived->rest->actor != task->rest->actor)
        arrived_deliver(room);
    if (room->arrived)
        room->arrived_last->next = task;
    else
        room->arrived = task;
    room->arrived_last = task;
}

void actor_arrived(void *arg)
{
    arrived_deliver(arg);
}

/* ---- end */

void actor_end(struct actor_room *room, uint64_t handle, enum actor_ending ending, int code,
               const char *reason)
{
    struct task *calls = NULL;
    struct actor *actor = actor_lock(room, handle);
    if (!actor)
        return;
    if (ending == ACTOR_ABANDONED) {
        actor->unheld = true;
    } else if (set_ending(actor, ending, code, reason)) {
        calls = actor->head; /* they need not wait for the running method, which may wait for one of them */
        actor->head = actor->tail = NULL;
    }
    schedule(actor);
    base_spin_unlock(&actor->lock);
    fail_mailbox(actor, calls); /* their holds keep the actor */
}

void actor_handle_free(void *arg, uint64_t handle)
{
    actor_end(arg, handle, ACTOR_ABANDONED, 0, NULL);
}

/* Words handle, ending and code; then a text, for a failure. */
void actor_on_kill(void *arg, const struct net_message *message)
{
    uint64_t words[3];
    char text[512] = "";
    if (message->length < sizeof words || message->length - sizeof words >= sizeof text)
        return;
    arrived_deliver(arg); /* calls that were made before */
    memcpy(words, message->data, sizeof words);
    memcpy(text, (const char *)message->data + sizeof words, message->length - sizeof words);
    if (words[1] == ACTOR_FAILED)
        actor_end(arg, words[0], ACTOR_FAILED, (int)words[2], text);
    else
        actor_end(arg, words[0], ACTOR_KILLED, 0, NULL);
}

/* It could not be made, and no call was there to be told. */
static void note_unseen(struct actor *actor)
{
    if (!atomic_exchange_explicit(&actor->unseen, false, memory_order_relaxed))
        return;
    atomic_fetch_add(&actor->room->tasks->unseen, 1);
    base_log(BASE_LOG_ERROR, "actor",
             "error that nobody looked at: an actor of class %s could not be made: %s",
             actor->klass ? actor->klass->name : "?", actor->reason);
}

void actor_end_all(void *arg)
{
    struct actor_room *room = arg;
    struct actor *actor, *next;
    base_spin_lock(&room->lock);
    HASH_ITER (hh, room->table, actor, next) {
        base_spin_lock(&actor->lock);
        note_unseen(actor);
        if (set_ending(actor, ACTOR_JOB_ENDS, 0, NULL))
            schedule(actor);
        base_spin_unlock(&actor->lock);
    }
    base_spin_unlock(&room->lock);
}

static void run_destructor(struct actor *actor)
{
    struct actor_room *room = actor->room;
    struct task_function *destructor =
        actor->constructed ? task_method_find(actor->klass, room->destructor_hash) : NULL;
    struct task *task = destructor ? task_new(room->tasks) : NULL;
    if (!task)
        return;
    struct object *record = task_object(task);
    record->function = destructor;
    record->parent = task_id_root(2, actor->handle >> 32, actor->handle & UINT32_MAX);
    record->child = 0;
    task_rest_new(task, 0); /* it has one */
    task->flags |= TASK_VOID | TASK_CALL;
    task->rest->actor = actor->handle;
    atomic_fetch_add(&task_self->submitted, 1); /* its end is counted like any task's */
    struct task_outcome outcome;
    task_run(task, actor->state, actor, &actor->kept, &outcome);
    if (outcome.status != RAYMPI_OK) {
        if (actor->ending != ACTOR_JOB_ENDS)           /* what it calls may have ended first */
            atomic_fetch_add(&room->tasks->unseen, 1); /* nobody has a ref that could tell */
        base_log(BASE_LOG_ERROR, "actor", "the destructor of class %s failed: %s", actor->klass->name,
                 outcome.text);
    }
}

/* Ends the actor for good: destructor, kept refs, state. The item is ours: nobody else runs the actor. */
static void bury(struct actor *actor)
{
    run_destructor(actor);
    lane_leave_list(actor->room, &actor->lanes);
    kept_drop_all(actor->room->tasks, &actor->kept);
    free(actor->state);
    actor->state = NULL;
    base_spin_lock(&actor->lock);
    set_ending(actor, ACTOR_ABANDONED, 0, NULL);
    actor->dead = true;
    base_spin_unlock(&actor->lock);
}

/* ---- running */

static void constructor_ran(struct actor *actor, const struct task_outcome *outcome)
{
    char reason[sizeof actor->reason];
    snprintf(reason, sizeof reason, "its constructor failed: %.400s", outcome->text);
    base_spin_lock(&actor->lock);
    actor->constructed = outcome->status == RAYMPI_OK;
    if (outcome->status != RAYMPI_OK)
        set_ending(actor, ACTOR_FAILED, RAYMPI_ERR_ACTOR_DEAD, reason);
    base_spin_unlock(&actor->lock);
    if (outcome->status != RAYMPI_OK)
        base_log(BASE_LOG_ERROR, "actor", "an actor of class %s could not be made: %s", actor->klass->name,
                 reason);
}

static struct task_function *method_of(struct actor *actor, uint64_t hash)
{
    struct task_function *method = actor->recent;
    if (base_likely(method && method->hash == hash))
        return method;
    method = task_method_find(actor->klass, hash);
    if (method)
        actor->recent = method;
    return method;
}

static void run_call(struct actor *actor, struct task *task)
{
    struct actor_room *room = actor->room;
    bool constructor = task_hash(task) == room->constructor_hash;
    struct task_function *method = method_of(actor, task_hash(task));
    if (!method && (constructor || task_hash(task) == room->ping_hash)) {
        task_succeed(task);
        if (constructor)
            constructor_ran(actor, &(struct task_outcome){RAYMPI_OK, false, ""});
        return;
    }
    if (!method) {
        char text[160];
        snprintf(text, sizeof text, "class %s has no such method", actor->klass->name);
        task_fail(task, RAYMPI_ERR_UNKNOWN, text); /* the caller knows its name */
        return;
    }
    /* Of a call from here the record is the result's too, and others may look at its label. */
    __atomic_store_n(&task_object(task)->function, method, __ATOMIC_RELAXED);
    struct task_outcome outcome;
    task_run(task, actor->state, actor, &actor->kept, &outcome);
    if (constructor)
        constructor_ran(actor, &outcome);
    if (outcome.exit_actor) {
        base_spin_lock(&actor->lock);
        set_ending(actor, ACTOR_EXITED, 0, NULL);
        base_spin_unlock(&actor->lock);
    }
}

/* What to do next, under the lock. */
enum turn { TURN_CALL, TURN_BURY, TURN_FAIL, TURN_DELETE, TURN_REST };

static enum turn next_turn(struct actor *actor, struct task **task)
{
    *task = NULL;
    if (actor->dead) {
        *task = actor->head;
        actor->head = actor->tail = NULL;
        if (*task)
            return TURN_FAIL;
        return actor->unheld ? TURN_DELETE : TURN_REST;
    }
    if (ending_at_once(actor->ending))
        return TURN_BURY;
    *task = mailbox_next(actor);
    if (*task)
        return TURN_CALL;
    return actor->ending == ACTOR_JOB_ENDS || (actor->unheld && !actor->head) ? TURN_BURY : TURN_REST;
}

/* Nobody holds a handle, so nobody will ask for it any more. */
static void remove_actor(struct actor *actor)
{
    struct actor_room *room = actor->room;
    base_spin_lock(&room->lock);
    HASH_DEL(room->table, actor);
    if (room->recent == actor)
        room->recent = NULL;
    /* Who found it before has its lock by now, and lets go of it without another look. */
    base_spin_lock(&actor->lock);
    base_spin_unlock(&actor->lock);
    base_spin_unlock(&room->lock);
    note_unseen(actor);
    actor_delete(actor);
}

static bool take_turn(struct actor *actor)
{
    struct task *task;
    base_spin_lock(&actor->lock);
    enum turn turn = next_turn(actor, &task);
    if (turn == TURN_REST)
        actor->scheduled = false;
    task_self->follows = actor->head != NULL;
    base_spin_unlock(&actor->lock);
    switch (turn) {
    case TURN_CALL:
        run_call(actor, task);
        return true;
    case TURN_FAIL:
        fail_mailbox(actor, task);
        return true;
    case TURN_BURY:
        bury(actor);
        return true;
    case TURN_DELETE:
        remove_actor(actor);
        return false;
    default:
        return false;
    }
}

static void actor_item_run(struct sched_item *item)
{
    struct actor *actor = base_container(item, struct actor, item);
    struct sched *sched = actor->room->tasks->sched;
    bool more = true;
    for (int i = 0; i < TURN && more; i++)
        more = take_turn(actor);
    task_self->follows = false;
    if (more)
        sched_push_pinned(sched, item);
}
