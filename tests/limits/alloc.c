/* Every allocation of raympi's fails once, one after the other.
 *
 *   alloc init FROM       the n-th call of raympi_init() on the last rank fails, n = FROM, FROM + 1, ...
 * until the job starts: because none failed, or because a thread of raympi's has tried again alloc finalize N
 * the N-th call of raympi_finalize() on the last rank fails alloc local           for each operation: the
 * n-th call, on a thread that has called before, and on one that has not alloc remote          operations of
 * rank 0 on rank 1; calls of rank 0 fail, then those of rank 1 alloc starve          rank 1 has no memory any
 * more while rank 0 asks it for work
 *
 * Whatever fails: a status or a ref that holds the error; the same operation works afterwards; nothing is
 * leaked. */
#include "alloc.h"
#include "fault.h"

#include <mpi.h>

#define EACH 100     /* the first calls fail one by one; of an operation that makes more, one in a few */
#define MOST 1000000 /* more is a loop */

static struct fault *fault;

struct
try {
    const struct operation *operation;
    int rank;
    long n;
    bool succeeded, fired;
};

static void *try_it(void *arg)
{
    struct try *try = arg;
    fault_arm(try->rank, try->n);
    try->succeeded = try->operation->run();
    try->fired = fault_disarm();
    return NULL;
}

/* Tries the operation on a thread that raympi does not know yet, or here. */
static void run(struct try *try, bool fresh)
{
    pthread_t thread;
    if (!fresh) {
        try_it(try);
        return;
    }
    CHECK(pthread_create(&thread, NULL, try_it, try) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static long enumerate(const struct operation *operation, int rank, bool fresh)
{
    long n = 1, fired = 0, failed = 0;
    for (; n < MOST; n += n < EACH ? 1 : n / 4) {
        int before = test_failures;
        struct try try = {.operation = operation, .rank = rank, .n = n};
        run(&try, fresh);
        if (!try.fired && !try.succeeded) {
            fprintf(stderr, "%s failed without a fault\n", operation->name);
            test_failures++;
        }
        if (!operation->run()) {
            fprintf(stderr, "%s does not work any more\n", operation->name);
            test_failures++;
        }
        if (test_failures > before)
            fprintf(stderr, "this was: %s, %s thread, call %ld of rank %d: %s\n", operation->name,
                    fresh ? "a new" : "the main", n, rank, try.fired ? fault->site : "none");
        fired += try.fired;
        failed += !try.succeeded;
        if (!try.fired)
            break;
    }
    CHECK(n < MOST);
    printf("%s%s, rank %d: %ld calls failed, %ld of them showed\n", operation->name,
           fresh ? " on a new thread" : "", rank, fired, failed);
    return fired;
}

static void local_body(void)
{
    long calls = 0;
    for (const struct operation *o = local_operations; o->run; o++)
        calls += enumerate(o, 0, false) + enumerate(o, 0, true);
    printf("local: %ld calls failed\n", calls);
}

static void remote_body(void)
{
    long calls = 0;
    if (raympi_rank() != 0)
        return;
    operation_node = 1;
    for (const struct operation *o = remote_operations; o->run; o++)
        calls += enumerate(o, 0, false) + enumerate(o, 1, false);
    printf("remote: %ld calls failed\n", calls);
}

static void starve_body(void)
{
    if (raympi_rank() != 0)
        return;
    operation_node = 1;
    for (const struct operation *o = remote_operations; o->run; o++)
        CHECK(o->run());
    fault_starve(1);
    for (const struct operation *o = remote_operations; o->run; o++)
        o->run();
}

/* What finalize leaves behind; an error of a fault that nobody could look at is all right. */
static int end(int finalized)
{
    if (finalized == RAYMPI_ERR_UNSEEN)
        finalized = RAYMPI_OK;
    long live = fault_live(false);
    if (live) {
        fault_live(true);
        fprintf(stderr, "%ld allocations were not freed\n", live);
        test_failures++;
    }
    return test_end(finalized);
}

static int init_phase(int rank, int size, long from)
{
    long n = from;
    for (; n < MOST; n++) {
        MPI_Barrier(MPI_COMM_WORLD);
        if (rank == size - 1)
            fault_arm(rank, n);
        int status = raympi_init(NULL, NULL, NULL);
        int fired = fault_disarm();
        MPI_Bcast(&fired, 1, MPI_INT, size - 1, MPI_COMM_WORLD);
        if (status == RAYMPI_OK) {
            raympi_view view;
            raympi_ref ref = raympi_put("after", 6);
            CHECK_OK(raympi_get(ref, &view));
            if (rank == 0)
                printf("init: call %ld %s\n", n, fired ? "was tried again" : "did not come");
            CHECK_OK(raympi_view_end(&view));
            CHECK_OK(raympi_release(ref));
            break;
        }
        CHECK(status == RAYMPI_ERR_MEMORY || status == RAYMPI_ERR_STORE_FULL ||
              status == RAYMPI_ERR_UNSUPPORTED);
        CHECK(fired && raympi_detail()[0] && !raympi_initialized());
        CHECK(fault_live(false) == 0);
        if (test_failures) {
            fprintf(stderr, "this was call %ld of rank %d: %s\n", n, size - 1, fault->site);
            fault_live(true);
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
    }
    if (rank == 0)
        printf("init: %ld calls failed\n", n - from);
    return end(raympi_finalize());
}

static int finalize_phase(int rank, int size, long n)
{
    if (raympi_init(NULL, NULL, NULL) != RAYMPI_OK)
        return EXIT_FAILURE;
    local_operations[0].run();
    raympi_put("left behind", 12);
    if (rank == size - 1)
        fault_arm(rank, n);
    int finalized = raympi_finalize();
    bool fired = fault_disarm();
    if (rank == size - 1)
        printf("finalize: call %ld %s%s, status %s\n", n, fired ? "failed: " : "did not come",
               fired ? fault->site : "", raympi_strerror(finalized));
    return end(finalized);
}

static int driven(void (*body)(void))
{
    int rank;
    if (raympi_init(NULL, NULL, NULL) != RAYMPI_OK)
        return EXIT_FAILURE;
    rank = raympi_rank();
    body();
    int finalized = raympi_finalize();
    if (rank == 0)
        printf("finalize: %s\n", raympi_strerror(finalized));
    return end(finalized);
}

int main(int argc, char **argv)
{
    int level, rank, size, result;
    const char *phase = argc > 1 ? argv[1] : "";
    MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    fault = fault_open();
    fault_rank(rank);
    if (!strcmp(phase, "init"))
        result = init_phase(rank, size, argc > 2 ? atol(argv[2]) : 1);
    else if (!strcmp(phase, "finalize") && argc > 2)
        result = finalize_phase(rank, size, atol(argv[2]));
    else
        result = driven(!strcmp(phase, "remote")   ? remote_body
                        : !strcmp(phase, "starve") ? starve_body
                                                   : local_body);
    MPI_Finalize();
    return result;
}
