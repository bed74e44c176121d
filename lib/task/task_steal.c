/* Where a task goes, and how idle ranks get work. */
#include "task/task_internal.h"

#define LOCAL_SHORT   2  /* tasks per worker that wait here before others are considered */
#define CANDIDATES    8  /* ranks that are considered then */
#define FULL_REST     16 /* submissions that do not wait for room in the ring after one that did in vain */
#define SLOW_LOOK     UINT64_C(200000)     /* ns between two looks of a submitter that is slowed down */
#define SLOW_PATIENCE UINT64_C(1000000000) /* ns without the end of a task */
#define STEAL_MOST    32                   /* tasks given away at once */

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
    uint32_t sent = task_inflight(room, rank);
    bool self = rank == room->config.rank;
    return (struct place_node){
        .load = sent > load ? sent : load,
        .actors = atomic_load_explicit(&board->actors, memory_order_relaxed),
        .available = self || atomic_load_explicit(&board->available, memory_order_relaxed),
        .allowed = task_function_on(function, rank),
    };
}

/* The next rank in turn that has the task. */
static int choose_in_turn(struct task_room *room, const struct task *task)
{
    uint32_t size = (uint32_t)room->config.size;
    uint32_t turn = atomic_fetch_add_explicit(&room->spread_next, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < size; i++) {
        int rank = (int)((turn + i) % size);
        if (task_function_on(task_function_of(task), rank))
            return rank;
    }
    return -1;
}

/* The least loaded of this rank and a few others: other ones each time. */
static int choose_least(struct task_room *room, const struct task *task)
{
    int size = room->config.size, ranks[CANDIDATES] = {room->config.rank}, count = 1;
    struct place_node nodes[CANDIDATES] = {look_at(room, room->config.rank, task_function_of(task))};
    uint32_t turn = atomic_fetch_add_explicit(&room->spread_next, CANDIDATES - 1, memory_order_relaxed);
    for (int i = 0; i < size && count < CANDIDATES; i++) {
        int rank = (int)((turn + (uint32_t)i) % (uint32_t)size);
        if (rank == room->config.rank)
            continue;
        ranks[count] = rank;
        nodes[count++] = look_at(room, rank, task_function_of(task));
    }
    int chosen = place_task(nodes, count, 0, 0);
    return chosen >= 0 ? ranks[chosen] : choose_in_turn(room, task);
}

int task_choose(struct task_room *room, const struct task *task)
{
    int self = room->config.rank;
    if (room->config.size == 1)
        return task_function_of(task)->body ? self : -1;
    if (base_unlikely(task->node == TASK_IN_TURN))
        return choose_in_turn(room, task);
    uint32_t queued = sched_queued(room->sched);
    atomic_store_explicit(&net_board(room->net, self)->queued, queued, memory_order_relaxed);
    if (task_function_of(task)->body && queued < (uint32_t)(LOCAL_SHORT * sched_workers(room->sched)))
        return self;
    return choose_least(room, task);
}

/* ---- slowing submitters down */

/* Waits until what `left` counts is below `enough`, while others run. Gives up when it has not become less
 * for SLOW_PATIENCE: what the tasks before wait for may be what is about to be submitted. */
static void slow_down(struct task_room *room, uint64_t (*left)(struct task_room *room, int rank), int rank,
                      uint64_t enough, const char *what)
{
    const char *who = task_self->context->name;
    uint64_t now_left = left(room, rank), least = now_left, now = net_now(room->net), moved = now;
    while (now_left >= enough && now - moved < SLOW_PATIENCE) {
        struct sched_parker parker;
        sched_parker_init(room->sched, &parker, (struct sched_reason){who, what, 0, false});
        int status = task_park(&parker, now + SLOW_LOOK);
        if (status != RAYMPI_OK && status != RAYMPI_ERR_TIMEOUT)
            return;
        now = net_now(room->net);
        now_left = left(room, rank);
        if (now_left < least) {
            least = now_left;
            moved = now;
        }
    }
}

static uint64_t left_there(struct task_room *room, int rank)
{
    return task_inflight(room, rank);
}

static uint64_t left_of_all(struct task_room *room, int rank)
{
    (void)rank;
    return task_outstanding(room);
}

/* At most RAYMPI_BACKLOG of this rank's tasks have not ended, wherever they are. */
void task_backlog_look(struct task_room *room)
{
    uint64_t most = room->config.backlog;
    if (task_outstanding(room) >= most)
        slow_down(room, left_of_all, 0, most - most / 4, "room in the backlog");
}

struct room_there {
    struct net *net;
    int rank;
};

static bool ring_has_room(void *arg)
{
    struct room_there *there = arg;
    return net_pending(there->net, there->rank) == 0;
}

/* At most TASK_CREDITS tasks are on their way to a rank that was asked for by name, or wait there: their ends
 * need no credit, so they always come back. What the ring to it can not take would be copied twice: while its
 * end is read quickly, waiting for room takes less time. */
void task_credit_look(struct task_room *room, int there)
{
    static __thread unsigned rest __attribute__((tls_model("initial-exec")));
    task_settle(task_self);
    if (left_there(room, there) >= TASK_CREDITS)
        slow_down(room, left_there, there, TASK_CREDITS, "credit");
    if (rest > 0)
        rest--;
    else if (!sched_help(room->sched, ring_has_room, &(struct room_there){room->net, there}))
        rest = FULL_REST;
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
        if (base_defect(DEFECT_LOST_STOLEN))
            continue;
        /* Without memory for messages to who asks, it runs here: sent, it would fail. */
        if (task_function_of(task) && task_function_on(task_function_of(task), message->source) &&
            net_reach(room->net, message->source) == RAYMPI_OK) {
            task_send(room, task, message->source);
            given++;
        } else {
            sched_push_fifo(room->sched, &task->item);
        }
    }
    show_load(room);
    struct net_piece piece = {&given, sizeof given};
    if (task_tell(room, message->source, TASK_MESSAGE_NO_WORK, &piece, 1) != RAYMPI_OK)
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
