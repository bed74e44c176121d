/* A job of forked ranks, or of threads in one process, over a host segment: for tests of the net without MPI.
 */
#ifndef TESTS_NET_JOB_H
#define TESTS_NET_JOB_H

#include "net/net.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOB_RANKS 16
#define JOB_WORDS 64
/* Against a hang only, where a wake-up got lost; no test comes near it. */
#define JOB_DEADLINE 100

struct job {
    struct base_segment segment;
    int size;
    uint64_t seed;
    _Atomic uint64_t *shared; /* JOB_WORDS words that all ranks see */
    pid_t ranks[JOB_RANKS];
    int arg; /* the test's own */
};

/** Runs a rank; 0 when all is well. */
typedef int job_main(struct job *job, struct net *net, int rank);

/** Ends the rank with a message when `condition` does not hold. */
#define JOB_CHECK(condition)                                                                                 \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                    \
            fflush(stderr);                                                                                  \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

static inline uint64_t job_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return base_mix(*state);
}

static inline void job_create(struct job *job, int size, uint64_t seed)
{
    const uint64_t cookie[2] = {seed, (uint64_t)size};
    memset(job, 0, sizeof *job);
    job->size = size;
    job->seed = seed;
    uint64_t bytes = base_align_up(16 + net_shm_bytes(size), 65536);
    JOB_CHECK(base_segment_create(&job->segment, bytes, bytes, cookie) == RAYMPI_OK);
    base_segment_unlink(&job->segment);
    void *shared = mmap(NULL, JOB_WORDS * sizeof *job->shared, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    JOB_CHECK(shared != MAP_FAILED);
    job->shared = shared;
}

static inline void job_destroy(struct job *job)
{
    munmap(job->shared, JOB_WORDS * sizeof *job->shared);
    base_segment_close(&job->segment);
}

static inline int job_rank_run(struct job *job, job_main *rank_main, int rank)
{
    struct net *net;
    JOB_CHECK(net_shm_open(&net, &job->segment, 16, rank, job->size) == RAYMPI_OK);
    int result = rank_main(job, net, rank);
    net_close(net);
    return result;
}

static inline void job_start(struct job *job, job_main *rank_main)
{
    fflush(NULL);
    for (int rank = 0; rank < job->size; rank++) {
        job->ranks[rank] = fork();
        JOB_CHECK(job->ranks[rank] >= 0);
        if (job->ranks[rank] > 0)
            continue;
        alarm(JOB_DEADLINE);
        _exit(job_rank_run(job, rank_main, rank));
    }
}

/** Waits for all ranks; how many ended otherwise than with 0, those killed on purpose (`killed`, a set)
 * aside. */
static inline int job_wait(struct job *job, unsigned killed)
{
    int bad = 0;
    for (int rank = 0; rank < job->size; rank++) {
        int status = 0;
        JOB_CHECK(waitpid(job->ranks[rank], &status, 0) == job->ranks[rank]);
        bool good = killed >> rank & 1 ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : status == 0;
        if (good)
            continue;
        fprintf(stderr, "rank %d of %d ended with status %#x%s (seed %llu)\n", rank, job->size,
                (unsigned)status, WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it hung" : "",
                (unsigned long long)job->seed);
        bad++;
    }
    return bad;
}

static inline int job_run(struct job *job, job_main *rank_main)
{
    job_start(job, rank_main);
    return job_wait(job, 0);
}

struct job_thread {
    struct job *job;
    job_main *rank_main;
    int rank;
    int result;
};

static inline void *job_thread_main(void *arg)
{
    struct job_thread *thread = arg;
    thread->result = job_rank_run(thread->job, thread->rank_main, thread->rank);
    return NULL;
}

/** The same with all ranks as threads of this process, where a thread sanitizer sees both ends of a ring. */
static inline int job_run_threads(struct job *job, job_main *rank_main)
{
    pthread_t threads[JOB_RANKS];
    struct job_thread args[JOB_RANKS];
    int bad = 0;
    alarm(JOB_DEADLINE);
    for (int rank = 0; rank < job->size; rank++) {
        args[rank] = (struct job_thread){.job = job, .rank_main = rank_main, .rank = rank};
        JOB_CHECK(pthread_create(&threads[rank], NULL, job_thread_main, &args[rank]) == 0);
    }
    for (int rank = 0; rank < job->size; rank++) {
        pthread_join(threads[rank], NULL);
        bad += args[rank].result != 0;
    }
    alarm(0);
    return bad;
}

#endif
