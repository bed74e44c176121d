/*
 * The program that Ray's paper begins with (Moritz et al., "Ray: A distributed framework for emerging AI
 * applications", OSDI 2018, figure 3): a task makes a policy, ten actors simulate with it, a task makes the
 * next policy from their rollouts, a hundred times. Nobody waits in the loop: all calls are made with
 * futures.
 *
 *     mpirun -np 4 ./train_policy --seed 1
 *
 * What a simulator and an update compute is in train_core.c.
 */
#include "program.h"
#include "train_core.h"

#include <raympi.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

enum { ROLLOUT_STEPS = 4000, WINDOW = 10 };

/* Improved: the last steps return more than the first by at least this. Without learning the difference is
 * noise: at most 89 in 60 seeds, with a standard deviation of 35. With it, 288 was the least in 361 seeds,
 * and 97 of 100 gain more than 800. */
static const double margin = 150;

RAYMPI_TASK(create_policy) /* (seed) */
{
    double *weights = raympi_return(ctx, 0, POLICY_WEIGHTS * sizeof *weights);
    if (weights == NULL)
        return RAYMPI_ERR_MEMORY;
    train_policy_init((uint64_t)raympi_arg_int(ctx, 0), weights);
    return RAYMPI_OK;
}

RAYMPI_ACTOR(simulator, struct simulator)

RAYMPI_CONSTRUCTOR(simulator) /* (seed, place among the simulators) */
{
    struct simulator *self = raympi_self(ctx);
    self->seed = (uint64_t)raympi_arg_int(ctx, 0);
    self->index = (uint64_t)raympi_arg_int(ctx, 1);
    return RAYMPI_OK;
}

RAYMPI_METHOD(simulator, rollout) /* (policy, steps) */
{
    struct simulator *self = raympi_self(ctx);
    const double *policy = raympi_arg(ctx, 0, NULL);
    struct rollout result = train_rollout(self, policy, raympi_arg_int(ctx, 1));
    return raympi_return_copy(ctx, 0, &result, sizeof result);
}

RAYMPI_TASK(update_policy,
            .num_returns = 2) /* (policy, learning rate, rollouts) -> next policy, mean return */
{
    const double *policy = raympi_arg(ctx, 0, NULL);
    double *next = raympi_return(ctx, 0, POLICY_WEIGHTS * sizeof *next);
    struct rollout rollouts[TRAIN_SIMULATORS];

    if (next == NULL)
        return RAYMPI_ERR_MEMORY;
    for (int i = 0; i < TRAIN_SIMULATORS; i++) {
        const struct rollout *member = raympi_arg_at(ctx, 2, i, NULL);
        rollouts[i] = *member;
    }
    double mean = train_update(policy, raympi_arg_double(ctx, 1), rollouts, next);
    return raympi_return_double(ctx, 1, mean);
}

/* Copies the mean returns of all steps, which are still on their way, into one result. */
static int return_curve(raympi_ctx *ctx, const raympi_ref *means, int steps)
{
    double *curve = raympi_return(ctx, 1, (size_t)steps * sizeof *curve);
    int status = curve != NULL ? RAYMPI_OK : RAYMPI_ERR_MEMORY;

    for (int step = 0; step < steps && status == RAYMPI_OK; step++)
        status = raympi_get_copy(means[step], &curve[step], sizeof curve[step]);
    return status;
}

enum { STEPS_MAX = 1000 };

RAYMPI_TASK(train_policy,
            .num_returns = 2) /* (seed, learning rate, steps) -> last policy, mean return by step */
{
    int64_t seed = raympi_arg_int(ctx, 0);
    double learning_rate = raympi_arg_double(ctx, 1);
    int steps = (int)raympi_arg_int(ctx, 2);
    raympi_ref policy = raympi_call(create_policy, seed);
    raympi_ref means[STEPS_MAX];
    raympi_actor simulators[TRAIN_SIMULATORS];

    for (int i = 0; i < TRAIN_SIMULATORS; i++)
        simulators[i] = raympi_actor_new(simulator, seed, i);
    for (int step = 0; step < steps; step++) {
        raympi_ref rollouts[TRAIN_SIMULATORS], next[2];
        for (int i = 0; i < TRAIN_SIMULATORS; i++)
            rollouts[i] = raympi_actor_call(simulators[i], rollout, policy, ROLLOUT_STEPS);
        raympi_call_n(next, 2, update_policy, policy, learning_rate, RAYMPI_REFS(rollouts, TRAIN_SIMULATORS));
        raympi_release(policy); /* in a long loop, let go early */
        raympi_release_all(rollouts, TRAIN_SIMULATORS);
        policy = next[0];
        means[step] = next[1];
    }
    int status = return_curve(ctx, means, steps);
    return status == RAYMPI_OK ? raympi_return_ref(ctx, 0, policy) : status;
}

/* ---- program ------------------------------------------------------------------------------------------- */

static double mean_of(const double *values, int count)
{
    double total = 0;
    for (int i = 0; i < count; i++)
        total += values[i];
    return total / count;
}

static void plot(const double *curve, int steps, const char *path)
{
    static const char *const names[] = {"step", "mean return of the rollouts"};
    static double rows[STEPS_MAX][2];

    for (int step = 0; step < steps; step++) {
        rows[step][0] = step;
        rows[step][1] = curve[step];
    }
    struct program_curve table = {"Pendulum: policy trainer", names, 2, &rows[0][0], steps};
    program_curve_write(&table, path);
}

/* The exit code of rank 0: 0 improved, 1 not. */
static int judge(const double *policy, const double *curve, const struct program_options *options)
{
    int steps = options->generations;
    double first = mean_of(curve, WINDOW), last = mean_of(curve + steps - WINDOW, WINDOW);
    bool improved = last >= first + margin;

    for (int step = 0; step < steps; step++)
        printf("step %3d  return %8.1f\n", step, curve[step]);
    plot(curve, steps, options->plot);
    printf("final: weights 0x%016" PRIx64 " mean %.17g\n", policy_hash(policy), last);
    printf("%s: mean return of the last %d steps %.1f, of the first %.1f (margin %.0f)\n",
           improved ? "improved" : "not improved", WINDOW, last, first, margin);
    return improved ? 0 : 1;
}

static int drive(const struct program_options *options)
{
    raympi_ref done[2];
    raympi_view views[2];

    if (options->generations < 2 * WINDOW || options->generations > STEPS_MAX) {
        fprintf(stderr, "train_policy: --generations must be %d to %d here\n", 2 * WINDOW, STEPS_MAX);
        return 2;
    }
    int status =
        raympi_call_n(done, 2, train_policy, options->seed, options->learning_rate, options->generations);
    if (status == RAYMPI_OK)
        status = raympi_get_many(done, 2, views, -1);
    if (status != RAYMPI_OK) {
        printf("not improved: %s: %s\n", raympi_strerror(status), raympi_detail());
        return 1;
    }
    const double *policy = views[0].data, *curve = views[1].data;
    int code = judge(policy, curve, options);
    raympi_view_end(&views[0]);
    raympi_view_end(&views[1]);
    raympi_release_all(done, 2);
    return code;
}

int main(int argc, char **argv)
{
    struct program_options options = {1, 1, 100, ""};
    int code = 0;

    if (raympi_init(&argc, &argv, NULL) != RAYMPI_OK) {
        fprintf(stderr, "train_policy: %s\n", raympi_detail());
        return 1;
    }
    if (raympi_rank() == 0) {
        code = program_options_parse(argc, argv, &options);
        if (code == PROGRAM_RUN)
            code = drive(&options);
        fflush(stdout);
    }
    if (raympi_finalize() != RAYMPI_OK)
        return 1;
    return code;
}
