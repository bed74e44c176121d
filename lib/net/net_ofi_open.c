/* How ranks of several hosts agree on a provider and a network, open their endpoints and tell each other the
 * addresses. Every rank takes part in each step, whatever has failed on it. */
#include "net/net_ofi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OFI_READ_CAPS (FI_RMA | FI_READ | FI_REMOTE_READ)
#define OFI_ROUTES    4 /* networks that are tried with each provider */

/* By preference: over TCP net and tcp (from 1.18 on) take half of the system calls of tcp;ofi_rxm, whose
 * queue tells each end through a pipe. `internet`: has Internet addresses, so the network can be chosen. */
static const struct ofi_provider {
    const char *name;
    bool internet;
} providers[] = {
    {"cxi", false}, {"verbs;ofi_rxm", true}, {"efa", false},
    {"net", true},  {"tcp", true},           {"tcp;ofi_rxm", true},
};
#define OFI_PROVIDERS (int)(sizeof providers / sizeof providers[0])

/* What each rank tells: first its host and networks; */
struct ofi_host {
    char name[OFI_HOST];
    unsigned char secret[SEAL_BYTES]; /* rank 0's is the job's */
    uint64_t stack;                   /* ofi_networks_stack() */
    int count;
    struct ofi_network networks[OFI_NETWORKS];
};
/* what it could use; */
struct ofi_choice {
    uint64_t usable;     /* bit provider * OFI_ROUTES + route */
    char text[OFI_TEXT]; /* why none, if it is 0 */
};
/* the endpoint it has opened. */
struct ofi_card {
    int status;
    char text[OFI_TEXT];
    uint32_t length;
    char address[OFI_ADDRESS];
};

struct ofi_opening {
    struct ofi_wire *ofi;
    const struct net_gather *gather;
    const struct net_ofi_options *options;
    struct ofi_host *hosts; /* by rank */
    /* this rank's address on each network that could be taken; the same networks in the same order on all
     * ranks */
    struct ofi_network routes[OFI_ROUTES];
    int route_count;
};

static void *gathered(const struct ofi_opening *o, const void *mine, size_t bytes)
{
    void *all =
        base_alloc_sure((size_t)o->ofi->net->size * bytes, "net", "what ranks tell each other at start");
    o->gather->run(o->gather->arg, mine, all, bytes);
    return all;
}

/* ---- networks */

/* Whatever a rank tells: no index or end of a text is taken from it unseen. */
static void host_check(struct ofi_host *host)
{
    host->name[OFI_HOST - 1] = 0;
    if (host->count < 0 || host->count > OFI_NETWORKS)
        host->count = 0;
    for (int i = 0; i < host->count; i++) {
        struct ofi_network *network = &host->networks[i];
        bool internet = network->family == AF_INET || network->family == AF_INET6;
        if (!internet || network->prefix > (network->family == AF_INET ? 32 : 128))
            *network = (struct ofi_network){0};
    }
}

static void hosts_gather(struct ofi_opening *o)
{
    struct ofi_host mine;
    memset(&mine, 0, sizeof mine);
    gethostname(mine.name, sizeof mine.name - 1);
    mine.count = ofi_networks_list(mine.networks, o->options->interface);
    mine.stack = ofi_networks_stack();
    net_seal_secret(mine.secret);
    o->hosts = gathered(o, &mine, sizeof mine);
    for (int rank = 0; rank < o->ofi->net->size; rank++)
        host_check(&o->hosts[rank]);
    memcpy(o->ofi->secret, o->hosts[0].secret, SEAL_BYTES);
}

static const struct ofi_network *network_in(const struct ofi_host *host, const struct ofi_network *network)
{
    for (int i = 0; i < host->count; i++)
        if (ofi_networks_same(&host->networks[i], network))
            return &host->networks[i];
    return NULL;
}

/* Whether rank's address is one that is also elsewhere, so that it leads to nobody. Who shares this rank's
 * network stack, as containers may, is reached by the same address. */
static bool is_elsewhere(const struct ofi_opening *o, int rank, const struct ofi_network *network)
{
    for (int other = 0; other < o->ofi->net->size; other++)
        for (int i = 0; i < o->hosts[other].count && o->hosts[other].stack != o->hosts[rank].stack; i++)
            if (ofi_networks_equal_address(&o->hosts[other].networks[i], network))
                return true;
    return false;
}

/* A host's address in a network, and whose it is. */
struct ofi_seat {
    struct ofi_network address;
    uint64_t stack;
};

static int seats_compare(const void *a, const void *b)
{
    return memcmp(&((const struct ofi_seat *)a)->address, &((const struct ofi_seat *)b)->address,
                  sizeof(struct ofi_network));
}

/* Each has another address: not so the loopback, or a bridge for containers. */
static bool are_apart(struct ofi_seat *seats, int count)
{
    qsort(seats, (size_t)(unsigned)count, sizeof *seats, seats_compare);
    for (int i = 1; i < count; i++)
        if (seats_compare(&seats[i - 1], &seats[i]) == 0 && seats[i - 1].stack != seats[i].stack)
            return false;
    return true;
}

/* All ranks are on it. */
static bool is_shared(const struct ofi_opening *o, const struct ofi_network *network)
{
    const struct net_map *map = o->ofi->net->map;
    struct ofi_seat *seats = base_alloc_sure((size_t)map->hosts * sizeof *seats, "net", "addresses of hosts");
    const struct ofi_network *there = network;
    int hosts = 0; /* are numbered by their first ranks, which are enough */
    for (int rank = 0; rank < map->size && there; rank++) {
        there = network_in(&o->hosts[rank], network);
        if (there && map->host_of[rank] == hosts)
            seats[hosts++] = (struct ofi_seat){*there, o->hosts[rank].stack};
    }
    bool shared = there && are_apart(seats, hosts);
    free(seats);
    return shared;
}

/* Without a network in common: what is this rank's alone. */
static void route_alone(struct ofi_opening *o)
{
    int rank = o->ofi->net->rank;
    const struct ofi_host *own = &o->hosts[rank];
    o->route_count = 1;
    o->routes[0] = (struct ofi_network){0};
    for (int i = 0; i < own->count && o->routes[0].family == 0; i++)
        if (!is_elsewhere(o, rank, &own->networks[i]))
            o->routes[0] = own->networks[i];
}

static void routes_find(struct ofi_opening *o)
{
    const struct ofi_host *first = &o->hosts[0], *own = &o->hosts[o->ofi->net->rank];
    for (int i = 0; i < first->count && o->route_count < OFI_ROUTES; i++)
        if (is_shared(o, &first->networks[i]))
            o->routes[o->route_count++] = *network_in(own, &first->networks[i]);
    if (o->route_count == 0)
        route_alone(o);
}

/* ---- provider */

static struct fi_info *hints_make(const char *provider, bool reads, int mr_mode,
                                  const struct ofi_network *network)
{
    struct fi_info *hints = fi_allocinfo();
    if (!hints)
        return NULL;
    hints->caps = reads ? FI_MSG | FI_SEND | FI_RECV | OFI_READ_CAPS : FI_MSG;
    hints->mode = FI_CONTEXT | FI_CONTEXT2;
    hints->ep_attr->type = FI_EP_RDM;
    hints->domain_attr->threading = FI_THREAD_DOMAIN; /* all calls are under one lock */
    hints->domain_attr->resource_mgmt = FI_RM_ENABLED;
    hints->domain_attr->mr_mode = mr_mode;
    hints->tx_attr->msg_order = hints->rx_attr->msg_order = FI_ORDER_SAS;
    hints->fabric_attr->prov_name = strdup(provider);
    if (network)
        hints->addr_format = network->family == AF_INET ? FI_SOCKADDR_IN : FI_SOCKADDR_IN6;
    return hints;
}

/* NULL: this rank can not use it so. */
static struct fi_info *info_ask(const char *provider, bool wished, bool reads, int mr_mode,
                                const struct ofi_network *network)
{
    struct fi_info *hints = hints_make(provider, reads, mr_mode, network), *info = NULL;
    char node[64];
    if (!hints)
        return NULL;
    if (network)
        ofi_network_print(network, node, sizeof node);
    int result = fi_getinfo(OFI_VERSION, network ? node : NULL, NULL, network ? FI_SOURCE : 0, hints, &info);
    fi_freeinfo(hints);
    /* Asked for tcp, 1.17 gives tcp;ofi_rxm, which later versions' tcp does not understand. */
    if (result == 0 && info->ep_attr->max_msg_size >= NET_PACKET_BYTES + NET_PACKET_TAIL &&
        (wished || strcmp(info->fabric_attr->prov_name, provider) == 0))
        return info;
    if (result == 0)
        fi_freeinfo(info);
    return NULL;
}

/* With reads, best by keys that we choose, where the provider has them, and without registering all that it
 * touches, where it lets us; NULL: this rank can not use it. */
static struct fi_info *info_get(const struct ofi_opening *o, const char *provider,
                                const struct ofi_network *network)
{
    enum { OWN_KEYS = FI_MR_ENDPOINT | FI_MR_ALLOCATED, ANY = OWN_KEYS | FI_MR_PROV_KEY | FI_MR_VIRT_ADDR };
    static const int modes[] = {OWN_KEYS, ANY, ANY | FI_MR_LOCAL};
    const int count = sizeof modes / sizeof modes[0];
    bool wished = o->options->provider != NULL;
    struct fi_info *info = NULL;
    for (int i = 0; i < count && !info && o->options->reads; i++)
        info = info_ask(provider, wished, true, modes[i], network);
    for (int i = 1; i < count && !info; i++)
        info = info_ask(provider, wished, false, modes[i], network);
    return info;
}

/* What was asked for may be a provider that we do not know. */
static struct ofi_provider provider_at(const struct ofi_opening *o, int index)
{
    const char *wish = o->options->provider;
    for (int i = 0; i < OFI_PROVIDERS; i++)
        if (wish && strcmp(wish, providers[i].name) == 0)
            return providers[i];
    return wish ? (struct ofi_provider){wish, true} : providers[index];
}

static int provider_count(const struct ofi_opening *o)
{
    return o->options->provider ? 1 : OFI_PROVIDERS;
}

static struct fi_info *info_at(const struct ofi_opening *o, int index, int route)
{
    struct ofi_provider provider = provider_at(o, index);
    if (!provider.internet)
        return route == 0 ? info_get(o, provider.name, NULL) : NULL;
    return route < o->route_count && o->routes[route].family ? info_get(o, provider.name, &o->routes[route])
                                                             : NULL;
}

static void no_network_text(const struct ofi_opening *o, char *text, size_t size)
{
    static const char cure[] =
        "name the network between the hosts, as in RAYMPI_OFI_INTERFACE=eth0 or 10.1.0.0/16";
    const char *wish = o->options->interface;
    if (!wish)
        snprintf(text, size, "it has no address that the other hosts could reach: %s", cure);
    else if (o->hosts[o->ofi->net->rank].count == 0)
        snprintf(text, size,
                 "RAYMPI_OFI_INTERFACE=%s is no interface that is up there, and no range of one of its "
                 "addresses: see `ip address`, %s",
                 wish, cure);
    else
        snprintf(
            text, size,
            "its address by RAYMPI_OFI_INTERFACE=%s is another host's as well, as those of a loopback or "
            "of a bridge for containers are: %s",
            wish, cure);
}

static void no_provider_text(const struct ofi_opening *o, char *text, size_t size)
{
    const char *wish = o->options->provider, *filter = getenv("FI_PROVIDER");
    snprintf(
        text, size,
        "libfabric there has no provider %s for reliable datagrams%s%s%s: see `fi_info -t FI_EP_RDM`, set "
        "RAYMPI_OFI_PROVIDER, or use RAYMPI_NET=mpi",
        wish ? wish : "that raympi knows", filter ? " (FI_PROVIDER=" : "", filter ? filter : "",
        filter ? ")" : "");
}

static void choice_make(const struct ofi_opening *o, struct ofi_choice *choice)
{
    memset(choice, 0, sizeof *choice);
    for (int bit = 0; bit < provider_count(o) * OFI_ROUTES; bit++) {
        struct fi_info *info = info_at(o, bit / OFI_ROUTES, bit % OFI_ROUTES);
        choice->usable |= (uint64_t)(info != NULL) << bit;
        if (info)
            fi_freeinfo(info);
    }
    if (choice->usable)
        return;
    if (o->routes[0].family == 0)
        no_network_text(o, choice->text, sizeof choice->text);
    else
        no_provider_text(o, choice->text, sizeof choice->text);
}

/* The first bit that all ranks have; -1: none. */
static int choice_common(const struct ofi_choice *choices, int size)
{
    uint64_t common = UINT64_MAX;
    for (int rank = 0; rank < size; rank++)
        common &= choices[rank].usable;
    return common ? __builtin_ctzll(common) : -1;
}

static int choice_fail(const struct ofi_opening *o, const struct ofi_choice *choices)
{
    int rank = 0;
    while (rank < o->ofi->net->size && choices[rank].usable)
        rank++;
    if (rank < o->ofi->net->size)
        return base_fail(RAYMPI_ERR_UNSUPPORTED, "rank %d on host %s: %s", rank, o->hosts[rank].name,
                         choices[rank].text);
    for (rank = 1; choices[rank].usable & choices[0].usable; rank++)
        ;
    return base_fail(RAYMPI_ERR_UNSUPPORTED,
                     "rank 0 on host %s and rank %d on host %s have no provider of libfabric in common: set "
                     "RAYMPI_OFI_PROVIDER, "
                     "or use RAYMPI_NET=mpi",
                     o->hosts[0].name, rank, o->hosts[rank].name);
}

/* What becomes of memory that the provider is to touch. */
static void modes_note(struct ofi_wire *ofi)
{
    int mode = ofi->info ? ofi->info->domain_attr->mr_mode : 0;
    ofi->pins = mode & FI_MR_ALLOCATED || ofi_test_pinning();
    ofi->local = mode & FI_MR_LOCAL || ofi_test_pinning();
}

/* Sets the info of what all will use. */
static int choose(struct ofi_opening *o)
{
    struct ofi_choice mine;
    choice_make(o, &mine);
    struct ofi_choice *choices = gathered(o, &mine, sizeof mine);
    for (int rank = 0; rank < o->ofi->net->size; rank++)
        choices[rank].text[OFI_TEXT - 1] = 0;
    int bit = choice_common(choices, o->ofi->net->size);
    int status = bit < 0 ? choice_fail(o, choices) : RAYMPI_OK;
    free(choices);
    if (status != RAYMPI_OK)
        return status;
    int route = bit % OFI_ROUTES;
    o->ofi->info = info_at(o, bit / OFI_ROUTES, route);
    modes_note(o->ofi);
    ofi_network_print(&o->routes[route], o->ofi->own, sizeof o->ofi->own);
    return RAYMPI_OK;
}

/* ---- endpoint */

/* 0, or what libfabric says. */
static int queue_open(struct ofi_wire *ofi)
{
    struct fi_cq_attr attributes = {
        .size = OFI_IN + OFI_OUT + READS_PIECES, .format = FI_CQ_FORMAT_MSG, .wait_obj = FI_WAIT_FD};
    int result = fi_cq_open(ofi->domain, &attributes, &ofi->cq, NULL);
    return result ? result : fi_control(&ofi->cq->fid, FI_GETWAIT, &ofi->descriptor);
}

static int endpoint_open(struct ofi_wire *ofi, const char **what)
{
    struct fi_av_attr table = {.type = FI_AV_TABLE, .count = (size_t)ofi->net->size};
    int result;
    *what = "fi_getinfo";
    if (!ofi->info)
        return -FI_ENODATA;
    *what = "fi_fabric";
    if ((result = fi_fabric(ofi->info->fabric_attr, &ofi->fabric, NULL)) != 0)
        return result;
    *what = "fi_domain";
    if ((result = fi_domain(ofi->fabric, ofi->info, &ofi->domain, NULL)) != 0)
        return result;
    *what = "fi_av_open";
    if ((result = fi_av_open(ofi->domain, &table, &ofi->av, NULL)) != 0)
        return result;
    *what = "fi_cq_open with FI_WAIT_FD";
    if ((result = queue_open(ofi)) != 0)
        return result;
    *what = "fi_endpoint";
    if ((result = fi_endpoint(ofi->domain, ofi->info, &ofi->ep, NULL)) != 0 ||
        (result = fi_ep_bind(ofi->ep, &ofi->av->fid, 0)) != 0 ||
        (result = fi_ep_bind(ofi->ep, &ofi->cq->fid, FI_TRANSMIT | FI_RECV)) != 0)
        return result;
    *what = "fi_enable";
    if ((result = fi_enable(ofi->ep)) != 0)
        return result;
    *what = "fi_mr_reg of the buffers for messages";
    return ofi_buffers_open(ofi);
}

static void card_make(struct ofi_wire *ofi, struct ofi_card *card)
{
    const char *what;
    size_t length = sizeof card->address;
    memset(card, 0, sizeof *card);
    int result = endpoint_open(ofi, &what);
    if (result == 0) {
        what = "fi_getname";
        result = fi_getname(&ofi->ep->fid, card->address, &length);
    }
    card->length = (uint32_t)length;
    if (result == 0)
        return;
    card->status = result == -FI_ENOMEM ? RAYMPI_ERR_MEMORY : RAYMPI_ERR_UNSUPPORTED;
    snprintf(card->text, sizeof card->text,
             "%s of provider %s at %s failed: %s; set RAYMPI_OFI_PROVIDER or RAYMPI_OFI_INTERFACE, or use "
             "RAYMPI_NET=mpi",
             what, ofi->info ? ofi->info->fabric_attr->prov_name : "that was chosen", ofi->own,
             fi_strerror(-result));
}

/* Those of this host too: what is the net's own goes by the wire to all. */
static int addresses_take(struct ofi_wire *ofi, struct ofi_card *cards)
{
    int size = ofi->net->size;
    ofi->addresses = calloc((size_t)(unsigned)size, sizeof *ofi->addresses);
    ofi->peers = calloc((size_t)(unsigned)size, sizeof *ofi->peers);
    if (!ofi->addresses || !ofi->peers)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the addresses of %d ranks", size);
    for (int rank = 0; rank < size; rank++) {
        if (fi_av_insert(ofi->av, cards[rank].address, 1, &ofi->addresses[rank], 0, NULL) != 1)
            return base_fail(RAYMPI_ERR_MEMORY, "libfabric does not take the address of rank %d", rank);
    }
    return RAYMPI_OK;
}

static int hosts_name(struct ofi_wire *ofi, const struct ofi_host *hosts)
{
    const struct net_map *map = ofi->net->map;
    ofi->hosts = malloc((size_t)map->hosts * sizeof *ofi->hosts);
    if (!ofi->hosts)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the names of %d hosts", map->hosts);
    for (int rank = 0; rank < map->size; rank++)
        memcpy(ofi->hosts[map->host_of[rank]], hosts[rank].name, OFI_HOST);
    return RAYMPI_OK;
}

static void card_check(struct ofi_card *card)
{
    card->text[OFI_TEXT - 1] = 0;
    bool good = card->status <= RAYMPI_OK && card->length <= OFI_ADDRESS;
    if (good)
        return;
    card->status = RAYMPI_ERR_MISMATCH;
    snprintf(card->text, sizeof card->text, "what it tells of its endpoint is not of this version's form");
}

/* Collective: OK where all say so; else what the first one says that does not. */
static int agree(const struct ofi_opening *o, const struct ofi_card *mine, struct ofi_card **cards)
{
    *cards = gathered(o, mine, sizeof *mine);
    for (int rank = 0; rank < o->ofi->net->size; rank++)
        card_check(&(*cards)[rank]);
    for (int rank = 0; rank < o->ofi->net->size; rank++)
        if ((*cards)[rank].status != RAYMPI_OK)
            return base_fail((*cards)[rank].status, "rank %d on host %s: %s", rank, o->hosts[rank].name,
                             (*cards)[rank].text);
    return RAYMPI_OK;
}

static int agree_on(const struct ofi_opening *o, int status)
{
    struct ofi_card mine = {.status = status}, *cards;
    if (status != RAYMPI_OK)
        snprintf(mine.text, sizeof mine.text, "%s", base_detail());
    status = agree(o, &mine, &cards);
    free(cards);
    return status;
}

static int connect_all(struct ofi_opening *o)
{
    struct ofi_card mine, *cards;
    card_make(o->ofi, &mine);
    int status = agree(o, &mine, &cards);
    if (status == RAYMPI_OK) {
        status = addresses_take(o->ofi, cards);
        if (status == RAYMPI_OK)
            status = hosts_name(o->ofi, o->hosts);
        status = agree_on(o, status);
    }
    free(cards);
    return status;
}

/* ---- all of it */

static struct ofi_wire *wire_make(struct net *net, const struct net_ofi_options *options)
{
    struct ofi_wire *ofi = base_alloc_sure(sizeof *ofi, "net", "messages by libfabric");
    memset(ofi, 0, sizeof *ofi);
    ofi->wire.operations = &ofi_operations;
    ofi->net = net;
    ofi->descriptor = -1;
    ofi->patience = (uint64_t)(options->timeout * 1e9);
    return ofi;
}

int net_ofi_open(struct net *net, const struct net_gather *gather, const struct net_ofi_options *options)
{
    struct ofi_opening o = {.ofi = wire_make(net, options), .gather = gather, .options = options};
    /* Its hooks in memory functions and those of MPI's libraries do not get along, and what we register stays
     * where it is until we say so. */
    setenv("FI_MR_CACHE_MONITOR", "disabled", 0);
    int status = net_seal_open() ? RAYMPI_OK : base_fail(RAYMPI_ERR_UNSUPPORTED, "libsodium does not work");
    hosts_gather(&o);
    routes_find(&o);
    status = agree_on(&o, status);
    if (status == RAYMPI_OK)
        status = choose(&o);
    if (status == RAYMPI_OK)
        status = connect_all(&o);
    free(o.hosts);
    if (status != RAYMPI_OK) {
        ofi_free(o.ofi);
        return status;
    }
    struct ofi_wire *ofi = o.ofi;
    size_t room =
        ofi->info->tx_attr->size > 2 * READS_PIECES ? ofi->info->tx_attr->size - READS_PIECES : READS_PIECES;
    size_t most = ofi->local ? OFI_OUT_LOCAL : OFI_OUT;
    ofi->most_out = (int)(room < most ? room : most);
    ofi->can_read = (ofi->info->caps & OFI_READ_CAPS) == OFI_READ_CAPS;
    base_log(BASE_LOG_INFO, "net", "messages between hosts: libfabric's %s at %s",
             ofi->info->fabric_attr->prov_name, ofi->own);
    return net_joint_wire(net, &ofi->wire);
}
