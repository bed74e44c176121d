/* Are the hosts that tests/hosts/run makes like hosts? Plain MPI, without raympi:
 *
 *   pingpong HOSTS RANKS [BYTES MS]
 *
 * checks that there are HOSTS with RANKS each, that memory is shared among the ranks of a host and nobody
 * else, and that messages pass. With BYTES and MS, that many bytes from rank 0 to another host and back take
 * MS or more. */
#include <errno.h>
#include <fcntl.h>
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_LEN MPI_MAX_PROCESSOR_NAME
#define SYSV_KEY     0x7a79

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: rank %d: failed: %s\n", __FILE__, __LINE__, rank, #condition);           \
            failures++;                                                                                      \
        }                                                                                                    \
    } while (0)

static int failures;
static int rank, size;
static MPI_Comm host; /* the ranks of this one */
static int host_rank;
static char (*names)[NAME_MAX_LEN]; /* of each rank's host */

static bool is_here(int other)
{
    return strcmp(names[other], names[rank]) == 0;
}

static void gather_names(void)
{
    char name[NAME_MAX_LEN] = "";
    int len;
    MPI_Get_processor_name(name, &len);
    names = calloc((size_t)size, sizeof *names);
    if (!names)
        MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Allgather(name, sizeof name, MPI_CHAR, names, sizeof *names, MPI_CHAR, MPI_COMM_WORLD);
}

/* The first ranks are on the first host. */
static void check_names(int hosts, int ranks)
{
    CHECK(size == hosts * ranks);
    int here = 0;
    for (int other = 0; other < size; other++) {
        CHECK(is_here(other) == (other / ranks == rank / ranks));
        here += is_here(other);
    }
    CHECK(here == ranks);
}

static void check_shared_group(int ranks)
{
    int host_size, number = rank;
    MPI_Comm_size(host, &host_size);
    CHECK(host_size == ranks);
    MPI_Bcast(&number, 1, MPI_INT, 0, host);
    CHECK(is_here(number));
}

static void object_name(char *name, size_t len, const char *of)
{
    snprintf(name, len, "/hosts-pingpong-%s", of);
}

static bool is_visible(const char *of)
{
    char name[NAME_MAX_LEN + 32];
    object_name(name, sizeof name, of);
    int file = shm_open(name, O_RDONLY, 0);
    if (file >= 0)
        close(file);
    return file >= 0;
}

/* An object that the first rank of each host makes is seen on that host alone. */
static void check_posix_memory(void)
{
    char name[NAME_MAX_LEN + 32];
    object_name(name, sizeof name, names[rank]);
    if (host_rank == 0) {
        int file = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
        CHECK(file >= 0);
        close(file);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    for (int other = 0; other < size; other++)
        CHECK(is_visible(names[other]) == is_here(other));
    MPI_Barrier(MPI_COMM_WORLD);
    if (host_rank == 0)
        CHECK(shm_unlink(name) == 0);
}

/* Each host has one of its own for the same key. */
static void check_sysv_memory(void)
{
    int id = -1;
    if (host_rank == 0) {
        id = shmget(SYSV_KEY, 4096, IPC_CREAT | IPC_EXCL | 0600);
        CHECK(id >= 0);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    CHECK(shmget(SYSV_KEY, 0, 0) >= 0);
    MPI_Barrier(MPI_COMM_WORLD);
    if (id >= 0)
        shmctl(id, IPC_RMID, NULL);
}

/* Ranks of a host share a window, which carries what they write. */
static void check_window(int ranks)
{
    int *own, *first, unit;
    MPI_Aint bytes;
    MPI_Win window;
    MPI_Win_allocate_shared(sizeof *own, sizeof *own, MPI_INFO_NULL, host, &own, &window);
    MPI_Win_fence(0, window);
    *own = rank;
    MPI_Win_fence(0, window);
    MPI_Win_shared_query(window, 0, &bytes, &unit, &first);
    for (int i = 0; i < ranks; i++)
        CHECK(first[i] == rank - host_rank + i);
    MPI_Win_fence(0, window);
    MPI_Win_free(&window);
}

static void fill(unsigned char *bytes, size_t len, int from)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(i * 31 + (size_t)from);
}

/* From each rank to the next one, and so from host to host. */
static void pass(size_t len)
{
    int next = (rank + 1) % size, previous = (rank + size - 1) % size;
    unsigned char *sent = malloc(len), *received = malloc(len), *expected = malloc(len);
    CHECK(sent && received && expected);
    if (sent && received && expected) {
        fill(sent, len, rank);
        fill(expected, len, previous);
        MPI_Sendrecv(sent, (int)len, MPI_BYTE, next, 0, received, (int)len, MPI_BYTE, previous, 0,
                     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        CHECK(memcmp(received, expected, len) == 0);
    }
    free(sent);
    free(received);
    free(expected);
}

/* The first one has also connections to make. The ms of the fastest of the others. */
static double round_trip(int other, size_t len)
{
    char *bytes = calloc(len, 1);
    double fastest = 1e9;
    if (!bytes)
        MPI_Abort(MPI_COMM_WORLD, 1);
    for (int i = 0; i < 4; i++) {
        double begin = MPI_Wtime();
        if (rank == 0) {
            MPI_Send(bytes, (int)len, MPI_BYTE, other, 0, MPI_COMM_WORLD);
            MPI_Recv(bytes, (int)len, MPI_BYTE, other, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        } else if (rank == other) {
            MPI_Recv(bytes, (int)len, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            MPI_Send(bytes, (int)len, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
        }
        double ms = (MPI_Wtime() - begin) * 1000;
        if (i > 0 && ms < fastest)
            fastest = ms;
    }
    free(bytes);
    return fastest;
}

int main(int argc, char **argv)
{
    int hosts = argc > 2 ? atoi(argv[1]) : 0, ranks = argc > 2 ? atoi(argv[2]) : 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, &host_rank);

    gather_names();
    check_names(hosts, ranks);
    check_shared_group(ranks);
    check_posix_memory();
    check_sysv_memory();
    check_window(ranks);
    pass(8);
    pass(10000);
    pass(200000);
    if (hosts > 1) {
        size_t len = argc > 4 ? (size_t)atol(argv[3]) : 8;
        double ms = round_trip(ranks, len);
        if (rank == 0) {
            printf("%zu bytes to %s and back: %.3f ms\n", len, names[ranks], ms);
            CHECK(argc <= 4 || ms >= atof(argv[4]));
        }
    }

    free(names);
    MPI_Comm_free(&host);
    MPI_Finalize();
    printf(failures ? "test failed\n" : "test ok\n");
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
