#include "api/api_mpi_threads.h"

#include "base/base.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FIRST_PAUSE 100000  /* ns */
#define LAST_PAUSE  5000000 /* ns */

static bool among(const struct mpi_threads *threads, pid_t id)
{
    for (int i = 0; i < threads->count; i++)
        if (threads->ids[i] == id)
            return true;
    return false;
}

/* Of the process, without the caller and those in `known`. */
static void list(struct mpi_threads *threads, const struct mpi_threads *known)
{
    const struct dirent *entry;
    pid_t self = (pid_t)syscall(SYS_gettid);
    DIR *folder = opendir("/proc/self/task");
    threads->count = 0;
    if (!folder)
        return;
    while ((entry = readdir(folder)) && threads->count < MPI_THREADS_MAX) {
        pid_t id = (pid_t)atoi(entry->d_name);
        if (id > 0 && id != self && !among(known, id))
            threads->ids[threads->count++] = id;
    }
    closedir(folder);
}

void mpi_threads_before(struct mpi_threads *threads)
{
    list(threads, &(struct mpi_threads){0});
}

void mpi_threads_after(struct mpi_threads *threads)
{
    struct mpi_threads known = *threads;
    list(threads, &known);
    if (known.count == MPI_THREADS_MAX)
        threads->count = 0; /* there may have been more: which are MPI's can not be told */
}

/* How often the thread has gone to sleep, if it sleeps: a positive number. 0: it is gone. -1: it runs, or is
 * about to. */
static long sleeps(pid_t id)
{
    char path[64], line[128], state = 0;
    long count = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)id);
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT || errno == ESRCH ? 0 : -1;
    while (fgets(line, sizeof line, file)) {
        sscanf(line, "State: %c", &state);
        sscanf(line, "voluntary_ctxt_switches: %ld", &count);
    }
    fclose(file);
    if (state == 0 || state == 'Z' || state == 'X')
        return 0;
    return state == 'S' ? count + 1 : -1;
}

/* Two looks at each: who sleeps at both, and has not gone to sleep again, slept at the moment between the
 * rounds (but for one who lost its processor on its way to sleep, which no look tells). */
static bool all_asleep(const struct mpi_threads *threads)
{
    long first[MPI_THREADS_MAX];
    for (int i = 0; i < threads->count; i++)
        if ((first[i] = sleeps(threads->ids[i])) < 0)
            return false;
    for (int i = 0; i < threads->count; i++)
        if (sleeps(threads->ids[i]) != first[i])
            return false;
    return true;
}

bool mpi_threads_rest(const struct mpi_threads *threads, uint64_t most)
{
    uint64_t end = base_now() + most;
    long pause = FIRST_PAUSE;
    while (!all_asleep(threads)) {
        if (base_now() >= end)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = pause}, NULL);
        pause = pause < LAST_PAUSE / 2 ? 2 * pause : LAST_PAUSE;
    }
    return true;
}
