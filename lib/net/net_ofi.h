/* Inside of the libfabric driver. */
#ifndef RAYMPI_NET_OFI_H
#define RAYMPI_NET_OFI_H

#include "net/net_joint.h"
#include "net/net_seal.h"

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>

#define OFI_VERSION   FI_VERSION(1, 15)
#define OFI_IN        32  /* receives that are posted */
#define OFI_OUT       256 /* sends that may be on their way */
#define OFI_OUT_LOCAL 64  /* where they go through buffers that are registered */
#define OFI_NETWORKS  8   /* of a host that are looked at */
#define OFI_TEXT      384
#define OFI_HOST      64
#define OFI_ADDRESS   128 /* bytes of an endpoint's address */

/* ---- networks (net_ofi_networks.c) */

/** An address of this host, and the network it is in. */
struct ofi_network {
    uint8_t family; /* AF_INET, AF_INET6; 0: none */
    uint8_t prefix; /* bits */
    uint8_t address[16];
};
/** What a host has, as far as `wish` (RAYMPI_OFI_INTERFACE; NULL: none) lets it; how many. Without a wish no
 * loopback. */
int ofi_networks_list(struct ofi_network *networks, const char *wish);
bool ofi_networks_same(const struct ofi_network *a, const struct ofi_network *b);
bool ofi_networks_equal_address(const struct ofi_network *a, const struct ofi_network *b);
/** Those who have the same number share their addresses: the processes of a network namespace. */
uint64_t ofi_networks_stack(void);
void ofi_network_print(const struct ofi_network *network, char *text, size_t size);

/* ---- the driver (net_ofi.c) */

/** What there is about a rank of another host; made on first use. */
struct ofi_peer {
    int rank;
    int error;           /* why nothing more is sent to it; 0: it is */
    const char *in_vain; /* lost since this was waited for too long; NULL: by the error */
    uint64_t waits;  /* since when something is on its way to it, or finds no room, without a sign of life; 0:
                        is not known to be */
    bool reached;    /* something has gone there, or come from there */
    uint64_t serial; /* of the last packet that was handed on */
    struct net_packet *early; /* came before their turn, by serial: libfabric keeps the order of buffers, not
                                 of their ends */
    uint64_t gap;             /* since when there are such; 0: there are none */
    struct ofi_peer *next;    /* of those to be told as lost */
    unsigned char key_in[SEAL_BYTES], key_out[SEAL_BYTES];
};

struct ofi_wire {
    struct net_wire wire;
    struct net *net;
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_av *av;
    struct fid_cq *cq;
    struct fid_ep *ep;
    int descriptor;
    uint64_t patience; /* ns */
    uint64_t looked;   /* when, at what is on its way */
    unsigned char secret[SEAL_BYTES];
    fi_addr_t *addresses;    /* by rank */
    struct ofi_peer **peers; /* by rank */
    char (*hosts)[OFI_HOST]; /* names, by host */
    char own[64];            /* this rank's address, for messages */
    struct ofi_peer *lost;
    bool can_read; /* the endpoint can read other ranks' memory */
    bool pins;     /* what others read is pinned, so it has to be there */
    bool local;    /* so is, or has at least to be registered, what this rank sends, receives and reads to */
    union ofi_buffer *buffers, *buffer_free; /* see net_ofi_buffers.c */
    struct fid_mr *buffers_mr;
    struct net_packet *in[OFI_IN], *out[OFI_OUT]; /* of a packet: its `at` */
    int ins, outs, most_out;
    int gaps;    /* peers of whom a packet is missing */
    bool warned; /* of packets that claim to be of no rank */
};

extern const struct net_wire_operations ofi_operations;
/** Something for this rank finds no room, or is on its way: its patience begins, or ends. */
void ofi_rank_waits(struct ofi_wire *ofi, int rank);

/* ---- reads (net_read_ofi.c); under the wire lock */

/** The piece whose context this is; NULL: none's. */
struct read_piece *ofi_read_of(const struct ofi_wire *ofi, void *context);
/** `error`: 0, or libfabric's. */
void ofi_read_ended(struct ofi_wire *ofi, struct read_piece *piece, int error);
/** That error is one of the connection, not of what was asked for. */
bool ofi_is_loss(int error);
bool ofi_reads_flying(const struct ofi_wire *ofi);
/** ofi_rank_waits() for each rank that is read. */
void ofi_reads_wait(struct ofi_wire *ofi);

/* ---- registered memory (net_ofi_regions.c); under the wire lock */

/** Registers memory; 0, or what libfabric says. */
int ofi_mr_open(struct ofi_wire *ofi, const char *start, uint64_t length, uint64_t access,
                struct fid_mr **mr);
/** What others need to read it: it is the segment's from `offset` on. */
struct net_pass ofi_mr_pass(const struct ofi_wire *ofi, struct fid_mr *mr, const char *start, uint64_t offset,
                            uint64_t length);

/** Parts of the segment that are registered on their own. */
struct ofi_regions {
    struct ofi_wire *ofi;
    const char *segment;
    struct ofi_region *first;
    int count, most;
    uint64_t bytes, limit;            /* registered, and at most, in tests; 0: as the system says */
    _Atomic uint64_t *made, *dropped; /* counters */
};
/** RAYMPI_TEST_PINNING, for tests: where it is set, all memory is registered before it is used, whatever the
 * provider says. KEPT[,BYTES]: see net_ofi_regions.c */
const char *ofi_test_pinning(void);

void ofi_regions_open(struct ofi_regions *regions, struct ofi_wire *ofi, const char *segment);
void ofi_regions_free(struct ofi_regions *regions);
/** See net_range_open(), net_range_open_to(), net_range_close(), net_ranges_drop(). */
int ofi_region_open(struct ofi_regions *regions, uint64_t offset, uint64_t length, struct net_range *range);
int ofi_region_open_to(struct ofi_regions *regions, char *memory, uint64_t length, struct net_range *range);
void ofi_region_close(struct ofi_regions *regions, struct net_range *range);
void ofi_regions_drop(struct ofi_regions *regions, uint64_t offset, const char *memory, uint64_t length);
/** What libfabric wants to know of memory that is open; NULL: of none. */
void *ofi_region_desc(const struct net_range *range);

/* ---- what libfabric sends from and receives to (net_ofi_buffers.c); under the wire lock */

/** 0, or what libfabric says. */
int ofi_buffers_open(struct ofi_wire *ofi);
/** For a packet that is to come; for the first bytes of one that goes. There are enough. */
char *ofi_buffer_in(struct ofi_wire *ofi, struct net_packet *packet);
char *ofi_buffer_out(struct ofi_wire *ofi, struct net_packet *packet, size_t length);
/** It has come: so many bytes; or it has gone: 0. */
void ofi_buffer_back(struct ofi_wire *ofi, struct net_packet *packet, size_t length);
static inline void *ofi_buffers_desc(const struct ofi_wire *ofi)
{
    return ofi->local ? fi_mr_desc(ofi->buffers_mr) : NULL;
}

void ofi_free(struct ofi_wire *ofi);

#endif
