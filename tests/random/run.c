/* The interpreter on the ranks: what a script says is done by raympi, and compared with what the model says.
 */
#include "script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- holds */

/* A slot that some scope holds and that is on the same object as this one, or PLAN_NONE. */
static int double_of(struct run *run, int slot)
{
    int s = run->script->first_slot;
    while (s != PLAN_NONE && !(live_of(run, s)->held && !live_of(run, s)->kept && s != slot &&
                               live_of(run, s)->handle == live_of(run, slot)->handle))
        s = run->plan->slots[s].next;
    return s;
}

static void release_handle(struct run *run, int op, int slot)
{
    struct live *live = live_of(run, slot);
    live->held = false;
    run_check(run, op,
              is_actor(run, slot) ? raympi_release((raympi_actor){live->handle})
                                  : raympi_release((raympi_ref){live->handle}),
              "raympi_release");
}

/* A release takes the hold of a scope before one that was kept, where both are on the same object. Then the
 * kept one stays, until the script ends. */
static void release(struct run *run, int op)
{
    int slot = run->plan->ops[op].slot[0];
    run_look_before(run, op, slot);
    if (!live_of(run, slot)->kept || double_of(run, slot) == PLAN_NONE)
        release_handle(run, op, slot);
}

static void retain(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    uint64_t handle = is_actor(run, o->slot[0]) ? raympi_retain(actor_of(run, o->slot[0])).handle
                                                : raympi_retain(ref_of(run, o->slot[0])).handle;
    if (!handle)
        complain(run->job, op, "raympi_retain: %s", raympi_detail());
    run_hold(run, o->out, handle);
    live_of(run, o->out)->looked = live_of(run, o->slot[0])->looked;
}

static void keep(struct run *run, int op)
{
    int slot = run->plan->ops[op].slot[0];
    uint64_t handle =
        is_actor(run, slot) ? raympi_keep(actor_of(run, slot)).handle : raympi_keep(ref_of(run, slot)).handle;
    if (!handle)
        complain(run->job, op, "raympi_keep: %s", raympi_detail());
    live_of(run, slot)->kept = true;
}

static void scope_end(struct run *run, int op)
{
    for (int s = run->script->first_slot; s != PLAN_NONE; s = run->plan->slots[s].next) {
        struct live *live = live_of(run, s);
        if (live->held && !live->kept && live->depth == run->scopes) {
            run_look_before(run, op, s);
            live->held = false;
        }
        if (live->view_depth == run->scopes + 1)
            live->view_depth = 0;
    }
    run->scopes--;
    run_check(run, op, raympi_scope_end(), "raympi_scope_end");
}

static void view(struct run *run, int op)
{
    int slot = run->plan->ops[op].slot[0];
    struct live *live = live_of(run, slot);
    int status = raympi_get(ref_of(run, slot), &live->view);
    run_outcome(run, op, slot, status, &live->view);
    if (status == RAYMPI_OK)
        live->view_depth = (uint8_t)(run->scopes + 1);
}

/* The view outlives the ref. */
static void view_done(struct run *run, int op)
{
    int slot = run->plan->ops[op].slot[0];
    struct live *live = live_of(run, slot);
    if (!live->view_depth)
        return;
    run_see(run, op, slot, live->view.data, live->view.len);
    run_view_end(run, op, &live->view);
    live->view_depth = 0;
}

static void receive(struct run *run, int op)
{
    run_hold(run, run->plan->ops[op].out, box_take(&run->job->boxes[op]));
    live_of(run, run->plan->ops[op].out)->kept = true;
}

/* ---- scripts */

static void perform(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    switch ((enum op_kind)o->kind) {
    case OP_PUT:
    case OP_PUT_NESTED:
        run_put(run, op);
        break;
    case OP_CREATE:
        run_create(run, op);
        break;
    case OP_SEAL:
        run_seal(run, op);
        break;
    case OP_CALL:
    case OP_CALL_NODE:
    case OP_CALL_SPREAD:
    case OP_CALL_MANY:
    case OP_METHOD:
        run_call(run, op);
        break;
    case OP_ACTOR_NEW:
        run_actor_new(run, op);
        break;
    case OP_READY:
        run_ready(run, op);
        break;
    case OP_KILL:
        run_check(run, op, raympi_actor_kill(actor_of(run, o->slot[0])), "raympi_actor_kill");
        break;
    case OP_GET:
        if (o->how && !plan_expect(run->plan, o->slot[0])->maybe)
            run_get_copy(run, op);
        else
            run_get(run, op, o->slot[0]);
        break;
    case OP_POLL:
        run_poll(run, op);
        break;
    case OP_GET_MANY:
        run_get_many(run, op);
        break;
    case OP_WAIT:
        run_wait(run, op);
        break;
    case OP_WAITSET:
        run_waitset(run, op);
        break;
    case OP_STATUS:
        run_status(run, op);
        break;
    case OP_VIEW:
        view(run, op);
        break;
    case OP_VIEW_END:
        view_done(run, op);
        break;
    case OP_NESTED:
        run_nested(run, op);
        break;
    case OP_RETAIN:
        retain(run, op);
        break;
    case OP_RELEASE:
        release(run, op);
        break;
    case OP_KEEP:
        keep(run, op);
        break;
    case OP_SCOPE:
        run_check(run, op, raympi_scope_begin(), "raympi_scope_begin");
        run->scopes++;
        break;
    case OP_SCOPE_END:
        scope_end(run, op);
        break;
    case OP_SEND:
        run_send(run, op);
        break;
    case OP_RECEIVE:
        receive(run, op);
        break;
    case OP_RETURN:
    case OP_RETURN_NESTED:
    case OP_RETURN_REF:
        run_return(run, op);
        break;
    case OP_FAIL:
        run_fail(run, op);
        break;
    case OP_BURST:
        run_burst(run, op);
        break;
    case OP_KINDS:
        break;
    }
}

/* A kept slot of the script, or PLAN_NONE. */
static int some_kept(struct run *run)
{
    int s = run->script->first_slot;
    while (s != PLAN_NONE && !(live_of(run, s)->held && live_of(run, s)->kept))
        s = run->plan->slots[s].next;
    return s;
}

/* Lets go of what is left: what was kept, and of a driver's other slots every second one; the rest goes with
 * the scope. What a method keeps stays with its actor. */
static void let_go(struct run *run)
{
    int last = run->script->last;
    for (int s = run->script->first_slot; s != PLAN_NONE; s = run->plan->slots[s].next)
        if (live_of(run, s)->held)
            run_look_before(run, last, s);
    for (int s; run->script->kind != SCRIPT_METHOD && (s = some_kept(run)) != PLAN_NONE;) {
        int other = double_of(run, s);
        if (other != PLAN_NONE)
            live_of(run, other)->kept = true;
        release_handle(run, last, s);
    }
    for (int s = run->script->first_slot; s != PLAN_NONE; s = run->plan->slots[s].next)
        if (run->script->kind == SCRIPT_DRIVER && live_of(run, s)->held && s % 2)
            release_handle(run, last, s);
}

void run_script(struct run *run)
{
    for (int op = run->script->first; op != PLAN_NONE; op = run->plan->ops[op].next)
        if (run->plan->ops[op].live)
            perform(run, op);
    let_go(run);
}

struct run run_of(struct job *job, int script, raympi_ctx *ctx)
{
    return (struct run){
        .job = job, .plan = job->plan, .script = &job->plan->scripts[script], .number = script, .ctx = ctx};
}

void run_driver(struct job *job, int script)
{
    struct run run = run_of(job, script, NULL);
    raympi_scope_begin();
    run_script(&run);
    raympi_scope_end();
}
void complain(struct job *job, int op, const char *format, ...)
{
    char text[900];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (!job) {
        fprintf(stderr, "random-program: rank %d: %s\n", raympi_rank(), text);
        abort();
    }
    if (atomic_fetch_add(&job->failures, 1) < 8)
        fprintf(stderr, "random-program: seed %llu, rank %d, script %d, operation %d (%s): %s\n",
                (unsigned long long)job->plan->seed, raympi_rank(),
                op == PLAN_NONE ? PLAN_NONE : job->plan->ops[op].owner, op,
                op == PLAN_NONE ? "" : plan_op_name((enum op_kind)job->plan->ops[op].kind), text);
}
