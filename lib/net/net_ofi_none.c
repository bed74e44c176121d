/* In place of the libfabric driver where this was built without it. */
#include "net/net.h"

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
