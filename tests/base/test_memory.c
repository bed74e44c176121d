#include "../unit.h"

#include "base/base_internal.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char meminfo[] = "MemTotal:        8000000 kB\n"
                              "MemFree:          100000 kB\n"
                              "MemAvailable:    5000000 kB\n"
                              "SwapFree:              0 kB\n";

static void test_meminfo(void)
{
    CU_ASSERT_EQUAL(base_meminfo_bytes(meminfo, "MemAvailable"), UINT64_C(5000000) * 1024);
    CU_ASSERT_EQUAL(base_meminfo_bytes(meminfo, "SwapFree"), 0);
    CU_ASSERT_EQUAL(base_meminfo_bytes(meminfo, "MemAvail"), UINT64_MAX);
    CU_ASSERT_EQUAL(base_meminfo_bytes("", "MemAvailable"), UINT64_MAX);
    CU_ASSERT_EQUAL(base_meminfo_bytes("MemAvailable: lots", "MemAvailable"), UINT64_MAX);
}

static void test_numbers(void)
{
    uint64_t number = 1;
    CU_ASSERT_TRUE(base_cgroup_number("max\n", &number));
    CU_ASSERT_EQUAL(number, UINT64_MAX);
    CU_ASSERT_TRUE(base_cgroup_number("4096\n", &number));
    CU_ASSERT_EQUAL(number, 4096);
    CU_ASSERT_FALSE(base_cgroup_number("", &number));
    CU_ASSERT_FALSE(base_cgroup_number("-1\n", &number));
    CU_ASSERT_FALSE(base_cgroup_number("12 34\n", &number));
    CU_ASSERT_FALSE(base_cgroup_number("maximum\n", &number));
    CU_ASSERT_FALSE(base_cgroup_number("99999999999999999999999\n", &number));
    CU_ASSERT_EQUAL(number, 4096);
    CU_ASSERT_EQUAL(base_cgroup_stat("anon 1\ninactive_file 70\n", "inactive_file"), 70);
    CU_ASSERT_EQUAL(base_cgroup_stat("total_inactive_file 70\n", "inactive_file"), 0);
}

static void test_paths(void)
{
    static const char hybrid[] = "9:name=systemd:/\n5:cpu,memory,io:/batch/job_7\n0::/user.slice\n";
    char path[64], tiny[4];
    CU_ASSERT_TRUE(base_cgroup_path(hybrid, "memory", path, sizeof path));
    CU_ASSERT_STRING_EQUAL(path, "/batch/job_7");
    CU_ASSERT_TRUE(base_cgroup_path(hybrid, "", path, sizeof path));
    CU_ASSERT_STRING_EQUAL(path, "/user.slice");
    CU_ASSERT_TRUE(base_cgroup_path("0::/a:b", "", path, sizeof path));
    CU_ASSERT_STRING_EQUAL(path, "/a:b");
    CU_ASSERT_FALSE(base_cgroup_path(hybrid, "mem", path, sizeof path));
    CU_ASSERT_FALSE(base_cgroup_path(hybrid, "memory", tiny, sizeof tiny));
    CU_ASSERT_FALSE(base_cgroup_path("", "memory", path, sizeof path));
    CU_ASSERT_FALSE(base_cgroup_path("nonsense\n::\n", "memory", path, sizeof path));
}

/* ---- a made-up machine in a temporary folder */

static char root[64];

static void put(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *slash = strchr(full + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
}

static uint64_t available(void)
{
    char proc[128], cgroup[128];
    struct base_memory_roots roots = {proc, cgroup, "/dev/shm"};
    snprintf(proc, sizeof proc, "%s/proc", root);
    snprintf(cgroup, sizeof cgroup, "%s/cgroup", root);
    return base_memory_available_in(&roots);
}

static void machine_make(const char *membership)
{
    snprintf(root, sizeof root, "/tmp/raympi-memory-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(root));
    put("proc/meminfo", "MemAvailable:    3 kB\n");
    put("proc/self/cgroup", membership);
}

static void machine_remove(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", root);
    CU_ASSERT_EQUAL(system(command), 0);
}

static void test_least_of_all(void)
{
    machine_make("0::/job/step\n");
    CU_ASSERT_EQUAL(available(), 3072); /* no cgroup says anything: the host's memory */
    put("cgroup/job/step/memory.max", "max\n");
    put("cgroup/job/step/memory.current", "1\n");
    CU_ASSERT_EQUAL(available(), 3072);
    put("cgroup/job/memory.max", "2000\n"); /* the parent limits */
    put("cgroup/job/memory.current", "1500\n");
    CU_ASSERT_EQUAL(available(), 500);
    put("cgroup/job/memory.stat", "anon 1000\ninactive_file 300\n");
    CU_ASSERT_EQUAL(available(), 800);
    put("cgroup/job/step/memory.max", "5\n");
    CU_ASSERT_EQUAL(available(), 4);
    put("cgroup/job/step/memory.current", "9\n");
    CU_ASSERT_EQUAL(available(), 0);
    machine_remove();
}

static void test_container(void)
{
    machine_make("0::/on/the/host/only\n");
    put("cgroup/memory.max", "1000\n"); /* the container's own cgroup is the root of its mount */
    put("cgroup/memory.current", "400\n");
    CU_ASSERT_EQUAL(available(), 600);
    machine_remove();
}

static void test_version_one(void)
{
    machine_make("4:memory:/job\n0::/\n");
    put("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("cgroup/memory/memory.usage_in_bytes", "123\n");
    CU_ASSERT_EQUAL(available(), 3072);
    put("cgroup/memory/job/memory.limit_in_bytes", "700\n");
    put("cgroup/memory/job/memory.usage_in_bytes", "300\n");
    put("cgroup/memory/job/memory.stat", "inactive_file 1\ntotal_inactive_file 50\n");
    CU_ASSERT_EQUAL(available(), 450);
    machine_remove();
}

static void test_real_machine(void)
{
    uint64_t bytes = base_memory_available();
    CU_ASSERT_TRUE(bytes > 0);
    CU_ASSERT_TRUE(bytes < UINT64_MAX);
    CU_ASSERT_TRUE(base_shm_available() > 0);
    struct base_memory_roots nowhere = {"/nonexistent", "/nonexistent", "/nonexistent"};
    CU_ASSERT_EQUAL(base_memory_available_in(&nowhere), 0);
}

static const struct unit_test tests[] = {
    {"meminfo", test_meminfo},
    {"numbers of cgroup files", test_numbers},
    {"cgroup of the process", test_paths},
    {"the least of host, cgroup and its parents", test_least_of_all},
    {"a container sees its cgroup as root", test_container},
    {"cgroup version 1", test_version_one},
    {"this machine", test_real_machine},
};

int main(void)
{
    return UNIT_MAIN("base: available memory", tests);
}
