/* What is known of reads towards a rank that dies. By measurement: tests/hosts/rma-death, which prints such
 * rows; what is not here is unknown, and not taken without being asked for by name. */
#include "net/net_read.h"

#include <stdio.h>
#include <string.h>

static const struct known {
    enum net_read_way way;
    const char *name; /* as net_reads_name() gives it */
    bool ends;        /* with an error, when its target is killed or its host is cut off */
} known[] = {
    {NET_READ_RMA, "Open MPI v4.1.4", false},
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
