/* One fault, named by the first argument: it strikes the last rank, or the one that the third argument names.
 * The others are meanwhile where the second says: idle, busy, task (in a long one) or compute (in main). None
 * of them may hang, or come to an end as if nothing had happened: that would print "survived". The fault
 * "shell" is what the command RAYMPI_TEST_COMMAND does, which has the rank's process in RAYMPI_TEST_PROCESS;
 * "shells": on all ranks. */
#include "mpi_test.h"

#include <signal.h>
#include <unistd.h>

static const char *fault;

static raympi_options on(int rank)
{
    return RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = rank);
}

/* No tail call, and every frame is needed. */
__attribute__((noinline)) static int dive(int depth)
{
    volatile char frame[4096];
    frame[0] = (char)depth;
    frame[sizeof frame - 1] = frame[0];
    return depth < 1 << 20 ? dive(depth + 1) + frame[0] + frame[sizeof frame - 1] : frame[0];
}

static void strike(void)
{
    int *volatile nowhere = (int *)8;
    if (!strcmp(fault, "overflow"))
        printf("%d\n", dive(0));
    else if (!strcmp(fault, "segv") || !strcmp(fault, "method"))
        *nowhere = 1;
    else if (!strcmp(fault, "abort"))
        abort();
    else if (!strcmp(fault, "exit"))
        exit(3);
    else if (!strcmp(fault, "exit0"))
        exit(0);
    else
        kill(getpid(), SIGKILL);
}

RAYMPI_TASK(victim)
{
    strike();
    return raympi_return_int(ctx, 0, 1);
}

RAYMPI_TASK(answer)
{
    return raympi_return_int(ctx, 0, 42);
}

/* Has blocked, and others have run on its worker meanwhile, before it is struck. */
RAYMPI_TASK(late_victim)
{
    int64_t value;
    CHECK_OK(raympi_get_copy(raympi_call_opts(on(0), answer), &value, sizeof value));
    CHECK_OK(raympi_get_copy(raympi_call_opts(on(raympi_rank()), answer), &value, sizeof value));
    strike();
    return raympi_return_int(ctx, 0, 1);
}

struct holder {
    int value;
};
RAYMPI_ACTOR(holder, struct holder)
RAYMPI_METHOD(holder, hurt)
{
    strike();
    return raympi_return_int(ctx, 0, 1);
}

static void for_ever(void)
{
    for (volatile int on = 1; on;)
        continue;
}

RAYMPI_TASK(long_one)
{
    for_ever();
    return raympi_return_int(ctx, 0, 1);
}

RAYMPI_TASK(quick)
{
    return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0));
}

static void bystand(const char *how)
{
    raympi_view view;
    if (!strcmp(how, "compute"))
        for_ever();
    if (!strcmp(how, "task"))
        raympi_get(raympi_call_opts(on(raympi_rank()), long_one), &view);
    for (int i = 0; !strcmp(how, "busy"); i++) {
        raympi_scope_begin();
        if (raympi_get(raympi_call(quick, i), &view) != RAYMPI_OK)
            return;
        raympi_scope_end();
    }
    /* idle: asleep in finalize */
}

/* Everybody has answered everybody: all are in the middle of the job. */
static void meet(void)
{
    raympi_view view;
    for (int rank = 0; rank < raympi_size(); rank++)
        CHECK_OK(raympi_get(raympi_call_opts(on(rank), answer), &view));
}

static void command(void)
{
    char process[32];
    snprintf(process, sizeof process, "%d", getpid());
    setenv("RAYMPI_TEST_PROCESS", process, 1);
    if (system(getenv("RAYMPI_TEST_COMMAND")) != 0)
        printf("the command failed\n");
}

static void provoke(int struck)
{
    raympi_view view;
    raympi_ref ref;
    if (!strcmp(fault, "method"))
        ref = raympi_actor_call(raympi_actor_new_opts(on(struck), holder), hurt);
    else if (!strcmp(fault, "late"))
        ref = raympi_call_opts(on(struck), late_victim);
    else
        ref = raympi_call_opts(on(struck), victim);
    raympi_get(ref, &view);
}

int main(int argc, char **argv)
{
    const char *how = argc > 2 ? argv[2] : "idle";
    fault = argc > 1 ? argv[1] : "kill";
    if (raympi_init(&argc, &argv, NULL) != RAYMPI_OK)
        return EXIT_FAILURE;
    int rank = raympi_rank(), size = raympi_size();
    int struck = argc > 3 ? atoi(argv[3]) : size - 1, caller = size - 1 - struck;
    bool in_main = !strcmp(fault, "main"), pair = !strcmp(fault, "pair");
    bool shell = !strcmp(fault, "shell"), shells = !strcmp(fault, "shells");
    if (shell || shells) {
        meet();
        if (rank == struck || shells)
            command();
        bystand(how);
    } else if (in_main || pair) {
        meet();
        if (rank == struck || (pair && rank == (struck + 1) % size))
            kill(getpid(), SIGKILL);
        bystand(how);
    } else if (rank == caller) {
        provoke(struck);
    } else if (rank != struck) {
        bystand(how);
    }
    int status = raympi_finalize();
    printf("survived\n");
    return status == RAYMPI_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
