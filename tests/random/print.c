/* Plans for people to read. */
#include "plan.h"

#include <raympi.h>
#include <stdio.h>

const char *plan_op_name(enum op_kind kind)
{
    static const char *const names[OP_KINDS] = {
        [OP_PUT] = "put",
        [OP_PUT_NESTED] = "put_nested",
        [OP_CREATE] = "create",
        [OP_SEAL] = "seal",
        [OP_CALL] = "call",
        [OP_CALL_NODE] = "call_node",
        [OP_CALL_SPREAD] = "call_spread",
        [OP_CALL_MANY] = "call_many",
        [OP_ACTOR_NEW] = "actor_new",
        [OP_METHOD] = "method",
        [OP_READY] = "ready",
        [OP_KILL] = "kill",
        [OP_GET] = "get",
        [OP_POLL] = "poll",
        [OP_GET_MANY] = "get_many",
        [OP_WAIT] = "wait",
        [OP_WAITSET] = "waitset",
        [OP_STATUS] = "status",
        [OP_VIEW] = "view",
        [OP_VIEW_END] = "view_end",
        [OP_NESTED] = "nested",
        [OP_RETAIN] = "retain",
        [OP_RELEASE] = "release",
        [OP_KEEP] = "keep",
        [OP_SCOPE] = "scope",
        [OP_SCOPE_END] = "scope_end",
        [OP_SEND] = "send",
        [OP_RECEIVE] = "receive",
        [OP_RETURN] = "return",
        [OP_RETURN_NESTED] = "return_nested",
        [OP_RETURN_REF] = "return_ref",
        [OP_FAIL] = "fail",
        [OP_BURST] = "burst",
    };
    return names[kind];
}

static void print_expect(const struct plan *plan, int slot)
{
    static const char *const classes[] = {"bag", "chain", "victim"};
    const struct expect *expect = plan_expect(plan, slot);
    switch ((enum expect_kind)expect->kind) {
    case EXPECT_VALUE:
        printf("%u bytes", expect->length);
        if (expect->members)
            printf(" with %d refs", expect->members);
        break;
    case EXPECT_ERROR:
        printf("error %d", expect->code);
        break;
    case EXPECT_ACTOR:
        printf("actor %d (%s%s)", expect->actor, classes[plan->actors[expect->actor].klass],
               plan->actors[expect->actor].fails ? ", can not be made" : "");
        break;
    default:
        printf("nothing");
    }
    if (expect->maybe)
        printf(" or a dead actor");
}

static void print_op(const struct plan *plan, int number, int indent)
{
    const struct op *op = &plan->ops[number];
    if (!op->live)
        return;
    printf("%*s%4d  %s", indent, "", number, plan_op_name((enum op_kind)op->kind));
    for (int i = 0; i < op->count; i++)
        printf("%s%d%s",
               i              ? ", "
               : i < op->list ? " ["
                              : " ",
               op->slot[i], op->list && i == op->list - 1 ? "]" : "");
    if (op->kind == OP_CALL_NODE || op->kind == OP_SEND || op->kind == OP_RETURN || op->kind == OP_NESTED ||
        op->kind == OP_WAIT || op->kind == OP_FAIL || (op->kind == OP_CALL_MANY && op->where != PLAN_NONE))
        printf(" (%s %d)",
               op->kind == OP_SEND     ? "to driver"
               : op->kind == OP_RETURN ? "result"
               : op->kind == OP_NESTED ? "member"
               : op->kind == OP_WAIT   ? "for"
               : op->kind == OP_FAIL   ? "code"
                                       : "on rank",
               op->where);
    if (op->kind == OP_RECEIVE)
        printf(" (from operation %d)", op->pair);
    for (int i = 0; i < op->outs; i++) {
        printf("%s%d: ", i ? "; " : " -> ", op->out + i);
        print_expect(plan, op->out + i);
    }
    printf("\n");
    if (op->script == PLAN_NONE)
        return;
    const struct script *script = &plan->scripts[op->script];
    printf("%*s      script %d%s", indent, "", op->script,
           script->maybe  ? " (may not run)"
           : script->runs ? ""
                          : " (does not run)");
    for (int i = 0; i < script->arg_count; i++)
        printf("%s%d", i ? ", " : ", arguments are ", script->args[i]);
    printf("\n");
    for (int next = script->first; next != PLAN_NONE; next = plan->ops[next].next)
        print_op(plan, next, indent + 6);
}

void plan_print(const struct plan *plan)
{
    printf("seed %llu on %d ranks with %d workers, %d threads of the user's\n",
           (unsigned long long)plan->seed, plan->ranks, plan_workers(plan->seed), plan->threads);
    for (int i = 0; i < plan->drivers; i++) {
        bool any = false;
        for (int op = plan->scripts[i].first; op != PLAN_NONE; op = plan->ops[op].next)
            any |= plan->ops[op].live;
        if (any)
            printf("driver %d: rank %d, %s %d\n", i, plan->scripts[i].rank,
                   plan->scripts[i].thread ? "thread" : "main", plan->scripts[i].thread);
        for (int op = plan->scripts[i].first; op != PLAN_NONE; op = plan->ops[op].next)
            print_op(plan, op, 2);
    }
}
