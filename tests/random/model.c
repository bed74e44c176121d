/* The sequential interpreter: what every object, error and actor of a plan will be. */
#include "plan.h"

#include <raympi.h>

static void slot_set(struct plan *plan, int slot, int expect)
{
    struct slot *s = &plan->slots[slot];
    s->expect = expect;
    s->state = SLOT_HELD;
    s->depth = plan->scripts[s->owner].scopes;
    s->kept = s->looked = false;
    s->view_depth = 0;
}

static int expect_value(struct plan *plan, uint64_t number, uint32_t length)
{
    int expect = plan_expect_new(plan);
    plan->expects[expect].kind = EXPECT_VALUE;
    plan->expects[expect].number = length ? number : 0;
    plan->expects[expect].length = length;
    return expect;
}

static int expect_error(struct plan *plan, int code, int culprit)
{
    int expect = plan_expect_new(plan);
    plan->expects[expect].kind = EXPECT_ERROR;
    plan->expects[expect].code = code;
    plan->expects[expect].culprit = culprit;
    return expect;
}

/* Only what is certain, and no error that nobody would look at, may be in an object. */
static bool may_be_member(const struct plan *plan, int slot)
{
    const struct expect *expect = plan_expect(plan, slot);
    return !expect->maybe && (expect->kind != EXPECT_ERROR || plan->slots[slot].looked);
}

static int expect_container(struct plan *plan, const struct op *op, uint64_t number)
{
    for (int i = 0; i < op->count; i++)
        if (!may_be_member(plan, op->slot[i]))
            return 0;
    int made = expect_value(plan, number, op->length);
    plan->expects[made].members = op->count;
    for (int i = 0; i < op->count; i++)
        plan->expects[made].member[i] = plan->slots[op->slot[i]].expect;
    return made;
}

static void digest(struct plan *plan, const struct op *op, uint64_t number)
{
    struct script *script = &plan->scripts[op->owner];
    script->digest = plan_join(script->digest, number);
}

/* What a script that looks at an object has seen. */
static void look(struct plan *plan, const struct op *op, int slot)
{
    const struct expect *expect = plan_expect(plan, slot);
    plan->slots[slot].looked = true;
    if (!expect->maybe)
        digest(plan, op, expect->kind == EXPECT_ERROR ? (uint64_t)(int64_t)expect->code : expect->number);
}

static bool get_many(struct plan *plan, const struct op *op)
{
    for (int i = 0; i < op->count; i++)
        if (plan_expect(plan, op->slot[i])->maybe)
            return false;
    for (int i = 0; i < op->count; i++)
        if (plan_expect(plan, op->slot[i])->kind == EXPECT_ERROR) {
            look(plan, op, op->slot[i]);
            return true;
        }
    for (int i = 0; i < op->count; i++)
        look(plan, op, op->slot[i]);
    return true;
}

/* ---- calls */

static struct actor_plan *actor_of(struct plan *plan, const struct op *op)
{
    return &plan->actors[plan_expect(plan, op->slot[0])->actor];
}

/* The first argument that failed; or any that may have. */
static int bad_argument(const struct plan *plan, const struct op *op, int first, bool *maybe)
{
    int error = 0;
    *maybe = false;
    for (int i = first; i < op->count; i++) {
        const struct expect *expect = plan_expect(plan, op->slot[i]);
        *maybe |= expect->maybe;
        if (expect->kind == EXPECT_ERROR && !error)
            error = plan->slots[op->slot[i]].expect;
    }
    return error;
}

static void outs_set(struct plan *plan, const struct op *op, int expect)
{
    for (int i = 0; i < op->outs; i++)
        slot_set(plan, op->out + i, expect);
}

static void bind(struct plan *plan, const struct op *op, struct script *script, int first)
{
    script->digest = plan_join((uint64_t)op->script, op->number);
    script->scopes = 0;
    script->stopped = false;
    script->code = 0;
    script->culprit = PLAN_NONE;
    for (int i = 0; i < PLAN_RETURNS; i++)
        script->result[i] = 0;
    for (int i = first; i < op->count; i++) {
        const struct expect *expect = plan_expect(plan, op->slot[i]);
        if (expect->kind == EXPECT_VALUE)
            script->digest = plan_join(script->digest, expect->number);
        slot_set(plan, script->args[i - first], plan->slots[op->slot[i]].expect);
    }
}

static void actor_runs(struct actor_plan *actor, struct script *script)
{
    actor->calls++;
    if (actor->klass == ACTOR_BAG)
        actor->state += plan_mix(script->digest);
    else
        script->digest = actor->state = plan_join(actor->state, script->digest);
}

/* Does the script run? */
static bool call(struct plan *plan, struct op *op)
{
    bool maybe, method = op->kind == OP_METHOD;
    struct script *script = &plan->scripts[op->script];
    int error = bad_argument(plan, op, method, &maybe);
    struct actor_plan *actor = method ? actor_of(plan, op) : NULL;
    script->maybe = maybe || (actor && actor->klass == ACTOR_VICTIM);
    if (script->maybe && script->first != PLAN_NONE) {
        op->live = false; /* what it does must not depend on luck */
        return false;
    }
    if (maybe && (error || actor)) {
        op->live = false;
        return false;
    }
    if (error) {
        outs_set(plan, op, error);
        return false;
    }
    if (actor && (actor->dead || actor->fails)) {
        outs_set(plan, op, expect_error(plan, RAYMPI_ERR_ACTOR_DEAD, PLAN_NONE));
        return false;
    }
    bind(plan, op, script, method);
    if (actor)
        actor_runs(actor, script);
    if (actor && script->exits && actor->klass == ACTOR_CHAIN)
        actor->dead = true;
    script->runs = !script->maybe;
    if (script->runs) {
        plan->runs++;
        plan->runs_sum += plan_stamp(op->script);
    }
    return true;
}

void model_call_end(struct plan *plan, int number)
{
    struct op *op = &plan->ops[number];
    struct script *script = &plan->scripts[op->script];
    for (int i = 0; i < op->outs; i++) {
        int expect = script->result[i];
        if (script->code)
            expect = expect_error(plan, script->code, script->culprit);
        else if (script->returns == 0)
            expect = expect_value(plan, 0, 0);
        else if (!expect)
            expect = expect_value(plan, plan_join(script->digest, 100 + (uint64_t)i), 16);
        plan->expects[expect].maybe |= script->maybe;
        if (op->kind == OP_METHOD && script->maybe)
            plan->expects[expect].actor = script->actor;
        slot_set(plan, op->out + i, expect);
    }
}

static bool actor_new(struct plan *plan, struct op *op)
{
    bool maybe;
    int error = bad_argument(plan, op, 0, &maybe);
    struct actor_plan *actor = &plan->actors[op->where];
    if (maybe)
        return false;
    uint64_t argument = op->count && !error ? plan_expect(plan, op->slot[0])->number : 0;
    actor->fails = error || op->how;
    actor->dead = false;
    actor->calls = 0;
    actor->state = plan_join(op->number, argument);
    int expect = plan_expect_new(plan);
    plan->expects[expect].kind = EXPECT_ACTOR;
    plan->expects[expect].actor = op->where;
    slot_set(plan, op->out, expect);
    return true;
}

/* ---- holds */

static void scope_end(struct plan *plan, struct script *script)
{
    for (int s = script->first_slot; s != PLAN_NONE; s = plan->slots[s].next) {
        struct slot *slot = &plan->slots[s];
        if (slot->state == SLOT_HELD && !slot->kept && slot->depth == script->scopes)
            slot->state = SLOT_GONE;
        if (slot->view_depth == script->scopes + 1)
            slot->view_depth = 0;
    }
    script->scopes--;
}

static bool nested(struct plan *plan, const struct op *op)
{
    const struct expect *container = plan_expect(plan, op->slot[0]);
    if (container->kind != EXPECT_VALUE || container->maybe || op->where >= container->members)
        return false;
    slot_set(plan, op->out, container->member[op->where]);
    plan->slots[op->out].looked = true;
    return true;
}

static bool hand_over(struct plan *plan, const struct op *op)
{
    const struct expect *expect = plan_expect(plan, op->slot[0]);
    return !expect->maybe && expect->kind != EXPECT_ERROR;
}

static bool receive(struct plan *plan, const struct op *op)
{
    const struct op *send = &plan->ops[op->pair];
    if (!send->live)
        return false;
    slot_set(plan, op->out, plan->slots[send->slot[0]].expect);
    plan->slots[op->out].kept = true;
    return true;
}

/* ---- results */

static bool result(struct plan *plan, const struct op *op)
{
    struct script *script = &plan->scripts[op->owner];
    uint64_t number = plan_join(script->digest, (uint64_t)op->where);
    int expect;
    if (op->where >= script->returns || script->result[op->where])
        return false;
    if (op->kind == OP_RETURN_REF)
        expect = plan->slots[op->slot[0]].expect;
    else
        expect = op->kind == OP_RETURN ? expect_value(plan, number, op->length)
                                       : expect_container(plan, op, number);
    script->result[op->where] = expect;
    return expect != 0;
}

static bool fail(struct plan *plan, const struct op *op)
{
    static const int codes[] = {0, 0, RAYMPI_ERR_TASK, RAYMPI_ERR_NO_RESULT, RAYMPI_ERR_TYPE};
    struct script *script = &plan->scripts[op->owner];
    if (op->how == FAIL_NO_RESULT) {
        bool all = true;
        for (int i = 0; i < script->returns; i++)
            all &= script->result[i] != 0;
        if (all || script->kind != SCRIPT_TASK)
            return false;
    }
    script->code = codes[op->how] ? codes[op->how] : op->where;
    script->culprit = op->how == FAIL_MESSAGE || op->how == FAIL_GENERIC ? op->owner : PLAN_NONE;
    script->stopped = true;
    return true;
}

/* ---- operations */

static bool operands_held(const struct plan *plan, const struct op *op)
{
    for (int i = 0; i < op->count; i++) {
        const struct slot *slot = &plan->slots[op->slot[i]];
        if (slot->state != SLOT_HELD && !(op->kind == OP_VIEW_END && slot->view_depth))
            return false;
    }
    return true;
}

static bool view(struct plan *plan, const struct op *op)
{
    struct slot *slot = &plan->slots[op->slot[0]];
    const struct expect *expect = plan_expect(plan, op->slot[0]);
    if (slot->view_depth || expect->kind != EXPECT_VALUE || expect->maybe)
        return false;
    look(plan, op, op->slot[0]);
    slot->view_depth = (uint8_t)(plan->scripts[op->owner].scopes + 1);
    return true;
}

static bool view_end(struct plan *plan, const struct op *op)
{
    struct slot *slot = &plan->slots[op->slot[0]];
    bool open = slot->view_depth != 0;
    slot->view_depth = 0;
    return open;
}

/* The result of a call to a victim: until its only caller kills it, the call is answered. */
static bool may_be_dead(const struct plan *plan, const struct op *op)
{
    const struct expect *expect = plan_expect(plan, op->slot[0]);
    const struct actor_plan *actor = expect->actor == PLAN_NONE ? NULL : &plan->actors[expect->actor];
    return expect->maybe && !(actor && !actor->dead && plan->ops[actor->creator].owner == op->owner);
}

static bool effect(struct plan *plan, struct op *op)
{
    struct script *script = &plan->scripts[op->owner];
    struct slot *slot = op->count ? &plan->slots[op->slot[0]] : NULL;
    switch ((enum op_kind)op->kind) {
    case OP_PUT:
    case OP_CREATE:
        slot_set(plan, op->out, expect_value(plan, op->number, op->length));
        return true;
    case OP_PUT_NESTED: {
        int made = expect_container(plan, op, op->number);
        if (made)
            slot_set(plan, op->out, made);
        return made != 0;
    }
    case OP_ACTOR_NEW:
        return actor_new(plan, op);
    case OP_READY:
        op->dead = actor_of(plan, op)->dead || actor_of(plan, op)->fails;
        return true;
    case OP_KILL:
        actor_of(plan, op)->dead = true;
        return actor_of(plan, op)->klass == ACTOR_VICTIM;
    case OP_GET:
    case OP_POLL:
        op->dead = may_be_dead(plan, op);
        look(plan, op, op->slot[0]);
        return true;
    case OP_GET_MANY:
        return get_many(plan, op);
    case OP_VIEW:
        return view(plan, op);
    case OP_VIEW_END:
        return view_end(plan, op);
    case OP_NESTED:
        return nested(plan, op);
    case OP_RETAIN: {
        bool looked = slot->looked;
        slot_set(plan, op->out, slot->expect);
        plan->slots[op->out].looked = looked;
        return true;
    }
    case OP_RELEASE:
        slot->state = SLOT_GONE;
        return true;
    case OP_KEEP:
        slot->kept = true;
        return true;
    case OP_SCOPE:
        script->scopes++;
        return true;
    case OP_SCOPE_END:
        scope_end(plan, script);
        return true;
    case OP_SEND:
        return hand_over(plan, op);
    case OP_RECEIVE:
        return receive(plan, op);
    case OP_RETURN:
    case OP_RETURN_NESTED:
    case OP_RETURN_REF:
        return result(plan, op);
    case OP_FAIL:
        return fail(plan, op);
    default: /* SEAL, WAIT, WAITSET, STATUS, BURST: nothing changes */
        return true;
    }
}

bool model_op(struct plan *plan, int number)
{
    struct op *op = &plan->ops[number];
    op->live = false;
    if (plan->scripts[op->owner].stopped || !operands_held(plan, op))
        return false;
    op->live = true;
    if (plan_is_call(op))
        return call(plan, op);
    op->live = effect(plan, op);
    return false;
}

static void run_op(struct plan *plan, int number, const bool *skip, int skip_count)
{
    const struct op *op = &plan->ops[number];
    bool skipped = number < skip_count && skip[number];
    if (op->pair != PLAN_NONE)
        skipped |= op->pair < skip_count && skip[op->pair];
    if (skipped || !model_op(plan, number))
        return;
    const struct script *script = &plan->scripts[plan->ops[number].script];
    for (int next = script->first; next != PLAN_NONE; next = plan->ops[next].next)
        run_op(plan, next, skip, skip_count);
    model_call_end(plan, number);
}

void model_run(struct plan *plan, const bool *skip, int skip_count)
{
    plan->expect_count = 1;
    plan->runs = plan->runs_sum = 0;
    for (int i = 0; i < plan->op_count; i++)
        plan->ops[i].live = plan->ops[i].dead = false;
    for (int i = 0; i < plan->slot_count; i++) {
        struct slot *slot = &plan->slots[i];
        slot->state = SLOT_ABSENT;
        slot->expect = 0;
        slot->view_depth = 0;
    }
    for (int i = 0; i < plan->script_count; i++) {
        struct script *script = &plan->scripts[i];
        script->runs = script->stopped = false;
        script->scopes = 0;
        script->digest = 0;
    }
    for (int i = 0; i < plan->op_count; i++)
        if (plan->ops[i].owner < plan->drivers)
            run_op(plan, i, skip, skip ? skip_count : 0);
}
