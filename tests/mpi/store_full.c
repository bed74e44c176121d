/* A store that is full: waiting for room, the deadline, what can never fit, /dev/shm filled by somebody else.
 * The argument says which part runs. */
#include "mpi_test.h"

#include <fcntl.h>
#include <unistd.h>

#define AT(rank) RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = (rank) % raympi_size())
#define MIB      ((size_t)1 << 20)
#define MOST     4096

static char block[3 << 20];
static raympi_ref held[MOST];

RAYMPI_TASK(make)
{
    size_t len = (size_t)raympi_arg_int(ctx, 0);
    char *bytes = raympi_return(ctx, 0, len);
    if (bytes)
        memset(bytes, 'm', len);
    return RAYMPI_OK;
}

RAYMPI_TASK(length)
{
    size_t len;
    raympi_arg(ctx, 0, &len);
    return raympi_return_int(ctx, 0, (int64_t)len);
}

/* Puts blocks of `len` bytes until there is no room; returns how many there are. The error has been looked
 * at. */
static int fill(size_t len)
{
    int count = 0;
    while (count < MOST) {
        held[count] = raympi_put(block, len);
        int status = raympi_ref_status(held[count]);
        if (status != RAYMPI_OK) {
            CHECK(status == RAYMPI_ERR_STORE_FULL);
            raympi_release(held[count]);
            return count;
        }
        count++;
    }
    CHECK(!"the store was never full");
    return count;
}

static bool says(const char *text)
{
    return strstr(raympi_detail(), text) != NULL;
}

/* RAYMPI_STORE_BYTES=16m, a short RAYMPI_CREATE_TIMEOUT: every way to make an object answers STORE_FULL. */
static void deadline(void)
{
    raympi_view view;
    raympi_ref ref;
    int count = fill(MIB);
    CHECK(count > 8 && count <= 16);
    CHECK(raympi_create(2 * MIB, &ref) == NULL);
    CHECK(says("rank 0:") && says("extents") && says("RAYMPI_STORE_BYTES"));
    ref = raympi_call(length, RAYMPI_BYTES(block, 2 * MIB));
    CHECK(raympi_get(ref, &view) == RAYMPI_ERR_STORE_FULL);
    raympi_release(ref);
    for (int rank = 0; rank < raympi_size(); rank++) {
        ref = raympi_call_opts(AT(rank), make, 4 * MIB);
        CHECK(raympi_get(ref, &view) == RAYMPI_ERR_STORE_FULL);
        CHECK(says("make failed on rank") && says("rank 0:"));
        raympi_release(ref);
    }
    CHECK_OK(raympi_release_all(held, (size_t)count));
    CHECK(fill(MIB) == count);
    CHECK_OK(raympi_release_all(held, (size_t)count));
}

/* A long deadline: who waits gets the room that is made meanwhile, on whichever rank. */
static void release(void)
{
    raympi_view view;
    for (int rank = 0; rank < raympi_size(); rank++) {
        raympi_scope_begin();
        int count = 0;
        for (; count < 13; count++) {
            held[count] = raympi_put(block, MIB);
            CHECK_OK(raympi_ref_status(held[count]));
        }
        raympi_ref waits = raympi_call_opts(AT(rank), make, 8 * MIB);
        CHECK(raympi_get_timeout(waits, &view, 0.02) == RAYMPI_ERR_TIMEOUT);
        CHECK_OK(raympi_release_all(held, (size_t)count));
        CHECK_OK(raympi_get(waits, &view));
        CHECK(view.len == 8 * MIB && ((const char *)view.data)[view.len - 1] == 'm');
        raympi_scope_end();
    }
}

/* All ranks at once. What they hold while they ask for more fits, what they want at once does not: everybody
 * gets on. */
static void contend(void)
{
    size_t most = raympi_size() > 4 ? 8 * MIB / (size_t)raympi_size() : 2 * MIB;
    uint32_t state = (uint32_t)raympi_rank() + 1;
    raympi_ref last = {0};
    for (int i = 0; i < 60; i++) {
        state = state * 1103515245 + 12345;
        size_t len = 1000 + state % most;
        raympi_ref ref = i % 3 ? raympi_put(block, len) : raympi_call_opts(AT(state >> 16), make, len);
        if (last.handle)
            CHECK_OK(raympi_release(last));
        raympi_view view;
        CHECK_OK(raympi_get(ref, &view));
        CHECK(view.len == len);
        CHECK_OK(raympi_view_end(&view));
        last = ref;
    }
    CHECK_OK(raympi_release(last));
}

/* What can never fit is refused at once, whatever the deadline. */
static void too_large(void)
{
    raympi_view view;
    raympi_ref ref;
    CHECK(raympi_create(17 * MIB, &ref) == NULL && says("can never fit"));
    ref = raympi_put(block, (size_t)1 << 47);
    CHECK(raympi_get(ref, &view) == RAYMPI_ERR_TOO_LARGE);
    raympi_release(ref);
    ref = raympi_call_opts(AT(1), make, 17 * MIB);
    CHECK(raympi_get(ref, &view) == RAYMPI_ERR_TOO_LARGE && says("can never fit"));
    raympi_release(ref);
}

/* Somebody else takes all of /dev/shm while we run: a status, no signal; and it goes on when there is room
 * again. */
static void stranger(void)
{
    raympi_view view;
    raympi_ref ref;
    int fd = open("/dev/shm/stranger", O_CREAT | O_RDWR | O_TRUNC, 0600);
    CHECK(fd >= 0);
    for (size_t chunk = sizeof block; chunk >= 1;)
        if (write(fd, block, chunk) <= 0)
            chunk /= 2;
    int count = fill(64 * 1024);
    CHECK(raympi_create(3 * MIB, &ref) == NULL && says("/dev/shm"));
    for (int rank = 0; rank < raympi_size();
         rank++) { /* also messages to ranks that nothing was sent to yet */
        ref = raympi_call_opts(AT(rank), make, 3 * MIB);
        CHECK(raympi_get(ref, &view) != RAYMPI_OK);
        raympi_release(ref);
    }
    CHECK(ftruncate(fd, 0) == 0);
    close(fd);
    unlink("/dev/shm/stranger");
    for (int rank = 0; rank < raympi_size(); rank++) {
        ref = raympi_call_opts(AT(rank), make, 3 * MIB);
        CHECK_OK(raympi_get(ref, &view));
        CHECK_OK(raympi_view_end(&view));
        raympi_release(ref);
    }
    CHECK_OK(raympi_release_all(held, (size_t)count));
}

/* What the store came to be by default. */
static void size(void)
{
    struct raympi_store_stats stats = {.size = sizeof stats};
    CHECK_OK(raympi_store_stats(&stats));
    printf("capacity: %llu MiB\n", (unsigned long long)stats.capacity >> 20);
}

static const char *part = "";

static void drive(void)
{
    bool driver = raympi_rank() == 0;
    if (strcmp(part, "deadline") == 0 && driver)
        deadline();
    if (strcmp(part, "release") == 0 && driver)
        release();
    if (strcmp(part, "contend") == 0)
        contend();
    if (strcmp(part, "large") == 0)
        too_large();
    if (strcmp(part, "size") == 0 && driver)
        size();
    if (strcmp(part, "stranger") == 0 && driver)
        stranger();
}

int main(int argc, char **argv)
{
    part = argc > 1 ? argv[1] : part;
    int status = raympi_init(&argc, &argv, NULL);
    if (status != RAYMPI_OK) {
        printf("init: %s\n", raympi_strerror(status));
        return 4;
    }
    return test_end(test_drive(drive));
}
