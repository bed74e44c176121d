/*
 * The pure functions of the policy trainer: what a simulator does with a policy, and how rollouts make the
 * next one. Augmented random search, version V1 (Mania, Guy, Recht, "Simple random search provides a
 * competitive approach to reinforcement learning", arXiv:1803.07055): simulators work in pairs that try the
 * policy plus and minus the same noise, and the policy moves along the noise by how much plus was better.
 */
#ifndef EXAMPLES_TRAIN_CORE_H
#define EXAMPLES_TRAIN_CORE_H

#include "pendulum.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TRAIN_SIMULATORS = 10, TRAIN_PAIRS = TRAIN_SIMULATORS / 2 };

/* State of one simulator: its place among the others, its pendulum, and how often it was called. */
struct simulator {
    uint64_t seed;
    uint64_t index; /* 2p and 2p + 1 are a pair */
    uint64_t calls;
    struct pendulum pendulum;
};

/* What a rollout reports: enough to draw its noise again. */
struct rollout {
    struct noise noise;
    double sign;         /* the policy was tried at weights + sign * noise */
    double total_return; /* mean over its episodes */
};

void train_policy_init(uint64_t seed, double *weights);

/* Runs the perturbed policy for `steps` steps (PENDULUM_STEPS or more), in episodes whose starts are the same
 * for all simulators at the same call number. */
struct rollout train_rollout(struct simulator *simulator, const double *weights, int64_t steps);

/* next = weights moved by learning_rate; rollouts in the order of their simulators. Returns their mean
 * return. */
double train_update(const double *weights, double learning_rate, const struct rollout *rollouts,
                    double *next);

#ifdef __cplusplus
}
#endif
#endif
