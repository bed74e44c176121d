/* Starts, has every rank answer every rank, and ends; or says why it can not start, which is no failure here.
 * RAYMPI_TEST_VERSION: the version that the library takes itself for. RAYMPI_TEST_MULTIPLE: the program has
 * initialised MPI, for many threads. Arguments: files; the ranks go on to ask and answer until all are there.
 */
#include "../mpi/mpi_test.h"

#include <mpi.h>
#include <unistd.h>

const char *__real_raympi_version(void);
const char *__wrap_raympi_version(void);
const char *__wrap_raympi_version(void)
{
    const char *other = getenv("RAYMPI_TEST_VERSION");
    return other ? other : __real_raympi_version();
}

RAYMPI_TASK(twice)
{
    size_t len;
    const int64_t *numbers = raympi_arg(ctx, 0, &len);
    int64_t *to = raympi_return(ctx, 0, len);
    if (!to)
        return RAYMPI_ERR_MEMORY;
    for (size_t i = 0; i < len / sizeof *to; i++)
        to[i] = 2 * numbers[i];
    return RAYMPI_OK;
}

/* Lengths below and above that of a packet. */
static void ask(int rank, size_t count)
{
    raympi_options there = {.size = sizeof there, .strategy = RAYMPI_STRATEGY_NODE, .node = rank};
    raympi_view view;
    raympi_ref ref;
    CHECK_OK(raympi_scope_begin());
    int64_t *numbers = raympi_create(count * sizeof *numbers, &ref);
    CHECK(numbers != NULL);
    for (size_t i = 0; i < count; i++)
        numbers[i] = (int64_t)i + rank;
    CHECK_OK(raympi_seal(ref));
    CHECK_OK(raympi_get(raympi_call_opts(there, twice, ref), &view));
    CHECK(view.len == count * sizeof *numbers);
    for (size_t i = 0; i < count; i++)
        CHECK(((const int64_t *)view.data)[i] == 2 * ((int64_t)i + rank));
    CHECK_OK(raympi_scope_end());
}

static bool all_are_there(char **files)
{
    while (*files && access(*files, F_OK) == 0)
        files++;
    return *files == NULL;
}

int main(int argc, char **argv)
{
    int level;
    bool own_mpi = getenv("RAYMPI_TEST_MULTIPLE") != NULL;
    if (own_mpi)
        MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    int status = raympi_init(&argc, &argv, NULL);
    if (status != RAYMPI_OK) {
        printf("refused: %s: %s\n", raympi_strerror(status), raympi_detail());
        if (own_mpi)
            MPI_Finalize();
        return EXIT_SUCCESS;
    }
    do
        for (int rank = 0; rank < raympi_size() && !test_failures; rank++) {
            ask(rank, 1);
            ask(rank, 20000);
        }
    while (!all_are_there(argv + 1) && !test_failures);
    int result = test_end(raympi_finalize());
    if (own_mpi)
        MPI_Finalize();
    return result;
}
