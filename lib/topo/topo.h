/* The machine below a rank, by hwloc: which cores it may use, and where its workers go. */
#ifndef RAYMPI_TOPO_H
#define RAYMPI_TOPO_H

#include "base/base.h"

struct topo;

/** Reads the topology of this machine and the binding of this process. MEMORY when hwloc fails. */
int topo_open(struct topo **topo);
/** A made-up machine in hwloc's synthetic notation ("numa:2 core:4 pu:2"), whose process may use the cpus of
 * the list `allowed` ("0-3,6"; NULL: all). Binding a thread does nothing there. ARGUMENT for a malformed
 * description. */
int topo_open_synthetic(struct topo **topo, const char *description, const char *allowed);
/** The same from a file written by `lstopo file.xml`. ARGUMENT when it can not be read. */
int topo_open_xml(struct topo **topo, const char *file, const char *allowed);
void topo_close(struct topo *topo);

/** Cores (not hardware threads) of which the process may use at least one thread; at least 1. */
int topo_allowed_cores(const struct topo *topo);
/** NUMA nodes that the allowed cores belong to; at least 1. */
int topo_numa_nodes(const struct topo *topo);
/** A hash of the allowed cpus. Ranks of a host with equal keys share their cores; ranks whose sets only
 * overlap are not seen as sharing. */
uint64_t topo_cpuset_key(const struct topo *topo);
/** max(1, cores / ranks that share them). */
int topo_workers_default(int allowed_cores, int sharing_ranks);

/** The cpus of worker `worker` of `workers`, as a list ("0-1,4"): neighbouring cores, evenly divided. False
 * (and an empty list) where workers are not bound: more workers than cores, or a process that is not bound
 * itself. */
bool topo_worker_cpus(const struct topo *topo, int worker, int workers, char *list, size_t size);
/**
 * Binds the calling thread to its share of the allowed cpus, where there is one: see topo_worker_cpus(). A
 * process that nobody bound may share the machine with others, whom the kernel's scheduler knows better than
 * we do. Worker 0 is never bound: it is the program's main thread, and threads that the program makes there
 * inherit its binding. RAYMPI_OK also when nothing was to be done; MEMORY when the system refuses.
 */
int topo_bind_worker(const struct topo *topo, int worker, int workers);

/** One line for people, e.g. "2 cores, 4 hardware threads, 1 NUMA node, cpus 0-3, not bound"; lives as long
 * as topo. */
const char *topo_describe(const struct topo *topo);

#endif
