/*
 * Evolution strategies on many ranks: learns to swing up a pendulum, within seconds on two cores.
 *
 *     mpirun -np 4 ./es_pendulum --seed 1 --plot learning_curve.png
 *
 * Rank 0 drives: it puts the search distribution of a generation as one object, submits one task for every
 * candidate, and moves the distribution by their fitness. A task reads the object in place, draws its
 * candidate's noise itself, and answers with one number. The driver takes the answers in the order in which
 * it asked, so the result has the same bits however many ranks there are. The strategy itself is in
 * es_core.c.
 */
#include "es_core.h"
#include "program.h"

#include <raympi.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALIDATE_EVERY = 5, BATCH_MAX = ES_POPULATION + ES_VALIDATION_PARTS };

static const double bar = -200;         /* solved: mean return over the unseen episodes is at least this */
static const double good_enough = -155; /* learning stops when validation reaches this */

/* ---- tasks --------------------------------------------------------------------------------------------- */

struct answer {
    double value;
    int64_t rank; /* who ran the task */
};

static int answer_return(raympi_ctx *ctx, double value)
{
    struct answer answer = {value, raympi_rank()};
    return raympi_return_copy(ctx, 0, &answer, sizeof answer);
}

RAYMPI_TASK(evaluate) /* (model, candidate) */
{
    const struct es_model *model = raympi_arg(ctx, 0, NULL);
    return answer_return(ctx, es_evaluate(model, (int)raympi_arg_int(ctx, 1)));
}

RAYMPI_TASK(examine) /* (model, set of episodes, part of it) */
{
    const struct es_model *model = raympi_arg(ctx, 0, NULL);
    enum es_set set = (enum es_set)raympi_arg_int(ctx, 1);
    return answer_return(ctx, es_examine(model, set, (int)raympi_arg_int(ctx, 2)));
}

/* ---- driver -------------------------------------------------------------------------------------------- */

enum { COLUMN_GENERATION, COLUMN_MEAN, COLUMN_BEST, COLUMN_VALIDATION, COLUMNS };
static const char *const column_names[COLUMNS] = {"generation", "mean of candidates", "best candidate",
                                                  "validation of the learned policy"};

struct driver {
    struct program_options options;
    struct es_state state;
    struct es_model best; /* whose mean validated best */
    double best_validation;
    double validation; /* the latest */
    double unseen;     /* the answer: mean return over the test episodes */
    int64_t *tasks;    /* run by each rank */
    double (*curve)[COLUMNS];
    int generations; /* done */
};

/* Tasks that are under way, answers to be taken in this order. */
struct batch {
    raympi_ref refs[BATCH_MAX];
    int count;
};

static void batch_add_evaluations(struct batch *batch, raympi_ref model)
{
    for (int i = 0; i < ES_POPULATION; i++)
        batch->refs[batch->count++] = raympi_call(evaluate, model, i);
}

static void batch_add_examination(struct batch *batch, raympi_ref model, enum es_set set, int parts)
{
    for (int part = 0; part < parts; part++)
        batch->refs[batch->count++] = raympi_call(examine, model, (int)set, part);
}

static int batch_get(struct driver *driver, const struct batch *batch, double *values)
{
    for (int i = 0; i < batch->count; i++) {
        struct answer answer;
        int status = raympi_get_copy(batch->refs[i], &answer, sizeof answer);
        if (status != RAYMPI_OK)
            return status;
        values[i] = answer.value;
        driver->tasks[answer.rank]++;
    }
    return RAYMPI_OK;
}

static void driver_report(struct driver *driver, const double *fitness, int tasks, double seconds)
{
    double *row = driver->curve[driver->generations];

    row[COLUMN_GENERATION] = driver->generations;
    row[COLUMN_MEAN] = es_mean(fitness, ES_POPULATION);
    row[COLUMN_BEST] = fitness[0];
    for (int i = 1; i < ES_POPULATION; i++)
        if (fitness[i] > row[COLUMN_BEST])
            row[COLUMN_BEST] = fitness[i];
    row[COLUMN_VALIDATION] = driver->validation;
    printf("generation %3d  return %8.1f  best %8.1f  validation %8.1f  %7.0f tasks/s\n", driver->generations,
           row[COLUMN_MEAN], row[COLUMN_BEST], row[COLUMN_VALIDATION], tasks / seconds);
    fflush(stdout);
}

static void driver_validated(struct driver *driver, const double *parts)
{
    driver->validation = es_mean(parts, ES_VALIDATION_PARTS);
    if (driver->generations > 0 && driver->validation <= driver->best_validation)
        return;
    driver->best_validation = driver->validation;
    driver->best = driver->state.model;
}

static int driver_generation(struct driver *driver)
{
    double values[BATCH_MAX], start = program_clock();
    struct batch batch = {{{0}}, 0};
    bool validate = driver->generations % VALIDATE_EVERY == 0;

    raympi_scope_begin(); /* the refs of this generation end with it */
    raympi_ref model = raympi_put(&driver->state.model, sizeof driver->state.model);
    batch_add_evaluations(&batch, model);
    if (validate)
        batch_add_examination(&batch, model, ES_VALIDATION, ES_VALIDATION_PARTS);
    int status = batch_get(driver, &batch, values);
    raympi_scope_end();
    if (status != RAYMPI_OK)
        return status;

    if (validate)
        driver_validated(driver, values + ES_POPULATION);
    driver_report(driver, values, batch.count, program_clock() - start);
    es_update(&driver->state, values);
    driver->generations++;
    return RAYMPI_OK;
}

static int driver_test(struct driver *driver)
{
    double parts[ES_TEST_PARTS];
    struct batch batch = {{{0}}, 0};

    raympi_scope_begin();
    raympi_ref model = raympi_put(&driver->best, sizeof driver->best);
    batch_add_examination(&batch, model, ES_TEST, ES_TEST_PARTS);
    int status = batch_get(driver, &batch, parts);
    raympi_scope_end();
    if (status == RAYMPI_OK)
        driver->unseen = es_mean(parts, ES_TEST_PARTS);
    return status;
}

/* Who ran how much. Every rank should have had at least a quarter of an equal share. */
static void driver_print_shares(const struct driver *driver)
{
    int ranks = raympi_size(), short_rank = -1;
    int64_t total = 0;

    for (int rank = 0; rank < ranks; rank++)
        total += driver->tasks[rank];
    printf("rank    tasks   share\n");
    for (int rank = 0; rank < ranks; rank++) {
        printf("%4d %8" PRId64 "  %5.1f%%\n", rank, driver->tasks[rank],
               100.0 * (double)driver->tasks[rank] / (double)total);
        if (short_rank < 0 && driver->tasks[rank] * 4 * ranks < total)
            short_rank = rank;
    }
    if (short_rank < 0)
        printf("share: ok\n");
    else
        printf("share: rank %d is short: %" PRId64 " of %" PRId64
               " tasks, a quarter of an equal share is %.0f\n",
               short_rank, driver->tasks[short_rank], total, (double)total / (4.0 * ranks));
}

static int driver_run(struct driver *driver)
{
    double start = program_clock();
    int status = RAYMPI_OK;

    es_init(&driver->state, driver->options.seed, driver->options.learning_rate);
    do {
        status = driver_generation(driver);
    } while (status == RAYMPI_OK && driver->best_validation < good_enough &&
             driver->generations < driver->options.generations);
    if (status == RAYMPI_OK)
        status = driver_test(driver);
    if (status != RAYMPI_OK)
        return status;

    printf("%d generations, %" PRIu64 " restarts, %.1f s on %d ranks\n", driver->generations,
           driver->state.restarts, program_clock() - start, raympi_size());
    driver_print_shares(driver);
    printf("final: weights 0x%016" PRIx64 " mean %.17g\n", policy_hash(driver->best.mean), driver->unseen);
    return RAYMPI_OK;
}

static int driver_open(struct driver *driver)
{
    driver->tasks = (int64_t *)calloc((size_t)raympi_size(), sizeof *driver->tasks);
    driver->curve = (double(*)[COLUMNS])calloc((size_t)driver->options.generations, sizeof *driver->curve);
    return driver->tasks != NULL && driver->curve != NULL ? RAYMPI_OK : RAYMPI_ERR_MEMORY;
}

static void driver_close(struct driver *driver)
{
    free(driver->tasks);
    free(driver->curve);
}

static void driver_plot(const struct driver *driver)
{
    struct program_curve curve = {"Pendulum swing-up by evolution strategies", column_names, COLUMNS,
                                  &driver->curve[0][0], driver->generations};
    program_curve_write(&curve, driver->options.plot);
}

/* ---- program ------------------------------------------------------------------------------------------- */

/* The exit code of rank 0: 0 solved, 1 not solved. */
static int drive(struct driver *driver)
{
    int status = driver_open(driver);
    if (status == RAYMPI_OK)
        status = driver_run(driver);
    if (status != RAYMPI_OK) {
        printf("not solved: %s: %s\n", raympi_strerror(status), raympi_detail());
        return 1;
    }
    driver_plot(driver);
    bool solved = driver->unseen >= bar;
    printf("%s: mean return %.1f over %d unseen episodes (bar %.0f)\n", solved ? "solved" : "not solved",
           driver->unseen, ES_TEST_PARTS * ES_PART_EPISODES, bar);
    return solved ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct driver driver; /* the distribution is too large for a small stack */
    int code = 0;

    driver.options.seed = 1;
    driver.options.learning_rate = 1;
    driver.options.generations = 3 * ES_PATIENCE;
    driver.options.plot = "learning_curve.png";
    if (raympi_init(&argc, &argv, NULL) != RAYMPI_OK) {
        fprintf(stderr, "es_pendulum: %s\n", raympi_detail());
        return 1;
    }
    if (raympi_rank() == 0) {
        code = program_options_parse(argc, argv, &driver.options);
        if (code == PROGRAM_RUN)
            code = drive(&driver);
        driver_close(&driver);
        fflush(stdout);
    }
    if (raympi_finalize() != RAYMPI_OK)
        return 1;
    return code;
}
