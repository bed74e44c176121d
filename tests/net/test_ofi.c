/* The libfabric driver between two ranks that take each other to be on other hosts, over the loopback:
 * messages, sleep, what is not authentic, deaths, and start where a rank has no provider. */
#include "ofi_pair.h"

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

static void test_strangers(void)
{
    run_with(evil_main, attacked);
}

static void test_gap(void)
{
    run_with(gap_main, bereft);
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
    test_region_reads();
    test_region_gone();
    test_killed();
    provider = "tcp;ofi_rxm";
}

/* As packets go where libfabric has to know all memory that it touches. */
static void with_buffers(void)
{
    static const char *const names[] = {"net", "tcp;ofi_rxm"};
    setenv("RAYMPI_TEST_PINNING", "1", 1);
    for (int i = 0; i < 2; i++) {
        provider = names[i];
        test_both_ways();
        test_sleep();
        test_strangers();
        test_gap();
        test_killed();
        test_left();
    }
    unsetenv("RAYMPI_TEST_PINNING");
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
        {"where memory is pinned, what is open is read, and nothing else", test_region_reads},
        {"what is not registered any more can not be read", test_region_gone},
        {"what was registered is kept, some of it, while it is this rank's", test_regions_kept},
        {"where memory can not be locked, what is kept goes, then one warning says so", test_regions_refused},
        {"a killed rank is told once", test_killed},
        {"leaving in good order is no death", test_left},
        {"all learn which rank has no provider or network", test_refused},
        {"what ranks tell each other at start is not trusted", test_noise},
        {"the same with another provider", with_net},
        {"messages where all memory has to be registered", with_buffers},
    };
    provider = "tcp;ofi_rxm";
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return EXIT_FAILURE;
    return UNIT_MAIN("net: libfabric", tests);
}
