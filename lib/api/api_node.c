/* A node: its rooms, put together and taken apart. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

#define FIBERS_ALL 20000 /* of all workers of a rank, where vm.max_map_count allows that many */

/* A single worker has a spare beside it. */
static unsigned fibers_each(int workers)
{
    unsigned most = fiber_most() < FIBERS_ALL ? fiber_most() : FIBERS_ALL;
    return most / (workers > 1 ? (unsigned)workers : 2) + 1;
}

struct naming {
    struct trace *trace;
    int status;
};

static void name_function(void *arg, const struct task_function *function)
{
    struct naming *naming = arg;
    if (naming->status == RAYMPI_OK)
        naming->status = trace_name(naming->trace, function->full_hash, function->full_name);
}

int api_node_open(struct api_node *node, const struct base_config *config, struct net *net,
                  struct store *store, int workers, double spin_ns, bool cooperative)
{
    struct task_config tasks = {.rank = net_rank(net),
                                .size = net_size(net),
                                .inline_bytes = config->inline_bytes,
                                .backlog = config->backlog,
                                .create_timeout = config->create_timeout,
                                .report_leaks = config->leaks};
    struct sched_config sched = {.workers = workers,
                                 .stack_bytes = config->stack_bytes,
                                 .max_fibers = fibers_each(workers),
                                 .spin_ns = (uint64_t)spin_ns,
                                 .watchdog = config->watchdog,
                                 .cooperative = cooperative};
    *node = (struct api_node){.config = *config, .net = net, .store = store};
    int status = trace_open(&node->trace, tasks.rank, config->trace_events);
    if (status != RAYMPI_OK)
        return status;
    struct naming naming = {node->trace, RAYMPI_OK};
    task_functions_each(name_function, &naming);
    if (naming.status != RAYMPI_OK)
        return naming.status;
    tasks.trace = node->trace;
    status = task_room_open(&node->tasks, net, store, &tasks);
    if (status == RAYMPI_OK)
        status = actor_room_open(&node->actors, node->tasks);
    if (status != RAYMPI_OK)
        return status;
    node->tasks->node = node;
    task_room_hooks(node->tasks, &sched.hooks);
    status = sched_open(&node->sched, net, &sched);
    node->tasks->sched = node->sched;
    if (status == RAYMPI_OK && !task_thread_open(node->tasks, sched_worker(node->sched, 0), "worker 0"))
        status = RAYMPI_ERR_MEMORY;
    return status;
}

int api_node_start(struct api_node *node)
{
    return sched_start(node->sched);
}

void api_node_stop(struct api_node *node)
{
    if (node->sched)
        sched_stop(node->sched);
}

void api_node_close(struct api_node *node)
{
    if (node->actors)
        actor_room_close(node->actors);
    if (node->tasks)
        task_room_close(node->tasks);
    if (node->sched)
        sched_close(node->sched);
    if (node->trace)
        trace_close(node->trace);
    if (node->store)
        store_close(node->store); /* whose threads wake the net */
    if (node->net)
        net_close(node->net);
    memset(node, 0, sizeof *node);
}

struct api_node *api_node_of(const struct task_room *tasks)
{
    return tasks->node;
}
