/* Opening, starting and stopping a node's scheduler. */
#include "sched/sched_internal.h"

#include <stdlib.h>

static struct worker *worker_new(struct sched *sched, int index)
{
    struct worker *worker = aligned_alloc(BASE_CACHE_LINE, base_align_up(sizeof *worker, BASE_CACHE_LINE));
    if (!worker)
        return NULL;
    *worker = (struct worker){.front = {.sched = sched,
                                        .tick = 1, /* nothing is due yet */
                                        .main_inside = &sched->main_inside,
                                        .light = sched->light,
                                        .sleepers = &sched->sleepers},
                              .sched = sched,
                              .index = index,
                              .next_deadline = UINT64_MAX};
    worker->front.alone = index == 0 && sched->config.workers == 1;
    base_spin_init(&worker->parked_lock);
    unsigned most = sched->config.max_fibers;
    /* A task that waits runs what it waits for on its own stack while a whole stack is left of it. */
    worker->fibers = fiber_pool_create(sched->config.stack_bytes + sched->config.stack_bytes / 4, most);
    if (!worker->fibers || sched_deque_init(&worker->front.deque) != RAYMPI_OK) {
        fiber_pool_destroy(worker->fibers);
        free(worker);
        return NULL;
    }
    return worker;
}

static void worker_delete(struct worker *worker)
{
    if (!worker)
        return;
    sched_deque_fini(&worker->front.deque);
    fiber_pool_destroy(worker->fibers);
    free(worker);
}

int sched_open(struct sched **out, struct net *net, const struct sched_config *config)
{
    struct sched *sched = aligned_alloc(BASE_CACHE_LINE, base_align_up(sizeof *sched, BASE_CACHE_LINE));
    if (!sched)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the scheduler");
    base_fences_open();
    *sched = (struct sched){.net = net, .config = *config, .worker_count = config->workers, .active = 1};
    sched->board = net_board(net, net_rank(net));
    /* A heavy fence takes some microseconds: before a sleep that follows on a search for work that is little.
     */
    sched->far = net_locals(net) < net_size(net);
    sched->light = base_fences_uneven && config->spin_ns > 0;
    atomic_init(&sched->poller, POLLER_NONE);
    base_spin_init(&sched->rest_lock);
    base_spin_init(&sched->threads_lock);
    base_spin_init(&sched->inject.lock);
    base_spin_init(&sched->pinned.lock);
    sched->workers = calloc((size_t)config->workers + 1, sizeof(struct worker *));
    bool made = sched->workers != NULL;
    /* One more than asked for: with a single worker, the spare for a main() that computes. */
    for (int i = 0; made && i < config->workers + (config->workers == 1 && !config->cooperative ? 1 : 0); i++)
        made = (sched->workers[i] = worker_new(sched, i)) != NULL;
    if (!made) {
        sched_close(sched);
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for %d workers", config->workers);
    }
    struct worker *main_worker = sched->workers[0];
    fiber_init_thread(&main_worker->own);
    if (sched_stack_left_of(&main_worker->own) == SIZE_MAX) {
        /* In the sim, nodes open on fibers of the driver: what is known is the thread's stack, not theirs. */
        main_worker->own.stack = NULL;
        main_worker->own.stack_bytes = 0;
    }
    worker_on(main_worker, &main_worker->own);
    sched_self_front = &main_worker->front;
    atomic_store(&sched->board->available, config->workers > 1);
    *out = sched;
    return RAYMPI_OK;
}

int sched_start(struct sched *sched)
{
    int status = RAYMPI_OK;
    if (sched->config.spin_ns > 0)
        net_sleep_seldom(sched->net);
    for (int i = 1; i < sched->worker_count && status == RAYMPI_OK; i++)
        status = worker_thread_start(sched, i);
    if (status == RAYMPI_OK && !sched->config.cooperative)
        status = progress_start(sched);
    sched_threads_known(sched);
    if (status != RAYMPI_OK)
        sched_stop(sched);
    return status;
}

void sched_stop(struct sched *sched)
{
    /* Release: what came before the end is seen by the threads that find it. */
    atomic_store_explicit(&sched->stop, 1, memory_order_release);
    /* Full fence: "stop" before the looks at who sleeps; a sleeper says so, fences, and looks at "stop". */
    base_fence();
    progress_stop(sched); /* first: it may be about to start the spare */
    for (int i = 1; i <= sched->worker_count; i++)
        if (sched->workers[i] && sched->workers[i]->started) {
            sched_wake_worker(sched, sched->workers[i]);
            pthread_join(sched->workers[i]->thread, NULL);
            sched->workers[i]->started = false;
        }
}

void sched_close(struct sched *sched)
{
    if (sched->workers && sched->workers[0] && worker_self() == sched->workers[0]) {
        fiber_fini_thread(&sched->workers[0]->own);
        sched_self_front = NULL;
    }
    for (int i = 0; sched->workers && i <= sched->worker_count; i++)
        worker_delete(sched->workers[i]);
    free(sched->workers);
    free(sched);
}

int sched_workers(const struct sched *sched)
{
    return sched->worker_count;
}

struct sched_front *sched_worker_front(struct worker *worker)
{
    return worker ? &worker->front : NULL;
}

int sched_worker_index(const struct worker *worker)
{
    return worker->index;
}

const _Atomic uint32_t *sched_ticks(const struct sched *sched)
{
    return sched->config.cooperative ? NULL : &sched->ticks;
}

void sched_worker_assume(struct worker *worker)
{
    sched_self_front = (struct sched_front *)worker; /* which begins with it; NULL: none */
    sched_chained = false;
    sched_arrivals =
        (struct sched_arrivals){0}; /* a node that died in its poll has left what had come there */
}

struct worker *sched_worker(struct sched *sched, int index)
{
    return sched->workers[index];
}

struct fiber *sched_worker_fiber(const struct worker *worker)
{
    return worker->current;
}

bool sched_in_guard(const struct sched *sched, const void *address)
{
    for (int i = 0; i <= sched->worker_count; i++)
        if (sched->workers[i] && fiber_pool_in_guard(sched->workers[i]->fibers, address))
            return true;
    return false;
}

size_t sched_stack_high_water(const struct sched *sched)
{
    size_t most = 0;
    for (int i = 0; i <= sched->worker_count; i++) {
        size_t here = sched->workers[i] ? fiber_pool_high_water(sched->workers[i]->fibers) : 0;
        most = here > most ? here : most;
    }
    return most;
}

unsigned sched_fibers_peak(const struct sched *sched)
{
    unsigned sum = 0;
    for (int i = 0; i <= sched->worker_count; i++)
        sum += sched->workers[i] ? fiber_pool_peak(sched->workers[i]->fibers) : 0;
    return sum;
}

void sched_counters(const struct sched *sched, struct sched_counters *counters)
{
    *counters = (struct sched_counters){.polls = atomic_load(&((struct sched *)sched)->polls)};
    for (int i = 0; i <= sched->worker_count; i++)
        if (sched->workers[i]) {
            counters->run += atomic_load_explicit(&sched->workers[i]->front.run, memory_order_relaxed);
            counters->stolen += atomic_load_explicit(&sched->workers[i]->stolen, memory_order_relaxed);
            counters->parked += atomic_load_explicit(&sched->workers[i]->parked_count, memory_order_relaxed);
            counters->sleeps += atomic_load_explicit(&sched->workers[i]->sleeps, memory_order_relaxed);
        }
}
