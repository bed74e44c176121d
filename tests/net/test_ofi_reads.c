/* One-sided reads of the libfabric driver between two ranks, and a stranger who wants to read, too. */
#include "ofi_pair.h"

#include <rdma/fi_rma.h>

struct reading {
    struct net_read read;
    bool done;
    int status;
};

static void read_done(struct net_read *read, int status)
{
    struct reading *own = base_container(read, struct reading, read);
    own->done = true;
    own->status = status;
}

void open_reads(struct job *job, int rank)
{
    const struct net_gather by_board = {gather_by, &side};
    JOB_CHECK(16 + 2 * net_shm_bytes(1) <= READ_DATA && READ_BYTES <= job->segment.size);
    JOB_CHECK(base_segment_commit(&job->segment, 0, READ_BYTES) == RAYMPI_OK);
    JOB_CHECK(net_reads(side.net) == NET_READ_NONE);
    JOB_CHECK(net_ofi_reads_open(side.net, &job->segment, &by_board) == RAYMPI_OK);
    JOB_CHECK(net_reads(side.net) == NET_READ_OFI);
    if (rank == 0)
        for (int i = READ_DATA; i < READ_BYTES; i++)
            job->segment.write[i] = (char)(i % 251);
    net_hold(side.net, false);
}

int read_with(struct net_pass pass, uint64_t offset, uint64_t length)
{
    char bytes[READ_MOST];
    struct reading own = {.read = {.rank = 1 - side.map.rank,
                                   .offset = offset,
                                   .pass = pass,
                                   .to = bytes,
                                   .length = length,
                                   .done = read_done}};
    JOB_CHECK(length <= sizeof bytes);
    JOB_CHECK(net_range_open_to(side.net, bytes, sizeof bytes, &own.read.into) == RAYMPI_OK);
    net_read(side.net, &own.read);
    while (!own.done)
        poll_or_sleep();
    net_range_close(side.net, &own.read.into);
    for (uint64_t i = 0; i < length && own.status == RAYMPI_OK; i++)
        JOB_CHECK(bytes[i] == (char)((offset + i) % 251));
    return own.status;
}

static void read_and_look(uint64_t offset, uint64_t length)
{
    const struct net_pass none = {0};
    JOB_CHECK(read_with(none, offset, length) == RAYMPI_OK);
}

/* Rank 0 has filled the memory that both have. */
static int reads_both_ways(struct job *job, int rank)
{
    open_side(job, rank);
    open_reads(job, rank);
    atomic_fetch_or(&job->shared[SHARED_OPEN], UINT64_C(1) << rank);
    while (!(atomic_load(&job->shared[SHARED_OPEN]) & 1))
        sched_yield();
    for (uint64_t i = 0; i < 300; i++)
        read_and_look(READ_DATA + i, i * 13 % 4096);
    part();
    return 0;
}

void test_reads(void)
{
    run_both(reads_both_ways);
}

static struct fi_info *read_hints(struct fi_info *hints)
{
    hints->caps = FI_MSG | FI_RMA;
    return hints;
}

/* Knows the address of rank 0, but no key. */
static int evil_reads(struct job *job, int unused)
{
    (void)unused;
    fi_addr_t victim;
    static char bytes[READ_BYTES];
    struct fi_context2 context;
    struct fi_cq_msg_entry entry;
    evil_hints = read_hints;
    while (atomic_load(&job->shared[SHARED_OPEN]) != 3)
        sched_yield();
    struct ofi_wire *evil = evil_open(&victim);
    for (uint64_t key = 0; key < 20; key++) {
        ssize_t result;
        uint64_t end = base_now() + UINT64_C(500000000);
        while ((result = fi_read(evil->ep, bytes, sizeof bytes, NULL, victim, 0, key, &context)) ==
                   -FI_EAGAIN &&
               base_now() < end)
            fi_cq_read(evil->cq, &entry, 0);
        while (result == 0 && (result = fi_cq_read(evil->cq, &entry, 1)) == -FI_EAGAIN && base_now() < end)
            result = 0;
        JOB_CHECK(result != 1); /* it was not read */
        struct fi_cq_err_entry error = {0};
        if (result == -FI_EAVAIL)
            fi_cq_readerr(evil->cq, &error, 0);
    }
    for (size_t i = 0; i < sizeof bytes; i++)
        JOB_CHECK(bytes[i] == 0);
    atomic_store(&job->shared[SHARED_EVIL], 1);
    return 0;
}

/* The two go on reading meanwhile. */
static int read_under_attack(struct job *job, int rank)
{
    open_side(job, rank);
    open_reads(job, rank);
    tell_evil(&side);
    atomic_fetch_or(&job->shared[SHARED_OPEN], UINT64_C(1) << rank);
    while (atomic_load(&job->shared[SHARED_OPEN]) != 3)
        sched_yield();
    while (!atomic_load(&job->shared[SHARED_EVIL]))
        read_and_look(READ_DATA, 1000);
    JOB_CHECK(net_send(side.net, 1 - side.map.rank, BYE, NULL, 0) == RAYMPI_OK);
    while (side.byes == 0)
        poll_or_sleep();
    JOB_CHECK(side.dead == 0 && malformed(side.net) == 0);
    net_close(side.net);
    return 0;
}

void test_read_strangers(void)
{
    run_with(evil_reads, read_under_attack);
}
