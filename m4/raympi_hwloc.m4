# RAYMPI_HWLOC: hwloc, which tells cores, NUMA nodes and what the launcher allows us to use.
AC_DEFUN([RAYMPI_HWLOC], [
RAYMPI_WITH_LIBRARY([hwloc], [HWLOC], [hwloc], [hwloc.h],
    [[hwloc_topology_t t; return hwloc_topology_init(&t);]], [-lhwloc], [libhwloc-dev], [required])
])
