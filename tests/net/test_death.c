/* Deaths on one host: every survivor is told once, whatever it was doing; leaving in good order is no death.
 */
#include "../unit.h"
#include "job.h"

#include "net/net_futex.h"

#include <sched.h>

enum { TRAFFIC = 1, BYE = 2 };
/* shared words: what is going on, seen by the parent */
enum { SHARED_OPEN, SHARED_TRAFFIC, SHARED_LEFT, SHARED_READY };

struct survivor {
    struct job *job;
    struct net *net;
    uint64_t random;
    unsigned dead; /* set of ranks whose death was told */
    int twice;     /* told more than once */
    int late;      /* messages of a rank after its death was told */
    int byes;
};

static void survivor_died(void *arg, int rank)
{
    struct survivor *survivor = arg;
    survivor->twice += survivor->dead >> rank & 1;
    survivor->dead |= 1u << rank;
}

static void survivor_traffic(void *arg, const struct net_message *message)
{
    struct survivor *survivor = arg;
    const unsigned char *data = message->data;
    survivor->late += survivor->dead >> message->source & 1;
    for (size_t i = 1; i < message->length; i++)
        JOB_CHECK(data[i] == (unsigned char)(data[0] + i));
    atomic_fetch_add(&survivor->job->shared[SHARED_TRAFFIC], 1);
}

static void survivor_bye(void *arg, const struct net_message *message)
{
    (void)message;
    ((struct survivor *)arg)->byes++;
}

static void survivor_open(struct survivor *survivor, struct job *job, struct net *net, int rank)
{
    *survivor = (struct survivor){.job = job, .net = net, .random = job->seed * 100 + (uint64_t)rank};
    net_on_death(net, survivor_died, survivor);
    net_handle(net, TRAFFIC, survivor_traffic, survivor);
    net_handle(net, BYE, survivor_bye, survivor);
    atomic_fetch_add(&job->shared[SHARED_OPEN], 1);
    while (atomic_load(&job->shared[SHARED_OPEN]) < (uint64_t)job->size)
        sched_yield();
}

static void survivor_send(struct survivor *survivor)
{
    unsigned char data[6000];
    size_t length =
        1 + job_random(&survivor->random) % (job_random(&survivor->random) % 10 == 0 ? 6000 : 200);
    int peer = (int)(job_random(&survivor->random) % (uint64_t)survivor->job->size);
    data[0] = (unsigned char)job_random(&survivor->random);
    for (size_t i = 1; i < length; i++)
        data[i] = (unsigned char)(data[0] + i);
    if (net_pending(survivor->net, peer) > 100000)
        return;
    const struct net_piece piece = {data, length};
    int status = net_send(survivor->net, peer, TRAFFIC, &piece, 1);
    JOB_CHECK(status == (survivor->dead >> peer & 1 ? RAYMPI_ERR_NODE_DIED : RAYMPI_OK));
}

/** Until all of `victims` were told: even ranks send without pause, odd ones sleep whenever they can. */
static void survivor_serve(struct survivor *survivor, unsigned victims)
{
    while (survivor->dead != victims) {
        bool sends = net_rank(survivor->net) % 2 == 0;
        if (sends)
            survivor_send(survivor);
        if (net_poll(survivor->net, 32) == 0 && !sends && survivor->dead != victims)
            net_sleep(survivor->net, UINT64_MAX, NULL, NULL);
    }
}

static bool survivor_waits(const struct survivor *survivor, int survivors)
{
    size_t pending = 0;
    for (int peer = 0; peer < survivor->job->size; peer++)
        pending += net_pending(survivor->net, peer);
    return survivor->byes < survivors || pending > 0;
}

/** Says goodbye to the other survivors and waits for theirs; a second death, or one too many, would show. */
static void survivor_leave(struct survivor *survivor, unsigned victims, int survivors)
{
    for (int peer = 0; peer < survivor->job->size; peer++)
        if (!(victims >> peer & 1))
            JOB_CHECK(net_send(survivor->net, peer, BYE, NULL, 0) == RAYMPI_OK);
    while (survivor_waits(survivor, survivors))
        if (net_poll(survivor->net, 32) == 0 && survivor_waits(survivor, survivors))
            net_sleep(survivor->net, UINT64_MAX, NULL, NULL);
    JOB_CHECK(survivor->dead == victims && survivor->twice == 0 && survivor->late == 0);
    int dead = net_dead_peer(survivor->net);
    JOB_CHECK(dead >= 0 && (victims >> dead & 1));
}

static int killed_main(struct job *job, struct net *net, int rank)
{
    struct survivor survivor;
    unsigned victims = (unsigned)job->arg;
    survivor_open(&survivor, job, net, rank);
    /* A victim never leaves: it serves until it is killed. */
    survivor_serve(&survivor, victims >> rank & 1 ? ~0u : victims);
    survivor_leave(&survivor, victims, job->size - __builtin_popcount(victims));
    return 0;
}

static void kill_run(int size, unsigned victims, uint64_t seed)
{
    struct job job;
    job_create(&job, size, seed);
    job.arg = (int)victims;
    job_start(&job, killed_main);
    while (atomic_load(&job.shared[SHARED_TRAFFIC]) < 200 + seed % 300)
        sched_yield();
    for (int rank = 0; rank < size; rank++)
        if (victims >> rank & 1)
            kill(job.ranks[rank], SIGKILL);
    CU_ASSERT_EQUAL(job_wait(&job, victims), 0);
    job_destroy(&job);
}

static void test_kill_one(void)
{
    for (uint64_t round = 0; round < 60; round++) {
        int size = 2 + (int)(round % 4);
        /* Rank 0 makes the traffic where there are two. */
        int victim = size == 2 ? 1 : (int)(round / 4) % size;
        kill_run(size, 1u << victim, round);
    }
}

/** Neighbours, so that watchers die with those they watch. */
static void test_kill_several(void)
{
    static const unsigned sets[] = {0x06, 0x0e, 0x1e, 0x18, 0x2a, 0x39};
    for (uint64_t round = 0; round < 30; round++)
        kill_run(6, sets[round % (sizeof sets / sizeof *sets)], round);
}

static void test_kill_without_vector(void)
{
    atomic_store(&net_futex_vector, false);
    for (uint64_t round = 0; round < 6; round++)
        kill_run(4, 1u << (round % 4), round);
    atomic_store(&net_futex_vector, true);
}

/** Nobody sends: all survivors are asleep when the kill comes. */
static int asleep_main(struct job *job, struct net *net, int rank)
{
    struct survivor survivor;
    unsigned victims = (unsigned)job->arg;
    survivor_open(&survivor, job, net, rank);
    atomic_fetch_add(&job->shared[SHARED_READY], 1);
    while (survivor.dead != victims || victims >> rank & 1)
        if (net_poll(net, 32) == 0 && (survivor.dead != victims || victims >> rank & 1))
            net_sleep(net, UINT64_MAX, NULL, NULL);
    survivor_leave(&survivor, victims, job->size - __builtin_popcount(victims));
    return 0;
}

static void test_kill_while_asleep(void)
{
    for (uint64_t round = 0; round < 30; round++) {
        struct job job;
        unsigned victims = round % 3 == 0 ? 0x6 : 1u << (round % 5);
        job_create(&job, 5, round);
        job.arg = (int)victims;
        job_start(&job, asleep_main);
        while (atomic_load(&job.shared[SHARED_READY]) < 5)
            sched_yield();
        for (int rank = 0; rank < 5; rank++)
            if (victims >> rank & 1)
                kill(job.ranks[rank], SIGKILL);
        CU_ASSERT_EQUAL(job_wait(&job, victims), 0);
        job_destroy(&job);
    }
}

/** Ranks 1 and 2 leave in good order, then 3 is killed: its watchers are gone, 0 and 4 learn of it all the
 * same. */
static int left_main(struct job *job, struct net *net, int rank)
{
    struct survivor survivor;
    survivor_open(&survivor, job, net, rank);
    if (rank == 1 || rank == 2)
        return 0;
    atomic_fetch_add(&job->shared[SHARED_READY], 1);
    while (survivor.dead == 0 || rank == 3)
        if (net_poll(net, 32) == 0 && (survivor.dead == 0 || rank == 3))
            net_sleep(net, UINT64_MAX, NULL, NULL);
    JOB_CHECK(survivor.dead == 1u << 3 && survivor.twice == 0);
    return 0;
}

static void test_watch_taken_over(void)
{
    for (uint64_t round = 0; round < 20; round++) {
        struct job job;
        job_create(&job, 5, round);
        job_start(&job, left_main);
        while (atomic_load(&job.shared[SHARED_READY]) < 3)
            sched_yield();
        /* Ended, and not only waited for: WNOWAIT leaves them to job_wait(). */
        for (int rank = 1; rank <= 2; rank++) {
            siginfo_t info;
            CU_ASSERT_EQUAL(waitid(P_PID, (id_t)job.ranks[rank], &info, WEXITED | WNOWAIT), 0);
        }
        kill(job.ranks[3], SIGKILL);
        CU_ASSERT_EQUAL(job_wait(&job, 1u << 3), 0);
        job_destroy(&job);
    }
}

/** One after the other closes its net and ends; those who stay sleep and see no death. */
static int orderly_main(struct job *job, struct net *net, int rank)
{
    struct survivor survivor;
    survivor_open(&survivor, job, net, rank);
    while (rank > 0 && survivor.byes == 0)
        if (net_poll(net, 32) == 0)
            net_sleep(net, UINT64_MAX, NULL, NULL);
    JOB_CHECK(survivor.dead == 0 && net_dead_peer(net) == -1);
    if (rank + 1 < job->size)
        JOB_CHECK(net_send(net, rank + 1, BYE, NULL, 0) == RAYMPI_OK);
    return 0;
}

static void test_orderly_leave(void)
{
    for (uint64_t round = 0; round < 20; round++) {
        struct job job;
        job_create(&job, 4, round);
        CU_ASSERT_EQUAL(job_run(&job, orderly_main), 0);
        job_destroy(&job);
    }
}

/** A rank that ends without closing its net is dead, whatever its exit code. */
static int exit_main(struct job *job, struct net *net, int rank)
{
    struct survivor survivor;
    survivor_open(&survivor, job, net, rank);
    if (rank == 1)
        _exit(0);
    while (survivor.dead == 0)
        if (net_poll(net, 32) == 0 && survivor.dead == 0)
            net_sleep(net, UINT64_MAX, NULL, NULL);
    JOB_CHECK(survivor.dead == 2);
    return 0;
}

/** A forked child of a rank that ends, or closes the net it inherited, is not the rank. */
static int child_main(struct job *job, struct net *net, int rank)
{
    struct survivor survivor;
    survivor_open(&survivor, job, net, rank);
    if (rank == 0) {
        pid_t child = fork();
        if (child == 0) {
            net_close(net);
            _exit(0);
        }
        int status;
        JOB_CHECK(waitpid(child, &status, 0) == child && status == 0);
        JOB_CHECK(net_send(net, 1, BYE, NULL, 0) == RAYMPI_OK);
    }
    while (rank == 1 && survivor.byes == 0)
        if (net_poll(net, 32) == 0)
            net_sleep(net, UINT64_MAX, NULL, NULL);
    JOB_CHECK(survivor.dead == 0 && net_dead_peer(net) == -1);
    return 0;
}

static void test_exit_and_children(void)
{
    struct job job;
    job_create(&job, 3, 1);
    CU_ASSERT_EQUAL(job_run(&job, exit_main), 0);
    job_destroy(&job);
    job_create(&job, 2, 2);
    CU_ASSERT_EQUAL(job_run(&job, child_main), 0);
    job_destroy(&job);
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"a rank killed in mid-traffic", test_kill_one},
        {"neighbours killed together", test_kill_several},
        {"killed without futex_waitv", test_kill_without_vector},
        {"killed while all sleep", test_kill_while_asleep},
        {"watching is taken over from those who left", test_watch_taken_over},
        {"leaving in good order is no death", test_orderly_leave},
        {"ending without closing is, a child's end is not", test_exit_and_children},
    };
    return UNIT_MAIN("net: death", tests);
}
