#include "../unit.h"

#include "base/base_internal.h"

#include <string.h>
#include <unistd.h>

static const char *const names[] = {
    "RAYMPI_WORKERS",      "RAYMPI_LOG",
    "RAYMPI_STATS",        "RAYMPI_TRACE",
    "RAYMPI_TRACE_EVENTS", "RAYMPI_STACK_BYTES",
    "RAYMPI_STORE_BYTES",  "RAYMPI_INLINE_BYTES",
    "RAYMPI_BACKLOG",      "RAYMPI_CREATE_TIMEOUT",
    "RAYMPI_WATCHDOG",     "RAYMPI_SPIN_US",
    "RAYMPI_LEAKS",        "RAYMPI_CRASH_HANDLER",
    "RAYMPI_NET",          "RAYMPI_FETCH",
    "RAYMPI_OFI_PROVIDER", "RAYMPI_OFI_INTERFACE",
    "RAYMPI_HOST_TIMEOUT", "RAYMPI_CONNECT_TIMEOUT",
    "RAYMPI_SPILL_DIR",    "RAYMPI_CHECKSUM",
    "RAYMPI_PROTECT",
};
#define NAMES (sizeof names / sizeof names[0])

static void clear(void)
{
    for (size_t i = 0; i < NAMES; i++)
        unsetenv(names[i]);
    unsetenv("TMPDIR"); /* what RAYMPI_SPILL_DIR is by default */
}

/** Status of reading the environment with one variable set. */
static int read_with(const char *name, const char *value, struct base_config *config)
{
    clear();
    setenv(name, value, 1);
    int status = base_config_read(config);
    unsetenv(name);
    return status;
}

static void test_defaults(void)
{
    struct base_config config;
    clear();
    CU_ASSERT_EQUAL_FATAL(base_config_read(&config), RAYMPI_OK);
    CU_ASSERT_EQUAL(config.workers, 0);
    CU_ASSERT_EQUAL(config.log_level, BASE_LOG_WARN);
    CU_ASSERT_EQUAL(config.stats, 0);
    CU_ASSERT_EQUAL(config.crash_handler, 1);
    CU_ASSERT_EQUAL(config.leaks, 1);
    CU_ASSERT_EQUAL(config.watchdog, 60);
    CU_ASSERT_EQUAL(config.create_timeout, 30);
    CU_ASSERT_EQUAL(config.spin, -1);
    CU_ASSERT_EQUAL(config.stack_bytes, 1024 * 1024);
    CU_ASSERT_EQUAL(config.store_bytes, 0);
    CU_ASSERT_EQUAL(config.inline_bytes, 512);
    CU_ASSERT_EQUAL(config.backlog, 262144);
    CU_ASSERT_EQUAL(config.trace_events, 16384);
    CU_ASSERT_PTR_NULL(config.trace_file);
    CU_ASSERT_EQUAL(config.net, BASE_NET_AUTO);
    CU_ASSERT_EQUAL(config.connect_timeout, 60);
    CU_ASSERT_PTR_NULL(config.ofi_provider);
    CU_ASSERT_PTR_NULL(config.ofi_interface);
    CU_ASSERT_FALSE(config.spill_asked);
    CU_ASSERT_EQUAL(config.checksum, 0);
    CU_ASSERT_EQUAL(config.protect, 0);
}

static void test_folders(void)
{
    struct base_config config;
    clear();
    CU_ASSERT_EQUAL_FATAL(base_config_read(&config), RAYMPI_OK);
    CU_ASSERT_STRING_EQUAL(config.spill_folders, "/tmp");
    setenv("TMPDIR", "/scratch", 1);
    CU_ASSERT_EQUAL_FATAL(base_config_read(&config), RAYMPI_OK);
    CU_ASSERT_STRING_EQUAL(config.spill_folders, "/scratch");
    CU_ASSERT_FALSE(config.spill_asked);
    setenv("RAYMPI_SPILL_DIR", "/a:/b", 1);
    CU_ASSERT_EQUAL_FATAL(base_config_read(&config), RAYMPI_OK);
    CU_ASSERT_STRING_EQUAL(config.spill_folders, "/a:/b");
    CU_ASSERT_TRUE(config.spill_asked);
    setenv("RAYMPI_SPILL_DIR", "", 1);
    CU_ASSERT_EQUAL_FATAL(base_config_read(&config), RAYMPI_OK);
    CU_ASSERT_STRING_EQUAL(config.spill_folders, "");
    unsetenv("RAYMPI_SPILL_DIR");
    unsetenv("TMPDIR");
}

static void test_values(void)
{
    struct base_config config;
    CU_ASSERT_EQUAL(read_with("RAYMPI_WORKERS", "3", &config), RAYMPI_OK);
    CU_ASSERT_EQUAL(config.workers, 3);
    CU_ASSERT_EQUAL(read_with("RAYMPI_STACK_BYTES", "64K", &config), RAYMPI_OK);
    CU_ASSERT_EQUAL(config.stack_bytes, 65536);
    CU_ASSERT_EQUAL(read_with("RAYMPI_STORE_BYTES", "2g", &config), RAYMPI_OK);
    CU_ASSERT_EQUAL(config.store_bytes, UINT64_C(2) << 30);
    CU_ASSERT_EQUAL(read_with("RAYMPI_STORE_BYTES", "1048577", &config), RAYMPI_OK);
    CU_ASSERT_EQUAL(config.store_bytes, 1048577);
    CU_ASSERT_EQUAL(read_with("RAYMPI_WATCHDOG", "0.25", &config), RAYMPI_OK);
    CU_ASSERT_EQUAL(config.watchdog, 0.25);
    CU_ASSERT_EQUAL(read_with("RAYMPI_TRACE", "out.json", &config), RAYMPI_OK);
    CU_ASSERT_PTR_NOT_NULL(config.trace_file);
    CU_ASSERT_EQUAL(read_with("RAYMPI_TRACE", "", &config), RAYMPI_OK);
    CU_ASSERT_PTR_NULL(config.trace_file);
}

static void test_words(void)
{
    struct base_config config;
    static const char *const yes[] = {"1", "on", "YES", "true"}, *const no[] = {"0", "off", "no", "False"};
    static const char *const levels[] = {"error", "WARN", "info", "3"};
    static const char *const nets[] = {"auto", "ofi", "MPI"}; /* by enum base_net */
    static const char *const fetches[] = {"auto", "RMA", "ofi", "pull"};
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(read_with("RAYMPI_STATS", yes[i], &config), RAYMPI_OK);
        CU_ASSERT_EQUAL(config.stats, 1);
        CU_ASSERT_EQUAL(read_with("RAYMPI_LEAKS", no[i], &config), RAYMPI_OK);
        CU_ASSERT_EQUAL(config.leaks, 0);
        CU_ASSERT_EQUAL(read_with("RAYMPI_LOG", levels[i], &config), RAYMPI_OK);
        CU_ASSERT_EQUAL(config.log_level, i);
        CU_ASSERT_EQUAL(atomic_load(&base_log_threshold), i);
        CU_ASSERT_EQUAL(read_with("RAYMPI_FETCH", fetches[i], &config), RAYMPI_OK);
        CU_ASSERT_EQUAL(config.fetch, i);
    }
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(read_with("RAYMPI_NET", nets[i], &config), RAYMPI_OK);
        CU_ASSERT_EQUAL(config.net, i);
    }
}

static void test_malformed(void)
{
    static const struct {
        const char *name, *value, *allowed;
    } bad[] = {
        {"RAYMPI_WORKERS", "-1", "0 to 256"},
        {"RAYMPI_WORKERS", "257", "0 to 256"},
        {"RAYMPI_WORKERS", "two", "0 to 256"},
        {"RAYMPI_WORKERS", "2k", "0 to 256"},
        {"RAYMPI_WORKERS", "", "0 to 256"},
        {"RAYMPI_WORKERS", " 2", "0 to 256"},
        {"RAYMPI_STACK_BYTES", "16k", "32k to 1g"},
        {"RAYMPI_STACK_BYTES", "64kb", "32k to 1g"},
        {"RAYMPI_STACK_BYTES", "64q", "32k to 1g"},
        {"RAYMPI_STORE_BYTES", "99999999999999999999", "0 to 65536g"},
        {"RAYMPI_STORE_BYTES", "18446744073709551615k", "0 to 65536g"},
        {"RAYMPI_INLINE_BYTES", "4k", "0 to 2k"},
        {"RAYMPI_BACKLOG", "63", "64 to 4194304"},
        {"RAYMPI_WATCHDOG", "-1", "0 to 1000000000"},
        {"RAYMPI_WATCHDOG", "inf", "0 to 1000000000"},
        {"RAYMPI_WATCHDOG", "1.2.3", "0 to 1000000000"},
        {"RAYMPI_WATCHDOG", ".", "0 to 1000000000"},
        {"RAYMPI_SPIN_US", "-2", "-1 to 1000000"},
        {"RAYMPI_TRACE_EVENTS", "63", "64 to 16777216"},
        {"RAYMPI_STATS", "2", "on, off"},
        {"RAYMPI_LOG", "loud", "error, warn, info, debug"},
        {"RAYMPI_LOG", "4", "error, warn, info, debug"},
        {"RAYMPI_NET", "tcp", "auto, ofi, mpi"},
        {"RAYMPI_FETCH", "push", "auto, rma, ofi, pull"},
        {"RAYMPI_CONNECT_TIMEOUT", "0", "0.1 to 1000000"},
        {"RAYMPI_HOST_TIMEOUT", "-1", "0 to 1000000"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct base_config config = {.workers = 77};
        char assignment[128];
        snprintf(assignment, sizeof assignment, "%s=%s:", bad[i].name, bad[i].value);
        CU_ASSERT_EQUAL(read_with(bad[i].name, bad[i].value, &config), RAYMPI_ERR_CONFIG);
        CU_ASSERT_EQUAL(config.workers, 77);
        CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), assignment));
        CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), bad[i].allowed));
    }
}

static void test_unknown_names(void)
{
    static const char *const typed[][2] = {{"RAYMPI_WORKER", "RAYMPI_WORKERS"},
                                           {"RAYMPI_STACKBYTE", "RAYMPI_STACK_BYTES"},
                                           {"RAYMPI_STAT", "RAYMPI_STATS"},
                                           {"RAYMPI_TRACES", "RAYMPI_TRACE"},
                                           {"RAYMPI_WACHTDOG", "RAYMPI_WATCHDOG"}};
    struct base_config config;
    for (size_t i = 0; i < sizeof typed / sizeof typed[0]; i++) {
        char offer[64];
        snprintf(offer, sizeof offer, "use %s, or unset it", typed[i][1]);
        CU_ASSERT_EQUAL(read_with(typed[i][0], "1", &config), RAYMPI_ERR_CONFIG);
        CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), typed[i][0]));
        CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), offer));
    }
    CU_ASSERT_EQUAL(read_with("RAYMPI_", "1", &config), RAYMPI_ERR_CONFIG);
    CU_ASSERT_EQUAL(read_with("RAYMPIRUN_X", "1", &config), RAYMPI_OK);
    CU_ASSERT_EQUAL(read_with("RAYMPI_TEST_RANKS", "1", &config), RAYMPI_OK);
}

static void test_edit_distance(void)
{
    CU_ASSERT_EQUAL(base_edit_distance("", ""), 0);
    CU_ASSERT_EQUAL(base_edit_distance("abc", ""), 3);
    CU_ASSERT_EQUAL(base_edit_distance("", "abc"), 3);
    CU_ASSERT_EQUAL(base_edit_distance("kitten", "sitting"), 3);
    CU_ASSERT_EQUAL(base_edit_distance("saturday", "sunday"), 3);
}

static void test_common(void)
{
    struct base_config config;
    char first[512], second[512], cut[16];
    CU_ASSERT_EQUAL(read_with("RAYMPI_LOG", "debug", &config), RAYMPI_OK);
    base_config_common(&config, first, sizeof first);
    CU_ASSERT_EQUAL(read_with("RAYMPI_LOG", "error", &config), RAYMPI_OK);
    base_config_common(&config, second, sizeof second);
    CU_ASSERT_STRING_EQUAL(first, second);
    CU_ASSERT_EQUAL(read_with("RAYMPI_INLINE_BYTES", "1k", &config), RAYMPI_OK);
    base_config_common(&config, second, sizeof second);
    CU_ASSERT_STRING_NOT_EQUAL(first, second);
    CU_ASSERT_PTR_NOT_NULL(strstr(second, "RAYMPI_INLINE_BYTES=1k"));
    CU_ASSERT_PTR_NOT_NULL(strstr(second, "1k\nRAYMPI_NET=")); /* one a line, in the order of the table */
    base_config_common(&config, cut, sizeof cut);
    CU_ASSERT_EQUAL(strlen(cut), sizeof cut - 1);
}

static void count_row(void *arg, const char *name, const char *value, const char *fallback,
                      const char *origin, const char *help)
{
    int *rows = arg;
    CU_ASSERT_STRING_EQUAL(name, names[*rows]);
    CU_ASSERT_TRUE(strlen(help) > 10);
    if (strcmp(name, "RAYMPI_STACK_BYTES") == 0) {
        CU_ASSERT_STRING_EQUAL(value, "1m");
        CU_ASSERT_STRING_EQUAL(origin, "environment");
    } else {
        CU_ASSERT_STRING_EQUAL(value, fallback);
        CU_ASSERT_STRING_EQUAL(origin, "default");
    }
    ++*rows;
}

static void test_each(void)
{
    struct base_config config;
    int rows = 0;
    clear();
    setenv("RAYMPI_STACK_BYTES", "1024k", 1);
    CU_ASSERT_EQUAL_FATAL(base_config_read(&config), RAYMPI_OK);
    base_config_each(&config, count_row, &rows);
    CU_ASSERT_EQUAL(rows, (int)NAMES);
    clear();
}

static const struct unit_test tests[] = {
    {"defaults", test_defaults},
    {"folders for spilling", test_folders},
    {"values and suffixes", test_values},
    {"words for booleans and levels", test_words},
    {"a malformed value is named with what is allowed", test_malformed},
    {"an unknown variable is an error that offers the nearest", test_unknown_names},
    {"edit distance", test_edit_distance},
    {"settings that ranks must share", test_common},
    {"every variable is listed", test_each},
};

int main(void)
{
    return UNIT_MAIN("base: configuration", tests);
}
