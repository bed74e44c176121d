/* The order of one caller's calls: a call whose arguments are not there yet holds back the caller's later
 * calls to that actor. Callers are task attempts, actors, main and threads, so that nobody waits for somebody
 * else's call. */
#include "actor/actor_internal.h"

#include <stdlib.h>

static void constructor_failed(struct actor_room *room, struct task *task, const struct value *error)
{
    char text[480];
    value_error_text(error, text, sizeof text);
    if (actor_tell_end(room, task->rest->actor, ACTOR_FAILED, RAYMPI_ERR_ACTOR_DEAD, text) != RAYMPI_OK)
        base_log(BASE_LOG_ERROR, "actor",
                 "rank %d could not be told that an actor has no constructor's arguments: %s",
                 refcount_owner(task->rest->actor), base_detail());
}

static void really_send(struct actor_room *room, struct task *task)
{
    struct task_room *tasks = room->tasks;
    int host = refcount_owner(task->rest->actor);
    const struct value *error = task_failed_argument(task);
    if (error && task_hash(task) == room->constructor_hash)
        constructor_failed(room, task, error);
    if (error)
        task_propagate(task, error);
    else if (host == tasks->config.rank)
        actor_deliver(room, task);
    else
        task_send(tasks, task, host);
}

static struct lane *lane_find(void **caller, uint64_t actor)
{
    struct lane *lane = *caller;
    while (lane && lane->actor != actor)
        lane = lane->next;
    return lane;
}

static struct lane *lane_new(void **caller, uint64_t actor)
{
    struct lane *lane = calloc(1, sizeof *lane);
    if (!lane)
        return NULL;
    lane->actor = actor;
    lane->caller = caller;
    lane->next = *caller;
    __atomic_store_n(caller, lane, __ATOMIC_RELAXED);
    return lane;
}

bool lane_enter(void *arg, struct task *task, struct context *context)
{
    struct actor_room *room = arg;
    void **caller = caller_of(context);
    if (lane_clear(context) && task_ready(task))
        return true; /* straight on */
    base_spin_lock(&room->lane_lock);
    struct lane *lane = lane_find(caller, task->rest->actor);
    bool must_wait = lane || !task_ready(task);
    if (must_wait && !lane)
        lane = lane_new(caller, task->rest->actor);
    if (lane) {
        task->rest->lane = lane;
        task->next = NULL;
        if (lane->tail)
            lane->tail->next = task;
        else
            lane->head = task;
        lane->tail = task;
    }
    base_spin_unlock(&room->lane_lock);
    return lane || !must_wait;
}

static void lane_unlink(struct lane *lane)
{
    if (!lane->caller)
        return;
    struct lane *before = *lane->caller;
    if (before == lane) {
        /* Release: the caller's next calls come after those that went through the lane. */
        __atomic_store_n(lane->caller, lane->next, __ATOMIC_RELEASE);
        return;
    }
    while (before->next != lane)
        before = before->next;
    before->next = lane->next;
}

void lane_leave_list(struct actor_room *room, void **caller)
{
    base_spin_lock(&room->lane_lock);
    for (struct lane *lane = *caller; lane; lane = lane->next)
        lane->caller = NULL;
    *caller = NULL;
    base_spin_unlock(&room->lane_lock);
}

void lane_leave(void *arg, struct context *context)
{
    lane_leave_list(arg, &context->lanes);
}

/* Takes the first call of the lane, if it may go. Under the lock. */
static struct task *lane_take(struct lane *lane)
{
    struct task *first = lane->head;
    if (!first || !(first->flags & TASK_NEXT_IN_LANE))
        return NULL;
    lane->head = first->next;
    if (!lane->head)
        lane->tail = NULL;
    first->rest->lane = NULL;
    first->next = NULL;
    first->flags &= (uint8_t)~TASK_NEXT_IN_LANE;
    return first;
}

/* Arguments are there: sends the call, and those behind it that were waiting for it only. One thread at a
 * time sends, so that nobody overtakes, and without the lock, because a call that fails wakes others which
 * may come here. */
void lane_send(void *arg, struct task *task)
{
    struct actor_room *room = arg;
    struct lane *lane = task->rest->lane;
    if (!lane) {
        really_send(room, task);
        return;
    }
    base_spin_lock(&room->lane_lock);
    task->flags |= TASK_NEXT_IN_LANE;
    if (lane->sending) {
        base_spin_unlock(&room->lane_lock);
        return;
    }
    lane->sending = true;
    struct task *first;
    while ((first = lane_take(lane))) {
        base_spin_unlock(&room->lane_lock);
        really_send(room, first);
        base_spin_lock(&room->lane_lock);
    }
    lane->sending = false;
    if (!lane->head) {
        lane_unlink(lane);
        free(lane);
    }
    base_spin_unlock(&room->lane_lock);
}
