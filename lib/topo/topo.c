/* Cores of a rank and shares of its workers. A "cpu" is a hardware thread, numbered as the system does. */
#include "topo/topo_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** The next object of a type that has a cpu among the allowed ones; the first for NULL. */
static hwloc_obj_t topo_next(const struct topo *topo, hwloc_obj_type_t type, hwloc_obj_t object)
{
    do {
        object = hwloc_get_next_obj_by_type(topo->hwloc, type, object);
    } while (object != NULL && !hwloc_bitmap_intersects(object->cpuset, topo->allowed));
    return object;
}

static int topo_count(const struct topo *topo, hwloc_obj_type_t type)
{
    int count = 0;
    for (hwloc_obj_t object = topo_next(topo, type, NULL); object != NULL;
         object = topo_next(topo, type, object))
        count++;
    return count;
}

/** Some virtual machines show hardware threads only; each is a core then. */
static hwloc_obj_type_t topo_core_type(const struct topo *topo)
{
    return topo_count(topo, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
}

static int at_least_one(int count)
{
    return count > 1 ? count : 1;
}

static void topo_text_make(struct topo *topo)
{
    char cpus[128];
    int threads = hwloc_bitmap_weight(topo->allowed);
    hwloc_bitmap_list_snprintf(cpus, sizeof cpus, topo->allowed);
    snprintf(topo->text, sizeof topo->text, "%d core%s, %d hardware thread%s, %d NUMA node%s, cpus %s, %s",
             topo->cores, topo->cores == 1 ? "" : "s", threads, threads == 1 ? "" : "s", topo->numa_nodes,
             topo->numa_nodes == 1 ? "" : "s", cpus, topo->bound ? "bound" : "not bound");
}

/** What follows from the topology and the allowed cpus. */
static void topo_derive(struct topo *topo)
{
    hwloc_const_bitmap_t machine = hwloc_topology_get_topology_cpuset(topo->hwloc);
    /* Cpus that the topology does not show (offline, not ours) are of no use. */
    hwloc_bitmap_and(topo->allowed, topo->allowed, machine);
    if (hwloc_bitmap_iszero(topo->allowed))
        hwloc_bitmap_copy(topo->allowed, machine);
    topo->bound = !hwloc_bitmap_isequal(topo->allowed, machine);
    topo->cores = at_least_one(topo_count(topo, topo_core_type(topo)));
    topo->numa_nodes = at_least_one(topo_count(topo, HWLOC_OBJ_NUMANODE));
    topo_text_make(topo);
}

static int topo_new(struct topo **topo)
{
    *topo = calloc(1, sizeof **topo);
    if (*topo == NULL)
        goto fail;
    (*topo)->allowed = hwloc_bitmap_alloc_full();
    if ((*topo)->allowed == NULL)
        goto release;
    if (hwloc_topology_init(&(*topo)->hwloc) != 0)
        goto free_bitmap;
    return RAYMPI_OK;

free_bitmap:
    hwloc_bitmap_free((*topo)->allowed);
release:
    free(*topo);
fail:
    return base_fail(RAYMPI_ERR_MEMORY, "no memory for the topology");
}

void topo_close(struct topo *topo)
{
    if (topo == NULL)
        return;
    hwloc_topology_destroy(topo->hwloc);
    hwloc_bitmap_free(topo->allowed);
    free(topo);
}

int topo_open(struct topo **topo)
{
    struct topo *opened;
    int status = topo_new(&opened);
    if (status != RAYMPI_OK)
        return status;
    if (hwloc_topology_load(opened->hwloc) != 0) {
        status = base_fail(RAYMPI_ERR_MEMORY, "hwloc can not read the topology: %s", strerror(errno));
        topo_close(opened);
        return status;
    }
    /* On failure the set stays full: not bound. */
    hwloc_get_cpubind(opened->hwloc, opened->allowed, HWLOC_CPUBIND_PROCESS);
    topo_derive(opened);
    *topo = opened;
    return RAYMPI_OK;
}

/** Ends the opening of a topology that is not this machine's; set_result is what hwloc said to its source. */
static int topo_open_foreign(struct topo **topo, struct topo *opened, int set_result, const char *source,
                             const char *allowed)
{
    if (set_result == 0 && hwloc_topology_load(opened->hwloc) == 0 &&
        (allowed == NULL || hwloc_bitmap_list_sscanf(opened->allowed, allowed) == 0)) {
        topo_derive(opened);
        *topo = opened;
        return RAYMPI_OK;
    }
    topo_close(opened);
    return base_fail(RAYMPI_ERR_ARGUMENT, "hwloc can not make a topology of \"%s\" with cpus %s", source,
                     allowed != NULL ? allowed : "all");
}

int topo_open_synthetic(struct topo **topo, const char *description, const char *allowed)
{
    struct topo *opened;
    int status = topo_new(&opened);
    if (status != RAYMPI_OK)
        return status;
    int result = hwloc_topology_set_synthetic(opened->hwloc, description);
    return topo_open_foreign(topo, opened, result, description, allowed);
}

int topo_open_xml(struct topo **topo, const char *file, const char *allowed)
{
    struct topo *opened;
    int status = topo_new(&opened);
    if (status != RAYMPI_OK)
        return status;
    int result = hwloc_topology_set_xml(opened->hwloc, file);
    return topo_open_foreign(topo, opened, result, file, allowed);
}

int topo_allowed_cores(const struct topo *topo)
{
    return topo->cores;
}

int topo_numa_nodes(const struct topo *topo)
{
    return topo->numa_nodes;
}

uint64_t topo_cpuset_key(const struct topo *topo)
{
    uint64_t key = 1;
    int cpu = -1;
    while ((cpu = hwloc_bitmap_next(topo->allowed, cpu)) >= 0)
        key = base_mix(key + (uint64_t)cpu + 1);
    return key;
}

int topo_workers_default(int allowed_cores, int sharing_ranks)
{
    return at_least_one(allowed_cores / at_least_one(sharing_ranks));
}

const char *topo_describe(const struct topo *topo)
{
    return topo->text;
}

/** Adds the share of a worker to the empty set `cpus`; false where workers are not bound. */
static bool topo_share(const struct topo *topo, int worker, int workers, hwloc_bitmap_t cpus)
{
    if (!topo->bound || worker < 0 || worker >= workers || workers > topo->cores)
        return false;
    int first = (int)((int64_t)topo->cores * worker / workers);
    int last = (int)((int64_t)topo->cores * (worker + 1) / workers);
    hwloc_obj_type_t type = topo_core_type(topo);
    hwloc_obj_t core = topo_next(topo, type, NULL);
    for (int i = 0; i < last && core != NULL; i++, core = topo_next(topo, type, core))
        if (i >= first)
            hwloc_bitmap_or(cpus, cpus, core->cpuset);
    hwloc_bitmap_and(cpus, cpus, topo->allowed);
    return !hwloc_bitmap_iszero(cpus);
}

bool topo_worker_cpus(const struct topo *topo, int worker, int workers, char *list, size_t size)
{
    hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
    bool shared = cpus != NULL && topo_share(topo, worker, workers, cpus);
    if (shared)
        hwloc_bitmap_list_snprintf(list, size, cpus);
    else if (size > 0)
        list[0] = '\0';
    hwloc_bitmap_free(cpus);
    return shared;
}

int topo_bind_worker(const struct topo *topo, int worker, int workers)
{
    int status = RAYMPI_OK;
    if (worker == 0 || !hwloc_topology_is_thissystem(topo->hwloc))
        return status;
    hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
    if (cpus == NULL)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory to bind worker %d", worker);
    if (topo_share(topo, worker, workers, cpus) &&
        hwloc_set_cpubind(topo->hwloc, cpus, HWLOC_CPUBIND_THREAD) != 0)
        status =
            base_fail(RAYMPI_ERR_MEMORY, "can not bind worker %d to its cores: %s", worker, strerror(errno));
    hwloc_bitmap_free(cpus);
    return status;
}
