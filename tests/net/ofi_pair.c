#include "ofi_pair.h"

struct board *board;
struct side side;
const char *provider;
static const int host_of[] = {0, 1}, own_number[] = {0, 1};

struct ofi_wire *wire_of(struct net *net)
{
    return base_container(joint_of(net)->links.wire, struct ofi_wire, wire);
}

/* ---- a rank */

void pair_gather(void *arg, const void *mine, void *all, size_t bytes)
{
    const struct side *own = arg;
    int round = side.gathers++;
    JOB_CHECK(round < GATHERS && bytes <= GATHER_BYTES);
    memcpy(board->gather[round][own->map.rank], mine, bytes);
    atomic_fetch_add(&board->gathered[round], 1);
    while (atomic_load(&board->gathered[round]) < 2)
        sched_yield();
    memcpy(all, board->gather[round][0], bytes);
    memcpy((char *)all + bytes, board->gather[round][1], bytes);
}

void (*gather_by)(void *arg, const void *mine, void *all, size_t bytes) = pair_gather;

/* Numbered, with a length and content that the number tells. */
static size_t content(uint64_t number, unsigned char *data)
{
    size_t length = 8 + number * 37 % 900 + (number % 100 == 0 ? 100000 : 0);
    memcpy(data, &number, 8);
    for (size_t i = 8; i < length; i++)
        data[i] = (unsigned char)(number + i);
    return length;
}

static void on_ping(void *arg, const struct net_message *message)
{
    static unsigned char expected[110000];
    (void)arg;
    size_t length = content(side.received++, expected);
    side.wrong += message->source != 1 - side.map.rank || message->length != length ||
                  memcmp(message->data, expected, length) != 0;
}

static void on_bye(void *arg, const struct net_message *message)
{
    (void)arg;
    (void)message;
    side.byes++;
}

static void on_death(void *arg, int rank)
{
    (void)arg;
    JOB_CHECK(rank == 1 - side.map.rank);
    side.dead++;
}

int open_with(struct job *job, int rank, const struct net_ofi_options *options)
{
    struct net *inner;
    side = (struct side){.job = job,
                         .map = {.rank = rank,
                                 .size = 2,
                                 .host = rank,
                                 .hosts = 2,
                                 .host_of = host_of,
                                 .locals = 1,
                                 .ranks = &own_number[rank]}};
    const struct net_gather by_board = {gather_by, &side};
    JOB_CHECK(net_shm_open(&inner, &job->segment, 16 + (uint64_t)rank * net_shm_bytes(1), 0, 1) == RAYMPI_OK);
    JOB_CHECK(net_joint_open(&side.net, inner, &side.map, 0) == RAYMPI_OK);
    net_handle(side.net, PING, on_ping, NULL);
    net_handle(side.net, BYE, on_bye, NULL);
    net_on_death(side.net, on_death, NULL);
    return net_ofi_open(side.net, &by_board, options);
}

void open_side(struct job *job, int rank)
{
    const struct net_ofi_options options = {provider, "lo", PATIENCE, true};
    JOB_CHECK(open_with(job, rank, &options) == RAYMPI_OK);
}

void send_ping(uint64_t number)
{
    static unsigned char data[110000];
    const struct net_piece piece = {data, content(number, data)};
    JOB_CHECK(net_send(side.net, 1 - side.map.rank, PING, &piece, 1) == RAYMPI_OK);
}

void poll_or_sleep(void)
{
    if (net_poll(side.net, 32) == 0)
        net_sleep(side.net, UINT64_MAX, NULL, NULL);
}

uint64_t malformed(const struct net *net)
{
    struct net_counters counters;
    net_counters(net, &counters);
    return counters.malformed;
}

void part(void)
{
    JOB_CHECK(net_send(side.net, 1 - side.map.rank, BYE, NULL, 0) == RAYMPI_OK);
    while (side.byes == 0)
        poll_or_sleep();
    JOB_CHECK(side.dead == 0 && side.wrong == 0);
    JOB_CHECK(malformed(side.net) ==
              (atomic_load(&side.job->shared[SHARED_EVIL]) && side.map.rank == 0 ? FORGERIES : 0));
    net_close(side.net);
}

/* ---- a job of two ranks, each a process that has its own part of the segment */

pid_t start(struct job *job, side_main *run, int rank)
{
    fflush(NULL);
    pid_t pid = fork();
    JOB_CHECK(pid >= 0);
    if (pid > 0)
        return pid;
    alarm(JOB_DEADLINE);
    _exit(run(job, rank));
}

void job_begin(struct job *job)
{
    job_create(job, 2, 1);
    memset(board, 0, sizeof *board);
}

void run_both(side_main *run)
{
    struct job job;
    job_begin(&job);
    for (int rank = 0; rank < 2; rank++)
        job.ranks[rank] = start(&job, run, rank);
    CU_ASSERT_EQUAL(job_wait(&job, 0), 0);
    job_destroy(&job);
}

/* ---- the stranger */

struct fi_info *(*evil_hints)(struct fi_info *hints);

struct ofi_wire *evil_open(fi_addr_t *victim)
{
    struct fi_av_attr table = {.type = FI_AV_TABLE, .count = 1};
    struct fi_cq_attr queue = {.format = FI_CQ_FORMAT_MSG};
    struct ofi_wire *evil = calloc(1, sizeof *evil);
    struct fi_info *hints = fi_allocinfo();
    hints->ep_attr->type = FI_EP_RDM;
    hints->caps = FI_MSG;
    hints->mode = FI_CONTEXT;
    hints->addr_format = FI_SOCKADDR_IN;
    hints->fabric_attr->prov_name = strdup(provider);
    if (evil_hints)
        hints = evil_hints(hints);
    JOB_CHECK(fi_getinfo(OFI_VERSION, "127.0.0.1", NULL, FI_SOURCE, hints, &evil->info) == 0);
    JOB_CHECK(fi_fabric(evil->info->fabric_attr, &evil->fabric, NULL) == 0);
    JOB_CHECK(fi_domain(evil->fabric, evil->info, &evil->domain, NULL) == 0);
    JOB_CHECK(fi_av_open(evil->domain, &table, &evil->av, NULL) == 0);
    JOB_CHECK(fi_cq_open(evil->domain, &queue, &evil->cq, NULL) == 0);
    JOB_CHECK(fi_endpoint(evil->domain, evil->info, &evil->ep, NULL) == 0);
    JOB_CHECK(fi_ep_bind(evil->ep, &evil->av->fid, 0) == 0);
    JOB_CHECK(fi_ep_bind(evil->ep, &evil->cq->fid, FI_TRANSMIT | FI_RECV) == 0);
    JOB_CHECK(fi_enable(evil->ep) == 0);
    JOB_CHECK(fi_av_insert(evil->av, board->address, 1, victim, 0, NULL) == 1);
    fi_freeinfo(hints);
    return evil;
}

void tell_evil(const struct side *own)
{
    size_t length = sizeof board->address;
    if (own->map.rank != 0)
        return;
    JOB_CHECK(fi_getname(&wire_of(own->net)->ep->fid, board->address, &length) == 0);
    memcpy(board->secret, wire_of(own->net)->secret, SEAL_BYTES);
}

void run_with(side_main *evil_run, side_main *run)
{
    struct job job;
    int status = -1;
    job_begin(&job);
    pid_t evil = start(&job, evil_run, 0);
    for (int rank = 0; rank < 2; rank++)
        job.ranks[rank] = start(&job, run, rank);
    CU_ASSERT_EQUAL(job_wait(&job, 0), 0);
    CU_ASSERT_EQUAL(waitpid(evil, &status, 0), evil);
    CU_ASSERT_EQUAL(status, 0);
    job_destroy(&job);
}
