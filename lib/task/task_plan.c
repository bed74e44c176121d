/* Options: those of a definition are worked out once, when it is registered; those of a call on top. */
#include "task/task_internal.h"

static int unsupported(const char *option)
{
    return base_fail(RAYMPI_ERR_UNSUPPORTED, "option .%s is not built yet in raympi %s", option,
                     RAYMPI_VERSION);
}

/* Do they say anything but how many results there are, and where it runs? */
static bool options_are_few(const raympi_options *o)
{
    uint64_t cpus, gpus, timeout;
    memcpy(&cpus, &o->num_cpus, sizeof cpus);
    memcpy(&gpus, &o->num_gpus, sizeof gpus);
    memcpy(&timeout, &o->timeout, sizeof timeout);
    return (cpus | gpus | timeout | (uint64_t)o->memory | (uintptr_t)o->resources | (uintptr_t)o->name |
            (unsigned)o->max_retries | (unsigned)o->max_restarts | (unsigned)o->max_concurrency |
            (unsigned)o->gang) == 0;
}

static int options_supported(const raympi_options *o)
{
    if (base_likely(options_are_few(o)))
        return RAYMPI_OK;
    if (o->num_cpus != 0 && o->num_cpus != 1 && o->num_cpus != RAYMPI_NONE)
        return unsupported("num_cpus (other than 1 and RAYMPI_NONE)");
    if (o->num_gpus != 0 && o->num_gpus != RAYMPI_NONE)
        return unsupported("num_gpus");
    if (o->memory != 0 && o->memory != RAYMPI_NONE)
        return unsupported("memory");
    if (o->resources)
        return unsupported("resources");
    if (o->max_retries != 0 && o->max_retries != RAYMPI_NONE)
        return unsupported("max_retries");
    if (o->max_restarts != 0 && o->max_restarts != RAYMPI_NONE)
        return unsupported("max_restarts");
    if (o->max_concurrency != 0 && o->max_concurrency != 1)
        return unsupported("max_concurrency");
    if (o->timeout != 0 && o->timeout != RAYMPI_NONE)
        return unsupported("timeout");
    if (o->name)
        return unsupported("name");
    if (o->gang != 0 && o->gang != RAYMPI_NONE)
        return unsupported("gang");
    return RAYMPI_OK;
}

static int options_check(const raympi_options *options)
{
    int status = options_supported(options);
    if (status != RAYMPI_OK)
        return status;
    if (options->num_returns < RAYMPI_NONE || options->num_returns > TASK_RETURNS_MAX)
        return base_fail(RAYMPI_ERR_ARGUMENT, "num_returns %d: 1 to %d, or RAYMPI_NONE", options->num_returns,
                         TASK_RETURNS_MAX);
    if (options->strategy < 0 || options->strategy > RAYMPI_STRATEGY_NODE)
        return base_fail(RAYMPI_ERR_ARGUMENT, "strategy %d is none of enum raympi_strategy",
                         options->strategy);
    return RAYMPI_OK;
}

static int size_check(const raympi_options *options)
{
    if (base_unlikely(options->size != sizeof *options))
        return base_fail(RAYMPI_ERR_ARGUMENT, "options of %zu bytes: make them with RAYMPI_OPTIONS()",
                         options->size);
    return RAYMPI_OK;
}

/* ---- options as options: for classes, and where an error is to be told */

#define MERGE(field)                                                                                         \
    if (call->field)                                                                                         \
    merged->field = call->field

static void merge_fields(raympi_options *merged, const raympi_options *call)
{
    MERGE(num_cpus);
    MERGE(num_gpus);
    MERGE(memory);
    MERGE(resources);
    MERGE(num_returns);
    MERGE(max_retries);
    MERGE(max_restarts);
    MERGE(max_concurrency);
    MERGE(strategy);
    MERGE(timeout);
    MERGE(name);
    MERGE(gang);
    if (call->strategy)
        merged->node =
            call->node; /* rank 0 is a node too: it belongs to the strategy, not to "0 = default" */
}

int task_options_merge(raympi_options *merged, const raympi_options *definition, const raympi_options *call)
{
    *merged = (raympi_options){.size = sizeof *merged};
    if (definition)
        merge_fields(merged, definition);
    int status = call ? size_check(call) : RAYMPI_OK;
    if (status != RAYMPI_OK)
        return status;
    if (call)
        merge_fields(merged, call);
    return options_check(merged);
}

/* ---- options as a plan */

/* What `options` say, they say; the rest of the plan stays. */
static void plan_apply(struct task_plan *plan, const raympi_options *options)
{
    if (options->num_returns) {
        plan->is_void = options->num_returns == RAYMPI_NONE;
        plan->num_returns = plan->is_void ? 1 : options->num_returns;
    }
    if (options->strategy) {
        plan->on_node = options->strategy == RAYMPI_STRATEGY_NODE;
        plan->node = plan->on_node ? options->node : -1;
        plan->spread = options->strategy == RAYMPI_STRATEGY_SPREAD;
    }
}

void task_plan_init(struct task_plan *plan, const raympi_options *definition)
{
    *plan = (struct task_plan){.status = RAYMPI_OK, .num_returns = 1, .node = -1, .plain = true};
    if (!definition)
        return;
    plan->status = options_check(definition);
    plan->plain = false;
    if (plan->status != RAYMPI_OK)
        return;
    plan_apply(plan, definition);
    bool single = plan->num_returns == 1 && !plan->is_void && !plan->spread;
    plan->plain = single && !plan->on_node;
    plan->there = single && plan->on_node;
}

/* The node that is asked for by name. */
static int node_check(const struct task_room *room, const struct task_function *function, int node)
{
    if (node < 0 || node >= room->config.size)
        return base_fail(RAYMPI_ERR_INFEASIBLE, "node %d was asked for, the job has ranks 0 to %d", node,
                         room->config.size - 1);
    if (!task_function_on(function, node))
        return base_fail(RAYMPI_ERR_INFEASIBLE, "%s is not registered on rank %d, where it was to run",
                         function->full_name, node);
    return RAYMPI_OK;
}

/* The definition asks for what is not there; a call's options may take that back. */
static int plan_anew(struct task_plan *plan, const struct task_function *function,
                     const raympi_options *options)
{
    raympi_options merged;
    int status = task_options_merge(&merged, &function->definition->options, options);
    task_plan_init(plan, NULL);
    plan_apply(plan, &merged);
    return status;
}

int task_plan_make(struct task_plan *plan, const struct task_room *room, const struct task_request *request)
{
    const raympi_options *options = request->options;
    int status = RAYMPI_OK;
    *plan = request->function->plan;
    if (base_unlikely(plan->status != RAYMPI_OK)) {
        status = plan_anew(plan, request->function, options);
    } else if (options) {
        status = size_check(options);
        if (status == RAYMPI_OK)
            status = options_check(options);
        if (status == RAYMPI_OK)
            plan_apply(plan, options);
    }
    if (request->actor) { /* its methods run where it is */
        plan->node = -1;
        plan->on_node = plan->spread = false;
    }
    if (status == RAYMPI_OK && plan->on_node)
        status = node_check(room, request->function, plan->node);
    if (status == RAYMPI_OK && !options && plan->there)
        task_way_set(request->function, TASK_WAY_THERE);
    return status;
}
