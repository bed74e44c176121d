#include "../unit.h"
#include "child.h"

#include "base/base.h"

#include <pthread.h>

static void test_every_status_has_a_text(void)
{
    static const int codes[] = {0,   -1,  -2,  -3,   -4,   -5,   -6,   -7,   -8,   -9,   -10, -11,
                                -12, -13, -14, -100, -101, -102, -200, -201, -300, -400, -500};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        const char *text = raympi_strerror(codes[i]);
        CU_ASSERT_EQUAL(strncmp(text, "RAYMPI_", 7), 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(text, ": "));
        for (size_t j = 0; j < i; j++)
            CU_ASSERT_STRING_NOT_EQUAL(text, raympi_strerror(codes[j]));
    }
    CU_ASSERT_EQUAL(strncmp(raympi_strerror(RAYMPI_ERR_DEADLOCK), "RAYMPI_ERR_DEADLOCK: ", 21), 0);
}

static void test_other_codes(void)
{
    CU_ASSERT_STRING_EQUAL(raympi_strerror(7), "error code of the task");
    CU_ASSERT_STRING_EQUAL(raympi_strerror(-9999), "not a status of raympi");
}

static void test_detail(void)
{
    char longest[3000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    CU_ASSERT_EQUAL(base_fail(RAYMPI_ERR_TYPE, "argument %d", 3), RAYMPI_ERR_TYPE);
    CU_ASSERT_STRING_EQUAL(base_detail(), "argument 3");
    base_fail(RAYMPI_ERR_TASK, "task f: %s", base_detail());
    CU_ASSERT_STRING_EQUAL(base_detail(), "task f: argument 3");
    base_detail_set(base_detail());
    CU_ASSERT_STRING_EQUAL(base_detail(), "task f: argument 3");
    base_fail(RAYMPI_ERR_TASK, "%s", longest);
    CU_ASSERT_EQUAL(strlen(base_detail()), 1023);
    base_detail_set("");
    CU_ASSERT_STRING_EQUAL(base_detail(), "");
}

static void *detail_of_thread(void *arg)
{
    *(bool *)arg = base_detail()[0] == '\0';
    base_fail(RAYMPI_ERR_TASK, "of the thread");
    return NULL;
}

static void test_detail_is_per_thread(void)
{
    pthread_t thread;
    bool empty = false;
    base_fail(RAYMPI_ERR_TASK, "of main");
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, detail_of_thread, &empty), 0);
    pthread_join(thread, NULL);
    CU_ASSERT_TRUE(empty);
    CU_ASSERT_STRING_EQUAL(base_detail(), "of main");
}

static void log_some(void *arg)
{
    (void)arg;
    base_log(BASE_LOG_WARN, "net", "no rank %d", 1);
    base_log_rank(3);
    base_log(BASE_LOG_ERROR, "net", "gone");
    base_log(BASE_LOG_INFO, "net", "not shown");
    atomic_store(&base_log_threshold, BASE_LOG_DEBUG);
    base_log(BASE_LOG_DEBUG, "net", "shown");
    atomic_store(&base_log_threshold, BASE_LOG_ERROR);
    base_log(BASE_LOG_WARN, "net", "not shown");
}

static void test_log_lines(void)
{
    struct child_result child;
    child_run(log_some, NULL, &child);
    CU_ASSERT_STRING_EQUAL(child.text, "raympi: net: warning: no rank 1\n"
                                       "raympi: rank 3: net: error: gone\n"
                                       "raympi: rank 3: net: debug: shown\n");
}

static void *log_of_thread(void *arg)
{
    base_log(BASE_LOG_WARN, "net", "before");
    base_log_rank(*(int *)arg);
    base_log(BASE_LOG_WARN, "net", "after");
    return NULL;
}

static void log_threads(void *arg)
{
    pthread_t thread;
    int rank = 5;
    (void)arg;
    base_log_rank(2);
    if (pthread_create(&thread, NULL, log_of_thread, &rank) == 0)
        pthread_join(thread, NULL);
    base_log(BASE_LOG_WARN, "net", "main");
}

static void test_log_rank_of_threads(void)
{
    struct child_result child;
    child_run(log_threads, NULL, &child);
    CU_ASSERT_STRING_EQUAL(child.text, "raympi: rank 2: net: warning: before\n"
                                       "raympi: rank 5: net: warning: after\n"
                                       "raympi: rank 2: net: warning: main\n");
}

static void log_long(void *arg)
{
    static char text[9000];
    (void)arg;
    memset(text, 'y', sizeof text - 1);
    base_log(BASE_LOG_WARN, "net", "%s", text);
}

static void test_log_long_line_is_cut(void)
{
    struct child_result child;
    child_run(log_long, NULL, &child);
    size_t length = strlen(child.text);
    CU_ASSERT_TRUE_FATAL(length > 1000 && length <= 4096);
    CU_ASSERT_STRING_EQUAL(child.text + length - 5, "y...\n");
    CU_ASSERT_EQUAL(child_lines(child.text), 1);
}

static void test_hash(void)
{
    CU_ASSERT_EQUAL(base_hash_name("rollout"), base_hash_name("rollout"));
    CU_ASSERT_NOT_EQUAL(base_hash_name("rollout"), base_hash_name("rollous"));
    CU_ASSERT_NOT_EQUAL(base_hash_name(""), 0);
    CU_ASSERT_NOT_EQUAL(base_hash_name("a"), base_hash_name(""));
}

static void test_clock(void)
{
    uint64_t before = base_now();
    CU_ASSERT_TRUE(before > 0);
    CU_ASSERT_TRUE(base_now() >= before);
}

static const struct unit_test tests[] = {
    {"every status has a text of its own", test_every_status_has_a_text},
    {"codes of tasks and unknown codes", test_other_codes},
    {"detail text: format, nesting, length", test_detail},
    {"detail text is per thread", test_detail_is_per_thread},
    {"log: prefix and threshold", test_log_lines},
    {"log: rank of threads", test_log_rank_of_threads},
    {"log: a long line is cut and stays one line", test_log_long_line_is_cut},
    {"hash of names", test_hash},
    {"clock goes forward", test_clock},
};

int main(void)
{
    return UNIT_MAIN("base: status, log, clock", tests);
}
