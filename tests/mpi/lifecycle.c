/* Start and end: calls before init and after finalize, settings, MPI that the program has initialised itself,
 * a communicator of the program's. The first argument says what. */
#include "mpi_test.h"

#include <limits.h>
#include <mpi.h>
#include <pthread.h>

#define IS(status, text, call)                                                                               \
    do {                                                                                                     \
        int status_ = (call);                                                                                \
        if (status_ != (status) || !strstr(raympi_detail(), (text))) {                                       \
            fprintf(stderr, "%s:%d: %s gave %s (%s), not %s (%s)\n", __FILE__, __LINE__, #call,              \
                    raympi_strerror(status_), raympi_detail(), #status, (text));                             \
            test_failures++;                                                                                 \
        }                                                                                                    \
    } while (0)
#define IS_STATE(call) IS(RAYMPI_ERR_STATE, "raympi is not running", call)
#define IS_NULL(call)                                                                                        \
    do {                                                                                                     \
        raympi_fail(NULL, 1, "%s", ""); /* another text */                                                   \
        CHECK((call) == 0);                                                                                  \
        CHECK(strstr(raympi_detail(), "raympi is not running"));                                             \
    } while (0)

RAYMPI_TASK(sum)
{
    return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0) + raympi_arg_int(ctx, 1));
}

RAYMPI_ACTOR(thing, int)
RAYMPI_METHOD(thing, method)
{
    return RAYMPI_OK;
}

static void nothing_runs(void)
{
    raympi_ref ref = {0};
    raympi_actor actor = {0};
    raympi_view view = {0};
    raympi_waitset *set = NULL;
    CHECK(!raympi_initialized() && raympi_rank() == -1 && raympi_size() == -1 && raympi_workers() == -1);
    IS_STATE(raympi_get(ref, &view));
    IS_STATE(raympi_get_timeout(ref, &view, 1));
    IS_STATE(raympi_get_many(&ref, 1, &view, 1));
    IS_STATE(raympi_get_copy(ref, &ref, 1));
    IS_STATE(raympi_view_end(&view));
    IS_STATE(raympi_wait(&ref, 1, 1, 1, NULL));
    IS_STATE(raympi_waitset_create(&set));
    IS_STATE(raympi_waitset_add(NULL, ref, 0));
    IS_STATE(raympi_waitset_wait(NULL, 1, &ref, NULL));
    IS_STATE(raympi_waitset_destroy(NULL));
    IS_STATE(raympi_seal(ref));
    IS_STATE(raympi_ref_status(ref));
    IS_STATE(raympi_release(ref));
    IS_STATE(raympi_release(actor));
    IS_STATE(raympi_release_all(&ref, 1));
    IS_STATE(raympi_scope_begin());
    IS_STATE(raympi_scope_end());
    IS_STATE(raympi_submit_n(NULL, "sum", NULL, NULL, 0, &ref, 1));
    IS_STATE(raympi_actor_kill(actor));
    IS_STATE(raympi_actor_ready(actor, 1));
    IS_STATE(raympi_mpi_enter());
    IS_STATE(raympi_mpi_leave());
    IS_STATE(raympi_return_ref(NULL, 0, ref));
    IS_NULL(raympi_call(sum, 1, 2).handle);
    IS_NULL(raympi_call_name("sum", 1, 2).handle);
    IS_NULL(raympi_put("x", 1).handle);
    IS_NULL(raympi_put_nested("x", 1, &ref, 1).handle);
    IS_NULL((char *)raympi_create(1, &ref));
    IS_NULL(raympi_wire(ref).handle);
    IS_NULL(raympi_view_ref(&view, (raympi_wire_ref){0}).handle);
    IS_NULL(raympi_retain(ref).handle);
    IS_NULL(raympi_keep(ref).handle);
    IS_NULL(raympi_retain(actor).handle);
    IS_NULL(raympi_keep(actor).handle);
    IS_NULL(raympi_actor_new(thing).handle);
    IS_NULL(raympi_actor_call(actor, method).handle);
    CHECK(strcmp(raympi_version(), RAYMPI_VERSION) == 0 &&
          strstr(raympi_strerror(RAYMPI_ERR_STATE), "STATE"));
}

static void work(void)
{
    int64_t value = 0;
    for (int i = 0; i < 20; i++) {
        raympi_ref ref = raympi_call(sum, i, 1);
        CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
        CHECK(value == i + 1);
        CHECK_OK(raympi_release(ref));
    }
}

static void mpi_works(MPI_Comm comm)
{
    int rank, size, sum;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, comm);
    CHECK(sum == size * (size - 1) / 2);
}

static int order(int *argc, char ***argv)
{
    nothing_runs();
    IS_STATE(raympi_finalize());
    CHECK_OK(raympi_init(argc, argv, NULL));
    IS(RAYMPI_ERR_STATE, "called twice", raympi_init(argc, argv, NULL));
    CHECK(raympi_initialized() && raympi_rank() >= 0 && raympi_size() > raympi_rank() &&
          raympi_workers() > 0);
    work();
    CHECK_OK(raympi_finalize());
    nothing_runs();
    IS_STATE(raympi_finalize());
    IS(RAYMPI_ERR_STATE, "again after raympi_finalize", raympi_init(argc, argv, NULL));
    int finalized;
    MPI_Finalized(&finalized);
    CHECK(finalized);
    IS(RAYMPI_ERR_STATE, "again after raympi_finalize", raympi_init(NULL, NULL, NULL));
    return test_end(RAYMPI_OK);
}

/* The program initialises MPI at this level, and ends it. */
static int level(int *argc, char ***argv, int wanted)
{
    int provided;
    MPI_Init_thread(argc, argv, wanted, &provided);
    if (provided < wanted)
        return 77;
    int status = raympi_init(argc, argv, NULL);
    if (wanted < MPI_THREAD_SERIALIZED) {
        CHECK(status == RAYMPI_ERR_MPI && strstr(raympi_detail(), "MPI_THREAD_SERIALIZED"));
        nothing_runs();
    } else {
        CHECK_OK(status);
        work();
        CHECK_OK(raympi_mpi_enter());
        mpi_works(MPI_COMM_WORLD);
        CHECK_OK(raympi_mpi_leave());
        CHECK_OK(raympi_finalize());
    }
    mpi_works(MPI_COMM_WORLD); /* who initialised MPI ends it */
    MPI_Finalize();
    return test_end(RAYMPI_OK);
}

static int after_mpi(int *argc, char ***argv)
{
    MPI_Init(argc, argv);
    MPI_Finalize();
    IS(RAYMPI_ERR_MPI, "MPI has been finalized", raympi_init(argc, argv, NULL));
    return test_end(RAYMPI_OK);
}

/* Another part of the program has used up what the ends of threads are noticed by. */
static int keys(int *argc, char ***argv)
{
    static pthread_key_t taken[PTHREAD_KEYS_MAX];
    int provided, count = 0;
    raympi_config config = {.size = sizeof config};
    MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided);
    while (count < PTHREAD_KEYS_MAX && pthread_key_create(&taken[count], NULL) == 0)
        count++;
    IS(RAYMPI_ERR_MEMORY, "no key for data of threads", raympi_init(argc, argv, &config));
    nothing_runs();
    while (count > 0)
        pthread_key_delete(taken[--count]);
    CHECK_OK(raympi_init(argc, argv, &config));
    work();
    CHECK_OK(raympi_finalize());
    MPI_Finalize();
    return test_end(RAYMPI_OK);
}

static int settings(int *argc, char ***argv)
{
    raympi_config config = {.size = 1};
    MPI_Comm none = MPI_COMM_NULL;
    IS(RAYMPI_ERR_ARGUMENT, "sizeof(raympi_config)", raympi_init(argc, argv, &config));
    config = (raympi_config){.size = sizeof config, .workers = -1};
    IS(RAYMPI_ERR_ARGUMENT, "workers is -1", raympi_init(argc, argv, &config));
    config.workers = 100000;
    IS(RAYMPI_ERR_ARGUMENT, "workers is 100000", raympi_init(argc, argv, &config));
    config = (raympi_config){.size = sizeof config, .comm = &none};
    IS(RAYMPI_ERR_MPI, "MPI is not initialised", raympi_init(argc, argv, &config));
    int provided;
    MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided);
    IS(RAYMPI_ERR_ARGUMENT, "MPI_COMM_NULL", raympi_init(argc, argv, &config));
    /* After all these a right one works. */
    config = (raympi_config){.size = sizeof config, .workers = 2};
    CHECK_OK(raympi_init(argc, argv, &config));
    CHECK(raympi_workers() == 2);
    work();
    CHECK_OK(raympi_finalize());
    MPI_Finalize();
    return test_end(RAYMPI_OK);
}

RAYMPI_TASK(all_of_us)
{
    /* Several workers at once: one at a time is in MPI. */
    int flag;
    MPI_Status status;
    for (int i = 0; i < 50; i++) {
        CHECK_OK(raympi_mpi_enter());
        MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_SELF, &flag, &status);
        CHECK(!flag);
        CHECK_OK(raympi_mpi_leave());
    }
    return raympi_return_int(ctx, 0, raympi_rank());
}

/* Coupled codes: the odd ranks run raympi, the even ones plain MPI, and both talk to each other. */
static int coupled(int *argc, char ***argv)
{
    int provided, rank, size;
    MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm half;
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, 0, &half);
    if (rank % 2) {
        raympi_config config = {.size = sizeof config, .comm = &half};
        CHECK_OK(raympi_init(argc, argv, &config));
        CHECK(raympi_rank() == rank / 2 && raympi_size() == size / 2);
        work();
        raympi_ref refs[30];
        for (int i = 0; i < 30; i++)
            refs[i] = raympi_call(all_of_us);
        CHECK(raympi_wait(refs, 30, 30, -1, NULL) == 30);
        for (int i = 0; i < 30; i++)
            CHECK(raympi_ref_status(refs[i]) == RAYMPI_OK);
        CHECK_OK(raympi_release_all(refs, 30));
        CHECK_OK(raympi_mpi_enter());
        MPI_Send(&rank, 1, MPI_INT, rank - 1, 7, MPI_COMM_WORLD);
        CHECK_OK(raympi_mpi_leave());
        CHECK_OK(raympi_finalize());
    } else if (rank + 1 < size) {
        int from;
        MPI_Recv(&from, 1, MPI_INT, rank + 1, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        CHECK(from == rank + 1);
    }
    mpi_works(half);
    mpi_works(MPI_COMM_WORLD);
    MPI_Comm_free(&half);
    MPI_Finalize();
    return test_end(RAYMPI_OK);
}

static int plain(int *argc, char ***argv)
{
    int status = raympi_init(argc, argv, NULL);
    if (status != RAYMPI_OK) {
        printf("refused: %s: %s\n", raympi_strerror(status), raympi_detail());
        return EXIT_FAILURE;
    }
    work();
    return test_end(raympi_finalize());
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "plain";
    static const struct {
        const char *name;
        int level;
    } levels[] = {{"single", MPI_THREAD_SINGLE},
                  {"funneled", MPI_THREAD_FUNNELED},
                  {"serialized", MPI_THREAD_SERIALIZED},
                  {"multiple", MPI_THREAD_MULTIPLE}};
    for (int i = 0; i < 4; i++)
        if (!strcmp(what, levels[i].name))
            return level(&argc, &argv, levels[i].level);
    if (!strcmp(what, "order"))
        return order(&argc, &argv);
    if (!strcmp(what, "after-mpi"))
        return after_mpi(&argc, &argv);
    if (!strcmp(what, "keys"))
        return keys(&argc, &argv);
    if (!strcmp(what, "settings"))
        return settings(&argc, &argv);
    return !strcmp(what, "coupled") ? coupled(&argc, &argv) : plain(&argc, &argv);
}
