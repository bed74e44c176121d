/* The libfabric driver where the provider pins what it registers, which no provider of this machine does:
 * forced by RAYMPI_TEST_PINNING. */
#include "ofi_pair.h"

#include "net/net_read.h"

#include <fcntl.h>

#define PAGE UINT64_C(4096)

static uint64_t page(uint64_t number)
{
    return (READ_DATA / PAGE + 1 + number) * PAGE;
}

static struct net_counters counters(void)
{
    struct net_counters now;
    net_counters(side.net, &now);
    return now;
}

static struct net_range opened(uint64_t number, uint64_t pages)
{
    struct net_range range;
    JOB_CHECK(net_range_open(side.net, page(number), pages * PAGE, &range) == RAYMPI_OK);
    JOB_CHECK(range.region && range.pass.length >= pages * PAGE);
    return range;
}

static void drop(uint64_t number, uint64_t pages)
{
    net_ranges_drop(side.net, page(number), side.job->segment.write + page(number), pages * PAGE);
}

static void run_pinning(side_main *run, const char *kept)
{
    setenv("RAYMPI_TEST_PINNING", kept, 1);
    run_both(run);
    unsetenv("RAYMPI_TEST_PINNING");
}

/* ---- reads */

static int reads_what_is_open(struct job *job, int rank)
{
    const struct net_pass none = {0};
    struct net_pass passes[2];
    open_side(job, rank);
    open_reads(job, rank);
    struct net_range range = opened(1, 3), gone = opened(5, 1);
    pair_gather(&side, &range.pass, passes, sizeof *passes);
    struct net_pass pass = passes[1 - rank];
    for (uint64_t i = 0; i < 300; i++)
        JOB_CHECK(read_with(pass, page(1) + i, i * 13 % PAGE) == RAYMPI_OK);
    JOB_CHECK(read_with(pass, page(1), 3 * PAGE) == RAYMPI_OK);
    JOB_CHECK(read_with(pass, page(4), 0) == RAYMPI_OK);
    JOB_CHECK(read_with(pass, page(4) - 1, 2) == RAYMPI_ERR_MPI && strstr(base_detail(), "not open"));
    JOB_CHECK(read_with(pass, page(1) - 1, 2) == RAYMPI_ERR_MPI && strstr(base_detail(), "not open"));
    JOB_CHECK(read_with(none, page(1), 1) == RAYMPI_ERR_MPI && strstr(base_detail(), "not open"));
    JOB_CHECK(counters().regions == 3 && counters().reads == 302); /* what bytes come to is one, too */
    net_range_close(side.net, &gone);
    drop(5, 1);
    JOB_CHECK(counters().dropped == 1);
    part();
    return 0;
}

void test_region_reads(void)
{
    run_pinning(reads_what_is_open, "8");
}

static void poll_until(struct job *job, uint64_t steps)
{
    while (atomic_load(&job->shared[SHARED_OPEN]) < steps)
        net_poll(side.net, 1);
}

/* Rank 1 shows a pass that was good: its read fails, and takes the connection with it. */
static int reads_what_is_gone(struct job *job, int rank)
{
    struct net_pass passes[2];
    open_side(job, rank);
    open_reads(job, rank);
    struct net_range range = opened(1, 1);
    pair_gather(&side, &range.pass, passes, sizeof *passes);
    if (rank == 1)
        JOB_CHECK(read_with(passes[0], page(1), PAGE) == RAYMPI_OK);
    send_ping(0);
    while (side.received == 0)
        poll_or_sleep();
    net_range_close(side.net, &range);
    drop(1, 1);
    atomic_fetch_add(&job->shared[SHARED_OPEN], 1);
    poll_until(job, 2);
    if (rank == 1)
        JOB_CHECK(read_with(passes[0], page(1), PAGE) != RAYMPI_OK);
    atomic_fetch_add(&job->shared[SHARED_OPEN], 1);
    poll_until(job, 4);
    net_close(side.net);
    return 0;
}

void test_region_gone(void)
{
    run_pinning(reads_what_is_gone, "8");
}

/* ---- what is kept */

static int keeps_some(struct job *job, int rank)
{
    open_side(job, rank);
    open_reads(job, rank);
    struct net_range first = opened(0, 2), again = opened(1, 1);
    JOB_CHECK(first.region == again.region && counters().regions == 1);
    net_range_close(side.net, &first);
    net_range_close(side.net, &first); /* it is none any more */
    struct net_range second = opened(2, 1), third = opened(3, 1), fourth = opened(4, 1);
    JOB_CHECK(counters().regions == 4 && counters().dropped == 0); /* all are open */
    net_range_close(side.net, &fourth);
    net_range_close(side.net, &second);
    JOB_CHECK(counters().dropped == 2);
    net_range_close(side.net, &third);
    third = opened(3, 1);
    net_range_close(side.net, &again);
    again = opened(0, 2);
    JOB_CHECK(counters().regions == 4 && counters().dropped == 2); /* both were kept */
    net_range_close(side.net, &again);
    net_range_close(side.net, &third);
    second = opened(2, 1); /* the one that was closed first goes */
    third = opened(3, 1);
    JOB_CHECK(counters().regions == 5 && counters().dropped == 3);
    net_range_close(side.net, &second);
    drop(2, 2); /* one of them is still open */
    JOB_CHECK(counters().dropped == 4);
    again = opened(3, 1);
    JOB_CHECK(again.region != third.region && counters().regions == 6);
    net_range_close(side.net, &third);
    JOB_CHECK(counters().dropped == 5);
    net_range_close(side.net, &again);
    part();
    return 0;
}

/* What bytes come to has another mapping than what others read. */
static int keeps_memory(struct job *job, int rank)
{
    open_side(job, rank);
    open_reads(job, rank);
    char *memory = job->segment.write + page(1);
    struct net_range read = opened(1, 1), into, again;
    JOB_CHECK(net_range_open_to(side.net, memory, PAGE, &into) == RAYMPI_OK);
    JOB_CHECK(into.region && into.region != read.region && into.pass.length == 0);
    JOB_CHECK(net_range_open_to(side.net, memory + 100, 50, &again) == RAYMPI_OK);
    JOB_CHECK(again.region == into.region && counters().regions == 2);
    net_range_close(side.net, &again);
    drop(1, 1);
    net_range_close(side.net, &into);
    JOB_CHECK(counters().dropped == 1);
    net_range_close(side.net, &read);
    JOB_CHECK(counters().dropped == 2);
    part();
    return 0;
}

void test_regions_kept(void)
{
    run_pinning(keeps_memory, "8");
    run_pinning(keeps_some, "2");
}

/* ---- a limit of locked memory */

static struct fi_ops_mr limited;
static int (*mr_reg)(struct fid *fid, const void *memory, size_t length, uint64_t access, uint64_t offset,
                     uint64_t key, uint64_t flags, struct fid_mr **mr, void *context);
static uint64_t lockable; /* registrations that succeed */

static int limited_reg(struct fid *fid, const void *memory, size_t length, uint64_t access, uint64_t offset,
                       uint64_t key, uint64_t flags, struct fid_mr **mr, void *context)
{
    if (counters().regions - counters().dropped >= lockable)
        return -FI_ENOMEM;
    return mr_reg(fid, memory, length, access, offset, key, flags, mr, context);
}

/* What it says goes to a file. */
static int is_refused(struct job *job, int rank)
{
    char said[4096] = "";
    struct net_range none;
    open_side(job, rank);
    open_reads(job, rank);
    struct fid_domain *domain = wire_of(side.net)->domain;
    limited = *domain->mr;
    mr_reg = limited.reg;
    limited.reg = limited_reg;
    domain->mr = &limited;
    lockable = 1;
    struct net_range range = opened(0, 1);
    net_range_close(side.net, &range);
    range = opened(1, 1); /* the other one had to go */
    JOB_CHECK(counters().regions == 2 && counters().dropped == 1 && counters().refused == 0);
    FILE *file = tmpfile();
    int kept = dup(STDERR_FILENO);
    JOB_CHECK(file && dup2(fileno(file), STDERR_FILENO) >= 0);
    for (int i = 0; i < 3; i++)
        JOB_CHECK(net_range_open(side.net, page(2), PAGE, &none) == RAYMPI_ERR_UNSUPPORTED && !none.region);
    dup2(kept, STDERR_FILENO);
    JOB_CHECK(counters().refused == 3);
    JOB_CHECK(pread(fileno(file), said, sizeof said - 1, 0) > 0);
    char *first = strstr(said, "values go by messages where they can not be read: libfabric's ");
    JOB_CHECK(first && strstr(first, "does not register 4096 bytes") && strstr(first, "ulimit -l"));
    JOB_CHECK(!strstr(first + 1, "values go by messages"));
    net_range_close(side.net, &range);
    range = opened(2, 1); /* there is room again */
    net_range_close(side.net, &range);
    part();
    return 0;
}

void test_regions_refused(void)
{
    run_pinning(is_refused, "2");
}
