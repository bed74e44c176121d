/* One-sided reads between hosts, by the net alone, opened as raympi_init does it:
 *
 *   reads check            all ranks read from all other hosts, short and long, many at once, at odd places
 *   reads long BYTES       rank 0 reads so many bytes of the last rank's host at once
 *   reads time STATE       how long rank 0's reads from the last rank take, whose thread is in STATE: asleep,
 * awake, or compute, where only another thread ticks reads death COMMAND    rank 0 reads from the last rank,
 * which runs COMMAND by a shell or, where it is KILL, kills itself; says whether and when the read ended by
 * libfabric or MPI
 *
 * RAYMPI_FETCH and RAYMPI_NET say by what; RAYMPI_STORE_BYTES how much there is. */
#include "api/api_bootstrap.h"
#include "net/net_joint.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PING = 1, BYE = 2 };
#define READS 40
#define TRIES 9

static struct bootstrap b;
static struct net *net;
static int byes, dead_rank = -1;
static char *area;              /* of this host's segment: where its data is, writable */
static struct net_range range;  /* the same, open for others */
static struct net_pass *passes; /* by rank: to read it; the last one is nobody's */

struct
try {
    struct net_read read;
    bool done;
    int status;
    uint64_t ended;
};

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            printf("test failed: rank %d: %s:%d: %s (%s)\n", b.rank, __FILE__, __LINE__, #condition,         \
                   base_detail());                                                                           \
            fflush(stdout);                                                                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* ---- a rank */

static void on_bye(void *arg, const struct net_message *message)
{
    (void)arg;
    (void)message;
    byes++;
}

static void on_death(void *arg, int rank)
{
    (void)arg;
    dead_rank = rank;
}

static void on_read(struct net_read *read, int status)
{
    struct try *own = base_container(read, struct try, read);
    own->status = status;
    own->ended = base_now();
    own->done = true;
}

static void poll_or_sleep(void)
{
    if (net_poll(net, 32) == 0)
        net_sleep(net, UINT64_MAX, NULL, NULL);
}

static int open_wire(void)
{
    const struct net_gather gather = {bootstrap_gather, &b};
    const struct net_ofi_options options = {b.config.ofi_provider, b.config.ofi_interface,
                                            b.config.connect_timeout, true};
    b.wire_is_mpi = b.config.net == BASE_NET_MPI;
    return b.wire_is_mpi ? net_mpi_open(net, &b.comm) : net_ofi_open(net, &gather, &options);
}

static void open_all(int *argc, char ***argv)
{
    struct net *inner;
    CHECK(bootstrap_open(&b, argc, argv, NULL) == RAYMPI_OK);
    CHECK(b.map.hosts > 1);
    CHECK(net_shm_open(&inner, &b.segment, b.net_offset, b.local, b.map.locals) == RAYMPI_OK);
    CHECK(net_joint_open(&net, inner, &b.map, (uint64_t)(b.config.host_timeout * 1e9)) == RAYMPI_OK);
    CHECK(open_wire() == RAYMPI_OK);
    int status = bootstrap_reads(&b, net);
    if (status != RAYMPI_OK) {
        printf("rank %d: no way: %s\n", b.rank, base_detail());
        exit(EXIT_FAILURE);
    }
    net_handle(net, BYE, on_bye, NULL);
    net_on_death(net, on_death, NULL);
    bootstrap_barrier(&b);
    net_hold(net, false);
}

/* Nobody leaves before all have read. */
static void close_all(void)
{
    for (int rank = 0; rank < b.size; rank++)
        CHECK(rank == b.rank || net_send(net, rank, BYE, NULL, 0) == RAYMPI_OK);
    while (byes < b.size - 1)
        poll_or_sleep();
    net_read_serve(net, -1);
    net_range_close(net, &range);
    free(passes);
    net_hold(net, true);
    bootstrap_barrier(&b);
    net_close(net);
    int rank = b.rank;
    bootstrap_close(&b);
    if (rank == 0)
        printf("test ok\n");
}

/* ---- what the segments hold */

static uint64_t word_at(int host, uint64_t word)
{
    return base_mix(word * 2654435761U + (uint64_t)host);
}

/* By the first rank of a host. */
static void fill(uint64_t bytes)
{
    if (b.local == 0) {
        CHECK(base_segment_commit(&b.segment, b.data_offset, bytes) == RAYMPI_OK);
        area = base_segment_map_write(&b.segment, b.data_offset, bytes);
        CHECK(area != NULL);
        for (uint64_t i = 0; i < bytes / 8; i++)
            ((uint64_t *)(void *)area)[i] = word_at(b.map.host, i);
    }
}

/* Of the segment's data the first `bytes` are filled, and can be read, on all ranks. */
static void fill_all(uint64_t bytes)
{
    bytes = base_align_up(bytes, 4096);
    net_read_serve(net, 1);
    fill(bytes);
    net_hold(net, true); /* MPI's barrier */
    bootstrap_barrier(&b);
    CHECK(net_range_open(net, b.data_offset, bytes, &range) == RAYMPI_OK);
    passes = calloc((size_t)b.size + 1, sizeof *passes);
    bootstrap_gather(&b, &range.pass, passes, sizeof *passes);
    net_hold(net, false);
}

static bool is_right(const unsigned char *bytes, int host, uint64_t offset, uint64_t length)
{
    for (uint64_t i = 0; i < length;) {
        uint64_t word = word_at(host, (offset + i) / 8), within = (offset + i) % 8;
        uint64_t part = length - i < 8 - within ? length - i : 8 - within;
        if (memcmp(bytes + i, (const char *)&word + within, part) != 0)
            return false;
        i += part;
    }
    return true;
}

static void begin(struct try *try, int rank, uint64_t offset, void *to, uint64_t length)
{
    *try = (struct try){.read = {.rank = rank,
                                 .offset = b.data_offset + offset,
                                 .pass = passes[rank],
                                 .to = to,
                                 .length = length,
                                 .done = on_read}};
    CHECK(net_range_open_to(net, to, length ? length : 1, &try->read.into) == RAYMPI_OK);
    net_read(net, &try->read);
}

static void await(struct try *try)
{
    while (!try->done)
        poll_or_sleep();
    net_range_close(net, &try->read.into);
}

/* ---- check */

static const uint64_t lengths[] = {1, 4095, 0, 65536, 1048576, 7, 3000001, 300000, 8, 20000003};
#define LENGTHS (sizeof lengths / sizeof lengths[0])

static void check(void)
{
    const uint64_t bytes = UINT64_C(24) << 20;
    static struct try tries[READS];
    unsigned char *to[READS];
    fill_all(bytes);
    int rank = b.rank, reads = 0;
    for (int i = 0; i < READS; i++) {
        do
            rank = (rank + 1) % b.size;
        while (net_local(net, rank) >= 0);
        uint64_t length = lengths[(size_t)i % LENGTHS], offset = (uint64_t)i * 4097 + (uint64_t)b.rank;
        to[i] = malloc(length + 2);
        to[i][length] = 0xa5;
        begin(&tries[i], rank, offset, to[i], length);
        reads++;
    }
    uint64_t sum = 0;
    for (int i = 0; i < READS; i++) {
        const struct net_read *read = &tries[i].read;
        await(&tries[i]);
        CHECK(tries[i].status == RAYMPI_OK);
        CHECK(is_right(to[i], b.host_of[read->rank], read->offset - b.data_offset, read->length));
        CHECK(to[i][read->length] == 0xa5);
        sum += read->length;
        free(to[i]);
    }
    struct net_counters counters;
    net_counters(net, &counters);
    CHECK(counters.reads == (uint64_t)reads && counters.read_bytes == sum);
    /* What is not there, or on this host. */
    char byte;
    begin(&tries[0], rank, b.segment.size - b.data_offset, &byte, 1);
    begin(&tries[1], b.rank, 0, &byte, 1);
    begin(&tries[2], b.size, 0, &byte, 1);
    for (int i = 0; i < 3; i++) {
        await(&tries[i]);
        CHECK(tries[i].status == RAYMPI_ERR_MPI && strstr(base_detail(), "no such bytes"));
    }
}

/* ---- long */

static void read_long(uint64_t bytes)
{
    struct try try;
    fill_all(b.map.host == b.map.hosts - 1 ? bytes + 4096 : 4096);
    if (b.rank != 0)
        return;
    unsigned char *to = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(to != MAP_FAILED);
    uint64_t start = base_now();
    begin(&try, b.size - 1, 1, to, bytes);
    await(&try);
    CHECK(try.status == RAYMPI_OK);
    double seconds = (double)(try.ended - start) / 1e9;
    CHECK(is_right(to, b.host_of[b.size - 1], 1, bytes));
    printf("%.2f GiB in %.2f s: %.2f GB/s, fresh memory\n", (double)bytes / 1073741824.0, seconds,
           (double)bytes / 1e9 / seconds);
    munmap(to, bytes);
}

/* ---- time */

static _Atomic int computes;

/* As the progress thread does while a worker is awake. */
static void *ticker(void *arg)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    (void)arg;
    while (atomic_load(&computes)) {
        nanosleep(&pause, NULL);
        net_tick(net);
    }
    return NULL;
}

static void be_read(const char *state)
{
    pthread_t thread;
    if (strcmp(state, "compute") == 0) {
        uint64_t end = base_now() + UINT64_C(6000000000);
        atomic_store(&computes, 1);
        CHECK(pthread_create(&thread, NULL, ticker, NULL) == 0);
        while (base_now() < end)
            continue;
        atomic_store(&computes, 0);
        pthread_join(thread, NULL);
    }
    while (byes == 0) {
        if (strcmp(state, "awake") != 0)
            poll_or_sleep();
        else if (net_poll(net, 32) == 0)
            sched_yield();
    }
}

static int compare(const void *x, const void *y)
{
    const double *a = x, *c = y;
    return (*a > *c) - (*a < *c);
}

static void time_reads(const char *state)
{
    static const uint64_t sizes[] = {8, 4096, 65536, 1048576, 67108864};
    const struct timespec pause = {.tv_nsec = 20000000};
    const uint64_t most = sizes[4];
    unsigned char *to = malloc(most);
    memset(to, 1, most);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        double took[TRIES];
        for (int i = -1; i < TRIES; i++) {
            struct try try;
            nanosleep(&pause, NULL); /* the other rank is in its state again */
            uint64_t start = base_now();
            begin(&try, b.size - 1, 0, to, sizes[s]);
            await(&try);
            CHECK(try.status == RAYMPI_OK);
            if (i >= 0)
                took[i] = (double)(try.ended - start) / 1e3;
        }
        qsort(took, TRIES, sizeof *took, compare);
        printf("%s, %s: %9llu bytes: %9.1f us (%.1f to %.1f), %.2f GB/s\n", net_way_name(net_reads(net)),
               state, (unsigned long long)sizes[s], took[TRIES / 2], took[0], took[TRIES - 1],
               (double)sizes[s] / 1e3 / took[TRIES / 2]);
    }
    free(to);
}

/* What MPI carries in the same time, for comparison. */
static void time_mpi(void)
{
    static const int sizes[] = {1048576, 67108864};
    char *data = malloc((size_t)sizes[1]);
    memset(data, 1, (size_t)sizes[1]);
    for (int s = 0; s < 2; s++) {
        double took[TRIES];
        for (int i = -1; i < TRIES; i++) {
            char none = 0;
            uint64_t start = base_now();
            if (b.rank == 0) { /* asks and gets */
                MPI_Send(&none, 1, MPI_BYTE, b.size - 1, 1, b.comm);
                MPI_Recv(data, sizes[s], MPI_BYTE, b.size - 1, 2, b.comm, MPI_STATUS_IGNORE);
            } else if (b.rank == b.size - 1) {
                MPI_Recv(&none, 1, MPI_BYTE, 0, 1, b.comm, MPI_STATUS_IGNORE);
                MPI_Send(data, sizes[s], MPI_BYTE, 0, 2, b.comm);
            }
            if (i >= 0)
                took[i] = (double)(base_now() - start) / 1e3;
        }
        qsort(took, TRIES, sizeof *took, compare);
        if (b.rank == 0)
            printf("MPI_Send: %9d bytes: %9.1f us (%.1f to %.1f), %.2f GB/s\n", sizes[s], took[TRIES / 2],
                   took[0], took[TRIES - 1], sizes[s] / 1e3 / took[TRIES / 2]);
    }
    free(data);
}

static void time_all(const char *state)
{
    fill_all(UINT64_C(64) << 20);
    net_hold(net, true);
    time_mpi();
    bootstrap_barrier(&b);
    net_hold(net, false);
    if (b.rank == 0)
        time_reads(state);
    else if (b.rank == b.size - 1)
        be_read(state);
}

/* ---- death */

#define DEATH_WAY  UINT64_C(15000000000) /* ns that the way has to end a read itself, */
#define DEATH_BOTH UINT64_C(10000000000) /* and then with what the net knows */
#define DEATH_READ (UINT64_C(64) << 20)

static bool (*knows_of)(void *arg, int rank);

/* The way's own word: what the net knows of deaths is kept from it for a while. */
static bool nobody_is_lost(void *arg, int rank)
{
    (void)arg;
    (void)rank;
    return false;
}

static void say_end(const char *command, const struct try *try, uint64_t last)
{
    char name[96], how[384];
    net_reads_name(net, net_reads(net), name, sizeof name);
    if (!try->done)
        snprintf(how, sizeof how, "never ended");
    else if (try->ended - last < DEATH_WAY)
        snprintf(how, sizeof how, "ended by itself in %.1f ms: %s", (double)(try->ended - last) / 1e6,
                 base_detail());
    else
        snprintf(how, sizeof how, "not ended by itself in %.0f s, then by the net: %s",
                 (double)DEATH_WAY / 1e9, base_detail());
    printf("%s, %s: %s\n", strcmp(command, "KILL") == 0 ? "killed" : "cut off", name, how);
    fflush(stdout);
}

/* Reads again and again, until one does not end well. */
static void watch_death(const char *command)
{
    struct try try = {.done = true};
    unsigned char *to = malloc(DEATH_READ);
    uint64_t last = base_now(), end = last + DEATH_WAY + DEATH_BOTH;
    struct net_reads *reads = reads_of(net);
    knows_of = reads->lost;
    reads->lost = nobody_is_lost;
    CHECK(net_send(net, b.size - 1, PING, NULL, 0) == RAYMPI_OK);
    while (try.done && try.status == RAYMPI_OK) {
        last = try.ended ? try.ended : last;
        end = last + DEATH_WAY + DEATH_BOTH;
        begin(&try, b.size - 1, 0, to, DEATH_READ);
        while (!try.done && base_now() < end) {
            if (base_now() - last > DEATH_WAY)
                reads->lost = knows_of;
            if (net_poll(net, 32) == 0)
                sched_yield();
        }
    }
    say_end(command, &try, last);
    _exit(0);
}

static int pinged;
static void on_ping(void *arg, const struct net_message *message)
{
    (void)arg;
    (void)message;
    pinged++;
}

/* Half a second after it was told so. */
static void die(const char *command)
{
    uint64_t moment = 0;
    while (!moment || base_now() < moment) {
        if (net_poll(net, 32) == 0)
            sched_yield();
        if (pinged && !moment)
            moment = base_now() + UINT64_C(500000000);
    }
    if (strcmp(command, "KILL") == 0)
        kill(getpid(), SIGKILL);
    CHECK(system(command) == 0);
    uint64_t end = base_now() + DEATH_WAY + DEATH_BOTH + UINT64_C(3000000000);
    while (base_now() < end)
        if (net_poll(net, 32) == 0)
            sched_yield();
    _exit(0);
}

static void death(const char *command)
{
    net_handle(net, PING, on_ping, NULL);
    fill_all(UINT64_C(64) << 20);
    if (b.rank == 0)
        watch_death(command);
    else if (b.rank == b.size - 1)
        die(command);
    else
        for (;;)
            pause();
}

int main(int argc, char **argv)
{
    open_all(&argc, &argv);
    const char *what = argc > 1 ? argv[1] : "check", *how = argc > 2 ? argv[2] : "asleep";
    if (strcmp(what, "check") == 0)
        check();
    else if (strcmp(what, "long") == 0)
        read_long(strtoull(how, NULL, 10));
    else if (strcmp(what, "time") == 0)
        time_all(how);
    else
        death(how);
    close_all();
    return 0;
}
