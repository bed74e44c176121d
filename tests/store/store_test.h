/* A host segment with a store in it, and processes that share it. */
#ifndef TESTS_STORE_TEST_H
#define TESTS_STORE_TEST_H

#include "../unit.h"
#include "store/store.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct host {
    struct base_segment segment;
    struct store_layout layout;
    uint64_t control_offset, data_offset;
};

#define HOST_PAGE 4096

/** A segment for `layout` (made by the caller); the name is removed at once. */
static inline bool host_make(struct host *host, struct store_layout layout)
{
    static uint64_t serial;
    uint64_t cookie[2] = {(uint64_t)getpid(), ++serial};
    host->layout = layout;
    host->control_offset = HOST_PAGE;
    host->data_offset = base_align_up(HOST_PAGE + layout.control_bytes, HOST_PAGE);
    uint64_t size = host->data_offset + layout.extents * layout.extent_bytes;
    int status = base_segment_create(&host->segment, size, host->data_offset, cookie);
    if (status != RAYMPI_OK) {
        fprintf(stderr, "segment: %s\n", base_detail());
        return false;
    }
    base_segment_unlink(&host->segment);
    return true;
}

static inline struct store_layout layout_of(int size, uint64_t bytes)
{
    struct store_layout layout;
    store_layout_make(&layout, size, bytes);
    return layout;
}

static inline struct store *host_open(struct host *host, int rank)
{
    struct store *store = NULL;
    if (store_open(&store, &host->segment, &host->layout, host->control_offset, host->data_offset, rank,
                   1.0) != RAYMPI_OK)
        fprintf(stderr, "open: %s\n", base_detail());
    return store;
}

static inline void host_end(struct host *host)
{
    base_segment_close(&host->segment);
}

/** Memory that forked processes share. */
static inline void *shared_make(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/** Runs body(arg) in a child that exits with what it returns. */
static inline pid_t process_start(int (*body)(void *arg), void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(body(arg));
    return pid;
}

/** Exit code, or 256 + signal. */
static inline int process_end(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static inline void interrupt_nap(int signal)
{
    struct timespec nap = {0, 30000};
    (void)signal;
    nanosleep(&nap, NULL);
}

/** Stops threads of this process for a moment at places nobody chose, to open the windows between two steps
 * of a protocol that are a few instructions wide. */
static inline void interrupts_start(void)
{
    struct sigaction action = {.sa_handler = interrupt_nap, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 500}, {0, 500}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
}

static inline void interrupts_stop(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, NULL);
}

static inline uint64_t random_next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return base_mix(*state);
}

/** A payload that tells whose it is at every word. */
static inline void payload_fill(void *data, uint64_t length, uint64_t seed)
{
    uint64_t *words = data;
    for (uint64_t i = 0; i < length / 8; i++)
        words[i] = base_mix(seed + i);
}

static inline bool payload_right(const void *data, uint64_t length, uint64_t seed)
{
    const uint64_t *words = data;
    for (uint64_t i = 0; i < length / 8; i++)
        if (words[i] != base_mix(seed + i))
            return false;
    return true;
}

static inline uint64_t place_seed(struct store_place place)
{
    return base_mix((uint64_t)place.rank << 32 | place.index) + place.generation;
}

/* ---- places that threads share: who borrows one keeps its block from being freed */

#define SLOT_CLOSED -1

static inline bool slot_borrow(_Atomic int *borrowers)
{
    int count = atomic_load(borrowers);
    while (count != SLOT_CLOSED)
        if (atomic_compare_exchange_weak(borrowers, &count, count + 1))
            return true;
    return false;
}

#endif
