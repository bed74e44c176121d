/* Reads by libfabric, on the endpoint that carries messages. Each rank registers its host's whole segment
 * once, for reading, and tells the others the key at start; where the provider pins what is registered, only
 * its begin, and the rest in parts, as they are lent (net_ofi_regions.c), whose keys come with the leases.
 * Who has key and address can read, so keys are random ones where the provider lets us choose them. */
#include "net/net_ofi.h"

#include <rdma/fi_rma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OFI_PIECE (UINT64_C(1) << 20) /* bytes: by measurement */

struct ofi_reads {
    struct reads_way way;
    struct ofi_wire *ofi;
    struct fid_mr *region; /* what is open from the start */
    struct ofi_regions regions;
    const char *alias; /* of this host's segment */
    uint64_t size;
    struct net_pass *targets; /* by rank: for what is open there from the start */
};

_Static_assert(sizeof(struct fi_context2) <= sizeof((struct read_piece *)0)->driver,
               "libfabric's context has to fit");

static struct ofi_reads *reads_way_of(struct reads_way *way)
{
    return base_container(way, struct ofi_reads, way);
}

static struct ofi_wire *wire_of(const struct net *net)
{
    struct net_wire *wire = joint_of(net)->links.wire;
    return wire && wire->operations == &ofi_operations ? base_container(wire, struct ofi_wire, wire) : NULL;
}

/* ---- on its way */

static bool lets_read(const struct net_pass *pass, const struct read_piece *piece)
{
    return piece->offset >= pass->offset && piece->length <= pass->length &&
           piece->offset - pass->offset <= pass->length - piece->length;
}

static int not_open(const struct read_piece *piece, const char *what)
{
    return base_fail(RAYMPI_ERR_MPI, "a read of %llu bytes at %llu of rank %d: %s not open",
                     (unsigned long long)piece->length, (unsigned long long)piece->offset, piece->rank, what);
}

static int ofi_read_post(struct reads_way *way, struct read_piece *piece)
{
    struct ofi_reads *own = reads_way_of(way);
    const struct net_read *read = piece->of->read;
    const struct net_pass *pass = read->pass.length > 0 ? &read->pass : &own->targets[piece->rank];
    if (base_unlikely(!lets_read(pass, piece)))
        return not_open(piece, "they are");
    if (base_unlikely(own->ofi->local && !read->into.region))
        return not_open(piece, "the memory that they come to is");
    ssize_t result = fi_read(own->ofi->ep, piece->to, piece->length, ofi_region_desc(&read->into),
                             own->ofi->addresses[piece->rank], pass->base + (piece->offset - pass->offset),
                             pass->key, piece->driver);
    if (result == 0)
        return RAYMPI_OK;
    if (result == -FI_EAGAIN) {
        ofi_rank_waits(own->ofi, piece->rank);
        return READ_NO_ROOM;
    }
    return base_fail(RAYMPI_ERR_MPI, "fi_read from rank %d: %s", piece->rank, fi_strerror((int)-result));
}

struct read_piece *ofi_read_of(const struct ofi_wire *ofi, void *context)
{
    struct net_reads *reads = reads_of(ofi->net);
    char *first = (char *)reads->pieces, *end = (char *)(reads->pieces + READS_PIECES), *at = context;
    if (at < first || at >= end)
        return NULL;
    return &reads->pieces[(size_t)(at - first) / sizeof *reads->pieces];
}

/* The connection is gone, or can not be made; other errors are about what was asked for. */
bool ofi_is_loss(int error)
{
    static const int losses[] = {FI_ECANCELED,   FI_ECONNRESET, FI_ECONNREFUSED, FI_ECONNABORTED,
                                 FI_ENOTCONN,    FI_EIO,        FI_ETIMEDOUT,    FI_EHOSTUNREACH,
                                 FI_ENETUNREACH, FI_EHOSTDOWN,  FI_ESHUTDOWN,    EPIPE};
    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++)
        if (error == losses[i])
            return true;
    return false;
}

void ofi_read_ended(struct ofi_wire *ofi, struct read_piece *piece, int error)
{
    char text[READS_TEXT] = "";
    int status = RAYMPI_OK;
    if (error != 0) {
        snprintf(text, sizeof text, "fi_read from rank %d: %s", piece->rank, fi_strerror(error));
        status = ofi_is_loss(error) ? RAYMPI_ERR_NODE_DIED : RAYMPI_ERR_MPI;
    }
    read_piece_ended(reads_of(ofi->net), piece, status, text);
}

bool ofi_reads_flying(const struct ofi_wire *ofi)
{
    return reads_of(ofi->net)->flying > 0;
}

void ofi_reads_wait(struct ofi_wire *ofi)
{
    const struct net_reads *reads = reads_of(ofi->net);
    for (int i = 0; i < READS_PIECES; i++)
        if (reads->pieces[i].of)
            ofi_rank_waits(ofi, reads->pieces[i].rank);
}

/* ---- parts, where the whole is not registered */

static int ofi_range_open(struct reads_way *way, uint64_t offset, uint64_t length, struct net_range *range)
{
    struct ofi_reads *own = reads_way_of(way);
    return own->ofi->pins ? ofi_region_open(&own->regions, offset, length, range) : RAYMPI_OK;
}

static int ofi_range_open_to(struct reads_way *way, void *memory, uint64_t length, struct net_range *range)
{
    struct ofi_reads *own = reads_way_of(way);
    return own->ofi->local ? ofi_region_open_to(&own->regions, memory, length, range) : RAYMPI_OK;
}

static void ofi_range_close(struct reads_way *way, struct net_range *range)
{
    ofi_region_close(&reads_way_of(way)->regions, range);
}

static void ofi_ranges_drop(struct reads_way *way, uint64_t offset, const void *memory, uint64_t length)
{
    ofi_regions_drop(&reads_way_of(way)->regions, offset, memory, length);
}

/* ---- end */

static void ofi_reads_free(struct ofi_reads *own)
{
    ofi_regions_free(&own->regions);
    if (own->region)
        fi_close(&own->region->fid);
    if (own->alias)
        base_segment_unmap_read(own->alias, own->size);
    free(own->targets);
    free(own);
}

/* What is on its way here from the segment of others ends with the endpoint, before its memory: see
 * ofi_free(). Others that read here get an error. */
static void ofi_reads_close(struct reads_way *way, bool orderly)
{
    (void)orderly;
    ofi_reads_free(reads_way_of(way));
}

static const struct reads_operations ofi_reads_operations = {.way = NET_READ_OFI,
                                                             .post = ofi_read_post,
                                                             .range_open = ofi_range_open,
                                                             .range_open_to = ofi_range_open_to,
                                                             .range_close = ofi_range_close,
                                                             .ranges_drop = ofi_ranges_drop,
                                                             .close = ofi_reads_close};

void net_reads_name_ofi(const struct net *net, char *text, size_t size)
{
    const struct ofi_wire *ofi = wire_of(net);
    uint32_t version = ofi ? ofi->info->fabric_attr->prov_version : 0;
    /* libfabric's own providers count as it does, times 100 */
    unsigned whole = FI_MAJOR(version) * (FI_MAJOR(version) >= 100 ? 1U : 100U) + FI_MINOR(version);
    snprintf(text, size, "%s %u.%u", ofi ? ofi->info->fabric_attr->prov_name : "none", whole / 100,
             whole % 100);
}

/* ---- start */

static int unusable(const struct ofi_wire *ofi)
{
    const char *provider = ofi->info->fabric_attr->prov_name;
    if (!ofi->can_read)
        return base_fail(RAYMPI_ERR_UNSUPPORTED,
                         "libfabric's %s can not read one-sidedly: use RAYMPI_FETCH=pull", provider);
    if (ofi->info->domain_attr->mr_key_size > sizeof(uint64_t))
        return base_fail(RAYMPI_ERR_UNSUPPORTED,
                         "libfabric's %s has keys of %zu bytes: use RAYMPI_FETCH=pull", provider,
                         ofi->info->domain_attr->mr_key_size);
    return RAYMPI_OK;
}

static int region_open(struct ofi_reads *own, struct read_card *card)
{
    struct ofi_wire *ofi = own->ofi;
    struct net_links *links = &joint_of(ofi->net)->links;
    uint64_t length = ofi->pins ? READS_FIRST : own->size;
    base_spin_lock(&links->wire_lock);
    int result = ofi_mr_open(ofi, own->alias, length, FI_REMOTE_READ, &own->region);
    base_spin_unlock(&links->wire_lock);
    if (result != 0)
        return base_fail(RAYMPI_ERR_UNSUPPORTED,
                         "libfabric's %s does not register %llu bytes of the host segment: %s; use "
                         "RAYMPI_FETCH=pull",
                         ofi->info->fabric_attr->prov_name, (unsigned long long)length, fi_strerror(-result));
    card->pass = ofi_mr_pass(ofi, own->region, own->alias, 0, length);
    return RAYMPI_OK;
}

static int own_open(struct ofi_reads *own, const struct base_segment *segment, struct read_card *card)
{
    int status = unusable(own->ofi);
    if (status != RAYMPI_OK)
        return status;
    own->targets = malloc((size_t)(unsigned)own->ofi->net->size * sizeof *own->targets);
    own->alias = base_segment_map_read(segment);
    if (!own->targets || !own->alias)
        return base_fail(RAYMPI_ERR_MEMORY, "the host segment can not be mapped again");
    own->way.ranged = own->ofi->pins || own->ofi->local;
    ofi_regions_open(&own->regions, own->ofi, own->alias);
    return region_open(own, card);
}

int net_ofi_reads_open(struct net *net, const struct base_segment *segment, const struct net_gather *gather)
{
    struct ofi_wire *ofi = wire_of(net);
    struct read_card card = {.size = segment->size}, *cards = NULL;
    if (!ofi)
        return base_fail(RAYMPI_ERR_UNSUPPORTED,
                         "messages between hosts go by MPI, so libfabric has no endpoint");
    struct ofi_reads *own = base_alloc_sure(sizeof *own, "net", "reads by libfabric");
    memset(own, 0, sizeof *own);
    own->way.operations = &ofi_reads_operations;
    own->way.piece =
        ofi->info->ep_attr->max_msg_size < OFI_PIECE ? ofi->info->ep_attr->max_msg_size : OFI_PIECE;
    own->ofi = ofi;
    own->size = segment->size;
    own->regions.made = &reads_of(net)->regions;
    own->regions.dropped = &reads_of(net)->dropped;
    int status = reads_agree(net, gather, own_open(own, segment, &card), &card, &cards);
    if (status == RAYMPI_OK) {
        for (int rank = 0; rank < net->size; rank++)
            own->targets[rank] = cards[rank].pass;
        status = reads_agree(net, gather, reads_install(net, &own->way, cards), &card, NULL);
    }
    free(cards);
    if (status != RAYMPI_OK && net_reads(net) != NET_READ_NONE)
        net_reads_close(net);
    else if (status != RAYMPI_OK)
        ofi_reads_free(own);
    return status;
}
