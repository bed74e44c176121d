/* The libfabric driver between two ranks that take each other to be on other hosts, over the loopback:
 * messages, sleep, what is not authentic, deaths, and start where a rank has no provider. */
#include "../unit.h"
#include "job.h"

#include "net/net_ofi.h"

#include <rdma/fi_rma.h>
#include <sched.h>

enum { PING = 1, BYE = 2 };
enum { SHARED_OPEN, SHARED_EVIL };
#define GATHERS      8
#define GATHER_BYTES 4096
#define MESSAGES     2000
#define FORGERIES    10
#define PATIENCE     3.0 /* seconds until a rank is lost */

/* What both ranks and the evil one see. */
static struct board {
    _Atomic int gathered[GATHERS];
    char gather[GATHERS][2][GATHER_BYTES];
    char address[OFI_ADDRESS]; /* of rank 0 */
    unsigned char secret[SEAL_BYTES];
} * board;

/* One rank, which is a process. */
static struct side {
    struct job *job;
    struct net_map map;
    struct net *net;
    int gathers;
    uint64_t received;
    int dead, byes, wrong;
} side;
static const int host_of[] = {0, 1}, own_number[] = {0, 1};
static const char *provider;

static struct ofi_wire *wire_of(struct net *net)
{
    return base_container(joint_of(net)->links.wire, struct ofi_wire, wire);
}

/* ---- a rank */

static void gather(void *arg, const void *mine, void *all, size_t bytes)
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

/* How the ranks of this job tell each other what they do at start. */
static void (*gather_by)(void *arg, const void *mine, void *all, size_t bytes) = gather;

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

static int open_with(struct job *job, int rank, const struct net_ofi_options *options)
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

static void open_side(struct job *job, int rank)
{
    const struct net_ofi_options options = {provider, "lo", PATIENCE, true};
    JOB_CHECK(open_with(job, rank, &options) == RAYMPI_OK);
}

static void send_ping(uint64_t number)
{
    static unsigned char data[110000];
    const struct net_piece piece = {data, content(number, data)};
    JOB_CHECK(net_send(side.net, 1 - side.map.rank, PING, &piece, 1) == RAYMPI_OK);
}

static void poll_or_sleep(void)
{
    if (net_poll(side.net, 32) == 0)
        net_sleep(side.net, UINT64_MAX, NULL, NULL);
}

static uint64_t malformed(const struct net *net)
{
    struct net_counters counters;
    net_counters(net, &counters);
    return counters.malformed;
}

/* Nobody closes before both have all. */
static void part(void)
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

typedef int side_main(struct job *job, int rank);

static pid_t start(struct job *job, side_main *run, int rank)
{
    fflush(NULL);
    pid_t pid = fork();
    JOB_CHECK(pid >= 0);
    if (pid > 0)
        return pid;
    alarm(JOB_DEADLINE);
    _exit(run(job, rank));
}

static void job_begin(struct job *job)
{
    job_create(job, 2, 1);
    memset(board, 0, sizeof *board);
}

static void run_both(side_main *run)
{
    struct job job;
    job_begin(&job);
    for (int rank = 0; rank < 2; rank++)
        job.ranks[rank] = start(&job, run, rank);
    CU_ASSERT_EQUAL(job_wait(&job, 0), 0);
    job_destroy(&job);
}

/* ---- messages */

static int both_ways(struct job *job, int rank)
{
    open_side(job, rank);
    for (uint64_t sent = 0; sent < MESSAGES || side.received < MESSAGES;) {
        if (sent < MESSAGES && net_pending(side.net, 1 - rank) < 200000)
            send_ping(sent++);
        else if (sent < MESSAGES) /* room in the queue wakes nobody */
            net_poll(side.net, 32);
        else
            poll_or_sleep();
    }
    part();
    return 0;
}

static void test_both_ways(void)
{
    run_both(both_ways);
}

/* Each is asleep, or about to be, when the other's message comes: a lost wake-up would cost a second. */
static int in_turn(struct job *job, int rank)
{
    open_side(job, rank);
    for (uint64_t round = 0; round < MESSAGES; round++) {
        if (rank == 0)
            send_ping(round);
        while (side.received <= round)
            poll_or_sleep();
        if (rank == 1)
            send_ping(round);
    }
    part();
    return 0;
}

static void test_sleep(void)
{
    run_both(in_turn);
}

/* ---- strangers */

static struct fi_info *(*evil_hints)(struct fi_info *hints);

static struct ofi_wire *evil_open(fi_addr_t *victim)
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

static void evil_send(struct ofi_wire *evil, fi_addr_t victim, const struct net_packet *packet, size_t length)
{
    struct fi_context2 context;
    struct fi_cq_msg_entry entry;
    ssize_t result;
    while ((result = fi_send(evil->ep, packet->bytes, length, NULL, victim, &context)) == -FI_EAGAIN)
        fi_cq_read(evil->cq, &entry, 0);
    JOB_CHECK(result == 0);
    while ((result = fi_cq_read(evil->cq, &entry, 1)) == -FI_EAGAIN)
        ;
    JOB_CHECK(result == 1 || length > NET_PACKET_BYTES);
    if (result != 1) {
        struct fi_cq_err_entry error = {0};
        JOB_CHECK(fi_cq_readerr(evil->cq, &error, 0) == 1);
    }
}

/* A packet without messages that says it is rank `source`'s, as good as the true ones if the secret is; its
 * length. */
static size_t forge(struct net_packet *packet, const unsigned char *secret, int source, uint64_t serial)
{
    unsigned char key[SEAL_BYTES];
    struct link_head *head = (struct link_head *)(void *)packet->bytes;
    size_t length = sizeof *head + 64;
    memset(packet->bytes, 0, length);
    *head = (struct link_head){.magic = LINK_MAGIC,
                               .kind = LINK_MESSAGES,
                               .source = source,
                               .length = (uint32_t)length,
                               .serial = serial};
    net_seal_key(key, secret, source, 0);
    net_seal_make((unsigned char *)packet->bytes + length, key, source, serial, packet->bytes, length);
    return length + SEAL_TAG_BYTES;
}

/* Knows rank 0's address and what packets look like. With the true secret it makes packets as if it had
 * recorded them. */
static int evil_main(struct job *job, int unused)
{
    (void)unused;
    fi_addr_t victim;
    unsigned char guess[SEAL_BYTES];
    struct net_packet *packet = aligned_alloc(BASE_CACHE_LINE, 2 * sizeof *packet);
    JOB_CHECK(net_seal_open());
    memset(packet, 0, 2 * sizeof *packet);
    net_seal_secret(guess);
    while (atomic_load(&job->shared[SHARED_OPEN]) != 3) /* both */
        sched_yield();
    struct ofi_wire *evil = evil_open(&victim);
    const uint64_t far = 1000000; /* a serial that was not there */
    evil_send(evil, victim, packet, forge(packet, guess, 1, 1));
    evil_send(evil, victim, packet, forge(packet, guess, 1, far));
    size_t length = forge(packet, board->secret, 1, far);
    packet->bytes[length - 1] ^= 1; /* the tag */
    evil_send(evil, victim, packet, length);
    length = forge(packet, board->secret, 1, far);
    packet->bytes[length - SEAL_TAG_BYTES - 1] ^= 1; /* the content */
    evil_send(evil, victim, packet, length);
    length = forge(packet, board->secret, 1, far);
    evil_send(evil, victim, packet, length - 8);
    evil_send(evil, victim, packet, 10);
    evil_send(evil, victim, packet, forge(packet, board->secret, 1, 1)); /* was there */
    evil_send(evil, victim, packet, forge(packet, board->secret, 0, 1)); /* the receiver itself */
    evil_send(evil, victim, packet, forge(packet, board->secret, 7, 1)); /* nobody */
    evil_send(evil, victim, packet, sizeof packet->bytes + 100);
    atomic_store(&job->shared[SHARED_EVIL], 1);
    return 0;
}

/* What libfabric may lose: a packet that others come after. Rank 0 does not wait for it for ever. */
static int gap_main(struct job *job, int unused)
{
    (void)unused;
    fi_addr_t victim;
    struct net_packet *packet = aligned_alloc(BASE_CACHE_LINE, 2 * sizeof *packet);
    JOB_CHECK(net_seal_open());
    memset(packet, 0, 2 * sizeof *packet);
    while (atomic_load(&job->shared[SHARED_OPEN]) != 3)
        sched_yield();
    struct ofi_wire *evil = evil_open(&victim);
    evil_send(evil, victim, packet, forge(packet, board->secret, 1, 1000));
    while (atomic_load(&job->shared[SHARED_OPEN]) != 7)
        sched_yield();
    return 0;
}

static void tell_evil(const struct side *own)
{
    size_t length = sizeof board->address;
    if (own->map.rank != 0)
        return;
    JOB_CHECK(fi_getname(&wire_of(own->net)->ep->fid, board->address, &length) == 0);
    memcpy(board->secret, wire_of(own->net)->secret, SEAL_BYTES);
}

static int bereft(struct job *job, int rank)
{
    open_side(job, rank);
    tell_evil(&side);
    send_ping(0);
    while (side.received < 1)
        poll_or_sleep();
    atomic_fetch_or(&job->shared[SHARED_OPEN], UINT64_C(1) << rank);
    while (rank == 0 && side.dead == 0)
        poll_or_sleep();
    atomic_fetch_or(&job->shared[SHARED_OPEN], rank == 0 ? UINT64_C(4) : 0);
    while (atomic_load(&job->shared[SHARED_OPEN]) != 7)
        sched_yield();
    JOB_CHECK(side.wrong == 0 && malformed(side.net) == 0);
    net_close(side.net);
    return 0;
}

/* The two go on talking meanwhile, and rank 0 until it has seen all that is forged. */
static int attacked(struct job *job, int rank)
{
    open_side(job, rank);
    tell_evil(&side);
    bool done = false;
    for (uint64_t sent = 0; !done; net_poll(side.net, 32)) {
        if (sent <= side.received)
            send_ping(sent++);
        if (sent >= 10)
            atomic_fetch_or(&job->shared[SHARED_OPEN], UINT64_C(1) << rank);
        done = rank == 0 ? atomic_load(&job->shared[SHARED_EVIL]) && malformed(side.net) == FORGERIES
                         : side.byes > 0;
    }
    part();
    return 0;
}

static void run_with(side_main *evil_run, side_main *run)
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

static void test_strangers(void)
{
    run_with(evil_main, attacked);
}

static void test_gap(void)
{
    run_with(gap_main, bereft);
}

/* ---- reads */

#define READ_BYTES 65536 /* of the segment, whose pages there are */
#define READ_DATA  40000 /* where they are read: behind what the nets have there */

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

static void open_reads(struct job *job, int rank)
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

static void read_and_look(uint64_t offset, uint64_t length)
{
    char bytes[4096];
    struct reading own = {
        .read = {
            .rank = 1 - side.map.rank, .offset = offset, .to = bytes, .length = length, .done = read_done}};
    net_read(side.net, &own.read);
    while (!own.done)
        poll_or_sleep();
    JOB_CHECK(own.status == RAYMPI_OK);
    for (uint64_t i = 0; i < length; i++)
        JOB_CHECK(bytes[i] == (char)((offset + i) % 251));
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

static void test_reads(void)
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

static void test_read_strangers(void)
{
    run_with(evil_reads, read_under_attack);
}

/* ---- ends */

/* Rank 1 is killed. Rank 0, whose net goes on to send packets of its own, is told once. */
static int bereaved(struct job *job, int rank)
{
    open_side(job, rank);
    for (uint64_t sent = 0; rank == 1 && sent < 10; sent++)
        send_ping(sent);
    while (rank == 1 || side.received < 10)
        poll_or_sleep();
    send_ping(0);
    atomic_store(&job->shared[SHARED_OPEN], 1);
    struct net_links *links = &joint_of(side.net)->links;
    while (side.dead == 0) {
        if (net_links_gone(links))
            net_links_tell(links, 1, LINK_ACK, NULL, 0);
        net_poll(side.net, 32);
        sched_yield();
    }
    JOB_CHECK(side.dead == 1 && side.wrong == 0 && net_dead_peer(side.net) == 1);
    JOB_CHECK(net_send(side.net, 1, BYE, NULL, 0) == RAYMPI_ERR_NODE_DIED && net_links_gone(links));
    net_close(side.net);
    return 0;
}

static void test_killed(void)
{
    struct job job;
    job_begin(&job);
    for (int rank = 0; rank < 2; rank++)
        job.ranks[rank] = start(&job, bereaved, rank);
    while (!atomic_load(&job.shared[SHARED_OPEN]))
        sched_yield();
    kill(job.ranks[1], SIGKILL);
    CU_ASSERT_EQUAL(job_wait(&job, 2), 0);
    job_destroy(&job);
}

/* Rank 1 leaves in good order. That is no death; nothing can be sent to it then. */
static int left(struct job *job, int rank)
{
    open_side(job, rank);
    send_ping(0);
    while (side.received < 1)
        poll_or_sleep();
    if (rank == 1) {
        net_close(side.net);
        return 0;
    }
    struct net_link *link = atomic_load(&joint_of(side.net)->links.links[1]);
    while (!link->left)
        net_poll(side.net, 32);
    JOB_CHECK(net_send(side.net, 1, BYE, NULL, 0) == RAYMPI_ERR_NODE_DIED);
    while (!net_links_gone(&joint_of(side.net)->links))
        net_poll(side.net, 32);
    JOB_CHECK(side.dead == 0 && net_dead_peer(side.net) == -1);
    net_close(side.net);
    return 0;
}

static void test_left(void)
{
    run_both(left);
}

/* ---- start */

/* All learn which rank can not, and why. */
static int refused(struct job *job, int rank)
{
    const struct net_ofi_options none = {rank == 1 ? "nonsense" : provider, "lo", PATIENCE, true},
                                 nowhere = {provider, rank == 1 ? "eth77" : "lo", PATIENCE, true};
    JOB_CHECK(open_with(job, rank, job->arg ? &nowhere : &none) == RAYMPI_ERR_UNSUPPORTED);
    JOB_CHECK(strstr(base_detail(), "rank 1 on host "));
    JOB_CHECK(strstr(base_detail(), job->arg ? "RAYMPI_OFI_INTERFACE=eth77" : "no provider nonsense"));
    net_close(side.net);
    return 0;
}

static void test_refused(void)
{
    for (int arg = 0; arg < 2; arg++) {
        struct job job;
        job_begin(&job);
        job.arg = arg;
        for (int rank = 0; rank < 2; rank++)
            job.ranks[rank] = start(&job, refused, rank);
        CU_ASSERT_EQUAL(job_wait(&job, 0), 0);
        job_destroy(&job);
    }
}

#define ROUNDS 5 /* in which ranks tell each other something at start */
#define NOISES 4

/* Rank 1 is not there. It is as if it told the same as rank 0, but for one round. */
static void gather_noise(void *arg, const void *mine, void *all, size_t bytes)
{
    struct side *own = arg;
    int noise = own->job->arg % NOISES;
    char *other = (char *)all + bytes;
    memcpy(all, mine, bytes);
    memcpy(other, mine, bytes);
    for (size_t i = 0; own->gathers == own->job->arg / NOISES && i < bytes; i++)
        other[i] = (char)(noise == 0 ? 0xff : noise == 1 ? 0x7f : rand());
    own->gathers++;
}

static int amid_noise(struct job *job, int rank)
{
    const struct net_ofi_options options = {provider, "lo", PATIENCE, true};
    srand((unsigned)job->arg);
    gather_by = gather_noise;
    int status = open_with(job, rank, &options), round = job->arg / NOISES;
    JOB_CHECK(side.gathers == ROUNDS || status != RAYMPI_OK);
    JOB_CHECK(status == RAYMPI_OK || strstr(base_detail(), "rank 1 on host "));
    /* An end that is well, or an endpoint, no noise can be taken for. */
    JOB_CHECK(status == RAYMPI_ERR_MISMATCH || round == 0 || round == 2);
    net_close(side.net);
    return 0;
}

static void test_noise(void)
{
    for (int arg = 0; arg < ROUNDS * NOISES; arg++) {
        struct job job;
        int status = -1;
        job_begin(&job);
        job.arg = arg;
        pid_t rank = start(&job, amid_noise, 0);
        CU_ASSERT_EQUAL(waitpid(rank, &status, 0), rank);
        CU_ASSERT_EQUAL(status, 0);
        job_destroy(&job);
    }
}

static void test_seal(void)
{
    unsigned char secret[SEAL_BYTES], key[SEAL_BYTES], back[SEAL_BYTES], tag[SEAL_TAG_BYTES];
    char bytes[100] = "a packet";
    CU_ASSERT(net_seal_open());
    net_seal_secret(secret);
    net_seal_key(key, secret, 3, 4);
    net_seal_key(back, secret, 4, 3);
    CU_ASSERT(memcmp(key, back, sizeof key) != 0);
    net_seal_make(tag, key, 3, 9, bytes, sizeof bytes);
    CU_ASSERT(net_seal_good(tag, key, 3, 9, bytes, sizeof bytes));
    CU_ASSERT(!net_seal_good(tag, key, 3, 10, bytes, sizeof bytes));
    CU_ASSERT(!net_seal_good(tag, key, 4, 9, bytes, sizeof bytes));
    CU_ASSERT(!net_seal_good(tag, back, 3, 9, bytes, sizeof bytes));
    CU_ASSERT(!net_seal_good(tag, key, 3, 9, bytes, sizeof bytes - 1));
    bytes[50] ^= 4;
    CU_ASSERT(!net_seal_good(tag, key, 3, 9, bytes, sizeof bytes));
}

static void with_net(void)
{
    provider = "net";
    test_both_ways();
    test_sleep();
    test_strangers();
    test_reads();
    test_read_strangers();
    test_killed();
    provider = "tcp;ofi_rxm";
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"a tag fits one packet of one pair", test_seal},
        {"messages go both ways, whole and in order", test_both_ways},
        {"sleepers are woken", test_sleep},
        {"what is forged, broken, cut or repeated is dropped and counted", test_strangers},
        {"a packet that is missing is not waited for for ever", test_gap},
        {"ranks read each other's memory", test_reads},
        {"who has no key reads nothing, and does no harm", test_read_strangers},
        {"a killed rank is told once", test_killed},
        {"leaving in good order is no death", test_left},
        {"all learn which rank has no provider or network", test_refused},
        {"what ranks tell each other at start is not trusted", test_noise},
        {"the same with another provider", with_net},
    };
    provider = "tcp;ofi_rxm";
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return EXIT_FAILURE;
    return UNIT_MAIN("net: libfabric", tests);
}
