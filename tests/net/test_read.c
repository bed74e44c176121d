/* One-sided reads over a way that the test sees through: turns, pieces, ends, failures, deaths, hold and
 * rest. */
#include "../unit.h"
#include "hosts.h"

#define PIECE  1000
#define SOURCE (1 << 20) /* bytes of the other host's segment */
#define READS  30

struct fake {
    struct reads_way way;
    struct read_piece *flying[READS_PIECES];
    int count, most;
    int room;          /* pieces that may be on their way */
    int ends;          /* pieces that one poll ends at most, the last ones first */
    int polls, posted; /* so far */
    int post_status;   /* of the next one */
    int end_status;
    bool closed, orderly;
};

struct reading {
    struct net_read read;
    struct net *net;
    struct reading *then; /* begun when this one has ended */
    int ends, status, turn;
    char text[128];
    unsigned char bytes[40 * PIECE];
};

static unsigned char source[SOURCE];
static int turns; /* ends so far */

/* ---- the way */

static struct fake *fake_of(struct reads_way *way)
{
    return base_container(way, struct fake, way);
}

static int fake_post(struct reads_way *way, struct read_piece *piece)
{
    struct fake *fake = fake_of(way);
    if (fake->post_status != RAYMPI_OK)
        return base_fail(fake->post_status, "no post today");
    if (fake->count >= fake->room)
        return READ_NO_ROOM;
    fake->flying[fake->count++] = piece;
    fake->most = fake->count > fake->most ? fake->count : fake->most;
    fake->posted++;
    return RAYMPI_OK;
}

static bool fake_poll(struct reads_way *way)
{
    struct fake *fake = fake_of(way);
    int ended = 0;
    fake->polls++;
    for (; ended < fake->ends && fake->count > 0; ended++) {
        struct read_piece *piece = fake->flying[--fake->count];
        if (fake->end_status == RAYMPI_OK && piece->of)
            memcpy(piece->to, source + piece->offset, piece->length);
        read_piece_ended(way->reads, piece, fake->end_status, fake->end_status ? "it broke" : "");
    }
    return ended > 0;
}

static void fake_close(struct reads_way *way, bool orderly)
{
    fake_of(way)->closed = true;
    fake_of(way)->orderly = orderly;
}

static const struct reads_operations operations = {
    .way = NET_READ_RMA, .uses_mpi = true, .post = fake_post, .poll = fake_poll, .close = fake_close};

static void begin_with(struct hosts *hosts, struct fake *fake)
{
    const struct read_card cards[HOSTS] = {{.size = SOURCE}, {.size = SOURCE}};
    for (size_t i = 0; i < sizeof source; i++)
        source[i] = (unsigned char)(i * 7 + i / 256);
    turns = 0;
    hosts_open(hosts);
    *fake = (struct fake){
        .way = {.operations = &operations, .piece = PIECE}, .room = READS_PIECES, .ends = READS_PIECES};
    CU_ASSERT_EQUAL(net_reads(hosts->nets[0]), NET_READ_NONE);
    CU_ASSERT_EQUAL(reads_install(hosts->nets[0], &fake->way, cards), RAYMPI_OK);
    CU_ASSERT_EQUAL(net_reads(hosts->nets[0]), NET_READ_RMA);
    CU_ASSERT_EQUAL(net_reads(hosts->nets[1]), NET_READ_NONE);
}

/* ---- a reader */

static void done(struct net_read *read, int status)
{
    struct reading *own = base_container(read, struct reading, read);
    own->ends++;
    own->status = status;
    own->turn = turns++;
    snprintf(own->text, sizeof own->text, "%s", status == RAYMPI_OK ? "" : base_detail());
    if (own->then)
        net_read(own->net, &own->then->read);
}

static void prepare(struct reading *own, struct net *net, uint64_t offset, uint64_t length)
{
    memset(own, 0, sizeof *own);
    own->net = net;
    own->read =
        (struct net_read){.rank = 1, .offset = offset, .to = own->bytes, .length = length, .done = done};
}

static void start(struct reading *own, struct net *net, uint64_t offset, uint64_t length)
{
    prepare(own, net, offset, length);
    net_read(net, &own->read);
}

static bool came(const struct reading *own)
{
    return own->ends == 1 && own->status == RAYMPI_OK &&
           memcmp(own->bytes, source + own->read.offset, own->read.length) == 0;
}

static void polls(struct net *net, int count)
{
    for (int i = 0; i < count; i++)
        net_poll(net, 32);
}

/* ---- the tests */

static void test_whole(void)
{
    static struct reading reading[READS];
    struct hosts hosts;
    struct fake fake;
    struct net_counters counters;
    uint64_t sum = 0;
    begin_with(&hosts, &fake);
    fake.ends = 3; /* not in their order */
    for (int i = 0; i < READS; i++) {
        start(&reading[i], hosts.nets[0], (uint64_t)i * 12345, (uint64_t)i * 1237 % sizeof reading[i].bytes);
        sum += reading[i].read.length;
    }
    polls(hosts.nets[0], 1000);
    for (int i = 0; i < READS; i++)
        CU_ASSERT(came(&reading[i]));
    CU_ASSERT_EQUAL(fake.most, READS_PIECES);
    net_counters(hosts.nets[0], &counters);
    CU_ASSERT_EQUAL(counters.reads, READS);
    CU_ASSERT_EQUAL(counters.read_bytes, sum);
    hosts_close(&hosts);
}

/* A short read does not wait until long ones that came before have ended. */
static void test_turns(void)
{
    static struct reading reading[3];
    struct hosts hosts;
    struct fake fake;
    begin_with(&hosts, &fake);
    fake.ends = 1;
    fake.room = 2;
    for (int i = 0; i < 3; i++)
        start(&reading[i], hosts.nets[0], 0, i < 2 ? sizeof reading[i].bytes : 10);
    polls(hosts.nets[0], 1000);
    for (int i = 0; i < 3; i++)
        CU_ASSERT(came(&reading[i]));
    CU_ASSERT_EQUAL(reading[2].turn, 0);
    hosts_close(&hosts);
}

static void test_edges(void)
{
    static struct reading reading[6];
    struct hosts hosts;
    struct fake fake;
    begin_with(&hosts, &fake);
    start(&reading[0], hosts.nets[0], SOURCE, 0);
    start(&reading[1], hosts.nets[0], SOURCE - 5, 5);
    start(&reading[2], hosts.nets[0], SOURCE - 5, 6);
    start(&reading[3], hosts.nets[0], UINT64_MAX, 2);
    prepare(&reading[4], hosts.nets[0], 0, 1);
    reading[4].read.rank = 0; /* this host's */
    net_read(hosts.nets[0], &reading[4].read);
    prepare(&reading[5], hosts.nets[0], 0, 1);
    reading[5].read.rank = HOSTS;
    net_read(hosts.nets[0], &reading[5].read);
    polls(hosts.nets[0], 20);
    CU_ASSERT(came(&reading[0]));
    CU_ASSERT(came(&reading[1]));
    for (int i = 2; i < 6; i++) {
        CU_ASSERT_EQUAL(reading[i].ends, 1);
        CU_ASSERT_EQUAL(reading[i].status, RAYMPI_ERR_MPI);
        CU_ASSERT_PTR_NOT_NULL(strstr(reading[i].text, "no such bytes"));
    }
    CU_ASSERT_EQUAL(fake.posted, 1);
    hosts_close(&hosts);
}

static void test_no_room(void)
{
    static struct reading reading;
    struct hosts hosts;
    struct fake fake;
    begin_with(&hosts, &fake);
    fake.room = 0;
    start(&reading, hosts.nets[0], 3, 5 * PIECE);
    polls(hosts.nets[0], 20);
    CU_ASSERT_EQUAL(reading.ends, 0);
    CU_ASSERT(net_links_stuck(&joint_of(hosts.nets[0])->links));
    fake.room = 1;
    polls(hosts.nets[0], 20);
    CU_ASSERT(came(&reading));
    CU_ASSERT_EQUAL(fake.most, 1);
    CU_ASSERT_FALSE(net_links_stuck(&joint_of(hosts.nets[0])->links));
    hosts_close(&hosts);
}

/* A read that fails has none of its pieces on their way any more when that is told. */
static void test_failures(void)
{
    static struct reading reading[2];
    struct hosts hosts;
    struct fake fake;
    begin_with(&hosts, &fake);
    fake.ends = 0;
    start(&reading[0], hosts.nets[0], 0, 3 * PIECE);
    CU_ASSERT_EQUAL(fake.count, 3);
    fake.ends = 1;
    fake.end_status = RAYMPI_ERR_MPI;
    net_poll(hosts.nets[0], 32);
    fake.end_status = RAYMPI_OK;
    CU_ASSERT_EQUAL(reading[0].ends, 0);
    start(&reading[1], hosts.nets[0], 0, 2 * PIECE);
    polls(hosts.nets[0], 20);
    CU_ASSERT_EQUAL(reading[0].ends, 1);
    CU_ASSERT_EQUAL(reading[0].status, RAYMPI_ERR_MPI);
    CU_ASSERT_STRING_EQUAL(reading[0].text, "it broke");
    CU_ASSERT(came(&reading[1]));
    fake.post_status = RAYMPI_ERR_MPI;
    start(&reading[0], hosts.nets[0], 0, 3 * PIECE);
    fake.post_status = RAYMPI_OK;
    polls(hosts.nets[0], 20);
    CU_ASSERT_EQUAL(reading[0].ends, 1);
    CU_ASSERT_STRING_EQUAL(reading[0].text, "no post today");
    CU_ASSERT_EQUAL(fake.count, 0);
    hosts_close(&hosts);
}

static void lose(struct hosts *hosts)
{
    struct net_links *links = &joint_of(hosts->nets[0])->links;
    base_spin_lock(&links->wire_lock);
    net_link_lost(links, 1, "it was to be");
    base_spin_unlock(&links->wire_lock);
}

/* What is on its way towards a lost rank is given up; should it end after all, nobody is told again. */
static void test_lost(void)
{
    static struct reading reading[READS_ACTIVE + 2];
    struct hosts hosts;
    struct fake fake;
    begin_with(&hosts, &fake);
    fake.ends = 0;
    for (int i = 0; i < READS_ACTIVE + 2; i++)
        start(&reading[i], hosts.nets[0], 0, 2 * PIECE);
    CU_ASSERT_EQUAL(fake.count, READS_PIECES);
    lose(&hosts);
    polls(hosts.nets[0], 20);
    for (int i = 0; i < READS_ACTIVE + 2; i++) {
        CU_ASSERT_EQUAL(reading[i].ends, 1);
        CU_ASSERT_EQUAL(reading[i].status, RAYMPI_ERR_NODE_DIED);
        CU_ASSERT_PTR_NOT_NULL(strstr(reading[i].text, "rank 1 was lost"));
    }
    CU_ASSERT_EQUAL(fake.posted, READS_PIECES);
    net_hold(hosts.nets[0], true); /* waits for none of them */
    net_hold(hosts.nets[0], false);
    fake.ends = READS_PIECES;
    polls(hosts.nets[0], 20);
    CU_ASSERT_EQUAL(fake.count, 0);
    start(&reading[0], hosts.nets[0], 0, 1);
    polls(hosts.nets[0], 20);
    CU_ASSERT_EQUAL(reading[0].status, RAYMPI_ERR_NODE_DIED);
    for (int i = 1; i < READS_ACTIVE + 2; i++)
        CU_ASSERT_EQUAL(reading[i].ends, 1);
    hosts_close(&hosts);
}

static _Atomic bool stop;

/* The other host goes on meanwhile: a hold sends it a packet, which it is to take. */
static void *other_main(void *net)
{
    while (!atomic_load(&stop))
        net_poll(net, 32);
    return NULL;
}

static void hold(struct hosts *hosts)
{
    pthread_t other;
    atomic_store(&stop, false);
    JOB_CHECK(pthread_create(&other, NULL, other_main, hosts->nets[1]) == 0);
    net_hold(hosts->nets[0], true);
    atomic_store(&stop, true);
    pthread_join(other, NULL);
}

/* The end waits for reads; then MPI is left alone. */
static void test_hold(void)
{
    static struct reading reading;
    struct hosts hosts;
    struct fake fake;
    begin_with(&hosts, &fake);
    fake.ends = 1;
    start(&reading, hosts.nets[0], 0, 30 * PIECE);
    CU_ASSERT(fake.count > 0);
    hold(&hosts);
    CU_ASSERT_EQUAL(fake.count, 0);
    CU_ASSERT_EQUAL(fake.posted, 30);
    int before = fake.polls;
    net_read_serve(hosts.nets[0], 1);
    polls(hosts.nets[0], 20); /* tells the end */
    CU_ASSERT(came(&reading));
    start(&reading, hosts.nets[0], 0, PIECE);
    polls(hosts.nets[0], 20);
    CU_ASSERT_EQUAL(fake.polls, before);
    CU_ASSERT_EQUAL(fake.count, 0);
    net_hold(hosts.nets[0], false);
    polls(hosts.nets[0], 20);
    CU_ASSERT(came(&reading));
    hold(&hosts);
    hosts_close(&hosts);
    CU_ASSERT(fake.closed && fake.orderly);
}

static void test_rest(void)
{
    static struct reading reading;
    struct hosts hosts;
    struct fake fake;
    begin_with(&hosts, &fake);
    fake.ends = 0;
    start(&reading, hosts.nets[0], 0, PIECE);
    for (int rank = 0; rank < HOSTS; rank++)
        atomic_store(&net_board(hosts.nets[rank], rank)->finalizing, 1);
    for (int i = 0; i < 4; i++)
        for (int rank = HOSTS - 1; rank >= 0; rank--) {
            CU_ASSERT_EQUAL(net_idle_publish(hosts.nets[rank]), NET_REST_NO);
            net_sleep(hosts.nets[rank], 0, NULL, NULL);
        }
    fake.ends = 1;
    net_sleep(hosts.nets[0], UINT64_MAX, NULL, NULL); /* the end of the read ends it */
    polls(hosts.nets[0], 2);
    CU_ASSERT(came(&reading));
    enum net_rest rest = NET_REST_NO;
    for (int i = 0; i < 10 && rest == NET_REST_NO; i++)
        for (int rank = HOSTS - 1; rank >= 0; rank--) {
            rest = net_idle_publish(hosts.nets[rank]);
            net_sleep(hosts.nets[rank], 0, NULL, NULL);
        }
    CU_ASSERT_EQUAL(rest, NET_REST_DONE);
    hosts_close(&hosts);
}

/* Who is read looks at MPI all the time, also in its sleep; nobody else does. */
static void test_serve(void)
{
    struct hosts hosts;
    struct fake fake;
    begin_with(&hosts, &fake);
    net_sleep(hosts.nets[0], base_now() + 2000000, NULL, NULL);
    net_tick(hosts.nets[0]);
    CU_ASSERT_EQUAL(fake.polls, 0);
    net_read_serve(hosts.nets[0], 1);
    net_read_serve(hosts.nets[0], 1);
    net_read_serve(hosts.nets[0], -1);
    while (fake.polls <= 10) /* it may get no time in one */
        net_sleep(hosts.nets[0], base_now() + 2000000, NULL, NULL);
    int before = fake.polls;
    while (fake.polls <= before + 10)
        net_tick(hosts.nets[0]); /* where main() computes */
    before = fake.polls;
    net_read_serve(hosts.nets[0], -1);
    net_sleep(hosts.nets[0], base_now() + 2000000, NULL, NULL);
    net_tick(hosts.nets[0]);
    CU_ASSERT_EQUAL(fake.polls, before);
    net_read_serve(hosts.nets[1], 1); /* has no way */
    hosts_close(&hosts);
    CU_ASSERT(fake.closed && !fake.orderly);
}

static void test_chain(void)
{
    static struct reading reading[READS];
    struct hosts hosts;
    struct fake fake;
    begin_with(&hosts, &fake);
    for (int i = 0; i < READS; i++)
        prepare(&reading[i], hosts.nets[0], (uint64_t)i, 2 * PIECE);
    for (int i = 0; i + 1 < READS; i++)
        reading[i].then = &reading[i + 1];
    net_read(hosts.nets[0], &reading[0].read);
    while (reading[READS - 1].ends == 0) {
        net_sleep(hosts.nets[0], UINT64_MAX, NULL, NULL);
        net_poll(hosts.nets[0], 32);
    }
    for (int i = 0; i < READS; i++)
        CU_ASSERT(came(&reading[i]));
    hosts_close(&hosts);
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"reads come whole, whatever the order of their pieces' ends", test_whole},
        {"a short read does not wait for long ones", test_turns},
        {"nothing, the last bytes, and what is not there", test_edges},
        {"without room a read waits", test_no_room},
        {"an error fails its read, with its text, and no other", test_failures},
        {"a read of a lost rank ends, once", test_lost},
        {"a hold waits for reads, then MPI is left alone", test_hold},
        {"while a read is under way there is no rest", test_rest},
        {"who is read looks at MPI in its sleep and its ticks", test_serve},
        {"the end of a read may begin the next one", test_chain},
    };
    return UNIT_MAIN("net: reads", tests);
}
