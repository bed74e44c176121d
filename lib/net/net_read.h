/* One-sided reads: what the ways (net_read_rma.c, net_read_ofi.c) and what is common to them share. A read
 * goes in pieces, several on their way at once, of several reads in turn. */
#ifndef RAYMPI_NET_READ_H
#define RAYMPI_NET_READ_H

#include "net/net_internal.h"

#define READS_PIECES 8 /* on their way at once */
#define READS_ACTIVE 8 /* reads that have pieces on their way at once; others wait */
#define READS_TEXT   256
#define READS_FIRST  4096 /* bytes at the begin of each segment that are read without a pass */

struct net_links;
struct read_active;

/** Part of a read that is on its way. */
struct read_piece {
    void *driver[8];        /* the way's own */
    struct read_active *of; /* NULL: it was given up, and the way has not told its end so far */
    struct read_piece *next;
    int rank;
    uint64_t offset;
    char *to;
    uint64_t length;
};

/** A read that is under way, or has ended and was not told. */
struct read_active {
    struct net_read *read; /* NULL: none */
    uint64_t posted;       /* bytes */
    int flying;            /* pieces */
    bool ended;
    int status;
    char text[READS_TEXT];
};

struct reads_way;
struct reads_operations {
    enum net_read_way way;
    /** It is MPI: left alone under net_hold(); nothing tells that something has come but a look, and who is
     * read has to look, too. */
    bool uses_mpi;
    /** Starts a piece, which is the way's until read_piece_ended(). READ_NO_ROOM: not now; else a status,
     * with its text. Under the wire lock. */
    int (*post)(struct reads_way *way, struct read_piece *piece);
    /** Tells read_piece_ended() of what has ended, and serves others; true: something has. NULL: the wire's
     * poll does. Under the wire lock. */
    bool (*poll)(struct reads_way *way);
    /** As net_range_open() and those after it, which look at `ranged` first. Under the wire lock. */
    int (*range_open)(struct reads_way *way, uint64_t offset, uint64_t length, struct net_range *range);
    int (*range_open_to)(struct reads_way *way, void *memory, uint64_t length, struct net_range *range);
    void (*range_close)(struct reads_way *way, struct net_range *range);
    void (*ranges_drop)(struct reads_way *way, uint64_t offset, const void *memory, uint64_t length);
    /** `orderly`: all ranks do so, and nobody reads any more. */
    void (*close)(struct reads_way *way, bool orderly);
};
#define READ_NO_ROOM 1

struct reads_way {
    const struct reads_operations *operations;
    struct net_reads *reads;
    uint64_t piece;  /* bytes of one, at most */
    uint64_t *sizes; /* by rank: of its host's segment */
    bool ranged;     /* what is read, or what it comes to, has to be opened */
};

/** Of a net of several hosts. But for the atomic words, under the links' wire lock. */
struct net_reads {
    struct net_links *links;
    struct reads_way *way; /* NULL: none */
    bool withdrawn;        /* but it is not: what others have on their way needs it until the end */
    bool held;
    bool orderly; /* the job has come to its end in good order */
    bool (*lost)(void *arg, int rank);
    void *lost_arg;
    struct base_spin queue_lock;
    struct net_read *queue, **queue_last; /* that wait for their turn; under queue_lock */
    _Atomic int waiting;                  /* in it */
    _Atomic int under_way;                /* not ended, those that wait included */
    _Atomic int serving;                  /* leases of this rank that others read */
    int actives, turn;
    struct read_active active[READS_ACTIVE];
    struct read_piece pieces[READS_PIECES], *idle;
    int flying;
    _Atomic uint64_t count, bytes;
    _Atomic uint64_t regions, dropped, refused; /* see struct net_counters */
};

/** Is any rank known to be lost? Then lost(arg, rank) tells. */
void net_reads_setup(struct net_reads *reads, struct net_links *links, bool (*lost)(void *arg, int rank),
                     void *arg);
/** Starts what may be started, and looks at what is on its way. Under the wire lock. True: something
 * happened. */
bool net_reads_pump(struct net_reads *reads);
/** Calls done() of what has ended; how many. Poller only. */
int net_reads_deliver(struct net_reads *reads);
/** Under the wire lock, by the way. */
void read_piece_ended(struct net_reads *reads, struct read_piece *piece, int status, const char *text);

static inline bool net_reads_use_mpi(const struct net_reads *reads)
{
    return reads->way && !reads->withdrawn && reads->way->operations->uses_mpi;
}

static inline int reads_word(const _Atomic int *word)
{
    return atomic_load_explicit((_Atomic int *)word, memory_order_relaxed);
}

/** MPI has to be looked at all the time: this rank reads, or is read. */
static inline bool net_reads_restless(const struct net_reads *reads)
{
    return net_reads_use_mpi(reads) && (reads_word(&reads->under_way) > 0 || reads_word(&reads->serving) > 0);
}

/* ---- opening (net_read_open.c) */

#define READS_CARD_TEXT 384
/** What each rank tells the others when a way is opened. */
struct read_card {
    int32_t status;
    char text[READS_CARD_TEXT];
    uint64_t size;        /* of its host's segment */
    struct net_pass pass; /* for what is open from the start */
};
/** Collective: fills in status and text of `card` and gives all ranks' to all; the first error there is,
 * named. */
int reads_agree(struct net *net, const struct net_gather *gather, int status, struct read_card *card,
                struct read_card **cards);
/** The net has this way from here on. MEMORY; then it is not open. */
int reads_install(struct net *net, struct reads_way *way, const struct read_card *cards);
void net_reads_close(struct net *net);
struct net_reads *reads_of(const struct net *net);

/** The endpoint's provider and its version (net_read_ofi.c). */
void net_reads_name_ofi(const struct net *net, char *text, size_t size);
void net_reads_name_rma(char *text, size_t size);

#endif
