/* Operations that call tasks and actors. */
#include "script.h"

#include "value.h"

#include <stdlib.h>

static char *some_bytes(const struct op *op)
{
    char *data = malloc(op->length + 1);
    value_fill(data, op->length, op->number, 0);
    return data;
}

/* The arguments from operand `first` on, behind those that every call has. */
static size_t arguments(struct run *run, const struct op *op, int first, uint64_t what, const char *bytes,
                        raympi_ref *list, raympi_value *values)
{
    size_t count = 0;
    values[count++] = raympi_value_int((int64_t)run->plan->seed);
    values[count++] = raympi_value_int((int64_t)(what | (uint64_t)raympi_rank() << 32));
    values[count++] = raympi_value_bytes(raympi_make_bytes(bytes, op->length));
    for (int i = 0; i < op->list; i++)
        list[i] = ref_of(run, op->slot[first + i]);
    if (op->list)
        values[count++] = raympi_value_refs(raympi_make_refs(list, op->list));
    for (int i = first + op->list; i < op->count; i++)
        values[count++] = is_actor(run, op->slot[i]) ? raympi_value_actor(actor_of(run, op->slot[i]))
                                                     : raympi_value_ref(ref_of(run, op->slot[i]));
    return count;
}

void run_call(struct run *run, int op)
{
    static raympi_method_name method = RAYMPI_METHOD_NAME("act");
    const struct op *o = &run->plan->ops[op];
    raympi_value values[ARGS_FIRST + 1 + PLAN_OPERANDS];
    raympi_ref list[PLAN_OPERANDS], refs[PLAN_RETURNS] = {{0}};
    int returns = run->plan->scripts[o->script].returns;
    char *bytes = some_bytes(o);
    size_t count = arguments(run, o, o->kind == OP_METHOD, (uint64_t)o->script, bytes, list, values);
    raympi_options options = {.size = sizeof options, .num_returns = returns ? returns : RAYMPI_NONE};
    if (o->kind == OP_METHOD) {
        refs[0] = raympi_actor_submit(actor_of(run, o->slot[0]), &method, NULL, values, count);
    } else {
        options.strategy = o->kind == OP_CALL_SPREAD ? RAYMPI_STRATEGY_SPREAD
                           : o->where != PLAN_NONE   ? RAYMPI_STRATEGY_NODE
                                                     : RAYMPI_STRATEGY_DEFAULT;
        options.node = o->where == PLAN_NONE ? 0 : o->where;
        int status =
            raympi_submit_n(&raympi_task_random_task, "random_task", &options, values, count, refs, o->outs);
        run_check(run, op, status, "raympi_submit_n");
    }
    free(bytes);
    for (int i = 0; i < o->outs; i++)
        run_hold(run, o->out + i, refs[i].handle);
}

void run_actor_new(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    const struct actor_plan *actor = &run->plan->actors[o->where];
    raympi_value values[ARGS_FIRST + 1];
    char *bytes = some_bytes(o);
    size_t count = arguments(run, o, 0, (uint64_t)o->where, bytes, NULL, values);
    raympi_options options = {.size = sizeof options};
    if (actor->node != PLAN_NONE) {
        options.strategy = RAYMPI_STRATEGY_NODE;
        options.node = actor->node;
    }
    raympi_actor made =
        raympi_actor_create(&raympi_task_random_actor, "random_actor", &options, values, count);
    free(bytes);
    if (actor->node != PLAN_NONE && raympi_actor_node(made) != actor->node)
        complain(run->job, op, "the actor is on rank %d, not %d", raympi_actor_node(made), actor->node);
    run_hold(run, o->out, made.handle);
}

void run_ready(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    int status = raympi_actor_ready(actor_of(run, o->slot[0]), -1);
    live_of(run, o->slot[0])->looked = true;
    if (status != (o->dead ? RAYMPI_ERR_ACTOR_DEAD : RAYMPI_OK))
        complain(run->job, op, "raympi_actor_ready: %s (%s)", raympi_strerror(status), raympi_detail());
}

void run_send(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    bool actor = is_actor(run, o->slot[0]);
    raympi_value values[] = {raympi_value_int((int64_t)run->plan->seed), raympi_value_int(o->pair),
                             actor ? raympi_value_actor(actor_of(run, o->slot[0]))
                                   : raympi_value_ref(ref_of(run, o->slot[0]))};
    raympi_options options = {.size = sizeof options,
                              .num_returns = RAYMPI_NONE,
                              .strategy = RAYMPI_STRATEGY_NODE,
                              .node = run->plan->scripts[o->where].rank};
    run_check(run, op,
              raympi_release(raympi_submit(&raympi_task_random_mail, "random_mail", &options, values, 3)),
              "release of a mail");
}
