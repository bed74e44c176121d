/* Where a task goes, and how idle ranks get work. */
#include "task/task_internal.h"

#define LOCAL_SHORT     2 /* tasks per worker that wait here before others are considered */
#define CREDITS         16384 /* tasks of ours that another rank may have at once, where it is asked for by name */
#define CREDIT_LOOK     UINT64_C(200000)     /* ns between two looks for credit */
#define CREDIT_PATIENCE UINT64_C(1000000000) /* ns without the end of a task there */
#define STEAL_MOST      32                   /* tasks given away at once */

static void show_load(struct task_room *room)
{
    atomic_store_explicit(&net_board(room->net, room->config.rank)->queued, sched_queued(room->sched),
                          memory_order_relaxed);
}

static struct place_node look_at(struct task_room *room, int rank, const struct task_function *function)
{
    struct net_board *board = net_board(room->net, rank);
    uint32_t load = atomic_load_explicit(&board->queued, memory_order_relaxed);
    for (int i = 0; i < 4; i++)
        load += atomic_load_explicit(&board->task[i], memory_order_relaxed) != 0;
    uint32_t sent = atomic_load_explicit(&room->inflight[rank], memory_order_relaxed);
    bool self = rank == room->config.rank;
    return (struct place_node){
        .load = sent > load ? sent : load,
        .actors = atomic_load_explicit(&board->actors, memory_order_relaxed),
        .available = self || atomic_load_explicit(&board->available, memory_order_relaxed),
        .allowed = task_function_on(function, rank),
    };
}

int task_choose(struct task_room *room, const struct task *task)
{
    int self = room->config.rank, size = room->config.size;
    uint32_t threshold = (uint32_t)(LOCAL_SHORT * sched_workers(room->sched));
    if (size == 1)
        return task->function->body ? self : -1;
    uint32_t queued = sched_queued(room->sched);
    atomic_store_explicit(&net_board(room->net, self)->queued, queued, memory_order_relaxed);
    if (task->function->body && queued < threshold)
        return self;
    struct place_node nodes[size];
    for (int rank = 0; rank < size; rank++)
        nodes[rank] = look_at(room, rank, task->function);
    return place_task(nodes, size, self, 0);
}

/* Slows a submitter down whose tasks another rank can not keep up with: at most CREDITS of them are on their
 * way or waiting there. Their ends need no credit, so they always come back. Only a rank that ends none of
 * ours for CREDIT_PATIENCE is given more: what it waits for may be what we are about to submit. */
void task_credit_wait(struct task_room *room, int rank)
{
    struct task_thread *thread = task_self;
    struct context *context = thread->context;
    uint32_t least = atomic_load_explicit(&room->inflight[rank], memory_order_relaxed), now_inflight = least;
    if (base_likely(least < CREDITS))
        return;
    uint64_t moved = net_now(room->net), now = moved;
    while (now_inflight >= CREDITS && now - moved < CREDIT_PATIENCE) {
        struct sched_parker parker;
        sched_parker_init(room->sched, &parker, (struct sched_reason){context->name, "credit", 0, false});
        int status = sched_park(&parker, now + CREDIT_LOOK);
        task_resumed(thread, context);
        if (status != RAYMPI_OK && status != RAYMPI_ERR_TIMEOUT)
            return;
        now = net_now(room->net);
        now_inflight = atomic_load_explicit(&room->inflight[rank], memory_order_relaxed);
        if (now_inflight < least) {
            least = now_inflight;
            moved = now;
        }
    }
}

void task_idle(void *arg)
{
    struct task_room *room = arg;
    int size = room->config.size, none = 0;
    show_load(room);
    if (size == 1 || atomic_load_explicit(&room->stealing, memory_order_relaxed))
        return;
    uint32_t queued[size];
    for (int rank = 0; rank < size; rank++)
        queued[rank] = atomic_load_explicit(&net_board(room->net, rank)->queued, memory_order_relaxed);
    int victim = place_victim(queued, size, room->config.rank);
    if (victim < 0 || !atomic_compare_exchange_strong(&room->stealing, &none, 1))
        return;
    if (net_send(room->net, victim, TASK_MESSAGE_STEAL, NULL, 0) != RAYMPI_OK)
        atomic_store(&room->stealing, 0);
}

void task_on_steal(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct sched_item *items[STEAL_MOST];
    int half = (int)(sched_queued(room->sched) + 1) / 2;
    int taken = sched_take(room->sched, items, half < STEAL_MOST ? half : STEAL_MOST);
    uint64_t given = 0;
    for (int i = 0; i < taken; i++) {
        struct task *task = base_container(items[i], struct task, item);
        if (task->function && task_function_on(task->function, message->source)) {
            task_send(room, task, message->source);
            given++;
        } else {
            sched_push_fifo(room->sched, &task->item);
        }
    }
    show_load(room);
    struct net_piece piece = {&given, sizeof given};
    if (net_send(room->net, message->source, TASK_MESSAGE_NO_WORK, &piece, 1) != RAYMPI_OK)
        base_log(BASE_LOG_WARN, "task", "rank %d got no answer to its wish for work: %s", message->source,
                 base_detail());
}

/* That was all: the next wish may be sent. */
void task_on_no_work(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    uint64_t given = 0;
    if (message->length == sizeof given)
        memcpy(&given, message->data, sizeof given);
    atomic_fetch_add_explicit(&room->stolen, given, memory_order_relaxed);
    atomic_store(&room->stealing, 0);
}
