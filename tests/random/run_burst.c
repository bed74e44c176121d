/* A burst of brief tasks or calls: what goes the short ways, to one rank, with nothing or numbers as
 * arguments and a number, or nothing, as the result. It begins and ends with no refs, so the plan has nothing
 * to keep of it. */
#include "script.h"

#include <time.h>

#define BURST_MOST 40
#define NODES      3 /* with a definition for each */

/* What a task does with its numbers; the real ones are multiples of a half, so that all is exact. */
static int64_t mixed(const int64_t *numbers, int count)
{
    uint64_t mix = (uint64_t)count + 1;
    for (int i = 0; i < count; i++)
        mix = mix * 31 + (uint64_t)numbers[i];
    return (int64_t)mix;
}

/* The others after it are not brief either then, as far as the scheduler can tell. */
static void take_long(void)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec < 50000);
}

#define LONG 4711 /* as an argument */

static int brief(raympi_ctx *ctx)
{
    int64_t numbers[8];
    int count = raympi_arg_count(ctx);
    for (int i = 0; i < count; i++)
        numbers[i] = i % 2 ? (int64_t)(2 * raympi_arg_double(ctx, i)) : raympi_arg_int(ctx, i);
    if (count > 0 && numbers[0] == LONG)
        take_long();
    return raympi_return_int(ctx, 0, mixed(numbers, count));
}

RAYMPI_TASK(random_brief)
{
    return brief(ctx);
}
RAYMPI_TASK(random_brief_0, .strategy = RAYMPI_STRATEGY_NODE, .node = 0)
{
    return brief(ctx);
}
RAYMPI_TASK(random_brief_1, .strategy = RAYMPI_STRATEGY_NODE, .node = 1)
{
    return brief(ctx);
}
RAYMPI_TASK(random_brief_2, .strategy = RAYMPI_STRATEGY_NODE, .node = 2)
{
    return brief(ctx);
}

struct tally {
    uint64_t mix;
};
RAYMPI_ACTOR(random_tally, struct tally)
RAYMPI_METHOD(random_tally, push)
{
    struct tally *self = raympi_self(ctx);
    self->mix = self->mix * 31 + (uint64_t)raympi_arg_int(ctx, 0);
    return raympi_return_int(ctx, 0, (int64_t)self->mix);
}
RAYMPI_METHOD(random_tally, add) /* no result */
{
    struct tally *self = raympi_self(ctx);
    self->mix += (uint64_t)raympi_arg_int(ctx, 0);
    return RAYMPI_OK;
}
RAYMPI_METHOD(random_tally, read)
{
    struct tally *self = raympi_self(ctx);
    return raympi_return_int(ctx, 0, (int64_t)self->mix);
}

struct call {
    raympi_ref ref;
    int64_t expected;
    bool nothing; /* no result */
};

static void call_task(struct run *run, const struct op *op, uint64_t random, struct call *call)
{
    static const raympi_definition *const there[NODES] = {
        &raympi_task_random_brief_0, &raympi_task_random_brief_1, &raympi_task_random_brief_2};
    int count = (int)(random % 6), node = op->where % NODES;
    bool bound = op->how == 0 && node < run->plan->ranks;
    int64_t numbers[6];
    raympi_value values[6];
    for (int i = 0; i < count; i++) {
        random = plan_mix(random + 1);
        numbers[i] = random % 50 == 0 ? LONG : (int64_t)(random % 2001) - 1000;
        values[i] = i % 2 ? raympi_value_double((double)numbers[i] / 2) : raympi_value_int(numbers[i]);
    }
    call->expected = mixed(numbers, count);
    const raympi_definition *task = bound ? there[node] : &raympi_task_random_brief;
    call->ref = raympi_submit(task, task->name, NULL, count ? values : NULL, (size_t)count);
}

static void call_actor(raympi_actor actor, uint64_t random, uint64_t *mix, struct call *call)
{
    int64_t number = (int64_t)(random % 2001) - 1000;
    switch (random / 4096 % 3) {
    case 0:
        *mix = *mix * 31 + (uint64_t)number;
        call->ref = raympi_actor_call(actor, push, number);
        break;
    case 1:
        *mix += (uint64_t)number;
        call->ref = raympi_actor_call(actor, add, number);
        call->nothing = true;
        break;
    default:
        call->ref = raympi_actor_call(actor, read);
    }
    call->expected = (int64_t)*mix;
}

static void check_call(struct run *run, int op, const struct call *call)
{
    int64_t value = 0;
    raympi_view view;
    if (!call->nothing) {
        run_check(run, op, raympi_get_copy(call->ref, &value, sizeof value), "raympi_get_copy of a burst");
        if (value != call->expected)
            complain(run->job, op, "a burst's result is %lld, not %lld", (long long)value,
                     (long long)call->expected);
        return;
    }
    int status = raympi_get(call->ref, &view);
    run_check(run, op, status, "raympi_get of a burst");
    if (status == RAYMPI_OK && view.len != 0)
        complain(run->job, op, "a method without a result has given %zu bytes", view.len);
    if (status == RAYMPI_OK)
        raympi_view_end(&view);
}

void run_burst(struct run *run, int number)
{
    const struct op *op = &run->plan->ops[number];
    struct call calls[BURST_MOST] = {0};
    raympi_ref refs[BURST_MOST];
    raympi_actor actor = {0};
    int count = 1 + (int)(op->length % BURST_MOST);
    uint64_t mix = 0, random = op->number;
    if (op->how == 2)
        actor = raympi_actor_new_opts(RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = op->where),
                                      random_tally);
    for (int i = 0; i < count; i++) {
        random = plan_mix(random + (uint64_t)i);
        if (op->how == 2)
            call_actor(actor, random, &mix, &calls[i]);
        else
            call_task(run, op, random, &calls[i]);
        refs[i] = calls[i].ref;
    }
    /* In their order, the other way, or only some of them. */
    for (int i = 0; i < count; i++)
        if (random % 3 < 2 || plan_mix(random + (uint64_t)i) % 2)
            check_call(run, number, &calls[random % 3 == 1 ? count - 1 - i : i]);
    run_check(run, number, raympi_release_all(refs, (size_t)count), "raympi_release_all of a burst");
    if (op->how == 2)
        run_check(run, number, raympi_release(actor), "raympi_release of a burst's actor");
}
