/*
 * Makes plans. An operation is drawn, its operands are slots that fit, and the model works it out at once, so
 * that what comes next can build on it.
 *
 * What would rightly be a deadlock is kept out:
 * - Between create and seal a script does not wait for what waits for the seal (`unsealed` slots): results of
 *   calls with such arguments, and of later calls to the same actors, which are held back.
 * - A method, and all tasks under it, calls only actors older than its own (`limit`), and makes none. Refs
 * that it finds in objects are never waited for there (`loose` slots): they may be results of later calls to
 * its own actor.
 */
#include "plan_parts.h"

#include <limits.h>
#include <stdlib.h>

#define DEPTH_MOST  3
#define SCOPES_MOST 2

int plan_threads(uint64_t seed)
{
    return seed % 2 ? 2 : 0;
}

int plan_workers(uint64_t seed)
{
    return seed % 2 ? 2 + (int)(seed / 2 % 3) : 1;
}

/* ---- calls */

static void fill_script(struct plan *plan, int number);

/* Adds a call with all that its script does. */
static void call_add(struct plan *plan, struct op op, enum script_kind kind, int returns, bool exits,
                     bool pure)
{
    int number = plan->op_count, method = kind == SCRIPT_METHOD;
    op.script = script_new(plan, kind, number);
    struct script *script = &plan->scripts[op.script], *caller = &plan->scripts[op.owner];
    script->returns = (uint8_t)returns;
    script->depth = caller->depth + 1;
    script->exits = exits;
    script->limit = caller->limit;
    script->rank = op.where;
    if (method) {
        script->rank = plan->actors[plan_expect(plan, op.slot[0])->actor].node;
        script->actor = plan_expect(plan, op.slot[0])->actor;
        script->limit = script->actor < caller->limit ? script->actor : caller->limit;
    }
    script->arg_count = op.count - method;
    bool unsealed = false;
    for (int i = 0; i < op.count; i++)
        unsealed |= plan->slots[op.slot[i]].unsealed;
    for (int i = 0; i < op.count - method; i++) {
        int slot = slot_new(plan, op.script);
        plan->scripts[op.script].args[i] = slot;
        plan->slots[slot].argument = true;
    }
    op.outs = (uint8_t)(returns ? returns : 1);
    for (int i = 0; i < op.outs; i++) {
        int slot = slot_new(plan, op.owner);
        op.out = i == 0 ? slot : op.out;
        plan->slots[slot].unsealed = unsealed;
    }
    /* Later calls to the same actor wait behind this one. */
    if (method && unsealed)
        for (int s = plan->scripts[op.owner].first_slot; s != PLAN_NONE; s = plan->slots[s].next)
            if (plan_expect(plan, s)->kind == EXPECT_ACTOR &&
                plan_expect(plan, s)->actor == plan->scripts[op.script].actor)
                plan->slots[s].unsealed = true;
    op.number = draw(plan);
    op.length = argument_length(plan);
    op_add(plan, &op);
    if (!model_op(plan, number))
        return;
    if (!plan->scripts[op.script].maybe && !pure)
        fill_script(plan, op.script);
    model_call_end(plan, number);
}

static unsigned argument_want(struct plan *plan)
{
    /* Now and then one whose value is not certain; then the task does nothing but compute. */
    return WANT_REF | WANT_ACTOR | WANT_TIGHT | WANT_SHARED | (chance(plan, 90) ? WANT_CERTAIN : 0) |
           (chance(plan, 75) ? WANT_VALUE : 0);
}

/* A rank, mostly another than `rank`, which is PLAN_NONE for a script that may run anywhere. */
static int elsewhere(struct plan *plan, int rank)
{
    if (rank == PLAN_NONE || plan->ranks == 1 || chance(plan, 15))
        return below(plan, plan->ranks);
    return (rank + 1 + below(plan, plan->ranks - 1)) % plan->ranks;
}

static bool add_call(struct plan *plan, int owner, enum op_kind kind)
{
    struct op op = op_of(owner, kind);
    int returns = 1;
    if (kind == OP_CALL_NODE || (kind == OP_CALL_MANY && chance(plan, 50)))
        op.where = elsewhere(plan, plan->scripts[owner].rank);
    if (kind == OP_CALL_MANY)
        returns = below(plan, PLAN_RETURNS);
    if (returns == 1 && kind == OP_CALL_MANY)
        returns = PLAN_RETURNS;
    unsigned want = argument_want(plan);
    if (chance(plan, 25)) {
        pick_some(plan, &op, 2 + below(plan, 3), (want & ~(unsigned)WANT_ACTOR));
        op.list = op.count;
    }
    pick_some(plan, &op, below(plan, 4), want);
    call_add(plan, op, SCRIPT_TASK, returns, false, false);
    return true;
}

static bool add_actor(struct plan *plan, int owner, enum actor_class klass)
{
    struct op op = op_of(owner, OP_ACTOR_NEW);
    if (plan->scripts[owner].limit != INT_MAX)
        return false;
    plan->actors = grown(plan->actors, plan->actor_count, &plan->actor_room, sizeof *plan->actors);
    plan->actors[plan->actor_count] =
        (struct actor_plan){.klass = (uint8_t)klass,
                            .creator = plan->op_count,
                            .node = chance(plan, 60) ? below(plan, plan->ranks) : PLAN_NONE};
    op.where = plan->actor_count++;
    op.how = chance(plan, 2); /* its constructor fails */
    op.number = draw(plan);
    op.length = argument_length(plan);
    if (chance(plan, 30))
        pick_one(plan, &op, WANT_REF | WANT_CERTAIN | WANT_TIGHT | WANT_SEALED | WANT_VALUE);
    op_do(plan, op, 1);
    return true;
}

static bool add_method(struct plan *plan, int owner)
{
    struct op op = op_of(owner, OP_METHOD);
    if (!pick_one(plan, &op, WANT_ACTOR | WANT_CALLABLE))
        return false;
    const struct actor_plan *actor = &plan->actors[plan_expect(plan, op.slot[0])->actor];
    bool exits = actor->klass == ACTOR_CHAIN && chance(plan, 10);
    bool pure = actor->klass == ACTOR_VICTIM || chance(plan, 50);
    pick_some(plan, &op, below(plan, 4), argument_want(plan) | WANT_CERTAIN);
    call_add(plan, op, SCRIPT_METHOD, 1, exits, pure);
    return true;
}

static bool add_kill(struct plan *plan, int owner)
{
    struct op op = op_of(owner, OP_KILL);
    if (!pick_one(plan, &op, WANT_ACTOR | WANT_VICTIM | WANT_CALLABLE)) {
        if (!add_actor(plan, owner, ACTOR_VICTIM))
            return false;
        op.slot[op.count++] = plan->scripts[owner].first_slot;
    }
    op_do(plan, op, 0);
    return true;
}

/* ---- other operations */

static bool add_put(struct plan *plan, int owner, enum op_kind kind)
{
    struct op op = op_of(owner, kind);
    if (kind == OP_CREATE && plan->scripts[owner].open_create != PLAN_NONE)
        return false;
    if (kind == OP_PUT_NESTED && !pick_some(plan, &op, 1 + below(plan, PLAN_MEMBERS),
                                            WANT_REF | WANT_ACTOR | WANT_MEMBER | WANT_SHARED))
        return false;
    op.number = draw(plan);
    op.length = op.count ? container_length(plan, op.count) : some_length(plan);
    int number = op_do(plan, op, 1);
    if (kind == OP_CREATE) {
        plan->scripts[owner].open_create = number;
        plan->slots[plan->ops[number].out].unsealed = true;
    }
    return true;
}

static bool add_seal(struct plan *plan, int owner)
{
    struct op op = op_of(owner, OP_SEAL);
    struct script *script = &plan->scripts[owner];
    if (script->open_create == PLAN_NONE)
        return false;
    op.slot[op.count++] = plan->ops[script->open_create].out;
    op.pair = script->open_create;
    int number = op_do(plan, op, 0);
    plan->ops[op.pair].pair = number;
    plan->scripts[owner].open_create = PLAN_NONE;
    for (int s = plan->scripts[owner].first_slot; s != PLAN_NONE; s = plan->slots[s].next)
        plan->slots[s].unsealed = false;
    return true;
}

static bool add_look(struct plan *plan, int owner, enum op_kind kind)
{
    struct op op = op_of(owner, kind);
    int most = 1;
    unsigned want = WANT_AWAITED;
    switch (kind) {
    case OP_GET_MANY:
        want |= WANT_CERTAIN | (chance(plan, 80) ? WANT_VALUE : 0);
        most = 2 + below(plan, PLAN_OPERANDS - 1);
        break;
    case OP_WAIT:
    case OP_WAITSET:
        most = 1 + below(plan, PLAN_OPERANDS);
        op.how = (uint8_t)below(plan, 4);
        if (kind == OP_WAIT && op.how == 0) /* does not wait at all */
            want = WANT_REF;
        break;
    case OP_STATUS:
        want = WANT_REF;
        break;
    case OP_VIEW:
        want |= WANT_VALUE | WANT_NOT_VIEWED;
        break;
    case OP_READY:
        want = WANT_ACTOR | WANT_SEALED | WANT_CALLABLE;
        break;
    default:
        op.how = (uint8_t)below(plan, 3);
    }
    if (!pick_some(plan, &op, most, want))
        return false;
    op.where = below(plan, op.count + 1); /* how many of them */
    op_do(plan, op, 0);
    return true;
}

static bool add_hold(struct plan *plan, int owner, enum op_kind kind)
{
    static const unsigned wants[OP_KINDS] = {
        [OP_VIEW_END] = WANT_VIEWED,
        [OP_RETAIN] = WANT_REF | WANT_ACTOR,
        [OP_RELEASE] = WANT_REF | WANT_ACTOR | WANT_OWN | WANT_SEALED,
        [OP_KEEP] = WANT_REF | WANT_ACTOR | WANT_OWN | WANT_SCOPED | WANT_SEALED,
    };
    struct op op = op_of(owner, kind);
    /* An error that nobody has looked at is looked at before it is let go of: not where that is no use. */
    unsigned want = wants[kind] | (kind == OP_RELEASE ? WANT_TIGHT : 0);
    /* An actor that keeps its own handle, or what holds it, would live until the job ends. */
    if (kind == OP_KEEP && plan->scripts[owner].kind == SCRIPT_METHOD)
        want = (want & ~(unsigned)WANT_ACTOR) | WANT_PLAIN;
    if (!pick_one(plan, &op, want))
        return false;
    op_do(plan, op, kind == OP_RETAIN);
    return true;
}

static bool add_nested(struct plan *plan, int owner)
{
    struct op op = op_of(owner, OP_NESTED);
    if (!pick_one(plan, &op, WANT_AWAITED | WANT_MEMBERS))
        return false;
    op.where = below(plan, plan_expect(plan, op.slot[0])->members);
    op.how = plan->slots[op.slot[0]].argument && chance(plan, 70);
    int number = op_do(plan, op, 1);
    plan->slots[plan->ops[number].out].loose = plan->scripts[owner].limit != INT_MAX;
    return true;
}

static bool add_scope(struct plan *plan, int owner)
{
    struct script *script = &plan->scripts[owner];
    if (script->scopes == SCOPES_MOST || script->open_create != PLAN_NONE)
        return false;
    int number = op_do(plan, op_of(owner, OP_SCOPE), 0);
    script = &plan->scripts[owner];
    script->open_scope[script->scopes - 1] = number;
    return true;
}

static bool add_scope_end(struct plan *plan, int owner)
{
    struct op op = op_of(owner, OP_SCOPE_END);
    struct script *script = &plan->scripts[owner];
    if (script->scopes == 0 || script->open_create != PLAN_NONE)
        return false;
    op.pair = script->open_scope[script->scopes - 1];
    int number = op_do(plan, op, 0);
    plan->ops[op.pair].pair = number;
    return true;
}

static bool add_send(struct plan *plan, int owner)
{
    struct op op = op_of(owner, OP_SEND);
    if (owner >= plan->drivers ||
        !pick_one(plan, &op, WANT_REF | WANT_ACTOR | WANT_SEALED | WANT_VALUE | WANT_SHARED))
        return false;
    op.where = below(plan, plan->drivers);
    int number = op_do(plan, op, 0);
    struct op receive = op_of(op.where, OP_RECEIVE);
    receive.pair = number;
    plan->ops[number].pair = plan->op_count;
    op_do(plan, receive, 1);
    return true;
}

static bool add_burst(struct plan *plan, int owner)
{
    struct op op = op_of(owner, OP_BURST);
    op.how = (uint8_t)below(plan, 3); /* bound to a rank, to none, methods */
    op.where = below(plan, plan->ranks);
    op.length = (uint32_t)below(plan, 1000);
    op.number = (uint64_t)below(plan, 1 << 30);
    op_do(plan, op, 0);
    return true;
}

static bool add(struct plan *plan, int owner, enum op_kind kind)
{
    switch (kind) {
    case OP_BURST:
        return add_burst(plan, owner);
    case OP_PUT:
    case OP_PUT_NESTED:
    case OP_CREATE:
        return add_put(plan, owner, kind);
    case OP_SEAL:
        return add_seal(plan, owner);
    case OP_CALL:
    case OP_CALL_NODE:
    case OP_CALL_SPREAD:
    case OP_CALL_MANY:
        return add_call(plan, owner, kind);
    case OP_ACTOR_NEW:
        return add_actor(plan, owner,
                         chance(plan, 60)   ? ACTOR_BAG
                         : chance(plan, 60) ? ACTOR_CHAIN
                                            : ACTOR_VICTIM);
    case OP_METHOD:
        return add_method(plan, owner);
    case OP_KILL:
        return add_kill(plan, owner);
    case OP_VIEW_END:
    case OP_RETAIN:
    case OP_RELEASE:
    case OP_KEEP:
        return add_hold(plan, owner, kind);
    case OP_NESTED:
        return add_nested(plan, owner);
    case OP_SCOPE:
        return add_scope(plan, owner);
    case OP_SCOPE_END:
        return add_scope_end(plan, owner);
    case OP_SEND:
        return add_send(plan, owner);
    case OP_RECEIVE: /* come with others, or at a script's end */
    case OP_RETURN:
    case OP_RETURN_NESTED:
    case OP_RETURN_REF:
    case OP_FAIL:
        return false;
    default:
        return add_look(plan, owner, kind);
    }
}

/* One operation of those that are behind their share. */
static void add_some(struct plan *plan, int owner)
{
    static const uint8_t shares[OP_KINDS] = {
        [OP_PUT] = 3,       [OP_PUT_NESTED] = 5,  [OP_CREATE] = 3,    [OP_SEAL] = 3,      [OP_CALL] = 4,
        [OP_CALL_NODE] = 9, [OP_CALL_SPREAD] = 3, [OP_CALL_MANY] = 5, [OP_ACTOR_NEW] = 4, [OP_METHOD] = 7,
        [OP_READY] = 4,     [OP_KILL] = 3,        [OP_GET] = 4,       [OP_POLL] = 4,      [OP_GET_MANY] = 4,
        [OP_WAIT] = 4,      [OP_WAITSET] = 3,     [OP_STATUS] = 3,    [OP_VIEW] = 4,      [OP_VIEW_END] = 6,
        [OP_NESTED] = 5,    [OP_RETAIN] = 3,      [OP_RELEASE] = 5,   [OP_KEEP] = 3,      [OP_SCOPE] = 3,
        [OP_SCOPE_END] = 3, [OP_SEND] = 4,        [OP_BURST] = 3,
    };
    bool tried[OP_KINDS] = {false};
    for (int tries = 0; tries < 6; tries++) {
        int best = PLAN_NONE;
        int64_t least = INT64_MAX;
        for (int kind = 0; kind < OP_KINDS; kind++) {
            if (!shares[kind] || tried[kind])
                continue;
            int64_t behind = (int64_t)(plan->counts[kind] + 1) * (60 + below(plan, 100)) / shares[kind];
            if (behind < least) {
                least = behind;
                best = kind;
            }
        }
        tried[best] = true;
        if (add(plan, owner, (enum op_kind)best))
            return;
    }
    add_put(plan, owner, OP_PUT);
}

static void close_script(struct plan *plan, int owner)
{
    add_seal(plan, owner);
    while (add_scope_end(plan, owner))
        continue;
}

static void add_fail(struct plan *plan, int owner)
{
    struct op op = op_of(owner, OP_FAIL);
    op.how = (uint8_t)below(plan, FAIL_HOWS);
    op.where = 1 + below(plan, 1000);
    op_do(plan, op, 0);
}

static void add_result(struct plan *plan, int owner, int result)
{
    struct op op = op_of(owner, OP_RETURN);
    int behind_nested = plan->counts[OP_RETURN_NESTED], behind_ref = plan->counts[OP_RETURN_REF];
    if (behind_nested <= plan->counts[OP_RETURN] &&
        pick_some(plan, &op, 1 + below(plan, PLAN_MEMBERS),
                  WANT_REF | WANT_ACTOR | WANT_MEMBER | WANT_SHARED))
        op.kind = OP_RETURN_NESTED;
    else if (behind_ref <= plan->counts[OP_RETURN] && pick_one(plan, &op, WANT_REF))
        op.kind = OP_RETURN_REF;
    op.where = result;
    op.how = (uint8_t)below(plan, 3);
    op.length = op.kind == OP_RETURN_NESTED ? container_length(plan, op.count) : some_length(plan);
    if (op.kind == OP_RETURN && op.how == 2)
        op.length = 8;
    op_do(plan, op, 0);
}

static void fill_script(struct plan *plan, int number)
{
    int depth = plan->scripts[number].depth;
    int ops = depth >= DEPTH_MOST ? below(plan, 3) : below(plan, 9 - 2 * depth);
    for (int i = 0; i < ops && plan->op_count < plan->wanted; i++)
        add_some(plan, number);
    close_script(plan, number);
    bool fails = chance(plan, 15);
    if (fails && chance(plan, 50)) {
        add_fail(plan, number);
        return;
    }
    for (int i = 0; i < plan->scripts[number].returns && !(fails && chance(plan, 50)); i++)
        if (chance(plan, 85))
            add_result(plan, number, i);
    if (fails)
        add_fail(plan, number);
}

/* ---- the whole */

struct plan *plan_make(uint64_t seed, int ranks, int ops, const bool *skip, int skip_count)
{
    struct plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        abort();
    plan->seed = seed;
    plan->ranks = ranks;
    plan->threads = plan_threads(seed);
    plan->wanted = ops;
    plan->random = plan_mix(plan_join(seed, (uint64_t)ranks)) + (uint64_t)ops;
    plan_expect_new(plan);
    for (int rank = 0; rank < ranks; rank++)
        for (int thread = 0; thread <= plan->threads; thread++) {
            int number = script_new(plan, SCRIPT_DRIVER, PLAN_NONE);
            plan->scripts[number].rank = rank;
            plan->scripts[number].thread = thread;
        }
    plan->drivers = plan->script_count;
    /* Not all drivers, where each would do next to nothing. */
    int active[16], count = plan->drivers < 2 + ops / 40 ? plan->drivers : 2 + ops / 40;
    count = count < 16 ? count : 16;
    int start = below(plan, plan->drivers);
    for (int i = 0; i < count; i++)
        active[i] = (start + i) % plan->drivers;
    while (plan->op_count < ops)
        add_some(plan, active[below(plan, count)]);
    for (int i = 0; i < plan->drivers; i++)
        close_script(plan, i);
    model_run(plan, skip, skip_count);
    return plan;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    free(plan->ops);
    free(plan->scripts);
    free(plan->slots);
    free(plan->expects);
    free(plan->actors);
    free(plan);
}
