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
#include "plan.h"

#include <limits.h>
#include <stdlib.h>

enum want {
    WANT_REF = 1,
    WANT_ACTOR = 2,
    WANT_CERTAIN = 4,  /* it can not be that its actor was killed */
    WANT_SEALED = 8,   /* does not wait for this script */
    WANT_TIGHT = 16,   /* not loose */
    WANT_MEMBERS = 32, /* an object with refs in it */
    WANT_VALUE = 64,   /* no error */
    WANT_OWN = 128,    /* held by the innermost scope, or kept */
    WANT_SCOPED = 256, /* not kept */
    WANT_VIEWED = 512,
    WANT_NOT_VIEWED = 1024,
    WANT_MEMBER = 2048, /* can be put in an object */
    WANT_SHARED = 4096, /* if an actor, one that several may call */
    WANT_CALLABLE = 8192,
    WANT_VICTIM = 16384,
    WANT_PLAIN = 32768, /* an object without refs in it */
};
#define WANT_AWAITED (WANT_REF | WANT_SEALED | WANT_TIGHT)

#define DEPTH_MOST  3
#define SCOPES_MOST 2

static uint64_t draw(struct plan *plan)
{
    return plan_mix(plan->random += UINT64_C(0x9e3779b97f4a7c15)) >> 11;
}

static int below(struct plan *plan, int n)
{
    return (int)(draw(plan) % (uint64_t)n);
}

static bool chance(struct plan *plan, int percent)
{
    return below(plan, 100) < percent;
}

int plan_threads(uint64_t seed)
{
    return seed % 2 ? 2 : 0;
}

int plan_workers(uint64_t seed)
{
    return seed % 2 ? 2 + (int)(seed / 2 % 3) : 1;
}

/* ---- growing arrays; a test that has no memory ends */

static void *grown(void *array, int count, int *room, size_t size)
{
    if (count < *room)
        return array;
    *room = *room ? 2 * *room : 256;
    array = realloc(array, (size_t)*room * size);
    if (!array)
        abort();
    return array;
}

int plan_expect_new(struct plan *plan)
{
    plan->expects = grown(plan->expects, plan->expect_count, &plan->expect_room, sizeof *plan->expects);
    plan->expects[plan->expect_count] = (struct expect){.culprit = PLAN_NONE, .actor = PLAN_NONE};
    return plan->expect_count++;
}

static int slot_new(struct plan *plan, int owner)
{
    plan->slots = grown(plan->slots, plan->slot_count, &plan->slot_room, sizeof *plan->slots);
    plan->slots[plan->slot_count] = (struct slot){.owner = owner, .next = plan->scripts[owner].first_slot};
    return plan->scripts[owner].first_slot = plan->slot_count++;
}

static int script_new(struct plan *plan, enum script_kind kind, int call)
{
    plan->scripts = grown(plan->scripts, plan->script_count, &plan->script_room, sizeof *plan->scripts);
    plan->scripts[plan->script_count] = (struct script){.kind = (uint8_t)kind,
                                                        .call = call,
                                                        .first = PLAN_NONE,
                                                        .last = PLAN_NONE,
                                                        .first_slot = PLAN_NONE,
                                                        .limit = INT_MAX,
                                                        .actor = PLAN_NONE,
                                                        .open_create = PLAN_NONE,
                                                        .open_scope = {PLAN_NONE, PLAN_NONE}};
    return plan->script_count++;
}

static struct op op_of(int owner, enum op_kind kind)
{
    return (struct op){.kind = (uint8_t)kind,
                       .owner = owner,
                       .out = PLAN_NONE,
                       .script = PLAN_NONE,
                       .where = PLAN_NONE,
                       .pair = PLAN_NONE,
                       .next = PLAN_NONE};
}

static void op_add(struct plan *plan, const struct op *op)
{
    plan->ops = grown(plan->ops, plan->op_count, &plan->op_room, sizeof *plan->ops);
    struct script *script = &plan->scripts[op->owner];
    plan->ops[plan->op_count] = *op;
    if (script->last == PLAN_NONE)
        script->first = plan->op_count;
    else
        plan->ops[script->last].next = plan->op_count;
    script->last = plan->op_count++;
    plan->counts[op->kind]++;
}

/* Do calls of this script to an actor wait for an object that it has yet to seal? */
static bool actor_unsealed(const struct plan *plan, int owner, int actor)
{
    for (int s = plan->scripts[owner].first_slot; s != PLAN_NONE; s = plan->slots[s].next)
        if (plan->slots[s].unsealed && plan_expect(plan, s)->kind == EXPECT_ACTOR &&
            plan_expect(plan, s)->actor == actor)
            return true;
    return false;
}

/* Adds an operation that is no call, with its effect. */
static int op_do(struct plan *plan, struct op op, int outs)
{
    bool unsealed = false, loose = false;
    for (int i = 0; i < op.count; i++)
        unsealed |= plan->slots[op.slot[i]].unsealed;
    loose = op.kind == OP_RETAIN && plan->slots[op.slot[0]].loose;
    op.outs = (uint8_t)outs;
    for (int i = 0; i < outs; i++) {
        int slot = slot_new(plan, op.owner);
        op.out = i == 0 ? slot : op.out;
        plan->slots[slot].unsealed = unsealed;
        plan->slots[slot].loose = loose;
    }
    op_add(plan, &op);
    model_op(plan, plan->op_count - 1);
    if (outs && plan_expect(plan, op.out)->kind == EXPECT_ACTOR &&
        actor_unsealed(plan, op.owner, plan_expect(plan, op.out)->actor))
        plan->slots[op.out].unsealed = true;
    return plan->op_count - 1;
}

/* ---- operands */

static bool actor_fits(const struct plan *plan, const struct script *script, const struct expect *expect,
                       unsigned want)
{
    const struct actor_plan *actor = &plan->actors[expect->actor];
    if (!(want & WANT_ACTOR))
        return false;
    if ((want & WANT_SHARED) && actor->klass != ACTOR_BAG)
        return false;
    if ((want & WANT_VICTIM) && actor->klass != ACTOR_VICTIM)
        return false;
    return !(want & WANT_CALLABLE) || expect->actor < script->limit;
}

static bool fits(const struct plan *plan, const struct script *script, int number, unsigned want)
{
    const struct slot *slot = &plan->slots[number];
    const struct expect *expect = plan_expect(plan, number);
    if (want & WANT_VIEWED)
        return slot->view_depth != 0;
    if (slot->state != SLOT_HELD || ((want & WANT_NOT_VIEWED) && slot->view_depth))
        return false;
    if ((want & WANT_SEALED) && slot->unsealed)
        return false;
    if ((want & WANT_OWN) && !slot->kept && slot->depth != script->scopes)
        return false;
    if ((want & WANT_SCOPED) && slot->kept)
        return false;
    if (expect->kind == EXPECT_ACTOR)
        return actor_fits(plan, script, expect, want);
    if (!(want & WANT_REF) || ((want & WANT_TIGHT) && slot->loose))
        return false;
    if ((want & WANT_CERTAIN) && expect->maybe)
        return false;
    if ((want & WANT_MEMBERS) && (expect->kind != EXPECT_VALUE || expect->maybe || !expect->members))
        return false;
    if ((want & WANT_PLAIN) && (expect->kind != EXPECT_VALUE || expect->members))
        return false;
    if ((want & WANT_VALUE) && (expect->kind != EXPECT_VALUE || expect->maybe))
        return false;
    return !(want & WANT_MEMBER) || (!expect->maybe && (expect->kind != EXPECT_ERROR || slot->looked));
}

/* A slot of the script that fits, or PLAN_NONE; newer ones more often. */
static int pick(struct plan *plan, int owner, unsigned want)
{
    const struct script *script = &plan->scripts[owner];
    int found = PLAN_NONE, seen = 0;
    for (int s = script->first_slot; s != PLAN_NONE && seen < 24; s = plan->slots[s].next)
        if (fits(plan, script, s, want) && below(plan, ++seen) == 0)
            found = s;
    return found;
}

static int pick_some(struct plan *plan, struct op *op, int most, unsigned want)
{
    for (int i = 0; i < most && op->count < PLAN_OPERANDS; i++) {
        int slot = pick(plan, op->owner, want);
        if (slot == PLAN_NONE)
            break;
        op->slot[op->count++] = slot;
    }
    return op->count;
}

static bool pick_one(struct plan *plan, struct op *op, unsigned want)
{
    return pick_some(plan, op, 1, want) == 1;
}

/* In the record, in private memory, in the store, large. */
static uint32_t some_length(struct plan *plan)
{
    int what = below(plan, 1000);
    if (what < 30)
        return 0;
    if (what < 450)
        return 16 + (uint32_t)below(plan, 25);
    if (what < 750)
        return 41 + (uint32_t)below(plan, 472);
    if (what < 985)
        return 513 + (uint32_t)below(plan, 5000);
    return 60000 + (uint32_t)below(plan, 240000);
}

static uint32_t container_length(struct plan *plan, int members)
{
    uint32_t least = 8 + 24 * (uint32_t)members, length = some_length(plan);
    return length > least && length < 10000 ? length : least;
}

static uint32_t argument_length(struct plan *plan)
{
    uint32_t length = some_length(plan);
    return length < 16 || (length > 512 && !chance(plan, 10)) ? 16 : length;
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
