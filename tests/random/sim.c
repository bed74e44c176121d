/* Random programs with all their ranks in this process, on the sim: a seed is one run, and is made twice, to
 * see that it is. Where nodes die, or lose each other, a program can not end; then whoever lives is to be
 * told of it, once. Such runs are left as they are, so each has a process of its own. */
#include "sim.h"

#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* sim_job.h without CUnit, which is not running here. */
#define TESTS_UNIT_H
#define SIM_NEEDS(condition)                                                                                 \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "random-program: seed %llu: %s does not hold (%s)\n",                            \
                    (unsigned long long)now_at, #condition, base_detail());                                  \
            exit(EXIT_FAILURE);                                                                              \
        }                                                                                                    \
    } while (0)
#define CU_ASSERT_EQUAL_FATAL(one, other)     SIM_NEEDS((one) == (other))
#define CU_ASSERT_PTR_NOT_NULL_FATAL(pointer) SIM_NEEDS((pointer) != NULL)
#define CU_ASSERT_FALSE_FATAL(condition)      SIM_NEEDS(!(condition))
#include "../api/sim_job.h"

#define STORE_BYTES (16u << 20)
#define EVENTS_MOST 20000000
#define MICROSECOND 1000
#define GRACE       (20000 * MICROSECOND)

static const struct sim_request *request;
static struct job *jobs[SIM_NODES]; /* of the run, by rank */

/* What came of a run. */
struct outcome {
    uint64_t history, time;
    bool good, stuck; /* no complaint; it went on for ever */
    bool dead[SIM_NODES], ended[SIM_NODES];
    int told[SIM_NODES], lost[SIM_NODES];
};

static struct {
    uint64_t programs, tasks, remote, actors, told, ended;
} totals;

static bool fails(uint64_t seed, const char *what)
{
    fprintf(stderr, "random-program: seed %llu FAILED on the sim: %s\n", (unsigned long long)seed, what);
    return false;
}

/* ---- on the nodes */

static void drive(int rank, uint64_t seed)
{
    jobs[rank] = job_prepare(request->plan_of(seed));
    run_driver(jobs[rank], rank);
}

static void look_after(int rank, uint64_t seed)
{
    char text[400];
    (void)seed;
    if (!nothing_left(0, text, sizeof text))
        complain(jobs[rank], PLAN_NONE, "this is left: %s", text);
}

/* ---- runs */

static struct sim_job_way way_of(bool mortal, uint64_t span)
{
    uint64_t delay = (uint64_t)(request->delay * MICROSECOND);
    struct sim_job_way way = {.store_bytes = STORE_BYTES, .events_most = EVENTS_MOST, .after = look_after};
    if (delay > 0)
        way.net.delay = (struct net_sim_delay){delay / 10, delay, 0.01, 9 * delay};
    if (mortal) {
        way.mortal = true;
        way.grace = GRACE + 20 * delay;
        way.net.span = span;
        way.net.deaths = request->deaths;
        way.net.breaks = request->breaks;
    }
    return way;
}

static struct outcome run_once(uint64_t seed, const struct sim_job_way *way)
{
    struct sim_job job;
    struct outcome outcome;
    memset(&outcome, 0, sizeof outcome); /* it is compared as bytes */
    outcome.good = true;
    request->watch(seed);
    memset(jobs, 0, sizeof jobs);
    sim_job_run_in(&job, request->ranks, seed, drive, way);
    outcome.history = job.history;
    outcome.time = job.time;
    outcome.stuck = job.events > EVENTS_MOST;
    for (int rank = 0; rank < job.size; rank++) {
        const struct sim_job_node *node = &job.nodes[rank];
        outcome.told[rank] = node->told;
        outcome.lost[rank] = node->lost;
        outcome.ended[rank] = node->ended;
        outcome.dead[rank] = way->mortal && net_sim_dead(job.sim, rank);
        if (jobs[rank] && atomic_load(&jobs[rank]->failures) > 0)
            outcome.good = false;
        if (node->ended && node->status != RAYMPI_OK)
            outcome.good = fails(seed, "a node did not end well");
    }
    return outcome;
}

/* ---- without faults */

static bool faulty(void)
{
    return request->deaths + request->breaks > 0;
}

static bool judge(uint64_t seed)
{
    const struct plan *plan = jobs[0]->plan;
    uint64_t ran = 0, ran_sum = 0, destroyed = 0, made = plan_actors_made(plan);
    for (int rank = 0; rank < request->ranks; rank++) {
        ran += atomic_load(&jobs[rank]->ran);
        ran_sum += atomic_load(&jobs[rank]->ran_sum);
        destroyed += atomic_load(&jobs[rank]->destroyed);
        totals.tasks += atomic_load(&jobs[rank]->tasks);
        totals.remote += atomic_load(&jobs[rank]->remote);
    }
    totals.actors += made;
    if (ran != plan->runs || ran_sum != plan->runs_sum)
        return fails(seed, "a script did not run, or ran twice");
    return destroyed == made ? true : fails(seed, "not all actors have ended, or one has twice");
}

/* Twice, or once where it will be with faults too. `time`: how long it took, of the sim's time. */
static bool run_whole(uint64_t seed, uint64_t *time)
{
    const struct sim_job_way way = way_of(false, 0);
    struct outcome first = {0};
    for (int i = 0; i < (faulty() ? 1 : 2); i++) {
        struct outcome outcome = run_once(seed, &way);
        bool good = outcome.good && judge(seed);
        jobs_free();
        if (!good)
            return fails(seed, "see above");
        if (i > 0 && outcome.history != first.history)
            return fails(seed, "it did not run as it had before");
        first = outcome;
    }
    *time = first.time;
    return true;
}

/* ---- with deaths, or ways that break */

/* In a process of its own. */
static bool run_mortal(uint64_t seed, uint64_t span, struct outcome *shared)
{
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        const struct sim_job_way way = way_of(true, span);
        *shared = run_once(seed, &way);
        _exit(EXIT_SUCCESS);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* It has died, or the way to it broke, of which the other end knows too unless it has ended before it could.
 */
static bool lost_rightly(const struct outcome *outcome, int rank)
{
    int other = outcome->lost[rank];
    if (outcome->dead[other])
        return true;
    return request->breaks > 0 && (outcome->ended[other] || outcome->told[other] == 1);
}

static const char *wrong_with(const struct outcome *outcome, int rank)
{
    if (outcome->told[rank] > 1 || (outcome->told[rank] && outcome->ended[rank]))
        return "a node was told twice";
    if (outcome->told[rank] && !lost_rightly(outcome, rank))
        return "a node was told of what was not";
    return NULL;
}

/* Whoever lives has ended, or was told once. After a death nobody else is left; where a way broke, those who
 * have lost nobody themselves wait for the launcher to end them. */
static bool judge_mortal(uint64_t seed, const struct outcome *outcome)
{
    int told = 0, waiting = 0, dead = 0;
    if (!outcome->good || outcome->stuck)
        return fails(seed, outcome->stuck ? "it hangs" : "see above");
    for (int rank = 0; rank < request->ranks; rank++) {
        const char *wrong = wrong_with(outcome, rank);
        if (wrong)
            return fails(seed, wrong);
        dead += outcome->dead[rank];
        told += outcome->told[rank];
        waiting += !outcome->dead[rank] && !outcome->told[rank] && !outcome->ended[rank];
    }
    totals.told += (uint64_t)told;
    totals.ended += told + dead == 0;
    bool may_wait = dead == 0 && told > 0;
    return waiting == 0 || may_wait ? true : fails(seed, "a node waits for ever");
}

static bool run_faulty(uint64_t seed, uint64_t span, struct outcome *shared)
{
    for (int i = 0; i < 2; i++)
        if (!run_mortal(seed, span, &shared[i]))
            return fails(seed, "its process did not end well");
    if (memcmp(&shared[0], &shared[1], sizeof shared[0]) != 0)
        return fails(seed, "with faults it did not run as it had before");
    return judge_mortal(seed, &shared[0]);
}

/* ---- all */

static bool run_seed(uint64_t seed, struct outcome *shared)
{
    uint64_t time = 0;
    if (!run_whole(seed, &time))
        return false;
    totals.programs++;
    return !faulty() || run_faulty(seed, time + 1, shared);
}

static void report(void)
{
    printf("random-program: on the sim: %llu programs%s: %llu tasks (%.1f %% left their "
           "submitter), %llu actors\n",
           (unsigned long long)totals.programs, faulty() ? "" : ", each twice the same",
           (unsigned long long)totals.tasks,
           totals.tasks ? 100.0 * (double)totals.remote / (double)totals.tasks : 0.0,
           (unsigned long long)totals.actors);
    if (faulty())
        printf(
            "random-program: with faults, each twice the same: %llu nodes were told, once; %llu programs had "
            "ended before\n",
            (unsigned long long)totals.told, (unsigned long long)totals.ended);
}

bool sim_run_seeds(const struct sim_request *wanted)
{
    bool good = true;
    struct outcome *shared =
        mmap(NULL, 2 * sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || task_functions_build() != RAYMPI_OK)
        return fails(wanted->first, "no memory, or tasks that can not be registered");
    request = wanted;
    ranks_share_process = true;
    for (uint64_t seed = wanted->first; good && seed <= wanted->last; seed++)
        if (plan_workers(seed) == 1)
            good = run_seed(seed, shared);
    task_functions_clear();
    munmap(shared, 2 * sizeof *shared);
    if (good)
        report();
    return good;
}
