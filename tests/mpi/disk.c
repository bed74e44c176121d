/* Jobs with objects on disk, watched by a script: `disk PART FOLDER [TEXT]`. In FOLDER the ranks say by files
 * how far they are, and wait for others. */
#include "mpi_test.h"

#include <time.h>
#include <unistd.h>

#define BYTES ((size_t)256 << 10)
#define MOST  400

static const char *folder, *text = "";
static raympi_ref refs[MOST];
static uint64_t words[BYTES / sizeof(uint64_t)];

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* The file has our process in it. */
static void say(const char *name)
{
    char hidden[520];
    snprintf(hidden, sizeof hidden, "%s.new", path_of(name));
    FILE *file = fopen(hidden, "w");
    CHECK(file != NULL);
    if (!file)
        return;
    fprintf(file, "%ld\n", (long)getpid());
    fclose(file);
    CHECK(rename(hidden, path_of(name)) == 0);
}

static bool is_said(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static void await_said(const char *name)
{
    const struct timespec moment = {.tv_nsec = 5000000};
    while (!is_said(name))
        nanosleep(&moment, NULL); /* run-mpi has the deadline */
}

static uint64_t word(uint64_t number, size_t i)
{
    return (uint64_t)raympi_rank() << 48 ^ number << 24 ^ i;
}

static int put(int number)
{
    for (size_t i = 0; i < BYTES / sizeof *words; i++)
        words[i] = word((uint64_t)number, i);
    refs[number] = raympi_put(words, BYTES);
    int status = raympi_ref_status(refs[number]);
    if (status != RAYMPI_OK)
        CHECK_OK(raympi_release(refs[number]));
    return status;
}

static int look(int number, double timeout)
{
    raympi_view view;
    int status = raympi_get_timeout(refs[number], &view, timeout);
    if (status != RAYMPI_OK)
        return status;
    const uint64_t *seen = view.data;
    CHECK(view.len == BYTES);
    for (size_t i = 0; i < BYTES / sizeof *words; i++)
        if (seen[i] != word((uint64_t)number, i)) {
            CHECK(!"another value");
            break;
        }
    CHECK_OK(raympi_view_end(&view));
    return RAYMPI_OK;
}

static bool moves(void)
{
    struct raympi_store_stats stats = {.size = sizeof stats};
    CHECK_OK(raympi_store_stats(&stats));
    return stats.spilled > 0 && stats.restored > 0;
}

/* Every rank spills and restores, until it is told to stop. */
static void busy(void)
{
    char name[32];
    bool said = false;
    int count = MOST / raympi_size() / 2;
    snprintf(name, sizeof name, "busy.%d", raympi_rank());
    for (int i = 0; i < count; i++)
        CHECK_OK(put(i));
    while (!is_said("stop")) {
        for (int i = 0; i < count; i++) {
            CHECK_OK(look((i * 7 + 3) % count, -1));
            if (!said && moves()) {
                said = true;
                say(name);
            }
        }
        for (int i = 0; i < count; i += 3) {
            CHECK_OK(raympi_release(refs[i]));
            CHECK_OK(put(i));
        }
    }
    CHECK_OK(raympi_release_all(refs, (size_t)count));
}

/* The disk takes no more, for a time: what there is stays, and it goes on afterwards. */
static void fails(void)
{
    int count = 0, status, here = 0;
    say("begun");
    await_said("go");
    while ((status = put(count)) == RAYMPI_OK && count < MOST - 1)
        count++;
    CHECK(status == RAYMPI_ERR_STORE_FULL);
    for (int i = 0; i < count; i++) {
        status = look(i, 0);
        CHECK(status == RAYMPI_OK || status == RAYMPI_ERR_TIMEOUT); /* in memory, or on disk */
        here += status == RAYMPI_OK;
    }
    CHECK(here > 8);
    CHECK(raympi_create(BYTES, &refs[count]) == NULL);
    CHECK(strstr(raympi_detail(), text) && strstr(raympi_detail(), "RAYMPI_SPILL_DIR"));
    if (!strstr(raympi_detail(), text))
        fprintf(stderr, "it said: %s\n", raympi_detail());
    say("full");
    await_said("mended");
    for (int more = 0; more < 16; more++) {
        while ((status = put(count)) == RAYMPI_ERR_STORE_FULL)
            continue;
        CHECK_OK(status);
        count++;
    }
    for (int i = 0; i < count; i++)
        CHECK_OK(look(i, -1));
    CHECK_OK(raympi_release_all(refs, (size_t)count));
}

static void drive(void)
{
    if (raympi_rank() == 0)
        fails();
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return EXIT_FAILURE;
    bool run = strcmp(argv[1], "busy") == 0;
    folder = argv[2];
    text = argc > 3 ? argv[3] : text;
    int status = raympi_init(&argc, &argv, NULL);
    if (status != RAYMPI_OK) {
        printf("init: %s\n", raympi_strerror(status));
        return 4;
    }
    return test_end(test_drive(run ? busy : drive));
}
