/* Actors on their host: making, mailbox, running, end. */
#include "actor/actor_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define TURN 16 /* methods that an actor runs before others get their turn */

static void actor_item_run(struct sched_item *item);

static struct actor *table_find(struct actor_room *room, uint64_t handle)
{
    struct actor *actor;
    HASH_FIND(hh, room->table, &handle, sizeof handle, actor);
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
    return actor;
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
    if (actor->scheduled)
        return;
    actor->scheduled = true;
    sched_push_pinned(actor->room->tasks->sched, &actor->item);
}

/* ---- making */

static void set_dead(struct actor *actor, const char *reason)
{
    actor->dead = true;
    snprintf(actor->reason, sizeof actor->reason, "%s", reason);
}

/* Called with the actor's lock held. */
static void take_class(struct actor *actor, uint64_t class_hash)
{
    struct task_function *klass = task_function_find(class_hash);
    actor->klass = klass;
    if (!klass || !klass->definition || !klass->is_class) {
        set_dead(actor, "its class is not registered on its rank");
        return;
    }
    size_t size = base_align_up(klass->definition->state_size ? klass->definition->state_size : 1, 64);
    actor->state = aligned_alloc(64, size);
    if (!actor->state) {
        set_dead(actor, "no memory for its state");
        return;
    }
    memset(actor->state, 0, size);
}

static void count_actors(struct actor_room *room, int change)
{
    struct net_board *board = net_board(room->tasks->net, room->tasks->config.rank);
    atomic_fetch_add(&board->actors, (uint32_t)change);
}

int actor_born(struct actor_room *room, uint64_t handle, uint64_t class_hash, int creator)
{
    struct task_function *klass = task_function_find(class_hash);
    if (!object_actor_new(room->tasks, handle, creator, klass ? klass->name : "actor"))
        return RAYMPI_ERR_MEMORY;
    base_spin_lock(&room->lock);
    struct actor *actor = table_find(room, handle);
    if (!actor)
        actor = table_add(room, handle);
    room->born[creator] = number_of(handle);
    if (actor) {
        base_spin_lock(&actor->lock);
        take_class(actor, class_hash);
        if (!actor->dead)
            count_actors(room, 1);
        if (actor->head || actor->dead)
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
    if (refcount_owner(words[0]) != room->tasks->config.rank || creator_of(words[0]) != message->source) {
        base_log(BASE_LOG_WARN, "actor", "malformed news of an actor from rank %d dropped", message->source);
        return;
    }
    if (actor_born(room, words[0], words[1], message->source) != RAYMPI_OK)
        base_log(BASE_LOG_ERROR, "actor", "an actor for rank %d could not be made: %s", message->source, base_detail());
}

/* ---- mailbox */

static void mailbox_append(struct actor *actor, struct task *task)
{
    task->next = NULL;
    if (actor->tail)
        actor->tail->next = task;
    else
        actor->head = task;
    actor->tail = task;
}

/* The next call to run. Before construction that is the constructor, wherever it stands: other ranks may have been
 * faster than the maker. */
static struct task *mailbox_next(struct actor *actor)
{
    struct task **link = &actor->head, *before = NULL;
    if (!actor->constructed)
        while (*link && (*link)->name_hash != actor->room->constructor_hash) {
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

void actor_deliver(void *arg, struct task *task)
{
    struct actor_room *room = arg;
    uint64_t handle = task->actor;
    base_spin_lock(&room->lock);
    struct actor *actor = table_find(room, handle);
    int creator = creator_of(handle);
    bool unborn = creator < room->tasks->config.size && number_of(handle) > room->born[creator];
    if (!actor && unborn)
        actor = table_add(room, handle);
    if (!actor) {
        base_spin_unlock(&room->lock);
        task_fail(task, RAYMPI_ERR_ACTOR_DEAD, "the actor has ended");
        return;
    }
    base_spin_lock(&actor->lock);
    base_spin_unlock(&room->lock);
    mailbox_append(actor, task);
    if (actor->klass)
        schedule(actor);
    base_spin_unlock(&actor->lock);
}

/* ---- end */

void actor_end(struct actor_room *room, uint64_t handle, enum actor_ending ending)
{
    base_spin_lock(&room->lock);
    struct actor *actor = table_find(room, handle);
    if (actor) {
        base_spin_lock(&actor->lock);
        if (ending == ACTOR_ABANDONED)
            actor->unheld = true;
        else if (!actor->dead && actor->ending == ACTOR_LIVES)
            actor->ending = ending;
        schedule(actor);
        base_spin_unlock(&actor->lock);
    }
    base_spin_unlock(&room->lock);
}

void actor_handle_free(void *arg, uint64_t handle)
{
    actor_end(arg, handle, ACTOR_ABANDONED);
}

void actor_on_kill(void *arg, const struct net_message *message)
{
    uint64_t words[2];
    if (message->length != sizeof words)
        return;
    memcpy(words, message->data, sizeof words);
    actor_end(arg, words[0], words[1] == ACTOR_FAILED ? ACTOR_FAILED : ACTOR_KILLED);
}

void actor_end_all(void *arg)
{
    struct actor_room *room = arg;
    struct actor *actor, *next;
    base_spin_lock(&room->lock);
    HASH_ITER(hh, room->table, actor, next)
    {
        base_spin_lock(&actor->lock);
        if (!actor->dead && actor->ending == ACTOR_LIVES) {
            actor->ending = ACTOR_JOB_ENDS;
            schedule(actor);
        }
        base_spin_unlock(&actor->lock);
    }
    base_spin_unlock(&room->lock);
}

static void fail_mailbox(struct actor *actor, struct task *head)
{
    while (head) {
        struct task *next = head->next;
        task_fail(head, RAYMPI_ERR_ACTOR_DEAD, actor->reason);
        head = next;
    }
}

static void run_destructor(struct actor *actor)
{
    struct actor_room *room = actor->room;
    struct task_function *destructor = task_method_find(actor->klass, room->destructor_hash);
    struct task *task = destructor && actor->constructed ? task_new(room->tasks) : NULL;
    if (!task)
        return;
    task->function = destructor;
    task->name_hash = room->destructor_hash;
    task->owner = room->tasks->config.rank;
    task->parent = task_id_root(2, actor->handle >> 32, actor->handle & UINT32_MAX);
    task->index = 0;
    task->returns = 0;
    task->flags = TASK_VOID;
    task->actor = actor->handle;
    atomic_fetch_add(&task_self->submitted, 1); /* its end is counted like any task's */
    task_run(task, actor->state, actor, &actor->kept, NULL);
}

/* Ends the actor for good: destructor, kept refs, state. The item is ours: nobody else runs the actor. */
static void bury(struct actor *actor)
{
    static const char *const reasons[] = {
        [ACTOR_LIVES] = "the actor has ended",       [ACTOR_KILLED] = "the actor was killed",
        [ACTOR_EXITED] = "the actor has exited",     [ACTOR_FAILED] = "an argument of the actor's constructor failed",
        [ACTOR_ABANDONED] = "the actor's last handle was released", [ACTOR_JOB_ENDS] = "the job has ended"};
    if (!actor->reason[0])
        snprintf(actor->reason, sizeof actor->reason, "%s", reasons[actor->ending]);
    run_destructor(actor);
    kept_drop_all(actor->room->tasks, &actor->kept);
    free(actor->state);
    actor->state = NULL;
    count_actors(actor->room, -1);
}

/* ---- running */

static void constructor_ran(struct actor *actor, int status, const char *text)
{
    base_spin_lock(&actor->lock);
    actor->constructed = status == RAYMPI_OK;
    if (status != RAYMPI_OK) {
        actor->ending = ACTOR_FAILED;
        snprintf(actor->reason, sizeof actor->reason, "its constructor failed: %.200s", text);
    }
    base_spin_unlock(&actor->lock);
    if (status != RAYMPI_OK)
        base_log(BASE_LOG_ERROR, "actor", "an actor of class %s could not be made, %s", actor->klass->name, text);
}

static void run_call(struct actor *actor, struct task *task)
{
    struct actor_room *room = actor->room;
    bool constructor = task->name_hash == room->constructor_hash;
    task->function = task_method_find(actor->klass, task->name_hash);
    if (!task->function && (constructor || task->name_hash == room->ping_hash)) {
        task_succeed(task);
        if (constructor)
            constructor_ran(actor, RAYMPI_OK, "");
        return;
    }
    if (!task->function) {
        char text[160];
        snprintf(text, sizeof text, "class %s has no such method", actor->klass->name);
        task_fail(task, RAYMPI_ERR_UNKNOWN, text);
        return;
    }
    struct task_outcome outcome = {RAYMPI_OK, false, ""};
    task_run(task, actor->state, actor, &actor->kept, &outcome);
    if (constructor)
        constructor_ran(actor, outcome.status, outcome.text);
    if (outcome.exit_actor) {
        base_spin_lock(&actor->lock);
        if (actor->ending == ACTOR_LIVES)
            actor->ending = ACTOR_EXITED;
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
    if (actor->ending != ACTOR_LIVES && actor->ending != ACTOR_JOB_ENDS)
        return TURN_BURY;
    *task = mailbox_next(actor);
    if (*task)
        return TURN_CALL;
    return actor->ending == ACTOR_JOB_ENDS || (actor->unheld && actor->klass && !actor->head) ? TURN_BURY : TURN_REST;
}

static bool take_turn(struct actor *actor)
{
    struct task *task;
    base_spin_lock(&actor->lock);
    enum turn turn = next_turn(actor, &task);
    if (turn == TURN_REST)
        actor->scheduled = false;
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
        base_spin_lock(&actor->lock);
        actor->dead = true;
        base_spin_unlock(&actor->lock);
        return true;
    case TURN_DELETE: {
        struct actor_room *room = actor->room;
        base_spin_lock(&room->lock);
        HASH_DEL(room->table, actor);
        base_spin_unlock(&room->lock);
        struct task *late = actor->head; /* delivered between the two locks */
        fail_mailbox(actor, late);
        actor_delete(actor);
        return false;
    }
    default:
        return false;
    }
}

static void actor_item_run(struct sched_item *item)
{
    struct actor *actor = base_container(item, struct actor, item);
    struct sched *sched = actor->room->tasks->sched;
    for (int i = 0; i < TURN; i++)
        if (!take_turn(actor))
            return;
    sched_push_pinned(sched, item);
}
