#include "pendulum.h"

#include <math.h>
#include <stddef.h>

static const double pi = 3.14159265358979323846;

/* ---- noise ------------------------------------------------------------------------------------------- */

static const uint64_t golden_gamma = 0x9e3779b97f4a7c15u;

static uint64_t noise_mix(uint64_t bits)
{
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
    return bits ^ (bits >> 31);
}

struct noise noise_stream(uint64_t seed, uint64_t purpose, uint64_t major, uint64_t minor)
{
    struct noise noise = {noise_mix(seed + golden_gamma)};
    noise.state = noise_mix(noise.state + golden_gamma * (purpose + 1));
    noise.state = noise_mix(noise.state + golden_gamma * (major + 1));
    noise.state = noise_mix(noise.state + golden_gamma * (minor + 1));
    return noise;
}

uint64_t noise_bits(struct noise *noise)
{
    noise->state += golden_gamma;
    return noise_mix(noise->state);
}

double noise_uniform(struct noise *noise, double low, double high)
{
    return low + (high - low) * (double)(noise_bits(noise) >> 11) * 0x1p-53;
}

void noise_normal(struct noise *noise, double *out, int count)
{
    /* 1 - u lies in (0, 1], so the logarithm is finite. */
    for (int i = 0; i < count; i += 2) {
        double radius = sqrt(-2 * log(1 - noise_uniform(noise, 0, 1)));
        double angle = noise_uniform(noise, 0, 2 * pi);
        out[i] = radius * cos(angle);
        if (i + 1 < count)
            out[i + 1] = radius * sin(angle);
    }
}

/* ---- environment ------------------------------------------------------------------------------------- */

static double clamp(double value, double limit)
{
    if (value > limit)
        return limit;
    return value < -limit ? -limit : value;
}

struct pendulum pendulum_start(struct noise *noise, int index, int count)
{
    double slice = 2 * pi / count;
    struct pendulum start;
    start.theta = -pi + slice * (index + noise_uniform(noise, 0, 1));
    start.speed = noise_uniform(noise, -1, 1);
    return start;
}

struct pendulum pendulum_random(struct noise *noise)
{
    return pendulum_start(noise, 0, 1);
}

double pendulum_step(struct pendulum *pendulum, double torque)
{
    const double gravity = 10, mass = 1, length = 1, seconds = 0.05, max_torque = 2, max_speed = 8;
    double theta = pendulum->theta, speed = pendulum->speed;

    torque = clamp(torque, max_torque);
    double cost = theta * theta + 0.1 * speed * speed + 0.001 * torque * torque;

    speed += (3 * gravity / (2 * length) * sin(theta) + 3 / (mass * length * length) * torque) * seconds;
    speed = clamp(speed, max_speed);
    theta += speed * seconds;
    /* One step turns by less than pi, so one turn back is enough. */
    if (theta > pi)
        theta -= 2 * pi;
    else if (theta < -pi)
        theta += 2 * pi;
    pendulum->theta = theta;
    pendulum->speed = speed;
    return -cost;
}

/* ---- policy ------------------------------------------------------------------------------------------ */

/* A sigmoid that needs no library call, so that an episode takes microseconds. */
static double softsign(double value)
{
    return value / (1 + fabs(value));
}

double policy_torque(const double *weights, const struct pendulum *pendulum)
{
    const double *of_cos = weights;
    const double *of_sin = of_cos + POLICY_HIDDEN;
    const double *of_speed = of_sin + POLICY_HIDDEN;
    const double *bias = of_speed + POLICY_HIDDEN;
    const double *out = bias + POLICY_HIDDEN;
    double c = cos(pendulum->theta), s = sin(pendulum->theta), v = pendulum->speed / 4;
    double torque = 0;

    for (int i = 0; i < POLICY_HIDDEN; i++) {
        double even = bias[i] + of_cos[i] * c;
        double odd = of_sin[i] * s + of_speed[i] * v;
        torque += out[i] * (softsign(even + odd) - softsign(even - odd));
    }
    return 2 * torque; /* pendulum_step clamps it */
}

double policy_episode(const double *weights, struct pendulum *pendulum)
{
    double total = 0;
    for (int step = 0; step < PENDULUM_STEPS; step++)
        total += pendulum_step(pendulum, policy_torque(weights, pendulum));
    return total;
}

uint64_t policy_hash(const double *weights)
{
    const unsigned char *bytes = (const unsigned char *)weights;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < POLICY_WEIGHTS * sizeof *weights; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}
