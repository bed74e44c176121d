/* A13: a ring of columns, each an actor. A step of a column is some work after both neighbours' last steps.
 *
 *   stencil COLUMNS STEPS WORK      microseconds per step of all columns; WORK is in steps of bench_work()
 * per column
 *
 * Columns talk to each other without any hub: a column that has done a step calls `halo` of its neighbours.
 */
#include "ours.h"

#define MAX_COLUMNS 1024

struct column {
    raympi_actor neighbour[2];
    long work;
    int64_t steps, done; /* asked for in all; done */
    int64_t arrived[2];  /* steps for which a neighbour's value is there */
    uint64_t from[2]
                 [2]; /* that value, by neighbour and parity of the step: a neighbour is at most one ahead */
    uint64_t value;
    raympi_ref end; /* sealed when all steps are done */
    uint64_t *end_value;
};
RAYMPI_ACTOR(Column, struct column)

RAYMPI_METHOD(Column, setup)
{
    struct column *self = raympi_self(ctx);
    self->value = (uint64_t)raympi_arg_int(ctx, 0);
    self->work = raympi_arg_int(ctx, 1);
    for (int side = 0; side < 2; side++)
        self->neighbour[side] = raympi_keep(raympi_arg_actor(ctx, 2 + side));
    return raympi_return_int(ctx, 0, raympi_rank());
}

/** Tells both neighbours our value after `done` steps. Our left neighbour sees us on its right, which is
 * side 1. */
static int tell(struct column *self)
{
    for (int side = 0; side < 2; side++) {
        raympi_ref sent =
            raympi_actor_call(self->neighbour[side], halo, 1 - side, self->done, (int64_t)self->value);
        int status = raympi_release(sent);
        if (status != RAYMPI_OK)
            return status;
    }
    return RAYMPI_OK;
}

/** Does every step whose values are there. */
static int advance(struct column *self)
{
    int status = RAYMPI_OK;
    while (status == RAYMPI_OK && self->done < self->steps && self->arrived[0] > self->done &&
           self->arrived[1] > self->done) {
        uint64_t mixed = self->value + 3 * self->from[0][self->done & 1] + 5 * self->from[1][self->done & 1];
        self->value = bench_work(self->work, mixed);
        self->done++;
        if (self->done < self->steps)
            status = tell(self);
    }
    if (self->done == self->steps && self->end.handle != 0) {
        *self->end_value = self->value;
        status = raympi_seal(self->end);
        raympi_release(self->end);
        self->end.handle = 0;
    }
    return status;
}

RAYMPI_METHOD(Column, halo)
{
    struct column *self = raympi_self(ctx);
    int64_t side = raympi_arg_int(ctx, 0), step = raympi_arg_int(ctx, 1);
    self->from[side][step & 1] = (uint64_t)raympi_arg_int(ctx, 2);
    self->arrived[side] = step + 1;
    return advance(self);
}

/** So many more steps; the result is the column's value after them. */
RAYMPI_METHOD(Column, go)
{
    struct column *self = raympi_self(ctx);
    self->steps += raympi_arg_int(ctx, 0);
    self->end_value = raympi_create(sizeof *self->end_value, &self->end);
    if (self->end_value == NULL)
        return RAYMPI_ERR_MEMORY;
    raympi_keep(self->end);
    raympi_return_ref(ctx, 0, self->end);
    int status = tell(self);
    return status == RAYMPI_OK ? advance(self) : status;
}

static raympi_actor *columns;

static void make_columns(int count, long work)
{
    columns = calloc((size_t)count, sizeof *columns);
    bench_require(columns != NULL, "memory");
    for (int i = 0; i < count; i++) {
        int node = (int)((long)i * raympi_size() / count);
        columns[i] =
            raympi_actor_new_opts(RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = node), Column);
    }
    for (int i = 0; i < count; i++) {
        int64_t rank;
        raympi_ref ref = raympi_actor_call(columns[i], setup, i + 1, work, columns[(i + count - 1) % count],
                                           columns[(i + 1) % count]);
        ours_check(raympi_get_copy(ref, &rank, sizeof rank), "setup");
        bench_require(rank == (long)i * raympi_size() / count, "a column is on the wrong rank");
        ours_check(raympi_release(ref), "raympi_release");
    }
}

/** The same steps done by one thread. */
static uint64_t expected(int column, int count, long steps, long work)
{
    static uint64_t *now, *next;
    if (now == NULL) {
        now = calloc((size_t)count, sizeof *now);
        next = calloc((size_t)count, sizeof *next);
        bench_require(now != NULL && next != NULL, "memory");
        for (int i = 0; i < count; i++)
            now[i] = (uint64_t)i + 1;
    }
    for (long step = 0; column == 0 && step < steps; step++) {
        for (int i = 0; i < count; i++)
            next[i] = bench_work(work, now[i] + 3 * now[(i + count - 1) % count] + 5 * now[(i + 1) % count]);
        uint64_t *swap = now;
        now = next;
        next = swap;
    }
    return now[column];
}

static double repetition(int argc, char **argv)
{
    int count = (int)bench_argument(argc, argv, 1, 16);
    long steps = bench_argument(argc, argv, 2, 100), work = bench_argument(argc, argv, 3, 1000);
    raympi_ref ends[MAX_COLUMNS];
    uint64_t values[MAX_COLUMNS];
    bench_require(count <= MAX_COLUMNS, "too many columns");
    if (columns == NULL)
        make_columns(count, work);
    double start = bench_now();
    for (int i = 0; i < count; i++)
        ends[i] = raympi_actor_call(columns[i], go, steps);
    for (int i = 0; i < count; i++)
        ours_check(raympi_get_copy(ends[i], &values[i], sizeof values[i]), "raympi_get_copy");
    double took = bench_now() - start;
    for (int i = 0; i < count; i++)
        bench_require(values[i] == expected(i, count, steps, work), "a column has a wrong value");
    ours_check(raympi_release_all(ends, (size_t)count), "raympi_release_all");
    return 1e-3 * took / (double)steps;
}

int main(int argc, char **argv)
{
    return ours_main(argc, argv, repetition);
}
