/* How values come from other hosts: RAYMPI_FETCH, and what auto makes of it. All ranks come to the same. */
#include "api/api_bootstrap.h"

static void say_choice(const struct bootstrap *b, const struct net *net, const char *why)
{
    if (b->rank == 0)
        base_log(BASE_LOG_INFO, "api", "values of other hosts: %s, %s", net_way_name(net_reads(net)), why);
}

/* Collective. One-sided only where it is known that a death ends a read, and seen that a sleeping rank is
 * read: else who reads would hang with the dead, or wait for the idle. */
static int open_auto(struct bootstrap *b, struct net *net, const struct net_gather *gather)
{
    char name[96], seen[256], why[512];
    if (b->wire_is_mpi) {
        net_reads_name(net, NET_READ_RMA, name, sizeof name);
        snprintf(why, sizeof why,
                 "since messages go by MPI, and it is not known that a death ends a read by %s", name);
    } else if (net_reads_name(net, NET_READ_OFI, name, sizeof name), !net_reads_end(net, NET_READ_OFI)) {
        snprintf(why, sizeof why, "since it is not known that a death ends a read by libfabric's %s", name);
    } else if (net_ofi_reads_open(net, &b->segment, gather) != RAYMPI_OK) {
        snprintf(why, sizeof why, "since %s", base_detail());
    } else if (net_reads_try(net, gather, seen, sizeof seen)) {
        snprintf(why, sizeof why, "since %s, and a death ends it, by libfabric's %s", seen, name);
    } else {
        net_reads_withdraw(net);
        snprintf(why, sizeof why, "since by libfabric's %s %s", name, seen);
    }
    say_choice(b, net, why);
    return RAYMPI_OK;
}

static int fetch_fail(const char *fetch, int status)
{
    char text[512];
    snprintf(text, sizeof text, "%s", base_detail());
    return base_fail(status, "RAYMPI_FETCH=%s: %s", fetch, text);
}

int bootstrap_reads(struct bootstrap *b, struct net *net)
{
    const struct net_gather gather = {bootstrap_gather, b};
    int status = RAYMPI_OK;
    switch ((enum base_fetch)b->config.fetch) {
    case BASE_FETCH_AUTO:
        return open_auto(b, net, &gather);
    case BASE_FETCH_RMA:
        status = net_rma_open(net, &b->segment, &gather, &b->comm);
        b->reads_are_mpi = status == RAYMPI_OK;
        break;
    case BASE_FETCH_OFI:
        status = b->wire_is_mpi ? base_fail(RAYMPI_ERR_UNSUPPORTED,
                                            "libfabric reads only where it carries the messages, too: "
                                            "RAYMPI_NET=ofi, or leave RAYMPI_FETCH to auto")
                                : net_ofi_reads_open(net, &b->segment, &gather);
        break;
    case BASE_FETCH_PULL:
        break;
    }
    if (status != RAYMPI_OK)
        return fetch_fail(net_way_name(b->config.fetch == BASE_FETCH_RMA ? NET_READ_RMA : NET_READ_OFI),
                          status);
    say_choice(b, net, "as RAYMPI_FETCH asks for");
    return RAYMPI_OK;
}
