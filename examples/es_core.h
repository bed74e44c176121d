/*
 * An evolution strategy that learns to swing up the pendulum: pure functions on plain structs. Their caller,
 * es_pendulum.c, runs es_evaluate and es_examine in tasks on many ranks, and the rest in the driver.
 *
 * The strategy is the matrix adaptation ES (Beyer and Sendhoff, "Simplify your covariance matrix adaptation
 * evolution strategy", IEEE Trans. Evol. Comp. 21(5), 2017): Hansen's CMA-ES (Hansen, "The CMA evolution
 * strategy: a tutorial", arXiv:1604.00772) without the covariance matrix. A candidate is
 * mean + sigma * shape * z with z standard normal; mean, sigma and shape follow the better half of a
 * generation, weighted by rank. As in Salimans et al., "Evolution strategies as a scalable alternative to
 * reinforcement learning", arXiv:1703.03864, only fitness travels back: the noise is drawn again where it is
 * needed. A search that has not arrived after ES_PATIENCE generations begins anew from other random weights.
 */
#ifndef EXAMPLES_ES_CORE_H
#define EXAMPLES_ES_CORE_H

#include "pendulum.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    ES_POPULATION = 64, /* candidates in a generation */
    ES_EPISODES = 32,   /* for each candidate; all candidates of a generation face the same starts */
    ES_PATIENCE = 150,

    ES_PART_EPISODES = 25, /* in one call of es_examine */
    ES_VALIDATION_PARTS = 8,
    ES_TEST_PARTS = 4
};

/* What a task needs to know of a generation. Plain bytes: the driver puts it as one object. */
struct es_model {
    uint64_t seed;
    uint64_t generation;
    double sigma;
    double mean[POLICY_WEIGHTS]; /* the policy that is learned */
    double shape[POLICY_WEIGHTS][POLICY_WEIGHTS];
};

/* What the driver keeps. */
struct es_state {
    struct es_model model;
    double path[POLICY_WEIGHTS]; /* smoothed steps of the mean, in the coordinates of z */
    double learning_rate;        /* scales every adaptation: 1 is the published strategy, 0 learns nothing */
    uint64_t restarts;
    int age; /* generations since the last start */
};

/* Random weights, a round shape. */
void es_init(struct es_state *state, uint64_t seed, double learning_rate);

/* Weights of candidate `index` (0 .. ES_POPULATION - 1) of the model's generation: POLICY_WEIGHTS numbers. */
void es_candidate(const struct es_model *model, int index, double *weights);

/* Fitness of that candidate: mean return over ES_EPISODES episodes from the generation's own starts. */
double es_evaluate(const struct es_model *model, int index);

/* Moves the state on by one generation, given the fitness of all ES_POPULATION candidates in order. */
void es_update(struct es_state *state, const double *fitness);

/*
 * Mean return of the model's mean over part `part` of a fixed set of episodes. Validation decides when to
 * stop; the test set is looked at once, at the end. Both differ from all that is trained on.
 */
enum es_set { ES_VALIDATION, ES_TEST };
double es_examine(const struct es_model *model, enum es_set set, int part);

/* Mean of `count` numbers, added in index order, so that it has the same bits whoever computed them when. */
double es_mean(const double *values, int count);

#ifdef __cplusplus
}
#endif
#endif
