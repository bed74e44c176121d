/* A rank that is stopped in the middle of the job (SIGSTOP) slows down who sends to it, and nobody else:
 *
 *   stopped FOLDER    where the ranks tell each other, beside raympi, how far they are
 *
 * Rank 0 floods the last rank, which is stopped until rank 0 has spent its credit and the others have talked.
 * The job is to end well. */
#include "../mpi/mpi_test.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <time.h>
#include <unistd.h>

enum { CALLS = 20000, CREDITS = 16384, ROUNDS = 100 };

extern char **environ;
static const char *folder;
static raympi_ref refs[CALLS];

static const char *path(const char *name)
{
    static _Thread_local char text[4096];
    snprintf(text, sizeof text, "%s/%s", folder, name);
    return text;
}

static void tell(const char *name)
{
    int file = open(path(name), O_CREAT | O_WRONLY, 0600);
    CHECK(file >= 0);
    close(file);
}

static bool is_told(const char *name)
{
    return access(path(name), F_OK) == 0;
}

/* Another process has to wake it. */
RAYMPI_TASK(stop, .num_returns = RAYMPI_NONE)
{
    static const char script[] =
        "until [ -e full ] && [ -e talked ]; do sleep 0.1; done; sleep 1; kill -CONT $0";
    char pid[16], *arguments[] = {"sh", "-c", (char *)script, pid, NULL};
    pid_t child;
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    CHECK(chdir(folder) == 0);
    CHECK(posix_spawnp(&child, "sh", NULL, NULL, arguments, environ) == 0);
    tell("stopped");
    raise(SIGSTOP);
    return RAYMPI_OK;
}

RAYMPI_TASK(answer)
{
    return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0) + 1);
}

static raympi_options at(int rank)
{
    return RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = rank);
}

static void ask(int rank, int64_t number)
{
    int64_t value = 0;
    CHECK_OK(raympi_scope_begin());
    CHECK_OK(raympi_get_copy(raympi_call_opts(at(rank), answer, number), &value, sizeof value));
    CHECK(value == number + 1);
    CHECK_OK(raympi_scope_end());
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* All but those that the credit is for have ended when the last one has been submitted; but one for each
 * second, which a submitter is given when it sees none end. */
static void flood(int victim)
{
    CHECK_OK(raympi_release(raympi_call_opts(at(victim), stop)));
    while (!is_told("stopped"))
        ask(0, 0);
    double start = seconds();
    for (int i = 0; i < CALLS; i++) {
        if (i == CREDITS - 100)
            tell("full");
        refs[i] = raympi_call_opts(at(victim), answer, i);
    }
    int ready = raympi_wait(refs, CALLS, 0, 0, NULL);
    CHECK(ready >= CALLS - CREDITS - (int)(seconds() - start));
    CHECK(raympi_wait(refs, CALLS, CALLS, -1, NULL) == CALLS);
    CHECK_OK(raympi_release_all(refs, CALLS));
}

static void talk(void)
{
    while (!is_told("full"))
        ask(0, 1);
    for (int i = 0; i < ROUNDS; i++) {
        ask(0, i);
        ask(1, i);
    }
    tell("talked");
}

int main(int argc, char **argv)
{
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    int victim = raympi_size() - 1;
    folder = argc > 1 ? argv[1] : ".";
    if (raympi_rank() == 0)
        flood(victim);
    else if (raympi_rank() == victim - 1)
        talk();
    return test_end(raympi_finalize());
}
