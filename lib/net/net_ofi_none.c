/* In place of the libfabric driver where this was built without it. */
#include "net/net_read.h"

#include <stdio.h>

int net_ofi_open(struct net *net, const struct net_gather *gather, const struct net_ofi_options *options)
{
    (void)net;
    (void)gather;
    (void)options;
    return base_fail(
        RAYMPI_ERR_UNSUPPORTED,
        "raympi was built without libfabric: install it and libsodium (on Debian and Ubuntu: apt-get install "
        "libfabric-dev libsodium-dev), then configure and build again, or use RAYMPI_NET=mpi");
}

int net_ofi_reads_open(struct net *net, const struct base_segment *segment, const struct net_gather *gather)
{
    (void)net;
    (void)segment;
    (void)gather;
    return base_fail(RAYMPI_ERR_UNSUPPORTED, "raympi was built without libfabric");
}

void net_reads_name_ofi(const struct net *net, char *text, size_t size)
{
    (void)net;
    snprintf(text, size, "none");
}
