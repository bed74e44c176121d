#include "../unit.h"
#include "child.h"

#include "base/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

#define SIZE    (UINT64_C(64) << 20)
#define CONTROL (UINT64_C(1) << 20)

static const uint64_t cookie[2] = {0x1234, 0x5678};

static uint64_t committed(const struct base_segment *segment)
{
    struct stat file;
    CU_ASSERT_EQUAL_FATAL(fstat(segment->fd, &file), 0);
    return (uint64_t)file.st_blocks * 512;
}

static void test_create_and_attach(void)
{
    struct base_segment one, two;
    struct stat file;
    bool same = false;
    CU_ASSERT_EQUAL_FATAL(base_segment_create(&one, SIZE, CONTROL, cookie), RAYMPI_OK);
    CU_ASSERT_EQUAL(strncmp(one.name, "/raympi-", 8), 0);
    CU_ASSERT_EQUAL(fstat(one.fd, &file), 0);
    CU_ASSERT_EQUAL(file.st_mode & 0777, 0600);
    CU_ASSERT_TRUE(fcntl(one.fd, F_GETFD) & FD_CLOEXEC);
    CU_ASSERT_EQUAL(memcmp(one.read, cookie, sizeof cookie), 0);
    CU_ASSERT_EQUAL_FATAL(base_segment_attach(&two, one.name, SIZE, CONTROL, cookie, &same), RAYMPI_OK);
    CU_ASSERT_TRUE_FATAL(same);
    base_segment_unlink(&one);
    base_segment_unlink(&one); /* does nothing */
    CU_ASSERT_EQUAL(base_segment_commit(&one, CONTROL / 2, 100), RAYMPI_OK);
    memcpy(one.write + CONTROL / 2, "hello", 6);
    CU_ASSERT_STRING_EQUAL(two.read + CONTROL / 2, "hello");
    base_segment_close(&one);
    CU_ASSERT_STRING_EQUAL(two.write + CONTROL / 2, "hello"); /* mappings of others stay */
    base_segment_close(&two);
    base_segment_close(&two); /* does nothing */
}

static void test_strangers(void)
{
    struct base_segment one, two;
    uint64_t other[2] = {cookie[0], cookie[1] + 1};
    bool same = true;
    CU_ASSERT_EQUAL_FATAL(base_segment_create(&one, SIZE, CONTROL, cookie), RAYMPI_OK);
    CU_ASSERT_EQUAL(base_segment_attach(&two, one.name, SIZE, CONTROL, other, &same), RAYMPI_OK);
    CU_ASSERT_FALSE(same);
    CU_ASSERT_EQUAL(two.fd, -1);
    same = true;
    CU_ASSERT_EQUAL(base_segment_attach(&two, one.name, SIZE * 2, CONTROL, cookie, &same), RAYMPI_OK);
    CU_ASSERT_FALSE(same);
    same = true;
    CU_ASSERT_EQUAL(base_segment_attach(&two, "/raympi-nobody", SIZE, CONTROL, cookie, &same), RAYMPI_OK);
    CU_ASSERT_FALSE(same);
    base_segment_unlink(&one);
    base_segment_close(&one);
}

static void test_sizes(void)
{
    struct base_segment segment;
    CU_ASSERT_EQUAL(base_segment_create(&segment, 0, 0, cookie), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_EQUAL(base_segment_create(&segment, SIZE + 1, CONTROL, cookie), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_EQUAL(base_segment_create(&segment, CONTROL, SIZE, cookie), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_EQUAL(segment.fd, -1);
    base_segment_close(&segment);
}

static void test_commit(void)
{
    struct base_segment segment;
    CU_ASSERT_EQUAL_FATAL(base_segment_create(&segment, SIZE, CONTROL, cookie), RAYMPI_OK);
    base_segment_unlink(&segment);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t before = committed(&segment);
    CU_ASSERT_EQUAL(base_segment_commit(&segment, CONTROL + 1, 8 * page), RAYMPI_OK); /* nine pages */
    CU_ASSERT_EQUAL(committed(&segment), before + 9 * page);
    CU_ASSERT_EQUAL(base_segment_commit(&segment, CONTROL, 9 * page), RAYMPI_OK); /* again */
    CU_ASSERT_EQUAL(committed(&segment), before + 9 * page);
    CU_ASSERT_EQUAL(base_segment_commit(&segment, CONTROL, 0), RAYMPI_OK);
    char *data = base_segment_map_write(&segment, CONTROL, 9 * page);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    memset(data, 7, 9 * page);
    CU_ASSERT_EQUAL(base_segment_commit(&segment, CONTROL, 9 * page), RAYMPI_OK); /* leaves the data alone */
    CU_ASSERT_EQUAL(segment.read[CONTROL + 9 * page - 1], 7);
    base_segment_decommit(&segment, CONTROL + 1, 3 * page); /* two whole pages */
    CU_ASSERT_EQUAL(committed(&segment), before + 7 * page);
    CU_ASSERT_EQUAL(segment.read[CONTROL + page - 1], 7);
    CU_ASSERT_EQUAL(segment.read[CONTROL + 3 * page], 7);
    munmap(data, 9 * page);
    base_segment_close(&segment);
}

static void test_commit_outside(void)
{
    struct base_segment segment;
    CU_ASSERT_EQUAL_FATAL(base_segment_create(&segment, SIZE, CONTROL, cookie), RAYMPI_OK);
    base_segment_unlink(&segment);
    CU_ASSERT_EQUAL(base_segment_commit(&segment, SIZE, 1), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_EQUAL(base_segment_commit(&segment, 1, UINT64_MAX), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_PTR_NULL(base_segment_map_write(&segment, SIZE, CONTROL));
    CU_ASSERT_PTR_NULL(base_segment_map_write(&segment, 1, CONTROL));
    CU_ASSERT_PTR_NULL(base_segment_map_write(&segment, 0, 0));
    base_segment_close(&segment);
}

static void write_read_only(void *arg)
{
    struct base_segment *segment = arg;
    signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would turn it into an exit */
    *(volatile char *)segment->read = 1;
}

static void test_read_mapping_is_protected(void)
{
    struct base_segment segment;
    struct child_result child;
    CU_ASSERT_EQUAL_FATAL(base_segment_create(&segment, SIZE, CONTROL, cookie), RAYMPI_OK);
    base_segment_unlink(&segment);
    child_run(write_read_only, &segment, &child);
    CU_ASSERT_TRUE(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGSEGV);
    base_segment_close(&segment);
}

static void test_full(void)
{
    struct base_segment segment;
    uint64_t size = base_align_up(2 * base_memory_available(), CONTROL);
    char asked[64];
    snprintf(asked, sizeof asked, "%llu bytes", (unsigned long long)(size - CONTROL));
    CU_ASSERT_EQUAL_FATAL(base_segment_create(&segment, size, CONTROL, cookie), RAYMPI_OK);
    base_segment_unlink(&segment);
    uint64_t before = committed(&segment);
    CU_ASSERT_EQUAL(base_segment_commit(&segment, CONTROL, size - CONTROL), RAYMPI_ERR_STORE_FULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "/dev/shm"));
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), asked));
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "are left"));
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "RAYMPI_STORE_BYTES"));
    CU_ASSERT_EQUAL(committed(&segment), before);
    base_segment_close(&segment);
}

/* _exit codes of the children below: 0 is good. */
static void create_limited(void *arg)
{
    struct base_segment segment;
    struct rlimit limit = {1 << 20, 1 << 20};
    (void)arg;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        _exit(2);
    if (base_segment_create(&segment, SIZE, CONTROL, cookie) != RAYMPI_ERR_MEMORY)
        _exit(3);
    _exit(strstr(base_detail(), "ulimit -f") != NULL ? 0 : 4);
}

static void test_file_size_limit(void)
{
    struct child_result child;
    child_run(create_limited, NULL, &child);
    CU_ASSERT_TRUE(WIFEXITED(child.status));
    CU_ASSERT_EQUAL(WEXITSTATUS(child.status), 0);
}

static void attach_without_descriptors(void *arg)
{
    struct base_segment segment, *original = arg;
    struct rlimit none = {0, 0};
    bool same = true;
    if (setrlimit(RLIMIT_NOFILE, &none) != 0)
        _exit(2);
    int status = base_segment_attach(&segment, original->name, SIZE, CONTROL, cookie, &same);
    _exit(status == RAYMPI_ERR_MEMORY && same ? 0 : 3);
}

static void test_no_descriptors(void)
{
    struct base_segment segment;
    struct child_result child;
    CU_ASSERT_EQUAL_FATAL(base_segment_create(&segment, SIZE, CONTROL, cookie), RAYMPI_OK);
    child_run(attach_without_descriptors, &segment, &child);
    CU_ASSERT_TRUE(WIFEXITED(child.status));
    CU_ASSERT_EQUAL(WEXITSTATUS(child.status), 0);
    base_segment_unlink(&segment);
    base_segment_close(&segment);
}

static volatile sig_atomic_t ticks;

static void tick(int number)
{
    (void)number;
    ticks = ticks + 1;
}

/* A profiling timer must not keep a large commit from ever being done. */
static void test_commit_under_signals(void)
{
    struct base_segment segment;
    struct sigaction action = {.sa_handler = tick}, saved;
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    CU_ASSERT_EQUAL_FATAL(base_segment_create(&segment, SIZE, CONTROL, cookie), RAYMPI_OK);
    base_segment_unlink(&segment);
    sigaction(SIGALRM, &action, &saved);
    setitimer(ITIMER_REAL, &often, NULL);
    CU_ASSERT_EQUAL(base_segment_commit(&segment, CONTROL, SIZE - CONTROL), RAYMPI_OK);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &saved, NULL);
    CU_ASSERT_TRUE(ticks > 0);
    CU_ASSERT_TRUE(committed(&segment) >= SIZE - CONTROL);
    base_segment_close(&segment);
}

static void *commit_all(void *arg)
{
    struct base_segment *segment = arg;
    for (uint64_t offset = 0; offset < SIZE / 4; offset += CONTROL)
        if (base_segment_commit(segment, offset, CONTROL) != RAYMPI_OK)
            return segment;
    return NULL;
}

static void test_commit_by_threads(void)
{
    struct base_segment segment;
    pthread_t threads[2];
    CU_ASSERT_EQUAL_FATAL(base_segment_create(&segment, SIZE, CONTROL, cookie), RAYMPI_OK);
    base_segment_unlink(&segment);
    for (int i = 0; i < 2; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, commit_all, &segment), 0);
    for (int i = 0; i < 2; i++) {
        void *failed = &segment;
        pthread_join(threads[i], &failed);
        CU_ASSERT_PTR_NULL(failed);
    }
    CU_ASSERT_EQUAL(committed(&segment), SIZE / 4);
    base_segment_close(&segment);
}

static const struct unit_test tests[] = {
    {"create, attach, unlink", test_create_and_attach},
    {"another cookie, size or name is not the same host", test_strangers},
    {"impossible sizes", test_sizes},
    {"commit and decommit whole pages", test_commit},
    {"outside of the segment", test_commit_outside},
    {"others' data can not be written", test_read_mapping_is_protected},
    {"a full /dev/shm is a status", test_full},
    {"a limit of file size is a status, not a signal", test_file_size_limit},
    {"no descriptor left is not another host", test_no_descriptors},
    {"commit under a fast timer", test_commit_under_signals},
    {"commit by two threads at once", test_commit_by_threads},
};

int main(void)
{
    return UNIT_MAIN("base: host segment", tests);
}
