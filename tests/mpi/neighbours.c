/* A job that has a neighbour on the host: `neighbours FOLDER OWN OTHER [spill]` goes on once both are
 * running, which FOLDER shows, and then checks that its objects are its own, on disk too if they have to go
 * there. */
#include "mpi_test.h"

#include <time.h>
#include <unistd.h>

#define OBJECTS 64
#define LEN     100000

static const char *folder, *own, *other;
static bool spills;

RAYMPI_TASK(neighbours_sum)
{
    size_t len;
    const unsigned char *bytes = raympi_arg(ctx, 0, &len);
    int64_t sum = 0;
    for (size_t i = 0; bytes && i < len; i++)
        sum += bytes[i];
    return raympi_return_int(ctx, 0, sum);
}

static const char *mark(char *path, size_t size, const char *name, int rank)
{
    snprintf(path, size, "%s/%s.%d", folder, name, rank);
    return path;
}

/* All ranks of the neighbour are there, and know that we are: both jobs run. */
static void meet(void)
{
    char path[512];
    FILE *file = fopen(mark(path, sizeof path, own, raympi_rank()), "w");
    CHECK(file != NULL);
    if (file)
        fclose(file);
    const struct timespec wait = {.tv_nsec = 5000000};
    for (int rank = 0; rank < raympi_size(); rank++)
        while (access(mark(path, sizeof path, other, rank), F_OK) != 0)
            nanosleep(&wait, NULL); /* run-mpi has the deadline */
}

/* Is it still what was put? */
static void look(raympi_ref ref, int number)
{
    raympi_view view;
    int status = raympi_get(ref, &view);
    CHECK_OK(status);
    if (status != RAYMPI_OK)
        return;
    const unsigned char *bytes = view.data, byte = (unsigned char)(own[0] + number);
    CHECK(view.len == LEN && bytes[0] == byte && memcmp(bytes, bytes + 1, LEN - 1) == 0);
    CHECK_OK(raympi_view_end(&view));
}

static void look_at_disk(void)
{
    struct raympi_store_stats stats = {.size = sizeof stats};
    CHECK_OK(raympi_store_stats(&stats));
    CHECK(!spills || (stats.spilled > 0 && stats.restored > 0));
}

static void body(void)
{
    static unsigned char bytes[LEN];
    raympi_ref refs[OBJECTS], sums[OBJECTS];
    meet();
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < OBJECTS; i++) {
            memset(bytes, own[0] + i, sizeof bytes);
            refs[i] = raympi_put(bytes, sizeof bytes);
            sums[i] = raympi_call(neighbours_sum, refs[i]);
        }
        for (int i = 0; i < OBJECTS; i++) {
            int64_t sum = 0;
            CHECK_OK(raympi_get_copy(sums[i], &sum, sizeof sum));
            CHECK(sum == (int64_t)LEN * (unsigned char)(own[0] + i));
            look(refs[i], i);
            CHECK_OK(raympi_release(sums[i]));
            CHECK_OK(raympi_release(refs[i]));
        }
    }
    look_at_disk();
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return EXIT_FAILURE;
    folder = argv[1];
    own = argv[2];
    other = argv[3];
    spills = argc > 4;
    if (raympi_init(&argc, &argv, NULL) != RAYMPI_OK)
        return EXIT_FAILURE;
    return test_end(test_drive(body));
}
