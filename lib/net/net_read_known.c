/* What is known of reads towards a rank that dies. By measurement: tests/hosts/rma-death, which prints such
 * rows; what is not here is unknown, and not taken without being asked for by name. By none of them a read
 * ends by itself when its target's host is cut off: then what the net knows of silent hosts
 * (RAYMPI_HOST_TIMEOUT) ends it. */
#include "net/net_read.h"

#include <stdio.h>
#include <string.h>

static const struct known {
    enum net_read_way way;
    const char *name; /* as net_reads_name() gives it */
    bool ends;        /* with an error, soon, when its target is killed */
} known[] = {
    {NET_READ_OFI, "net 1.17", true}, /* all four: after 40 to 90 ms, sockets up to 300 */
    {NET_READ_OFI, "tcp;ofi_rxm 1.17", true},
    {NET_READ_OFI, "net;ofi_rxm 1.17", true},
    {NET_READ_OFI, "sockets 1.17", true},
    {NET_READ_RMA, "Open MPI v4.1.4", false}, /* osc pt2pt over TCP: never */
    /* udp;ofi_rxd 1.17 carries no messages of ours: it has no descriptor to sleep on. */
};

void net_reads_name(const struct net *net, enum net_read_way way, char *text, size_t size)
{
    if (way == NET_READ_RMA)
        net_reads_name_rma(text, size);
    else
        net_reads_name_ofi(net, text, size);
}

bool net_reads_end(const struct net *net, enum net_read_way way)
{
    char name[128];
    net_reads_name(net, way, name, sizeof name);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].way == way && strcmp(known[i].name, name) == 0)
            return known[i].ends;
    return false;
}
