/* fork() and system() inside a task, a method and main(): the child may do anything but call raympi, and
 * whatever becomes of it, the rank goes on. */
#include "mpi_test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum child { CHILD_CALLS, CHILD_EXITS, CHILD_CRASHES, CHILD_ABORTS, CHILD_EXECS, CHILD_KINDS };

static bool refused(int status)
{
    return status == RAYMPI_ERR_STATE && strstr(raympi_detail(), "forked child");
}

static int child_calls(raympi_ctx *ctx, raympi_ref ref)
{
    raympi_view view;
    int wrong = 0;
    wrong += !refused(raympi_get(ref, &view));
    wrong += !refused(raympi_wait(&ref, 1, 1, -1, NULL));
    wrong += !refused(raympi_release(ref));
    wrong += !refused(raympi_mpi_enter());
    wrong += !refused(raympi_mpi_leave());
    wrong += !refused(raympi_finalize());
    wrong += raympi_init(NULL, NULL, NULL) != RAYMPI_ERR_STATE;
    wrong += raympi_put("x", 1).handle != 0 || !strstr(raympi_detail(), "forked child");
    wrong += raympi_initialized() || raympi_rank() != -1;
    if (ctx) {
        wrong += (const char *)raympi_arg(ctx, 1, NULL) != NULL || !strstr(raympi_detail(), "forked child");
        wrong += !refused(raympi_return_int(ctx, 0, 1));
    }
    return wrong;
}

static void be_child(enum child kind, raympi_ctx *ctx, raympi_ref ref)
{
    int *volatile nowhere = (int *)8;
    switch (kind) {
    case CHILD_CALLS:
        _exit(child_calls(ctx, ref));
    case CHILD_EXITS:
        exit(child_calls(ctx, ref));
    case CHILD_CRASHES:
        *nowhere = 1;
        break;
    case CHILD_ABORTS:
        abort();
    default:
        execl("/bin/sh", "sh", "-c", "exit 0", (char *)NULL);
    }
    _exit(99);
}

/* What the child ended with: its code, or 1000 + the signal. */
static int with_child(enum child kind, raympi_ctx *ctx, raympi_ref ref)
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        be_child(kind, ctx, ref);
    while (waitpid(child, &status, 0) != child)
        continue;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int expected(enum child kind)
{
    return kind == CHILD_CRASHES ? 1000 + SIGSEGV : kind == CHILD_ABORTS ? 1000 + SIGABRT : 0;
}

RAYMPI_TASK(one)
{
    return raympi_return_int(ctx, 0, 1);
}

RAYMPI_TASK(forker)
{
    enum child kind = (enum child)raympi_arg_int(ctx, 0);
    int64_t value;
    raympi_ref ref = raympi_call(one);
    int ended = with_child(kind, ctx, ref);
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value)); /* and the parent goes on as before */
    size_t len;
    CHECK((const char *)raympi_arg(ctx, 1, &len) != NULL && len == 100000);
    return raympi_return_int(ctx, 0, ended);
}

RAYMPI_TASK(shell)
{
    return raympi_return_int(ctx, 0, WEXITSTATUS(system("exit 7")));
}

RAYMPI_ACTOR(parent, int)
RAYMPI_METHOD(parent, forks)
{
    return raympi_return_int(ctx, 0, with_child((enum child)raympi_arg_int(ctx, 0), NULL, (raympi_ref){1}));
}

static int64_t value_of(raympi_ref ref)
{
    int64_t value = -1;
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
    return value;
}

static void drive(void)
{
    static char large[100000];
    raympi_scope_begin();
    raympi_ref data = raympi_put(large, sizeof large);
    raympi_actor actor = raympi_actor_new(parent);
    for (int kind = 0; kind < CHILD_KINDS; kind++) {
        for (int rank = 0; rank < raympi_size(); rank++) {
            raympi_options there = RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = rank);
            CHECK(value_of(raympi_call_opts(there, forker, kind, data)) == expected((enum child)kind));
            CHECK(value_of(raympi_call_opts(there, shell)) == 7);
        }
        CHECK(value_of(raympi_actor_call(actor, forks, kind)) == expected((enum child)kind));
        CHECK(with_child((enum child)kind, NULL, data) == expected((enum child)kind));
        CHECK(WEXITSTATUS(system("exit 3")) == 3);
    }
    raympi_scope_end();
}

int main(int argc, char **argv)
{
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    return test_end(test_drive(drive));
}
