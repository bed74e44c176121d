/* The classes of actors.c, and the tasks that use them. */
#include "actors.h"

/* ---- classes */

struct counter {
    int64_t sum, calls;
};
RAYMPI_ACTOR(counter, struct counter)
RAYMPI_CONSTRUCTOR(counter)
{
    struct counter *self = raympi_self(ctx);
    self->sum = raympi_arg_count(ctx) > 0 ? raympi_arg_int(ctx, 0) : 0;
    return RAYMPI_OK;
}
RAYMPI_METHOD(counter, add)
{
    struct counter *self = raympi_self(ctx);
    self->sum += raympi_arg_int(ctx, 0);
    self->calls++;
    return raympi_return_int(ctx, 0, self->sum);
}
RAYMPI_METHOD(counter, poke)
{
    struct counter *self = raympi_self(ctx);
    self->calls++;
    return RAYMPI_OK;
}
RAYMPI_METHOD(counter, calls)
{
    struct counter *self = raympi_self(ctx);
    return raympi_return_int(ctx, 0, self->calls);
}
RAYMPI_METHOD(counter, stop)
{
    return raympi_actor_exit(ctx);
}
RAYMPI_METHOD(counter, fails)
{
    return raympi_fail(ctx, 77, "no luck with %d", (int)raympi_arg_int(ctx, 0));
}

/* Notes numbers in the order in which they come. */
struct diary {
    int64_t entry[64];
    size_t count;
};
RAYMPI_ACTOR(diary, struct diary)
RAYMPI_METHOD(diary, note)
{
    struct diary *self = raympi_self(ctx);
    self->entry[self->count++ % 64] = raympi_arg_int(ctx, 0);
    return RAYMPI_OK;
}
RAYMPI_METHOD(diary, read)
{
    struct diary *self = raympi_self(ctx);
    return raympi_return_copy(ctx, 0, self->entry, self->count * sizeof self->entry[0]);
}

/* Keeps another actor and talks to it; tells it of its own end. */
struct friend
{
    raympi_actor other;
    int64_t farewell;
};
RAYMPI_ACTOR(friend, struct friend)
RAYMPI_CONSTRUCTOR(friend)
{
    struct friend *self = raympi_self(ctx);
    if (raympi_arg_count(ctx) > 0)
        self->other = raympi_keep(raympi_arg_actor(ctx, 0));
    if (raympi_arg_count(ctx) > 1)
        self->farewell = raympi_arg_int(ctx, 1);
    return RAYMPI_OK;
}
RAYMPI_DESTRUCTOR(friend)
{
    struct friend *self = raympi_self(ctx);
    int64_t sum;
    if (self->farewell < 0) { /* a friend of nobody who is left */
        printf("destructor %d ran\n", (int)-self->farewell);
        return RAYMPI_OK;
    }
    if (!self->farewell)
        return RAYMPI_OK;
    return raympi_get_copy(raympi_actor_call(self->other, add, self->farewell), &sum, sizeof sum);
}
RAYMPI_METHOD(friend, meet)
{
    struct friend *self = raympi_self(ctx);
    self->other = raympi_keep(raympi_arg_actor(ctx, 0));
    return RAYMPI_OK;
}
RAYMPI_METHOD(friend, pass)
{
    struct friend *self = raympi_self(ctx);
    return raympi_return_ref(ctx, 0, raympi_actor_call(self->other, add, raympi_arg_int(ctx, 0)));
}
RAYMPI_METHOD(friend, ask) /* blocks */
{
    struct friend *self = raympi_self(ctx);
    int64_t sum;
    if (raympi_get_copy(raympi_actor_call(self->other, add, raympi_arg_int(ctx, 0)), &sum, sizeof sum))
        return raympi_fail(ctx, 5, "%s", raympi_detail());
    return raympi_return_int(ctx, 0, sum);
}
RAYMPI_METHOD(friend, stop)
{
    return raympi_actor_exit(ctx);
}
/* Notes in a diary what a ref holds, which may not be there yet. */
RAYMPI_METHOD(friend, dictate)
{
    struct friend *self = raympi_self(ctx);
    struct raympi_wire_ref wire;
    memcpy(&wire, raympi_arg(ctx, 0, NULL), sizeof wire);
    raympi_actor_call(self->other, note, raympi_arg_nested(ctx, 0, wire));
    return RAYMPI_OK;
}
RAYMPI_METHOD(friend, tell)
{
    struct friend *self = raympi_self(ctx);
    raympi_actor_call(self->other, note, raympi_arg_int(ctx, 0));
    return RAYMPI_OK;
}
/* Waits for a ref inside the argument: the method runs and is blocked. */
RAYMPI_METHOD(friend, linger)
{
    raympi_wire_ref wire;
    raympi_view view;
    memcpy(&wire, raympi_arg(ctx, 0, NULL), sizeof wire);
    return raympi_get(raympi_arg_nested(ctx, 0, wire), &view);
}
RAYMPI_METHOD(friend, self_then) /* hands its own handle to another, who calls back when this has returned */
{
    struct friend *self = raympi_self(ctx);
    return raympi_return_ref(ctx, 0, raympi_actor_call(self->other, call_back, raympi_self_actor(ctx), 4));
}
RAYMPI_METHOD(friend, call_back)
{
    int64_t sum;
    raympi_actor caller = raympi_arg_actor(ctx, 0);
    if (raympi_get_copy(raympi_actor_call(caller, double_it, raympi_arg_int(ctx, 1)), &sum, sizeof sum))
        return raympi_fail(ctx, 6, "%s", raympi_detail());
    return raympi_return_int(ctx, 0, sum + 1);
}
RAYMPI_METHOD(friend, double_it)
{
    return raympi_return_int(ctx, 0, 2 * raympi_arg_int(ctx, 0));
}
/* Waits for the other, who waits for this one; the last of the circle for nobody. */
RAYMPI_METHOD(friend, circle)
{
    struct friend *self = raympi_self(ctx);
    raympi_view view;
    int64_t left = raympi_arg_int(ctx, 0);
    return left ? raympi_get(raympi_actor_call(self->other, circle, left - 1), &view) : RAYMPI_OK;
}

RAYMPI_ACTOR(broken, int)
RAYMPI_CONSTRUCTOR(broken)
{
    return raympi_fail(ctx, 9, "the disk of %s is full", raympi_arg_string(ctx, 0));
}
RAYMPI_METHOD(broken, work)
{
    return RAYMPI_OK;
}

RAYMPI_ACTOR(bare, char) /* neither constructor nor methods */

/* ---- tasks that use actors */

RAYMPI_TASK(plus)
{
    return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0) + raympi_arg_int(ctx, 1));
}
RAYMPI_TASK(refuse)
{
    return raympi_fail(ctx, 11, "refused by rank %d", raympi_rank());
}

RAYMPI_TASK(add_times)
{
    raympi_actor target = raympi_arg_actor(ctx, 0);
    for (int64_t i = 0; i < raympi_arg_int(ctx, 1); i++)
        raympi_release(raympi_actor_call(target, add, 1));
    raympi_view view; /* the last one's result says that all before have run */
    int status = raympi_get(raympi_actor_call(target, add, 0), &view);
    return status == RAYMPI_OK ? raympi_return_int(ctx, 0, 1)
                               : raympi_fail(ctx, status, "%s", raympi_detail());
}

RAYMPI_TASK(note_one)
{
    raympi_view view;
    int status = raympi_get(raympi_actor_call(raympi_arg_actor(ctx, 0), note, raympi_arg_int(ctx, 1)), &view);
    return status == RAYMPI_OK ? raympi_return_int(ctx, 0, 1)
                               : raympi_fail(ctx, status, "%s", raympi_detail());
}

/* The handle goes on from rank to rank, and each calls. */
RAYMPI_TASK(hand_on)
{
    raympi_actor target = raympi_arg_actor(ctx, 0);
    int64_t hops = raympi_arg_int(ctx, 1);
    raympi_ref called = raympi_actor_call(target, add, 1);
    if (hops == 0)
        return raympi_return_ref(ctx, 0, called);
    raympi_options next = {.size = sizeof next, .strategy = RAYMPI_STRATEGY_NODE};
    next.node = (raympi_rank() + 1) % raympi_size();
    int64_t sum;
    if (raympi_get_copy(raympi_call_opts(next, hand_on, target, hops - 1), &sum, sizeof sum))
        return raympi_fail(ctx, 12, "%s", raympi_detail());
    /* Calls of different callers come in no order: this one may be behind those of later hops. */
    if (raympi_get_copy(called, &sum, sizeof sum))
        return raympi_fail(ctx, 12, "%s", raympi_detail());
    return raympi_return_int(ctx, 0, sum);
}

RAYMPI_TASK(make_counter) /* an actor that outlives the task: its handle is in the result */
{
    raympi_actor made = raympi_actor_new(counter, raympi_arg_int(ctx, 0));
    raympi_ref nested = raympi_actor_as_nested(made);
    raympi_wire_actor *wire = raympi_return_nested(ctx, 0, sizeof *wire, &nested, 1);
    if (wire)
        *wire = raympi_wire(made);
    return RAYMPI_OK;
}

RAYMPI_TASK(use_team)
{
    int64_t sum = 0, value;
    size_t len;
    const struct team *team = raympi_arg(ctx, 0, &len);
    for (int i = 0; i < 3; i++) {
        raympi_actor member = raympi_arg_nested_actor(ctx, 0, team->member[i]);
        if (raympi_get_copy(raympi_actor_call(member, add, 1), &value, sizeof value))
            return raympi_fail(ctx, 13, "%s", raympi_detail());
        sum += value;
    }
    return raympi_return_int(ctx, 0, sum);
}

RAYMPI_TASK(call_broken)
{
    raympi_view view;
    int status = raympi_get(raympi_actor_call(raympi_arg_actor(ctx, 0), work), &view);
    return raympi_fail(ctx, status, "%s", raympi_detail());
}
