#include "es_core.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = POLICY_WEIGHTS, PARENTS = ES_POPULATION / 2 };

/* Each use of noise has streams of its own, so that no episode of a test was ever trained on. */
enum purpose { FRESH_START, CANDIDATE, STARTS, EXAMINATION };

static const double first_sigma = 1;

/* ---- the search distribution --------------------------------------------------------------------------- */

static void es_start(struct es_state *state)
{
    struct es_model *model = &state->model;
    struct noise noise = noise_stream(model->seed, FRESH_START, state->restarts, 0);

    noise_normal(&noise, model->mean, N);
    model->sigma = first_sigma;
    memset(model->shape, 0, sizeof model->shape);
    for (int i = 0; i < N; i++)
        model->shape[i][i] = 1;
    memset(state->path, 0, sizeof state->path);
    state->age = 0;
}

void es_init(struct es_state *state, uint64_t seed, double learning_rate)
{
    memset(state, 0, sizeof *state);
    state->model.seed = seed;
    state->learning_rate = learning_rate;
    es_start(state);
}

static void es_draw(const struct es_model *model, int index, double *z)
{
    struct noise noise = noise_stream(model->seed, CANDIDATE, model->generation, (uint64_t)index);
    noise_normal(&noise, z, N);
}

/* out = shape * z */
static void es_apply_shape(const struct es_model *model, const double *z, double *out)
{
    for (int i = 0; i < N; i++) {
        out[i] = 0;
        for (int j = 0; j < N; j++)
            out[i] += model->shape[i][j] * z[j];
    }
}

void es_candidate(const struct es_model *model, int index, double *weights)
{
    double z[N], step[N];

    es_draw(model, index, z);
    es_apply_shape(model, z, step);
    for (int i = 0; i < N; i++)
        weights[i] = model->mean[i] + model->sigma * step[i];
}

/* ---- episodes ------------------------------------------------------------------------------------------ */

double es_evaluate(const struct es_model *model, int index)
{
    struct noise noise = noise_stream(model->seed, STARTS, model->generation, 0);
    double weights[N], total = 0;

    es_candidate(model, index, weights);
    for (int i = 0; i < ES_EPISODES; i++) {
        struct pendulum pendulum = pendulum_start(&noise, i, ES_EPISODES);
        total += policy_episode(weights, &pendulum);
    }
    return total / ES_EPISODES;
}

double es_examine(const struct es_model *model, enum es_set set, int part)
{
    struct noise noise = noise_stream(model->seed, EXAMINATION, (uint64_t)set, (uint64_t)part);
    double total = 0;

    for (int i = 0; i < ES_PART_EPISODES; i++) {
        struct pendulum pendulum =
            set == ES_TEST ? pendulum_random(&noise) : pendulum_start(&noise, i, ES_PART_EPISODES);
        total += policy_episode(model->mean, &pendulum);
    }
    return total / ES_PART_EPISODES;
}

double es_mean(const double *values, int count)
{
    double total = 0;
    for (int i = 0; i < count; i++)
        total += values[i];
    return total / count;
}

/* ---- learning ------------------------------------------------------------------------------------------ */

struct es_ranked {
    double fitness;
    int index;
};

/* Best first; equal ones by index, so that the order is one. */
static int es_compare(const void *left, const void *right)
{
    const struct es_ranked *a = (const struct es_ranked *)left, *b = (const struct es_ranked *)right;
    if (a->fitness != b->fitness)
        return a->fitness > b->fitness ? -1 : 1;
    return a->index - b->index;
}

static void es_rank(const double *fitness, struct es_ranked *ranked)
{
    for (int i = 0; i < ES_POPULATION; i++) {
        ranked[i].fitness = fitness[i];
        ranked[i].index = i;
    }
    qsort(ranked, ES_POPULATION, sizeof *ranked, es_compare);
}

/* The strategy's constants, as in Beyer and Sendhoff, table I, and Hansen, table 1. */
struct es_rates {
    double weight[PARENTS]; /* of the k-th best candidate; they sum up to 1 */
    double mass;            /* mu_eff: how many equal parents would vary as much */
    double path, rank_one, rank_mu, damping;
    double length; /* expected length of a standard normal vector */
};

static struct es_rates es_rates_make(void)
{
    struct es_rates rates;
    double n = N, sum = 0, squares = 0;

    for (int k = 0; k < PARENTS; k++) {
        rates.weight[k] = log(PARENTS + 0.5) - log(k + 1.0);
        sum += rates.weight[k];
    }
    for (int k = 0; k < PARENTS; k++) {
        rates.weight[k] /= sum;
        squares += rates.weight[k] * rates.weight[k];
    }
    double mu = 1 / squares;
    rates.mass = mu;
    rates.path = (mu + 2) / (n + mu + 5);
    rates.rank_one = 2 / ((n + 1.3) * (n + 1.3) + mu);
    rates.rank_mu = fmin(1 - rates.rank_one, 2 * (mu - 2 + 1 / mu) / ((n + 2) * (n + 2) + mu));
    rates.damping = 1 + rates.path + 2 * fmax(0, sqrt((mu - 1) / (n + 1)) - 1);
    rates.length = sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n));
    return rates;
}

/* What the parents say: their mean z, and their mean z zᵀ. */
struct es_vote {
    double z[N];
    double zz[N][N];
};

static void es_vote_count(const struct es_model *model, const struct es_rates *rates,
                          const struct es_ranked *ranked, struct es_vote *vote)
{
    double z[N];

    memset(vote, 0, sizeof *vote);
    for (int k = 0; k < PARENTS; k++) {
        es_draw(model, ranked[k].index, z);
        for (int i = 0; i < N; i++) {
            vote->z[i] += rates->weight[k] * z[i];
            for (int j = 0; j < N; j++)
                vote->zz[i][j] += rates->weight[k] * z[i] * z[j];
        }
    }
}

static void es_move(struct es_state *state, const struct es_rates *rates, const struct es_vote *vote)
{
    struct es_model *model = &state->model;
    double step[N], keep = 1 - rates->path, add = sqrt(rates->mass * rates->path * (2 - rates->path));

    es_apply_shape(model, vote->z, step);
    for (int i = 0; i < N; i++) {
        model->mean[i] += state->learning_rate * model->sigma * step[i];
        state->path[i] = keep * state->path[i] + add * vote->z[i];
    }
}

/* shape *= I + (rank_one (path pathᵀ - I) + rank_mu (zz - I)) / 2, row by row. */
static void es_reshape(struct es_state *state, const struct es_rates *rates, const struct es_vote *vote)
{
    for (int i = 0; i < N; i++) {
        double *row = state->model.shape[i], change[N], along = 0;

        for (int k = 0; k < N; k++)
            along += row[k] * state->path[k];
        for (int j = 0; j < N; j++) {
            double voted = 0;
            for (int k = 0; k < N; k++)
                voted += row[k] * vote->zz[k][j];
            change[j] =
                rates->rank_one * (along * state->path[j] - row[j]) + rates->rank_mu * (voted - row[j]);
        }
        for (int j = 0; j < N; j++)
            row[j] += state->learning_rate / 2 * change[j];
    }
}

/* Steps that go on in one direction are too short, steps that cancel too long. */
static void es_rescale(struct es_state *state, const struct es_rates *rates)
{
    double square = 0;

    for (int i = 0; i < N; i++)
        square += state->path[i] * state->path[i];
    double excess = sqrt(square) / rates->length - 1;
    state->model.sigma *= exp(state->learning_rate * rates->path / rates->damping * excess);
}

void es_update(struct es_state *state, const double *fitness)
{
    struct es_rates rates = es_rates_make();
    struct es_ranked ranked[ES_POPULATION];
    struct es_vote vote;

    es_rank(fitness, ranked);
    es_vote_count(&state->model, &rates, ranked, &vote);
    es_move(state, &rates, &vote);
    es_reshape(state, &rates, &vote);
    es_rescale(state, &rates);
    state->model.generation++;
    state->age++;
    if (state->age >= ES_PATIENCE) {
        state->restarts++;
        es_start(state);
    }
}
