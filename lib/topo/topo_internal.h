/* What topo.c and its tests share. */
#ifndef RAYMPI_TOPO_INTERNAL_H
#define RAYMPI_TOPO_INTERNAL_H

#include "topo/topo.h"

#include <hwloc.h>

struct topo {
    hwloc_topology_t hwloc;
    hwloc_bitmap_t allowed; /* cpus the process may use */
    bool bound;             /* they are not all cpus of the machine */
    int cores;
    int numa_nodes;
    char text[256];
};

#endif
