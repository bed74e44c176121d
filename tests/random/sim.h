/* Random programs on the sim. */
#ifndef RANDOM_SIM_H
#define RANDOM_SIM_H

#include "plan.h"

struct sim_request {
    uint64_t first, last; /* seeds; those that want one worker, and no threads */
    int ranks;
    double delay;       /* microseconds that messages take, at most; now and then ten times that */
    int deaths, breaks; /* faults of each program, which then ends as it can */
    struct plan *(*plan_of)(uint64_t seed);
    void (*watch)(uint64_t seed); /* begins the time after which a seed is said to hang */
};

/** Each seed twice; false: one failed, or was not the same twice. The seed is named. */
bool sim_run_seeds(const struct sim_request *request);

#endif
