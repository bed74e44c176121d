/*
 * The pendulum that the examples swing up, the small network that drives it, and noise that can be drawn
 * again anywhere. Nothing here knows raympi: plain functions on plain values, each giving the same bits
 * wherever it is called.
 */
#ifndef EXAMPLES_PENDULUM_H
#define EXAMPLES_PENDULUM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- noise ------------------------------------------------------------------------------------------- */

/*
 * A stream of random numbers that is a pure function of its key, so that a task can draw what belongs to
 * (seed, generation, candidate) on any rank, and the driver can draw the same numbers again instead of being
 * sent them (Salimans et al. 2017, section 2.1). SplitMix64: Steele, Lea, Flood, "Fast splittable
 * pseudorandom number generators", OOPSLA 2014.
 */
struct noise {
    uint64_t state;
};

struct noise noise_stream(uint64_t seed, uint64_t purpose, uint64_t major, uint64_t minor);
uint64_t noise_bits(struct noise *noise);
double noise_uniform(struct noise *noise, double low, double high);
void noise_normal(struct noise *noise, double *out, int count); /* standard normal, Box and Muller 1958 */

/* ---- environment ------------------------------------------------------------------------------------- */

/*
 * Pendulum-v1 of OpenAI Gym: g = 10 m/s², a rod of 1 kg and 1 m, torque within ±2 N·m, too weak to lift it
 * at once. theta = 0 is upright. The cost of a step is theta² + 0.1 speed² + 0.001 torque², an episode is
 * 200 steps of 0.05 s; its return is minus the summed cost. Hanging still costs about 1970; about 150 on
 * average is the best that is known.
 */
enum { PENDULUM_STEPS = 200 };

struct pendulum {
    double theta; /* rad, kept within [-pi, pi] */
    double speed; /* rad/s, within ±8 */
};

/* Start number `index` of a set of `count`: theta comes from the index-th slice of the circle, so that every
 * set covers all of it and two sets differ less than independent draws would; speed within ±1. */
struct pendulum pendulum_start(struct noise *noise, int index, int count);

/* Any start: theta uniform on the circle, speed within ±1. What the unseen episodes of a test begin with. */
struct pendulum pendulum_random(struct noise *noise);

double pendulum_step(struct pendulum *pendulum, double torque); /* the step's reward, never positive */

/* ---- policy ------------------------------------------------------------------------------------------ */

/*
 * A network with one hidden layer from (cos theta, sin theta, speed) to one torque; all weights lie in one
 * array. It is applied to the state and to the state's mirror image, and the torque is the difference: the
 * pendulum does not know left from right, so what is learned on one side holds on the other. Without this
 * most searches end in policies that spin the rod in one direction for ever, at a return near -800.
 */
enum {
    POLICY_INPUTS = 3,
    POLICY_HIDDEN = 8,
    POLICY_WEIGHTS = POLICY_HIDDEN * (POLICY_INPUTS + 2) /* inputs, bias, output */
};

double policy_torque(const double *weights, const struct pendulum *pendulum);

/* Return of one episode: PENDULUM_STEPS steps from where the pendulum is. */
double policy_episode(const double *weights, struct pendulum *pendulum);

/* The same for all bits of `weights`: equal hashes, equal policies (FNV-1a). */
uint64_t policy_hash(const double *weights);

#ifdef __cplusplus
}
#endif
#endif
