/* One-sided reads that the test answers itself, where it wants such. Link with -Wl,--wrap=net_reads,
 * --wrap=net_read, --wrap=net_read_serve. */
#ifndef TESTS_TASK_FAR_READS_H
#define TESTS_TASK_FAR_READS_H

#include "../unit.h"
#include "net/net.h"

static bool one_sided;
static struct net_read *reading; /* what is read so, by the test */

enum net_read_way __wrap_net_reads(const struct net *net);
void __wrap_net_read(struct net *net, struct net_read *read);
void __wrap_net_read_serve(struct net *net, int change);

enum net_read_way __wrap_net_reads(const struct net *net)
{
    (void)net;
    return one_sided ? NET_READ_RMA : NET_READ_NONE;
}

void __wrap_net_read(struct net *net, struct net_read *read)
{
    (void)net;
    CU_ASSERT_PTR_NULL_FATAL(reading);
    reading = read;
}

void __wrap_net_read_serve(struct net *net, int change)
{
    (void)net;
    (void)change;
}

#endif
