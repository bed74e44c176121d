/* A job of several nodes in one process and one thread, over the sim transport: the same seed gives the same
 * run. Every node's main is a fiber; what a node waits for in net_sleep() gives control back to the driver.
 */
#ifndef TESTS_API_SIM_JOB_H
#define TESTS_API_SIM_JOB_H

#include "../unit.h"
#include "api/api.h"
#include "net/net_sim.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SIM_NODES       8
#define SIM_STORE_BYTES (4u << 20)
#define SIM_PAGE        4096

struct sim_job;

/** How a job is run; all 0: nothing goes wrong. */
struct sim_job_way {
    struct net_sim_options net;
    uint64_t store_bytes; /* 0: SIM_STORE_BYTES */
    uint64_t events_most; /* steps after which the job is said to hang; 0: no limit */
    /* on each node, when all have ended and before they are taken down; may be NULL */
    void (*after)(int rank, uint64_t seed);
    /* Nodes may die or lose each other. Who is told of that leaves at once, as a rank does, and nothing of
     * such a job is taken down: it belongs into a process of its own. */
    bool mortal;
    uint64_t grace; /* ns after the first one has left: then the launcher ends those that are left */
};

struct sim_job_node {
    struct sim_job *job;
    int rank;
    struct net *net;
    struct store *store;
    struct api_node api;
    struct task_thread *thread;
    struct fiber *main_fiber;
    bool opened, ended; /* main has begun, has come to its end */
    int status;         /* of the end of the job, as raympi_finalize() would say */
    int told, lost;     /* how often it was told that a peer is lost, and which */
};

struct sim_job {
    struct net_sim *sim;
    struct base_segment segment;
    struct store_layout layout;
    struct base_config config;
    struct fiber_pool *fibers;
    struct fiber driver;
    struct sim_job_node nodes[SIM_NODES];
    int size;
    struct sim_job_way way;
    uint64_t seed, history, time, events;
    uint64_t end;                          /* when the launcher ends it; 0: not yet known */
    void (*body)(int rank, uint64_t seed); /* what each node's main does between init and finalize */
    bool stuck;                            /* the run ended, and some main had not */
};

static inline void sim_node_main(void *arg)
{
    struct sim_job_node *node = arg;
    struct sim_job *job = node->job;
    int status = api_node_open(&node->api, &job->config, node->net, node->store, 1, 0, true);
    node->thread = task_self;
    node->opened = true;
    CU_ASSERT_EQUAL_FATAL(status, RAYMPI_OK);
    CU_ASSERT_EQUAL_FATAL(api_node_start(&node->api), RAYMPI_OK);
    job->body(node->rank, job->seed);
    status = task_finalize(node->api.tasks);
    int report = task_report(node->api.tasks);
    node->status = status == RAYMPI_OK ? report : status;
    node->ended = true;
    fiber_switch(sched_worker_fiber(sched_worker(node->api.sched, 0)), &job->driver);
    /* Again, when all nodes have ended. */
    if (job->way.after)
        job->way.after(node->rank, job->seed);
    api_node_stop(&node->api);
    api_node_close(&node->api);
    fiber_exit_to(node->main_fiber, &job->driver);
}

static inline void sim_node_resume(struct sim_job_node *node)
{
    struct worker *worker = node->opened ? sched_worker(node->api.sched, 0) : NULL;
    sched_worker_assume(worker);
    task_self = node->thread;
    fiber_switch(&node->job->driver, worker ? sched_worker_fiber(worker) : node->main_fiber);
}

static inline void sim_step(void *arg, int rank)
{
    struct sim_job *job = arg;
    sim_node_resume(&job->nodes[rank]);
}

static inline void sim_suspend(void *arg, int rank)
{
    struct sim_job *job = arg;
    fiber_switch(sched_worker_fiber(sched_worker(job->nodes[rank].api.sched, 0)), &job->driver);
}

/* As a rank does: it leaves at once, wherever it is. */
static inline void sim_node_lost(void *arg, int rank)
{
    struct sim_job_node *node = arg;
    node->told++;
    node->lost = rank;
    if (node->job->end == 0)
        node->job->end = net_now(node->net) + node->job->way.grace;
    fiber_switch(sched_worker_fiber(sched_worker(node->api.sched, 0)), &node->job->driver);
}

static inline bool sim_finished(void *arg)
{
    struct sim_job *job = arg;
    return (job->end > 0 && net_sim_time(job->sim) >= job->end) ||
           (job->way.events_most && ++job->events > job->way.events_most);
}

static inline void sim_segment_make(struct sim_job *job)
{
    static uint64_t serial;
    const uint64_t cookie[2] = {(uint64_t)getpid(), ++serial};
    store_layout_make(&job->layout, job->size, job->way.store_bytes ? job->way.store_bytes : SIM_STORE_BYTES);
    uint64_t control = base_align_up(SIM_PAGE + job->layout.control_bytes, SIM_PAGE);
    uint64_t size = control + job->layout.extents * job->layout.extent_bytes;
    CU_ASSERT_EQUAL_FATAL(base_segment_create(&job->segment, size, control, cookie), RAYMPI_OK);
    base_segment_unlink(&job->segment);
}

static inline void sim_node_make(struct sim_job *job, int rank)
{
    struct sim_job_node *node = &job->nodes[rank];
    uint64_t data = job->segment.control_size;
    *node = (struct sim_job_node){.job = job, .rank = rank};
    CU_ASSERT_EQUAL_FATAL(net_sim_open(&node->net, job->sim, rank), RAYMPI_OK);
    CU_ASSERT_EQUAL_FATAL(store_open(&node->store, &job->segment, &job->layout, SIM_PAGE, data, rank, 1.0),
                          RAYMPI_OK);
    if (job->way.mortal)
        net_on_death(node->net, sim_node_lost, node);
    node->main_fiber = fiber_acquire(job->fibers, sim_node_main, node);
    CU_ASSERT_PTR_NOT_NULL_FATAL(node->main_fiber);
}

static inline void sim_job_begin(struct sim_job *job)
{
    CU_ASSERT_EQUAL_FATAL(base_config_read(&job->config), RAYMPI_OK);
    CU_ASSERT_EQUAL_FATAL(net_sim_create(&job->sim, job->size, job->seed, &job->way.net), RAYMPI_OK);
    sim_segment_make(job);
    job->fibers = fiber_pool_create(256 << 10, (unsigned)job->size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(job->fibers);
    fiber_init_thread(&job->driver);
    for (int rank = 0; rank < job->size; rank++)
        sim_node_make(job, rank);
}

static inline void sim_job_end(struct sim_job *job)
{
    for (int rank = 0; rank < job->size; rank++)
        sim_node_resume(&job->nodes[rank]);
    sched_worker_assume(NULL);
    task_self = NULL;
    for (int rank = 0; rank < job->size; rank++)
        fiber_release(job->fibers, job->nodes[rank].main_fiber);
    fiber_fini_thread(&job->driver);
    fiber_pool_destroy(job->fibers);
    net_sim_destroy(job->sim);
    base_segment_close(&job->segment);
}

/** Runs a job of `size` nodes to its end; each node's status is in job->nodes[].status. */
static inline void sim_job_run_in(struct sim_job *job, int size, uint64_t seed,
                                  void (*body)(int rank, uint64_t seed), const struct sim_job_way *way)
{
    *job = (struct sim_job){.size = size, .seed = seed, .body = body, .way = *way};
    sim_job_begin(job);
    net_sim_on_sleep(job->sim, sim_suspend, job);
    net_sim_run(job->sim, sim_step, sim_finished, job);
    job->history = net_sim_history(job->sim);
    job->time = net_sim_time(job->sim);
    for (int rank = 0; rank < size; rank++)
        job->stuck |= !job->nodes[rank].ended;
    if (way->mortal)
        return;
    CU_ASSERT_FALSE_FATAL(job->stuck);
    sim_job_end(job);
}

static inline void sim_job_run(struct sim_job *job, int size, uint64_t seed,
                               void (*body)(int rank, uint64_t seed))
{
    sim_job_run_in(job, size, seed, body, &(struct sim_job_way){0});
}

#endif
