/* What plans are made of: see plan_parts.h. */
#include "plan_parts.h"

#include <limits.h>
#include <stdlib.h>

uint64_t draw(struct plan *plan)
{
    return plan_mix(plan->random += UINT64_C(0x9e3779b97f4a7c15)) >> 11;
}

int below(struct plan *plan, int n)
{
    return (int)(draw(plan) % (uint64_t)n);
}

bool chance(struct plan *plan, int percent)
{
    return below(plan, 100) < percent;
}

/* ---- growing arrays */

void *grown(void *array, int count, int *room, size_t size)
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

int slot_new(struct plan *plan, int owner)
{
    plan->slots = grown(plan->slots, plan->slot_count, &plan->slot_room, sizeof *plan->slots);
    plan->slots[plan->slot_count] = (struct slot){.owner = owner, .next = plan->scripts[owner].first_slot};
    return plan->scripts[owner].first_slot = plan->slot_count++;
}

int script_new(struct plan *plan, enum script_kind kind, int call)
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

struct op op_of(int owner, enum op_kind kind)
{
    return (struct op){.kind = (uint8_t)kind,
                       .owner = owner,
                       .out = PLAN_NONE,
                       .script = PLAN_NONE,
                       .where = PLAN_NONE,
                       .pair = PLAN_NONE,
                       .next = PLAN_NONE};
}

void op_add(struct plan *plan, const struct op *op)
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

int op_do(struct plan *plan, struct op op, int outs)
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

int pick_some(struct plan *plan, struct op *op, int most, unsigned want)
{
    for (int i = 0; i < most && op->count < PLAN_OPERANDS; i++) {
        int slot = pick(plan, op->owner, want);
        if (slot == PLAN_NONE)
            break;
        op->slot[op->count++] = slot;
    }
    return op->count;
}

bool pick_one(struct plan *plan, struct op *op, unsigned want)
{
    return pick_some(plan, op, 1, want) == 1;
}

bool plan_large;

uint32_t some_length(struct plan *plan)
{
    int what = below(plan, 1000);
    if (plan_large && what >= 900)
        return 100000 + (uint32_t)below(plan, 900000);
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

uint32_t container_length(struct plan *plan, int members)
{
    uint32_t least = 8 + 24 * (uint32_t)members, length = some_length(plan);
    return length > least && (length < 10000 || plan_large) ? length : least;
}

uint32_t argument_length(struct plan *plan)
{
    uint32_t length = some_length(plan);
    return length < 16 || (length > 512 && !chance(plan, 10)) ? 16 : length;
}
