/* Operations that make objects: new ones, results, what others contain. */
#include "script.h"

#include "value.h"

#include <stdlib.h>

void run_put(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    raympi_ref members[PLAN_MEMBERS];
    char *data = malloc(o->length + 1);
    for (int i = 0; i < o->count; i++)
        members[i] = ref_of(run, o->slot[i]);
    value_fill(data, o->length, o->number, o->count);
    for (int i = 0; i < o->count; i++)
        value_member_set(data, i, members[i], is_actor(run, o->slot[i]));
    raympi_ref ref =
        o->count ? raympi_put_nested(data, o->length, members, o->count) : raympi_put(data, o->length);
    free(data);
    run_hold(run, o->out, ref.handle);
}

void run_create(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    raympi_ref ref = {0};
    void *data = raympi_create(o->length, &ref);
    if (!data && o->length)
        complain(run->job, op, "raympi_create: %s", raympi_detail());
    run_hold(run, o->out, ref.handle);
    live_of(run, o->out)->data = data;
}

void run_seal(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op], *create = &run->plan->ops[o->pair];
    struct live *live = live_of(run, o->slot[0]);
    if (live->data)
        value_fill(live->data, create->length, create->number, 0);
    live->data = NULL;
    run_check(run, op, raympi_seal((raympi_ref){live->handle}), "raympi_seal");
}

void run_nested(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    const struct script *script = run->script;
    const void *data = NULL;
    raympi_view view;
    uint64_t handle;
    int at = PLAN_NONE;
    if (o->how) { /* an argument's own bytes */
        const struct op *call = &run->plan->ops[script->call];
        for (int i = call->list; i < script->arg_count; i++)
            if (script->args[i] == o->slot[0])
                at = ARGS_FIRST + i - call->list + (call->list > 0);
    }
    if (at != PLAN_NONE) {
        data = raympi_arg(run->ctx, at, NULL);
    } else {
        int status = raympi_get(ref_of(run, o->slot[0]), &view);
        if (!run_judge(run, op, o->slot[0], status, true))
            return;
        data = view.data;
    }
    if (is_actor(run, o->out)) {
        raympi_wire_actor wire;
        value_member_get(data, o->where, &wire, sizeof wire);
        handle = at == PLAN_NONE ? raympi_view_actor(&view, wire).handle
                                 : raympi_arg_nested_actor(run->ctx, at, wire).handle;
    } else {
        raympi_wire_ref wire;
        value_member_get(data, o->where, &wire, sizeof wire);
        handle = at == PLAN_NONE ? raympi_view_ref(&view, wire).handle
                                 : raympi_arg_nested(run->ctx, at, wire).handle;
    }
    if (!handle)
        complain(run->job, op, "slot %d has no member %d: %s", o->slot[0], o->where, raympi_detail());
    if (at == PLAN_NONE)
        run_view_end(run, op, &view);
    run_hold(run, o->out, handle);
    live_of(run, o->out)->looked = true;
}

/* ---- results */

void run_return(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    uint64_t number = plan_join(run->digest, (uint64_t)o->where);
    raympi_ref members[PLAN_MEMBERS];
    void *data;
    run->set[o->where] = true;
    if (o->kind == OP_RETURN_REF) {
        run_check(run, op, raympi_return_ref(run->ctx, o->where, ref_of(run, o->slot[0])),
                  "raympi_return_ref");
    } else if (o->kind == OP_RETURN_NESTED) {
        for (int i = 0; i < o->count; i++)
            members[i] = ref_of(run, o->slot[i]);
        data = raympi_return_nested(run->ctx, o->where, o->length, members, o->count);
        if (!data) {
            complain(run->job, op, "raympi_return_nested: %s", raympi_detail());
            return;
        }
        value_fill(data, o->length, number, o->count);
        for (int i = 0; i < o->count; i++)
            value_member_set(data, i, members[i], is_actor(run, o->slot[i]));
    } else if (o->how == 2) {
        run_check(run, op, raympi_return_int(run->ctx, o->where, (int64_t)number), "raympi_return_int");
    } else if (o->how == 1 || o->length == 0) {
        char *copy = malloc(o->length + 1);
        value_fill(copy, o->length, number, 0);
        run_check(run, op, raympi_return_copy(run->ctx, o->where, copy, o->length), "raympi_return_copy");
        free(copy);
    } else if ((data = raympi_return(run->ctx, o->where, o->length))) {
        value_fill(data, o->length, number, 0);
    } else {
        complain(run->job, op, "raympi_return: %s", raympi_detail());
    }
}

void run_fail(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    switch ((enum fail_how)o->how) {
    case FAIL_CODE:
        run->code = o->where;
        break;
    case FAIL_MESSAGE:
        run->code = raympi_fail(run->ctx, o->where, "script %d failed on purpose", run->number);
        break;
    case FAIL_GENERIC:
        run->code = raympi_fail(run->ctx, 0, "script %d failed on purpose", run->number);
        break;
    case FAIL_TYPE:
        raympi_arg_int(run->ctx, 2); /* bytes are no number; this fails the task, whatever it returns */
        break;
    default: /* it returns without its results */
        break;
    }
}
