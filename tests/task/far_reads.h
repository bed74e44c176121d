/* One-sided reads that the test answers itself, where it wants such. Link with -Wl,--wrap=net_reads,
 * --wrap=net_read, --wrap=net_read_serve, --wrap=net_range_open,
 * --wrap=net_range_open_to, --wrap=net_range_close. */
#ifndef TESTS_TASK_FAR_READS_H
#define TESTS_TASK_FAR_READS_H

#include "../unit.h"
#include "net/net.h"

static bool one_sided;
static struct net_read *reading; /* what is read so, by the test */
static bool ranges_shut;         /* none can be opened */
static bool memory_shut;         /* nor this rank's memory */
static int ranges_asked, ranges_open, memory_open;
static char *memory_at; /* what was opened last */
static uint64_t memory_length;

enum net_read_way __wrap_net_reads(const struct net *net);
void __wrap_net_read(struct net *net, struct net_read *read);
void __wrap_net_read_serve(struct net *net, int change);
int __wrap_net_range_open(struct net *net, uint64_t offset, uint64_t length, struct net_range *range);
int __wrap_net_range_open_to(struct net *net, void *memory, uint64_t length, struct net_range *range);
void __wrap_net_range_close(struct net *net, struct net_range *range);

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

int __wrap_net_range_open(struct net *net, uint64_t offset, uint64_t length, struct net_range *range)
{
    (void)net;
    *range = (struct net_range){.region = NULL};
    ranges_asked++;
    if (ranges_shut)
        return base_fail(RAYMPI_ERR_UNSUPPORTED, "the test says so");
    *range = (struct net_range){{offset, length, 11, 22}, &ranges_open};
    ranges_open++;
    return RAYMPI_OK;
}

int __wrap_net_range_open_to(struct net *net, void *memory, uint64_t length, struct net_range *range)
{
    (void)net;
    *range = (struct net_range){.region = NULL};
    if (memory_shut)
        return base_fail(RAYMPI_ERR_UNSUPPORTED, "the test says so");
    range->region = &memory_open;
    memory_open++;
    memory_at = memory;
    memory_length = length;
    return RAYMPI_OK;
}

void __wrap_net_range_close(struct net *net, struct net_range *range)
{
    (void)net;
    if (range->region)
        --*(int *)range->region;
    *range = (struct net_range){.region = NULL};
}

#endif
