/* Long values that all hosts read at once: most get them from one another.
 *
 *   tree [BYTES [VALUES [ROUNDS]]]
 *
 * In each round the ranks make VALUES, and tasks on all ranks read each of them. The stores may be too small
 * for all copies. Prints how many bytes were fetched, and how many of them not from the holder. */
#include "../mpi/mpi_test.h"

#define ON(rank) RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = (rank))
#define MOST     1024 /* values of a round times ranks */

static uint64_t word(uint64_t value, uint64_t i)
{
    return (value + 1) * UINT64_C(0x9e3779b97f4a7c15) + i;
}

/* value, bytes */
RAYMPI_TASK(make)
{
    uint64_t value = (uint64_t)raympi_arg_int(ctx, 0);
    size_t bytes = (size_t)raympi_arg_int(ctx, 1);
    uint64_t *words = raympi_return(ctx, 0, bytes);
    for (size_t i = 0; words && i < bytes / 8; i++)
        words[i] = word(value, i);
    return words ? RAYMPI_OK : RAYMPI_ERR_STORE_FULL;
}

/* a value, its number; 0: wrong */
RAYMPI_TASK(is_right)
{
    size_t bytes;
    const uint64_t *words = raympi_arg(ctx, 0, &bytes);
    uint64_t value = (uint64_t)raympi_arg_int(ctx, 1);
    bool right = true;
    for (size_t i = 0; right && i < bytes / 8; i++)
        right = words[i] == word(value, i);
    return raympi_return_int(ctx, 0, right);
}

RAYMPI_TASK(stats)
{
    struct raympi_store_stats *stats = raympi_return(ctx, 0, sizeof *stats);
    if (!stats)
        return RAYMPI_ERR_MEMORY;
    stats->size = sizeof *stats;
    return raympi_store_stats(stats);
}

static void one_round(size_t bytes, int values, int64_t first)
{
    raympi_ref refs[MOST], reads[MOST];
    int ranks = raympi_size();
    for (int i = 0; i < values; i++)
        refs[i] = raympi_call_opts(ON(i % ranks), make, first + i, (int64_t)bytes);
    for (int i = 0; i < values * ranks; i++)
        reads[i] = raympi_call_opts(ON(i % ranks), is_right, refs[i / ranks], first + i / ranks);
    for (int i = 0; i < values * ranks; i++) {
        int64_t right = 0;
        CHECK_OK(raympi_get_copy(reads[i], &right, sizeof right));
        CHECK(right == 1);
    }
    CHECK_OK(raympi_release_all(reads, (size_t)(values * ranks)));
    CHECK_OK(raympi_release_all(refs, (size_t)values));
}

int main(int argc, char **argv)
{
    size_t bytes = argc > 1 ? (size_t)atol(argv[1]) : (size_t)16 << 20;
    int values = argc > 2 ? atoi(argv[2]) : 1, rounds = argc > 3 ? atoi(argv[3]) : 5;
    uint64_t fetched = 0, relayed = 0;
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    for (int i = 0; raympi_rank() == 0 && i < rounds; i++)
        one_round(bytes, values, (int64_t)i * values);
    for (int rank = 0; raympi_rank() == 0 && rank < raympi_size(); rank++) {
        struct raympi_store_stats of = {.size = sizeof of};
        raympi_ref ref = raympi_call_opts(ON(rank), stats);
        CHECK_OK(raympi_get_copy(ref, &of, sizeof of));
        fetched += of.fetched;
        relayed += of.relayed;
        CHECK_OK(raympi_release(ref));
    }
    if (raympi_rank() == 0)
        printf("bytes: %llu fetched, %llu of them relayed\n", (unsigned long long)fetched,
               (unsigned long long)relayed);
    return test_end(raympi_finalize());
}
