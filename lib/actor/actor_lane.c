/* The order of one caller's calls: a call whose arguments are not there yet holds back the caller's later calls to that
 * actor. Callers are contexts (task attempts, methods, main, threads), so that nobody waits for somebody else's call. */
#include "actor/actor_internal.h"

#include <stdlib.h>

static void really_send(struct actor_room *room, struct task *task)
{
    struct task_room *tasks = room->tasks;
    int host = refcount_owner(task->actor);
    const struct value *error = task_failed_argument(task);
    if (error && task->name_hash == room->constructor_hash)
        actor_tell_end(room, task->actor, ACTOR_FAILED);
    if (error)
        task_propagate(task, error);
    else if (host == tasks->config.rank)
        actor_deliver(room, task);
    else
        task_send(tasks, task, host);
}

static struct lane *lane_find(struct context *context, uint64_t actor)
{
    struct lane *lane = context->lanes;
    while (lane && lane->actor != actor)
        lane = lane->next;
    return lane;
}

static struct lane *lane_new(struct context *context, uint64_t actor)
{
    struct lane *lane = calloc(1, sizeof *lane);
    if (!lane)
        return NULL;
    lane->actor = actor;
    lane->context = context;
    lane->next = context->lanes;
    __atomic_store_n(&context->lanes, lane, __ATOMIC_RELAXED);
    return lane;
}

void lane_enter(void *arg, struct task *task, struct context *context)
{
    struct actor_room *room = arg;
    /* Only this thread adds lanes; one that is just going away is seen under the lock. */
    if (!__atomic_load_n(&context->lanes, __ATOMIC_RELAXED) && task_ready(task))
        return; /* nothing of this caller waits: straight on */
    base_spin_lock(&room->lane_lock);
    struct lane *lane = lane_find(context, task->actor);
    if (!lane && !task_ready(task))
        lane = lane_new(context, task->actor);
    if (lane) {
        task->lane = lane;
        task->next = NULL;
        if (lane->tail)
            lane->tail->next = task;
        else
            lane->head = task;
        lane->tail = task;
    }
    base_spin_unlock(&room->lane_lock);
}

static void lane_unlink(struct lane *lane)
{
    if (!lane->context)
        return;
    struct lane *before = lane->context->lanes;
    if (before == lane) {
        __atomic_store_n(&lane->context->lanes, lane->next, __ATOMIC_RELAXED);
        return;
    }
    while (before->next != lane)
        before = before->next;
    before->next = lane->next;
}

void lane_leave(void *arg, struct context *context)
{
    struct actor_room *room = arg;
    base_spin_lock(&room->lane_lock);
    for (struct lane *lane = context->lanes; lane; lane = lane->next)
        lane->context = NULL;
    context->lanes = NULL;
    base_spin_unlock(&room->lane_lock);
}

/* Arguments are there: sends the call, and those behind it that were waiting for it only. Sent under the lock, so that
 * nobody overtakes. */
void lane_send(void *arg, struct task *task)
{
    struct actor_room *room = arg;
    struct lane *lane = task->lane;
    if (!lane) {
        really_send(room, task);
        return;
    }
    struct task *failed = NULL, **failed_tail = &failed;
    base_spin_lock(&room->lane_lock);
    task->flags |= TASK_NEXT_IN_LANE;
    while (lane->head && lane->head->flags & TASK_NEXT_IN_LANE) {
        struct task *first = lane->head;
        lane->head = first->next;
        first->lane = NULL;
        first->next = NULL;
        first->flags &= (uint8_t)~TASK_NEXT_IN_LANE;
        if (task_failed_argument(first)) { /* ends here; waking those who wait for it needs no lock of ours */
            *failed_tail = first;
            failed_tail = &first->next;
        } else {
            really_send(room, first);
        }
    }
    if (!lane->head) {
        lane_unlink(lane);
        free(lane);
    }
    base_spin_unlock(&room->lane_lock);
    while (failed) {
        struct task *next = failed->next;
        really_send(room, failed);
        failed = next;
    }
}
