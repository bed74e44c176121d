/* The scheduler of one rank, over a net of its own and without MPI. */
#include "../unit.h"
#include "sched/sched.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

struct rank {
    struct base_segment segment;
    struct net *net;
    struct sched *sched;
    _Atomic int rests, threads;
    enum net_rest rest;
};

static void thread_begins(void *arg, struct worker *worker)
{
    struct rank *rank = arg;
    (void)worker;
    atomic_fetch_add(&rank->threads, 1);
}

static void thread_ends(void *arg, struct worker *worker)
{
    struct rank *rank = arg;
    (void)worker;
    atomic_fetch_sub(&rank->threads, 1);
}

/* As the task room does: who waits in vain is told so, by a message. */
static void at_rest(void *arg, enum net_rest rest)
{
    struct rank *rank = arg;
    rank->rest = rest;
    atomic_fetch_add(&rank->rests, 1);
    net_send(rank->net, 0, 1, NULL, 0);
}

static void on_rest(void *arg, const struct net_message *message)
{
    struct rank *rank = arg;
    (void)message;
    sched_fail_parked(rank->sched, RAYMPI_ERR_DEADLOCK);
}

static void rank_open(struct rank *rank, int workers, unsigned max_fibers, uint64_t stack_bytes)
{
    static uint64_t serial;
    const uint64_t cookie[2] = {(uint64_t)getpid(), ++serial};
    uint64_t bytes = base_align_up(16 + net_shm_bytes(1), 65536);
    *rank = (struct rank){0};
    CU_ASSERT_FATAL(base_segment_create(&rank->segment, bytes, bytes, cookie) == RAYMPI_OK);
    base_segment_unlink(&rank->segment);
    CU_ASSERT_FATAL(net_shm_open(&rank->net, &rank->segment, 16, 0, 1) == RAYMPI_OK);
    net_handle(rank->net, 1, on_rest, rank);
    struct sched_config config = {.workers = workers, .stack_bytes = stack_bytes, .max_fibers = max_fibers};
    config.hooks = (struct sched_hooks){
        .arg = rank, .thread_begin = thread_begins, .thread_end = thread_ends, .rest = at_rest};
    CU_ASSERT_FATAL(sched_open(&rank->sched, rank->net, &config) == RAYMPI_OK);
    CU_ASSERT_FATAL(sched_start(rank->sched) == RAYMPI_OK);
}

static void rank_close(struct rank *rank)
{
    sched_stop(rank->sched);
    CU_ASSERT_EQUAL(atomic_load(&rank->threads), 0);
    sched_close(rank->sched);
    net_close(rank->net);
    base_segment_close(&rank->segment);
}

static const struct sched_reason waits = {"test", "wait", 0, false};

/** A number to wait for. Its parker is on the waiter's stack, so whoever counts stays under the lock. */
struct latch {
    pthread_mutex_t lock;
    int left;
    struct sched_parker *waiter;
};

static void latch_init(struct latch *latch, int count)
{
    pthread_mutex_init(&latch->lock, NULL);
    latch->left = count;
    latch->waiter = NULL;
}

static void latch_count(struct latch *latch)
{
    pthread_mutex_lock(&latch->lock);
    if (--latch->left == 0 && latch->waiter)
        sched_unpark(latch->waiter);
    pthread_mutex_unlock(&latch->lock);
}

static int latch_wait(struct sched *sched, struct latch *latch)
{
    struct sched_parker parker;
    sched_parker_init(sched, &parker, waits);
    pthread_mutex_lock(&latch->lock);
    latch->waiter = &parker;
    bool done = latch->left == 0;
    pthread_mutex_unlock(&latch->lock);
    int status = done ? RAYMPI_OK : sched_park(&parker, UINT64_MAX);
    pthread_mutex_lock(&latch->lock);
    latch->waiter = NULL;
    pthread_mutex_unlock(&latch->lock);
    return status;
}

struct job {
    struct sched_item item;
    struct sched *sched;
    struct latch *latch;
    int number;
    int *order, *order_used;
    _Atomic int ran;
};

static struct job *job_of(struct sched_item *item)
{
    return base_container(item, struct job, item);
}

static void job_run(struct sched_item *item)
{
    struct job *job = job_of(item);
    if (job->order)
        job->order[(*job->order_used)++] = job->number;
    atomic_fetch_add(&job->ran, 1);
    latch_count(job->latch);
}

static void jobs_init(struct job *jobs, int count, struct sched *sched, struct latch *latch,
                      void (*run)(struct sched_item *item))
{
    for (int i = 0; i < count; i++)
        jobs[i] = (struct job){.item = {NULL, run}, .sched = sched, .latch = latch, .number = i};
}

/* ---- items */

static void every_item_runs_once(void)
{
    enum { N = 3000 };
    static struct job jobs[N];
    for (int workers = 1; workers <= 4; workers += 3) {
        struct rank rank;
        struct latch latch;
        rank_open(&rank, workers, 0, 65536);
        latch_init(&latch, N);
        jobs_init(jobs, N, rank.sched, &latch, job_run);
        for (int i = 0; i < N; i++) {
            if (i % 3 == 0)
                sched_push(rank.sched, &jobs[i].item);
            else if (i % 3 == 1)
                sched_push_fifo(rank.sched, &jobs[i].item);
            else
                sched_push_pinned(rank.sched, &jobs[i].item);
        }
        CU_ASSERT_EQUAL(latch_wait(rank.sched, &latch), RAYMPI_OK);
        for (int i = 0; i < N; i++)
            CU_ASSERT_EQUAL(jobs[i].ran, 1);
        CU_ASSERT_EQUAL(sched_queued(rank.sched), 0);
        rank_close(&rank);
    }
}

static void own_items_run_newest_first(void)
{
    struct rank rank;
    struct latch latch;
    struct job jobs[8];
    int order[8], used = 0;
    rank_open(&rank, 1, 0, 65536);
    /* The spare of a single worker must not come in: this thread goes to the scheduler at once. */
    latch_init(&latch, 8);
    jobs_init(jobs, 8, rank.sched, &latch, job_run);
    for (int i = 0; i < 8; i++)
        jobs[i].order = order, jobs[i].order_used = &used;
    for (int i = 0; i < 4; i++)
        sched_push_fifo(rank.sched, &jobs[i].item);
    for (int i = 4; i < 8; i++)
        sched_push(rank.sched, &jobs[i].item);
    struct sched_item *taken[8];
    CU_ASSERT_EQUAL(sched_queued(rank.sched), 8);
    CU_ASSERT_EQUAL(sched_take(rank.sched, taken, 1), 1);
    CU_ASSERT_PTR_EQUAL(taken[0], &jobs[4].item); /* the oldest of a deque */
    sched_push(rank.sched, taken[0]);
    CU_ASSERT_EQUAL(latch_wait(rank.sched, &latch), RAYMPI_OK);
    static const int expected[] = {4, 7, 6, 5, 0, 1, 2, 3};
    CU_ASSERT_EQUAL(memcmp(order, expected, sizeof order), 0);
    rank_close(&rank);
}

static void pinned_items_are_not_given_away(void)
{
    struct rank rank;
    struct latch latch;
    struct job jobs[6];
    struct sched_item *taken[6];
    rank_open(&rank, 1, 0, 65536);
    latch_init(&latch, 6);
    jobs_init(jobs, 6, rank.sched, &latch, job_run);
    for (int i = 0; i < 3; i++)
        sched_push_pinned(rank.sched, &jobs[i].item);
    for (int i = 3; i < 6; i++)
        sched_push_fifo(rank.sched, &jobs[i].item);
    int count = sched_take(rank.sched, taken, 6);
    CU_ASSERT_EQUAL(count, 3);
    for (int i = 0; i < count; i++)
        CU_ASSERT_PTR_EQUAL(taken[i], &jobs[3 + i].item);
    for (int i = 0; i < count; i++)
        sched_push_fifo(rank.sched, taken[i]);
    CU_ASSERT_EQUAL(latch_wait(rank.sched, &latch), RAYMPI_OK);
    rank_close(&rank);
}

/* Runs until somebody else has run what it put on its own deque. */
static void parent_run(struct sched_item *item)
{
    struct job *parent = job_of(item);
    for (int i = 1; i <= 4; i++)
        sched_push(parent->sched, &parent[i].item);
    for (int i = 1; i <= 4; i++)
        while (!atomic_load(&parent[i].ran))
            sched_yield();
    job_run(item);
}

static void idle_workers_steal(void)
{
    struct rank rank;
    struct latch latch;
    struct job jobs[5];
    rank_open(&rank, 3, 0, 65536);
    latch_init(&latch, 5);
    jobs_init(jobs, 5, rank.sched, &latch, job_run);
    jobs[0].item.run = parent_run;
    sched_push(rank.sched, &jobs[0].item);
    CU_ASSERT_EQUAL(latch_wait(rank.sched, &latch), RAYMPI_OK);
    struct sched_counters counters;
    sched_counters(rank.sched, &counters);
    CU_ASSERT(counters.stolen >= 4);
    CU_ASSERT_EQUAL(counters.run, 5);
    rank_close(&rank);
}

static void a_spare_worker_stands_in_for_main(void)
{
    struct rank rank;
    struct latch latch;
    struct job jobs[2];
    rank_open(&rank, 1, 0, 65536);
    latch_init(&latch, 2);
    jobs_init(jobs, 2, rank.sched, &latch, job_run);
    CU_ASSERT_EQUAL(atomic_load(&net_board(rank.net, 0)->available), 0);
    sched_push(rank.sched, &jobs[0].item);
    while (!atomic_load(&jobs[0].ran)) /* main computes */
        sched_yield();
    sched_push_pinned(rank.sched, &jobs[1].item); /* and again: the spare sleeps or is about to */
    while (!atomic_load(&jobs[1].ran))
        sched_yield();
    CU_ASSERT_EQUAL(latch_wait(rank.sched, &latch), RAYMPI_OK);
    rank_close(&rank);
}

/* ---- waiting */

static void a_wake_before_the_wait_counts(void)
{
    struct rank rank;
    struct sched_parker parker;
    rank_open(&rank, 1, 0, 65536);
    sched_parker_init(rank.sched, &parker, waits);
    sched_unpark(&parker);
    sched_unpark(&parker);
    CU_ASSERT_EQUAL(sched_park(&parker, UINT64_MAX), RAYMPI_OK);
    rank_close(&rank);
}

static void waits_time_out(void)
{
    struct rank rank;
    struct sched_parker parker;
    struct latch latch;
    struct job job;
    rank_open(&rank, 1, 0, 65536);
    latch_init(&latch, 1);
    jobs_init(&job, 1, rank.sched, &latch, job_run);
    sched_parker_init(rank.sched, &parker, waits);
    CU_ASSERT_EQUAL(sched_park(&parker, net_now(rank.net)), RAYMPI_ERR_TIMEOUT);
    sched_push(rank.sched, &job.item);
    sched_parker_init(rank.sched, &parker, waits);
    uint64_t until = net_now(rank.net) + 3000000;
    CU_ASSERT_EQUAL(sched_park(&parker, until), RAYMPI_ERR_TIMEOUT);
    CU_ASSERT(net_now(rank.net) >= until);
    CU_ASSERT_EQUAL(atomic_load(&job.ran), 1);    /* others ran meanwhile */
    CU_ASSERT_EQUAL(atomic_load(&rank.rests), 0); /* who has a timer is not at rest */
    rank_close(&rank);
}

/* Two waiters that wake each other by turns: one on main's fiber or a worker's, one a thread of the user's.
 */
struct pingpong {
    struct sched *sched;
    pthread_mutex_t lock;
    struct sched_parker *waiter[2];
    int ball, rounds;
    struct latch *latch;
};

static void pingpong_play(struct pingpong *game, int side)
{
    for (int i = 0; i < game->rounds; i++) {
        struct sched_parker parker;
        sched_parker_init(game->sched, &parker, waits);
        pthread_mutex_lock(&game->lock);
        bool mine = game->ball == side;
        game->waiter[side] = mine ? NULL : &parker;
        pthread_mutex_unlock(&game->lock);
        if (!mine)
            CU_ASSERT_EQUAL(sched_park(&parker, UINT64_MAX), RAYMPI_OK);
        pthread_mutex_lock(&game->lock);
        game->waiter[side] = NULL;
        game->ball = !side;
        if (game->waiter[!side])
            sched_unpark(game->waiter[!side]);
        pthread_mutex_unlock(&game->lock);
    }
}

static void *pingpong_thread(void *arg)
{
    struct pingpong *game = arg;
    pingpong_play(game, 1);
    sched_thread_detach(game->sched);
    return NULL;
}

static void threads_and_fibers_wake_each_other(void)
{
    for (int workers = 1; workers <= 3; workers += 2) {
        struct rank rank;
        pthread_t thread;
        rank_open(&rank, workers, 0, 65536);
        struct pingpong game = {.sched = rank.sched, .rounds = 1000};
        pthread_mutex_init(&game.lock, NULL);
        sched_thread_attach(rank.sched); /* before main waits: it is no deadlock then */
        pthread_create(&thread, NULL, pingpong_thread, &game);
        pingpong_play(&game, 0);
        pthread_join(thread, NULL);
        CU_ASSERT_EQUAL(atomic_load(&rank.rests), 0);
        rank_close(&rank);
    }
}

struct client {
    struct sched *sched;
    int good;
};

static void *client_thread(void *arg)
{
    struct client *client = arg;
    sched_thread_attach(client->sched);
    for (int i = 0; i < 200; i++) {
        struct latch latch;
        struct job jobs[2];
        latch_init(&latch, 2);
        jobs_init(jobs, 2, client->sched, &latch, job_run);
        sched_push(client->sched, &jobs[0].item);
        sched_push_pinned(client->sched, &jobs[1].item);
        client->good += latch_wait(client->sched, &latch) == RAYMPI_OK;
    }
    sched_thread_detach(client->sched);
    return NULL;
}

static void user_threads_give_work_and_wait(void)
{
    struct rank rank;
    pthread_t threads[4];
    struct client clients[4];
    rank_open(&rank, 2, 0, 65536);
    for (int i = 0; i < 4; i++) {
        clients[i] = (struct client){rank.sched, 0};
        pthread_create(&threads[i], NULL, client_thread, &clients[i]);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CU_ASSERT_EQUAL(clients[i].good, 200);
    }
    rank_close(&rank);
}

/* ---- more blocked tasks than fibers */

enum { BLOCKED = 12 };

struct blocked {
    struct job job; /* first */
    struct sched_parker parker;
    bool parks, woken;
    int status;
};

static void blocked_run(struct sched_item *item)
{
    struct blocked *blocked = (struct blocked *)job_of(item);
    sched_parker_init(blocked->job.sched, &blocked->parker, waits);
    blocked->parks = true;
    blocked->status = sched_park(&blocked->parker, UINT64_MAX);
    CU_ASSERT(blocked->woken || blocked->status != RAYMPI_OK);
    blocked->parks = false;
    latch_count(blocked->job.latch);
}

/* Wakes them all, in the order or against it. */
static void waker_run(struct sched_item *item)
{
    struct job *job = job_of(item);
    struct blocked *all = (struct blocked *)(void *)job->order;
    for (int i = 0; i < BLOCKED; i++) {
        struct blocked *one = &all[job->number ? BLOCKED - 1 - i : i];
        one->woken = true;
        if (one->parks)
            sched_unpark(&one->parker);
    }
    latch_count(job->latch);
}

static void block_many(struct blocked *all, unsigned max_fibers, uint64_t stack_bytes, int backwards)
{
    struct rank rank;
    struct latch latch;
    struct job waker;
    rank_open(&rank, 1, max_fibers, stack_bytes);
    latch_init(&latch, BLOCKED + 1);
    for (int i = 0; i < BLOCKED; i++) {
        all[i] = (struct blocked){0};
        jobs_init(&all[i].job, 1, rank.sched, &latch, blocked_run);
        sched_push_fifo(rank.sched, &all[i].job.item);
    }
    jobs_init(&waker, 1, rank.sched, &latch, waker_run);
    waker.order = (int *)(void *)all;
    waker.number = backwards;
    sched_push_fifo(rank.sched, &waker.item);
    CU_ASSERT_EQUAL(latch_wait(rank.sched, &latch), RAYMPI_OK);
    CU_ASSERT_EQUAL(sched_fibers_peak(rank.sched), max_fibers < BLOCKED ? max_fibers : BLOCKED + 1);
    rank_close(&rank);
}

static void blocked_tasks_nest_at_the_cap(void)
{
    static struct blocked all[BLOCKED];
    for (unsigned fibers = 1; fibers <= 4; fibers++)
        for (int backwards = 0; backwards < 2; backwards++) {
            block_many(all, fibers, 1 << 20, backwards);
            for (int i = 0; i < BLOCKED; i++)
                CU_ASSERT_EQUAL(all[i].status, RAYMPI_OK);
        }
    block_many(all, 64, 1 << 20, 0);
    for (int i = 0; i < BLOCKED; i++)
        CU_ASSERT_EQUAL(all[i].status, RAYMPI_OK);
}

static void without_a_stack_waiting_is_an_error(void)
{
    static struct blocked all[BLOCKED];
    block_many(all, 2, 16384, 0);
    CU_ASSERT_EQUAL(all[0].status, RAYMPI_OK); /* it left its fiber: there was a second one */
    for (int i = 1; i < BLOCKED; i++)
        CU_ASSERT_EQUAL(all[i].status, RAYMPI_ERR_MEMORY);
}

/* ---- rest, failure, stop */

static void who_waits_in_vain_is_told(void)
{
    struct rank rank;
    struct sched_parker parker;
    rank_open(&rank, 2, 0, 65536);
    for (int i = 0; i < 20; i++) {
        sched_parker_init(rank.sched, &parker, waits);
        CU_ASSERT_EQUAL(sched_park(&parker, UINT64_MAX), RAYMPI_ERR_DEADLOCK);
        CU_ASSERT_EQUAL(atomic_load(&rank.rests), i + 1);
        CU_ASSERT_EQUAL(rank.rest, NET_REST_DEADLOCK);
    }
    rank_close(&rank);
}

static void count_visit(void *arg, const struct sched_parker *parker)
{
    int *seen = arg;
    seen[parker->reason.passive]++;
}

struct failed {
    struct sched *sched;
    struct sched_parker *main_parker;
    int seen[2];
};

/* Main is the only one parked; fails all waits, then ends the passive one by hand. */
static void fail_run(struct sched_item *item)
{
    struct job *job = job_of(item);
    struct failed *failed = (struct failed *)(void *)job->order;
    sched_each_parked(job->sched, count_visit, failed->seen);
    sched_fail_parked(job->sched, RAYMPI_ERR_DEADLOCK);
    if (failed->main_parker->reason.passive)
        sched_unpark(failed->main_parker);
}

static void passive_waits_are_not_failed(void)
{
    for (int passive = 0; passive < 2; passive++) {
        struct rank rank;
        struct sched_parker parker;
        struct job job;
        rank_open(&rank, 1, 0, 65536);
        struct failed failed = {rank.sched, &parker, {0, 0}};
        jobs_init(&job, 1, rank.sched, NULL, fail_run);
        job.order = (int *)(void *)&failed;
        sched_parker_init(rank.sched, &parker, (struct sched_reason){"main", "finalize", 0, passive});
        sched_push(rank.sched, &job.item);
        CU_ASSERT_EQUAL(sched_park(&parker, UINT64_MAX), passive ? RAYMPI_OK : RAYMPI_ERR_DEADLOCK);
        CU_ASSERT_EQUAL(failed.seen[passive], 1);
        CU_ASSERT_EQUAL(failed.seen[!passive], 0);
        rank_close(&rank);
    }
}

static void starts_and_stops_at_once(void)
{
    for (int i = 0; i < 60; i++) {
        struct rank rank;
        rank_open(&rank, 1 + i % 4, 0, 65536);
        rank_close(&rank);
    }
}

static const struct unit_test tests[] = {
    {"every item runs once", every_item_runs_once},
    {"own items run newest first, the rank's oldest first", own_items_run_newest_first},
    {"pinned items are not given away", pinned_items_are_not_given_away},
    {"idle workers steal", idle_workers_steal},
    {"a spare worker stands in for main", a_spare_worker_stands_in_for_main},
    {"a wake before the wait counts", a_wake_before_the_wait_counts},
    {"waits time out", waits_time_out},
    {"threads and fibers wake each other", threads_and_fibers_wake_each_other},
    {"user threads give work and wait", user_threads_give_work_and_wait},
    {"blocked tasks nest at the cap of fibers", blocked_tasks_nest_at_the_cap},
    {"without a stack, waiting is an error", without_a_stack_waiting_is_an_error},
    {"who waits in vain is told", who_waits_in_vain_is_told},
    {"passive waits are not failed", passive_waits_are_not_failed},
    {"starts and stops at once", starts_and_stops_at_once},
};

int main(void)
{
    alarm(120); /* against a hang only */
    return UNIT_MAIN("sched: scheduler", tests);
}
