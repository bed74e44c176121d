/* What is called: the bodies of tasks and methods, which do what their scripts say. */
#include "script.h"

#include "value.h"

#include <stdio.h>
#include <stdlib.h>

struct state {
    uint64_t seed, state;
    int actor;
    uint32_t calls;
    _Atomic int inside; /* methods that run now */
};

/* Reads the arguments: they become slots, and the beginning of what the script has seen. */
static void take_arguments(struct run *run)
{
    const struct script *script = run->script;
    const struct op *call = &run->plan->ops[script->call];
    size_t len;
    uint64_t number = 0;
    const void *data = raympi_arg(run->ctx, 2, &len);
    if (!value_check(data, len, 0, &number) || len != call->length)
        complain(run->job, script->call, "%zu bytes were passed wrongly", len);
    run->digest = plan_join((uint64_t)run->number, number);
    int wanted = ARGS_FIRST + script->arg_count - call->list + (call->list > 0);
    if (raympi_arg_count(run->ctx) != wanted ||
        (call->list && raympi_arg_list_count(run->ctx, ARGS_FIRST) != call->list))
        complain(run->job, script->call, "%d arguments arrived, not %d", raympi_arg_count(run->ctx), wanted);
    for (int i = 0; i < script->arg_count; i++) {
        int slot = script->args[i];
        bool listed = i < call->list;
        int at = listed ? ARGS_FIRST : ARGS_FIRST + i - call->list + (call->list > 0);
        uint64_t handle = 0;
        if (is_actor(run, slot)) {
            handle = raympi_arg_actor(run->ctx, at).handle;
        } else {
            data = listed ? raympi_arg_at(run->ctx, at, i, &len) : raympi_arg(run->ctx, at, &len);
            run->digest = plan_join(run->digest, run_see(run, script->call, slot, data, len));
            if (script->first != PLAN_NONE)
                handle =
                    listed ? raympi_arg_ref_at(run->ctx, at, i).handle : raympi_arg_ref(run->ctx, at).handle;
        }
        if (handle)
            run_hold(run, slot, handle);
        live_of(run, slot)->looked = true;
    }
}

static void default_results(struct run *run)
{
    char value[16];
    for (int i = 0; i < run->script->returns; i++)
        if (!run->set[i]) {
            value_fill(value, sizeof value, plan_join(run->digest, 100 + (uint64_t)i), 0);
            run_check(run, run->script->call, raympi_return_copy(run->ctx, i, value, sizeof value),
                      "a result");
        }
}

static void method_begins(struct run *run, struct state *state)
{
    const struct actor_plan *actor = &run->plan->actors[state->actor];
    if (atomic_fetch_add(&state->inside, 1) != 0)
        complain(run->job, run->script->call, "two methods of actor %d run at once", state->actor);
    state->calls++;
    if (actor->klass == ACTOR_BAG)
        state->state += plan_mix(run->digest);
    else
        run->digest = state->state = plan_join(state->state, run->digest);
    if (run->script->exits)
        raympi_actor_exit(run->ctx);
}

static int body(raympi_ctx *ctx, struct state *state)
{
    struct job *job = job_of((uint64_t)raympi_arg_int(ctx, 0));
    uint64_t what = (uint64_t)raympi_arg_int(ctx, 1);
    int number = (int)(uint32_t)what;
    if (!job || number >= job->plan->script_count) {
        complain(job, PLAN_NONE, "a task of seed %lld, script %d, which is not there",
                 (long long)raympi_arg_int(ctx, 0), number);
        return RAYMPI_OK;
    }
    struct run run = run_of(job, number, ctx);
    const struct op *call = &job->plan->ops[run.script->call];
    atomic_fetch_add_explicit(&job->tasks, 1, memory_order_relaxed);
    if ((int)(what >> 32) != raympi_rank())
        atomic_fetch_add_explicit(&job->remote, 1, memory_order_relaxed);
    if (call->kind <= OP_CALL_MANY && call->where != PLAN_NONE && call->where != raympi_rank())
        complain(job, run.script->call, "it runs on rank %d, not %d", raympi_rank(), call->where);
    if (!run.script->runs && !run.script->maybe)
        complain(job, run.script->call, "script %d runs, and should not", number);
    take_arguments(&run);
    if (state)
        method_begins(&run, state);
    run_script(&run);
    const struct op *last = run.script->last == PLAN_NONE ? NULL : &job->plan->ops[run.script->last];
    bool fails = last && last->kind == OP_FAIL && last->live;
    if (!fails)
        default_results(&run);
    if (state)
        atomic_fetch_sub(&state->inside, 1);
    if (run.script->runs) {
        atomic_fetch_add_explicit(&job->ran_sum, plan_stamp(number), memory_order_relaxed);
        atomic_fetch_add_explicit(&job->ran, 1, memory_order_relaxed);
    }
    return run.code;
}

RAYMPI_TASK(random_task)
{
    return body(ctx, NULL);
}

RAYMPI_TASK(random_mail) /* seed, operation that receives, ref or actor */
{
    struct job *job = job_of((uint64_t)raympi_arg_int(ctx, 0));
    int64_t op = raympi_arg_int(ctx, 1);
    if (!job || op >= job->plan->op_count) {
        complain(job, PLAN_NONE, "mail for an operation that is not there");
        return RAYMPI_OK;
    }
    bool actor = plan_expect(job->plan, job->plan->ops[op].out)->kind == EXPECT_ACTOR;
    uint64_t handle =
        actor ? raympi_keep(raympi_arg_actor(ctx, 2)).handle : raympi_keep(raympi_arg_ref(ctx, 2)).handle;
    box_put(&job->boxes[op], handle);
    return RAYMPI_OK;
}

RAYMPI_ACTOR(random_actor, struct state)

RAYMPI_CONSTRUCTOR(random_actor) /* seed, actor, bytes, perhaps a ref */
{
    struct state *self = raympi_self(ctx);
    struct job *job = job_of((uint64_t)raympi_arg_int(ctx, 0));
    size_t len;
    uint64_t number = 0, argument = 0;
    self->seed = (uint64_t)raympi_arg_int(ctx, 0);
    self->actor = (int)(uint32_t)raympi_arg_int(ctx, 1);
    if (!job || self->actor >= job->plan->actor_count) {
        complain(job, PLAN_NONE, "an actor that is not there");
        return RAYMPI_OK;
    }
    const struct op *op = &job->plan->ops[job->plan->actors[self->actor].creator];
    const void *data = raympi_arg(ctx, 2, &len);
    if (!value_check(data, len, 0, &number) || len != op->length)
        complain(job, job->plan->actors[self->actor].creator, "%zu bytes were passed wrongly", len);
    if (op->count) {
        data = raympi_arg(ctx, 3, &len);
        value_check(data, len, plan_expect(job->plan, op->slot[0])->members, &argument);
    }
    self->state = plan_join(number, argument);
    return job->plan->actors[self->actor].fails ? raympi_fail(ctx, 9, "this actor can not be made")
                                                : RAYMPI_OK;
}

RAYMPI_METHOD(random_actor, act)
{
    return body(ctx, raympi_self(ctx));
}

RAYMPI_DESTRUCTOR(random_actor)
{
    struct state *self = raympi_self(ctx);
    struct job *job = job_of(self->seed);
    if (!job) {
        complain(job, PLAN_NONE, "an actor of seed %llu has outlived it", (unsigned long long)self->seed);
        return RAYMPI_OK;
    }
    const struct actor_plan *actor = &job->plan->actors[self->actor];
    if (actor->klass != ACTOR_VICTIM && (self->state != actor->state || self->calls != actor->calls))
        complain(job, actor->creator,
                 "actor %d ends after %u calls in state %016llx, not after %u in %016llx", self->actor,
                 self->calls, (unsigned long long)self->state, actor->calls,
                 (unsigned long long)actor->state);
    atomic_fetch_add(&job->destroyed, actor->klass != ACTOR_VICTIM);
    return RAYMPI_OK;
}
