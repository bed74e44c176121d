/* What the net costs when all ranks of a host talk to all.
 *
 *   net-footprint N             bytes for N ranks, by formula; fails when they are above the budget
 *   net-footprint --measure N   the same, and what N processes really take (the sum of their Pss); fails when
 * the two differ by more than 10 %
 */
#include "net/net_shm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* The budget of a host: 256 ranks may take 320 MiB. */
#define BUDGET_RANK (UINT64_C(1280) << 10)

#define MESSAGE   900
#define DEADLINE  100 /* s; against a hang only */
#define TOLERANCE 0.1

/** Rings of all pairs, the words and boards, and each rank's private memory about the others. */
static uint64_t formula(int size)
{
    uint64_t ranks = (uint64_t)size;
    uint64_t pair =
        sizeof(struct net_lane) + sizeof(struct shm_out) + sizeof(struct shm_in) + sizeof(int) + sizeof(bool);
    uint64_t own_rings =
        net_shm_bytes(size) / ranks / ranks / 4096 * 4096 * ranks; /* those to oneself are never made */
    return net_shm_bytes(size) - own_rings + ranks * (sizeof(struct shm_net) + ranks * pair);
}

static int print_formula(int size)
{
    uint64_t bytes = formula(size), budget = BUDGET_RANK * (uint64_t)size;
    printf("%d ranks that all talk to all: %llu bytes (%.1f MiB, %.0f KiB a rank); budget %llu bytes (%.0f "
           "MiB): %s\n",
           size, (unsigned long long)bytes, (double)bytes / 1048576, (double)bytes / size / 1024,
           (unsigned long long)budget, (double)budget / 1048576, bytes <= budget ? "within" : "EXCEEDED");
    return bytes <= budget ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- measured */

struct shared {
    pthread_barrier_t barrier;
    uint64_t before[NET_RANKS_MAX], after[NET_RANKS_MAX];
};

static uint64_t pss(void)
{
    char line[256];
    unsigned long long kibibytes = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Pss: %llu kB", &kibibytes) == 1)
            break;
    if (file)
        fclose(file);
    return kibibytes * 1024;
}

static void poll_or_sleep(struct net *net)
{
    if (net_poll(net, 64) == 0)
        net_sleep(net, net_now(net) + 1000000, NULL, NULL);
}

static void count(void *arg, const struct net_message *message)
{
    (void)message;
    ++*(long *)arg;
}

/* Sends to all, and takes what all send: more than a ring holds, so that every page of it is used. */
static bool talk(struct net *net, int size, int rank)
{
    char bytes[MESSAGE] = {0};
    struct net_piece piece = {bytes, sizeof bytes};
    long each = 3 * 8192 / MESSAGE, received = 0;
    net_handle(net, 1, count, &received);
    for (long i = 0; i < each; i++)
        for (int peer = 0; peer < size; peer++) {
            if (peer != rank && net_send(net, peer, 1, &piece, 1) != RAYMPI_OK)
                return false;
            /* Whoever is slow has little room: nothing is to wait outside of the rings, which are what is
             * measured. */
            while (peer != rank && net_pending(net, peer) > 0)
                poll_or_sleep(net);
        }
    while (received < each * (size - 1))
        poll_or_sleep(net);
    return true;
}

static void meet(struct shared *shared)
{
    pthread_barrier_wait(&shared->barrier);
}

/* A forked process gets a copy of each page that it writes to first: those of the program are no cost of
 * talking. */
static bool warm_up(void)
{
    const uint64_t cookie[2] = {(uint64_t)getpid(), 1};
    struct base_segment segment;
    struct net *net;
    uint64_t bytes = base_align_up(16 + net_shm_bytes(1), 65536);
    if (base_segment_create(&segment, bytes, bytes, cookie) != RAYMPI_OK)
        return false;
    base_segment_unlink(&segment);
    bool good = net_shm_open(&net, &segment, 16, 0, 1) == RAYMPI_OK;
    if (good) {
        good = talk(net, 1, 0);
        net_sleep(net, net_now(net) + 1, NULL, NULL);
        net_close(net);
    }
    base_segment_close(&segment);
    return good && pss() > 0;
}

static int rank_main(struct base_segment *segment, struct shared *shared, int size, int rank)
{
    struct net *net = NULL;
    alarm(DEADLINE);
    bool warm = warm_up();
    meet(shared);
    shared->before[rank] = pss();
    meet(shared);
    int status = net_shm_open(&net, segment, 16, rank, size);
    meet(shared);
    bool good = warm && status == RAYMPI_OK && talk(net, size, rank);
    meet(shared);
    shared->after[rank] = pss();
    meet(shared);
    if (net)
        net_close(net);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool all_ended_well(const pid_t *ranks, int size)
{
    bool good = true;
    for (int rank = 0; rank < size; rank++) {
        int status;
        if (waitpid(ranks[rank], &status, 0) != ranks[rank] || status != 0)
            good = false;
    }
    return good;
}

static int measure(int size)
{
    const uint64_t cookie[2] = {(uint64_t)getpid(), (uint64_t)size};
    struct base_segment segment;
    pid_t ranks[NET_RANKS_MAX];
    uint64_t bytes = base_align_up(16 + net_shm_bytes(size), 65536), sum = 0;
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || base_segment_create(&segment, bytes, bytes, cookie) != RAYMPI_OK) {
        fprintf(stderr, "no memory to measure in: %s\n", base_detail());
        return EXIT_FAILURE;
    }
    base_segment_unlink(&segment);
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->barrier, &attributes, (unsigned)size);
    fflush(NULL);
    for (int rank = 0; rank < size; rank++)
        if ((ranks[rank] = fork()) == 0)
            _exit(rank_main(&segment, shared, size, rank));
    if (!all_ended_well(ranks, size)) {
        fprintf(stderr, "a rank has failed\n");
        return EXIT_FAILURE;
    }
    for (int rank = 0; rank < size; rank++)
        sum += shared->after[rank] - shared->before[rank];
    double ratio = (double)sum / (double)formula(size);
    bool good = ratio > 1 - TOLERANCE && ratio < 1 + TOLERANCE;
    printf("%d ranks, measured: %llu bytes (Pss), %.3f of the formula: %s\n", size, (unsigned long long)sum,
           ratio, good ? "within 10 %" : "NOT within 10 %");
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    bool measured = argc == 3 && !strcmp(argv[1], "--measure");
    int size = argc == (measured ? 3 : 2) ? atoi(argv[argc - 1]) : 0;
    if (size < 1 || size > NET_RANKS_MAX) {
        fprintf(stderr, "usage: net-footprint [--measure] N, N = 1 to %d\n", NET_RANKS_MAX);
        return 2;
    }
    int status = print_formula(size);
    return status == EXIT_SUCCESS && measured ? measure(size) : status;
}
