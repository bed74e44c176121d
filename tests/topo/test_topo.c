#include "../unit.h"

#include "topo/topo_internal.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

static struct topo *synthetic(const char *description, const char *allowed)
{
    struct topo *topo = NULL;
    CU_ASSERT_EQUAL_FATAL(topo_open_synthetic(&topo, description, allowed), RAYMPI_OK);
    return topo;
}

static int cores_of(const char *description, const char *allowed)
{
    struct topo *topo = synthetic(description, allowed);
    int cores = topo_allowed_cores(topo);
    topo_close(topo);
    return cores;
}

static void test_cores(void)
{
    CU_ASSERT_EQUAL(cores_of("numa:2 core:4 pu:2", NULL), 8);
    CU_ASSERT_EQUAL(cores_of("numa:2 core:4 pu:2", "0-3"), 2);     /* two cores with both their threads */
    CU_ASSERT_EQUAL(cores_of("numa:2 core:4 pu:2", "0,2,4,6"), 4); /* one thread of each */
    CU_ASSERT_EQUAL(cores_of("numa:2 core:4 pu:2", "5"), 1);
    CU_ASSERT_EQUAL(cores_of("pu:6", NULL), 6);                   /* no cores shown */
    CU_ASSERT_EQUAL(cores_of("core:2 pu:1", "100"), 2);           /* a cpu that is not there */
    CU_ASSERT_EQUAL(cores_of("numa:128 core:2 pu:1", NULL), 256); /* more than a word of bits */
}

static void test_numa(void)
{
    struct topo *topo = synthetic("numa:2 core:4 pu:2", NULL);
    CU_ASSERT_EQUAL(topo_numa_nodes(topo), 2);
    topo_close(topo);
    topo = synthetic("numa:2 core:4 pu:2", "0-7");
    CU_ASSERT_EQUAL(topo_numa_nodes(topo), 1);
    topo_close(topo);
}

static void test_key(void)
{
    struct topo *all = synthetic("numa:2 core:4 pu:2", NULL), *same = synthetic("core:16 pu:1", NULL);
    struct topo *half = synthetic("numa:2 core:4 pu:2", "0-7"),
                *other = synthetic("numa:2 core:4 pu:2", "8-15");
    CU_ASSERT_EQUAL(topo_cpuset_key(all), topo_cpuset_key(same));
    CU_ASSERT_NOT_EQUAL(topo_cpuset_key(all), topo_cpuset_key(half));
    CU_ASSERT_NOT_EQUAL(topo_cpuset_key(half), topo_cpuset_key(other));
    topo_close(all);
    topo_close(same);
    topo_close(half);
    topo_close(other);
}

static void test_workers(void)
{
    CU_ASSERT_EQUAL(topo_workers_default(8, 1), 8);
    CU_ASSERT_EQUAL(topo_workers_default(8, 3), 2);
    CU_ASSERT_EQUAL(topo_workers_default(2, 16), 1);
    CU_ASSERT_EQUAL(topo_workers_default(0, 0), 1);
}

static void test_shares(void)
{
    char list[64];
    struct topo *topo = synthetic("numa:2 core:4 pu:2", "0-9"); /* five cores */
    static const char *const shares[] = {"0-3", "4-9"};
    for (int worker = 0; worker < 2; worker++) {
        CU_ASSERT_TRUE(topo_worker_cpus(topo, worker, 2, list, sizeof list));
        CU_ASSERT_STRING_EQUAL(list, shares[worker]);
    }
    CU_ASSERT_TRUE(topo_worker_cpus(topo, 4, 5, list, sizeof list));
    CU_ASSERT_STRING_EQUAL(list, "8-9");
    CU_ASSERT_FALSE(topo_worker_cpus(topo, 5, 6, list, sizeof list)); /* more workers than cores */
    CU_ASSERT_STRING_EQUAL(list, "");
    CU_ASSERT_FALSE(topo_worker_cpus(topo, 2, 2, list, sizeof list));
    CU_ASSERT_FALSE(topo_worker_cpus(topo, -1, 2, list, sizeof list));
    CU_ASSERT_EQUAL(topo_bind_worker(topo, 1, 2), RAYMPI_OK); /* not this machine: nothing */
    topo_close(topo);
    topo = synthetic("numa:2 core:4 pu:2", NULL);
    CU_ASSERT_FALSE(topo_worker_cpus(topo, 0, 2, list, sizeof list)); /* a process that nobody bound */
    topo_close(topo);
    topo = synthetic("numa:2 core:4 pu:2", "1,3,5");
    CU_ASSERT_TRUE(topo_worker_cpus(topo, 1, 3, list, sizeof list));
    CU_ASSERT_STRING_EQUAL(list, "3"); /* never a cpu that is not allowed */
    topo_close(topo);
}

static void test_description(void)
{
    struct topo *topo = synthetic("numa:2 core:4 pu:2", "0-3");
    CU_ASSERT_STRING_EQUAL(topo_describe(topo), "2 cores, 4 hardware threads, 1 NUMA node, cpus 0-3, bound");
    topo_close(topo);
    topo = synthetic("core:1 pu:1", NULL);
    CU_ASSERT_STRING_EQUAL(topo_describe(topo), "1 core, 1 hardware thread, 1 NUMA node, cpus 0, not bound");
    topo_close(topo);
}

static void test_malformed(void)
{
    struct topo *topo = NULL;
    CU_ASSERT_EQUAL(topo_open_synthetic(&topo, "core:many", NULL), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_EQUAL(topo_open_xml(&topo, "/nonexistent.xml", NULL), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_PTR_NULL(topo);
    topo_close(NULL);
}

static void test_xml(void)
{
    char file[] = "/tmp/raympi-topo-XXXXXX";
    int fd = mkstemp(file);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    close(fd);
    struct topo *made = synthetic("package:2 numa:2 core:8 pu:2", NULL), *read = NULL;
    CU_ASSERT_EQUAL_FATAL(hwloc_topology_export_xml(made->hwloc, file, 0), 0);
    CU_ASSERT_EQUAL_FATAL(topo_open_xml(&read, file, NULL), RAYMPI_OK);
    CU_ASSERT_STRING_EQUAL(topo_describe(read), topo_describe(made));
    CU_ASSERT_EQUAL(topo_allowed_cores(read), 32);
    topo_close(made);
    topo_close(read);
    unlink(file);
}

struct binding {
    struct topo *topo;
    int status, before, after;
};

static void *bind_thread(void *arg)
{
    struct binding *binding = arg;
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    binding->before = CPU_COUNT(&cpus);
    binding->status = topo_bind_worker(binding->topo, 1, 2);
    sched_getaffinity(0, sizeof cpus, &cpus);
    binding->after = CPU_COUNT(&cpus);
    return NULL;
}

static struct binding bind_worker(struct topo *topo)
{
    struct binding binding = {.topo = topo, .status = -1};
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, bind_thread, &binding), 0);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(binding.status, RAYMPI_OK);
    return binding;
}

static void test_this_machine(void)
{
    struct topo *topo = NULL;
    CU_ASSERT_EQUAL_FATAL(topo_open(&topo), RAYMPI_OK);
    CU_ASSERT_TRUE(topo_allowed_cores(topo) >= 1);
    CU_ASSERT_TRUE(topo_allowed_cores(topo) <= sysconf(_SC_NPROCESSORS_CONF));
    struct binding binding;
    topo->bound = false;
    binding = bind_worker(topo);
    CU_ASSERT_EQUAL(binding.after, binding.before);
    topo->bound = true; /* as if the launcher had bound us to just these cores */
    binding = bind_worker(topo);
    if (topo_allowed_cores(topo) >= 2)
        CU_ASSERT_TRUE(binding.after < binding.before);
    topo_close(topo);
}

static const struct unit_test tests[] = {
    {"allowed cores", test_cores},
    {"NUMA nodes", test_numa},
    {"key of the allowed cpus", test_key},
    {"default number of workers", test_workers},
    {"shares of workers", test_shares},
    {"description", test_description},
    {"malformed topologies", test_malformed},
    {"topology from XML", test_xml},
    {"this machine, binding a thread", test_this_machine},
};

int main(void)
{
    return UNIT_MAIN("topo", tests);
}
