/* Tasks of several source files and libraries, in two different binaries of one job. Built twice: SECOND has what FIRST
 * has not. */
#include "../mpi_test.h"

RAYMPI_TASK_DECLARE(from_file);
RAYMPI_TASK_DECLARE(from_shared);
RAYMPI_TASK_DECLARE(from_static);
RAYMPI_TASK_DECLARE(only_first);
RAYMPI_TASK_DECLARE(only_second);
RAYMPI_ACTOR_DECLARE(second_actor);

#ifdef SECOND
RAYMPI_TASK(only_second) { return raympi_return_int(ctx, 0, 1000 + raympi_rank()); }
RAYMPI_ACTOR(second_actor, int)
RAYMPI_METHOD(second_actor, where) { return raympi_return_int(ctx, 0, 2000 + raympi_rank()); }
#else
RAYMPI_TASK(only_first) { return raympi_return_int(ctx, 0, 3000 + raympi_rank()); }
#endif

static int64_t value_of(raympi_ref ref)
{
    int64_t value = -1;
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
    return value;
}

/* Ranks below `seconds` run the first binary. */
static void two_binaries(int seconds)
{
    raympi_view view;
    for (int i = 0; i < 50; i++) {
        int64_t second = value_of(raympi_call(only_second)) - 1000, named = value_of(raympi_call_name("only_second")) - 1000;
        CHECK(second >= seconds && second < raympi_size() && named >= seconds && named < raympi_size());
        int64_t first = value_of(raympi_call(only_first)) - 3000;
        CHECK(first >= 0 && first < seconds);
    }
    CHECK(value_of(raympi_actor_call(raympi_actor_new(second_actor), where)) - 2000 >= seconds);
    raympi_options wrong = RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = 0);
    CHECK(raympi_get(raympi_call_opts(wrong, only_second), &view) == RAYMPI_ERR_INFEASIBLE);
    CHECK(strstr(raympi_detail(), "only_second is not registered on rank 0"));
    CHECK(raympi_actor_new_opts(wrong, second_actor).handle == 0 && strstr(raympi_detail(), "not registered on rank 0"));
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 0;
    if (raympi_init(&argc, &argv, NULL) != RAYMPI_OK) {
        printf("refused: %s\n", raympi_detail());
        return EXIT_FAILURE;
    }
    raympi_scope_begin();
    CHECK(value_of(raympi_call(from_file, 1)) == 2);
    CHECK(value_of(raympi_call(from_shared, 1)) == 3);
    CHECK(value_of(raympi_call(from_static, 1)) == 4);
    CHECK(value_of(raympi_call_name("from_shared", 1)) == 3);
    if (seconds)
        two_binaries(seconds);
    raympi_scope_end();
    return test_end(raympi_finalize());
}
