#include "train_core.h"

#include <math.h>

enum { N = POLICY_WEIGHTS };
enum purpose { INITIAL, PERTURBATION, STARTS };

/* How far simulators step aside from the policy. As large as the initial weights: the landscape near them is
 * flat, since a policy that cannot yet swing up gets about the same return whatever it does. */
static const double noise_scale = 1;

void train_policy_init(uint64_t seed, double *weights)
{
    struct noise noise = noise_stream(seed, INITIAL, 0, 0);
    noise_normal(&noise, weights, N);
}

/* The policy that the simulator tries in this call; says in `rollout` which. */
static void train_perturb(const struct simulator *simulator, const double *weights, struct rollout *rollout,
                          double *tried)
{
    struct noise noise = noise_stream(simulator->seed, PERTURBATION, simulator->calls, simulator->index / 2);

    rollout->noise = noise;
    rollout->sign = simulator->index % 2 == 0 ? 1 : -1;
    noise_normal(&noise, tried, N);
    for (int i = 0; i < N; i++)
        tried[i] = weights[i] + rollout->sign * noise_scale * tried[i];
}

struct rollout train_rollout(struct simulator *simulator, const double *weights, int64_t steps)
{
    struct noise starts = noise_stream(simulator->seed, STARTS, simulator->calls, 0);
    int episodes = (int)(steps / PENDULUM_STEPS);
    struct rollout rollout;
    double tried[N], total = 0;

    train_perturb(simulator, weights, &rollout, tried);
    for (int i = 0; i < episodes; i++) {
        simulator->pendulum = pendulum_start(&starts, i, episodes);
        total += policy_episode(tried, &simulator->pendulum);
    }
    rollout.total_return = total / episodes;
    simulator->calls++;
    return rollout;
}

static double train_mean(const struct rollout *rollouts)
{
    double mean = 0;
    for (int i = 0; i < TRAIN_SIMULATORS; i++)
        mean += rollouts[i].total_return / TRAIN_SIMULATORS;
    return mean;
}

static double train_deviation(const struct rollout *rollouts, double mean)
{
    double square = 0;
    for (int i = 0; i < TRAIN_SIMULATORS; i++) {
        double distance = rollouts[i].total_return - mean;
        square += distance * distance / TRAIN_SIMULATORS;
    }
    return sqrt(square);
}

double train_update(const double *weights, double learning_rate, const struct rollout *rollouts, double *next)
{
    double mean = train_mean(rollouts);
    double unit = TRAIN_PAIRS * (train_deviation(rollouts, mean) + 1e-9); /* all returns may be equal */

    for (int i = 0; i < N; i++)
        next[i] = weights[i];
    for (int pair = 0; pair < TRAIN_PAIRS; pair++) {
        const struct rollout *plus = &rollouts[2 * pair], *minus = plus + 1;
        struct noise stream = plus->noise;
        double step = learning_rate * (plus->total_return - minus->total_return) / unit;
        double noise[N];

        noise_normal(&stream, noise, N);
        for (int i = 0; i < N; i++)
            next[i] += step * noise[i];
    }
    return mean;
}
