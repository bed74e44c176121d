/* A rank that always has brief work of its own comes to what others ask of it all the same. */
#include "mpi_test.h"

#define MARKS 200

static _Atomic int marks;

RAYMPI_TASK(quick)
{
    return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0) + 1);
}

RAYMPI_TASK(mark)
{
    marks++;
    return raympi_return_int(ctx, 0, 0);
}

static raympi_options on(int rank)
{
    return (raympi_options){.size = sizeof(raympi_options), .strategy = RAYMPI_STRATEGY_NODE, .node = rank};
}

static void keep_busy_until(const _Atomic int *count, int enough)
{
    for (int64_t i = 0; *count < enough; i++) {
        int64_t next = 0;
        raympi_ref ref = raympi_call(quick, i);
        CHECK_OK(raympi_get_copy(ref, &next, sizeof next));
        CHECK(next == i + 1);
        CHECK_OK(raympi_release(ref));
    }
}

/* In main() that would be a chance for the spare worker; a task leaves none. */
RAYMPI_TASK(busy)
{
    keep_busy_until(&marks, (int)raympi_arg_int(ctx, 0));
    return raympi_return_int(ctx, 0, 0);
}

static void drive(void)
{
    int others = raympi_size() - 1;
    raympi_view view;
    if (raympi_rank() > 0) {
        for (int i = 0; i < 2 * MARKS; i++) {
            raympi_ref ref = raympi_call_opts(on(0), mark);
            CHECK_OK(raympi_get(ref, &view));
            CHECK_OK(raympi_view_end(&view));
            CHECK_OK(raympi_release(ref));
        }
        return;
    }
    CHECK_OK(raympi_get(raympi_call_opts(on(0), busy, others * MARKS), &view));
    keep_busy_until(&marks, 2 * others * MARKS);
}

int main(int argc, char **argv)
{
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    return test_end(test_drive(drive));
}
