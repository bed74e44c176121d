/* Memory for what nobody could be told of. */
#include "base/base.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SCARCE_YIELDS 3
#define SCARCE_TRIES  200
#define SCARCE_WAIT   10000000 /* ns between two tries: two seconds in all */

void base_await_memory(int *tries, const char *room, const char *what)
{
    const struct timespec wait = {.tv_nsec = SCARCE_WAIT};
    if (++*tries <= SCARCE_YIELDS) {
        sched_yield();
        return;
    }
    if (*tries < SCARCE_TRIES) {
        nanosleep(&wait, NULL);
        return;
    }
    base_log(
        BASE_LOG_ERROR, room,
        "no memory for %s, and somebody would wait for it for ever: this rank ends, and the job with it; "
        "give the rank more memory or let fewer tasks and objects live at once",
        what);
    if (ftrylockfile(stdout) == 0) /* what the program has printed so far is not lost */
        fflush_unlocked(stdout);
    _exit(EXIT_FAILURE);
}

void *base_alloc_sure(size_t bytes, const char *room, const char *what)
{
    void *memory;
    int tries = 0;
    while (!(memory = malloc(bytes ? bytes : 1)))
        base_await_memory(&tries, room, what);
    return memory;
}
