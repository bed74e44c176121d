/* An event of Open MPI's runtime that is still under way when the job ends: the thread that is to take it is
 * kept from it, awake, as if the machine gave it no time. MPI_Finalize must not unload what it is about to
 * run. */
#include "mpi_test.h"

#include <dlfcn.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#define FOREVER 100000 /* ms: how long only the thread of the runtime's events waits */
#define START   10.0   /* s: MPI_Init itself may wait for the event */
#define HOLD    0.3    /* s, from finalize on */

typedef void event_function(int file, short what, void *data);
static _Atomic(event_function *) late; /* code of the component that is unloaded */
static _Atomic int held;
static _Atomic double finalizing;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool loaded(event_function *function)
{
    Dl_info info;
    return dladdr((void *)function, &info) != 0 && strstr(info.dli_fname, "mca_pmix");
}

/* In place of libevent's: an event that is handed to the runtime's thread. */
int event_assign(void *event, void *base, int file, short what, event_function *function, void *data);
int event_assign(void *event, void *base, int file, short what, event_function *function, void *data)
{
    int (*real)(void *, void *, int, short, event_function *, void *) =
        (int (*)(void *, void *, int, short, event_function *, void *))dlsym(RTLD_NEXT, "event_assign");
    if (loaded(function))
        late = function;
    return real(event, base, file, what, function, data);
}

/* In place of libc's: the runtime's thread gets to know of the event here. */
int poll(struct pollfd *files, nfds_t count, int timeout)
{
    int (*real)(struct pollfd *, nfds_t, int) =
        (int (*)(struct pollfd *, nfds_t, int))dlsym(RTLD_NEXT, "poll");
    int found = real(files, count, timeout);
    if (timeout < FOREVER || found <= 0 || !late || atomic_exchange(&held, 1))
        return found;
    double begin = seconds();
    while (finalizing == 0 ? seconds() < begin + START : loaded(late) && seconds() < finalizing + HOLD)
        sched_yield();
    return found;
}

RAYMPI_TASK(nothing)
{
    return raympi_return_int(ctx, 0, 1);
}

int main(int argc, char **argv)
{
    int64_t value = 0;
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    raympi_ref ref = raympi_call(nothing);
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
    CHECK_OK(raympi_release(ref));
    CHECK(value == 1);
    bool was_held = held;
    finalizing = seconds();
    int finalized = raympi_finalize();
    if (!was_held && finalized == RAYMPI_OK) {
        printf("skipped: no event of this MPI's runtime was under way\n");
        return 77;
    }
    return test_end(finalized);
}
