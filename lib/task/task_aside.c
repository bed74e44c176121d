/* Tasks that do not begin yet, since enough others wait for memory for what they make: so few stacks wait,
 * however many tasks there are. Only those of functions of which some have waited are put aside.
 *
 * One begins as soon as somebody waits for its result, or when fewer wait for memory: whoever's wait ends
 * lets one begin, and whoever was put aside another one when it has run, until enough wait again. They stay
 * on this rank: a task that runs elsewhere would not let others begin here.
 */
#include "task/task_internal.h"

#include <utlist.h>

#define CROWD 64          /* so many waits are enough */
#define FEW   (CROWD / 2) /* below this others begin */

/* ---- beginning after all */

static void begin(struct task *task, void (*run)(struct sched_item *item))
{
    task->item.run = run;
    sched_push_pinned(task->room->sched, &task->item);
}

static void run_next(struct sched_item *item)
{
    struct task *task = base_container(item, struct task, item);
    struct task_room *room = task->room;
    task_run(task, NULL, NULL, NULL, NULL);
    task_aside_next(room, CROWD);
}

static void run_awaited(struct sched_item *item)
{
    item->run = NULL; /* see task_awaited() */
    run_next(item);
}

/* Under the lock, as the next. */
static void unlink_from(struct task_room *room, struct task **link)
{
    struct task *task = *link;
    *link = task->next;
    if (room->create.aside_end == &task->next)
        room->create.aside_end = link;
    atomic_fetch_sub(&room->create.hungry_count, 1);
}

void task_aside_next(struct task_room *room, int enough)
{
    base_spin_lock(&room->create.lock);
    struct task *task = room->create.waiting < enough ? room->create.aside : NULL;
    if (task)
        unlink_from(room, &room->create.aside);
    base_spin_unlock(&room->create.lock);
    if (task)
        begin(task, run_next);
}

void task_aside_awaited(struct task_room *room, bool (*is_awaited)(const struct task *task, const void *arg),
                        const void *arg)
{
    struct task *found = NULL, *task, *next, **link = &room->create.aside;
    base_spin_lock(&room->create.lock);
    while ((task = *link)) {
        if (!is_awaited(task, arg)) {
            link = &task->next;
            continue;
        }
        unlink_from(room, link);
        LL_PREPEND(found, task);
    }
    base_spin_unlock(&room->create.lock);
    LL_FOREACH_SAFE(found, task, next)
    begin(task, run_awaited);
}

void task_aside_fail(struct task_room *room, int code, const char *message)
{
    base_spin_lock(&room->create.lock);
    struct task *task = room->create.aside, *next;
    while (room->create.aside)
        unlink_from(room, &room->create.aside);
    base_spin_unlock(&room->create.lock);
    LL_FOREACH_SAFE(task, task, next)
    task_fail(task, code, message);
}

/* ---- the crowd */

/* Under the lock. Relaxed: who looks too early begins. */
static void crowd_change(struct task_room *room, int change)
{
    room->create.waiting += change;
    atomic_store_explicit(&room->create.crowded, room->create.waiting >= CROWD, memory_order_relaxed);
}

void task_crowd_enter(struct task_room *room, const struct task *task)
{
    atomic_store_explicit(&task_function_of(task)->waits, true, memory_order_relaxed);
    base_spin_lock(&room->create.lock);
    crowd_change(room, 1);
    base_spin_unlock(&room->create.lock);
}

void task_crowd_leave(struct task_room *room)
{
    base_spin_lock(&room->create.lock);
    crowd_change(room, -1);
    base_spin_unlock(&room->create.lock);
    task_aside_next(room, FEW);
}

/* ---- putting aside */

static bool may_wait(const struct task *task)
{
    return atomic_load_explicit(&task_function_of(task)->waits, memory_order_relaxed) && task->item.run &&
           !store_spills(task->room->store) &&
           (task->flags & TASK_FOREIGN || !task_awaited(task, TASK_AWAITED_DEPTH));
}

/* False: there is no crowd any more. */
static bool append(struct task_room *room, struct task *task)
{
    base_spin_lock(&room->create.lock);
    bool crowd = room->create.waiting >= CROWD;
    if (crowd) {
        task->next = NULL;
        *room->create.aside_end = task;
        room->create.aside_end = &task->next;
        atomic_fetch_add(&room->create.hungry_count, 1);
    }
    base_spin_unlock(&room->create.lock);
    return crowd;
}

bool task_put_aside(struct task *task)
{
    struct task_room *room = task->room;
    struct task_question question;
    if (!may_wait(task))
        return false;
    bool foreign = (task->flags & TASK_FOREIGN) != 0;
    task_question_make(&question, task);
    if (!append(room, task)) /* from here on it may begin, and end */
        return false;
    if (foreign)
        task_question_ask(room, &question);
    else
        task_hungry_look(room); /* who has begun to wait in between did not see it */
    return true;
}
