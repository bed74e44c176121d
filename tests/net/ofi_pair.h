/* Two ranks that take each other to be on other hosts, over the loopback: each a process that has its own
 * part of the segment; and a stranger. For the tests of the libfabric driver. */
#ifndef TESTS_NET_OFI_PAIR_H
#define TESTS_NET_OFI_PAIR_H

#include "../unit.h"
#include "job.h"

#include "net/net_ofi.h"

#include <sched.h>

enum { PING = 1, BYE = 2 };
enum { SHARED_OPEN, SHARED_EVIL };
#define GATHERS      8
#define GATHER_BYTES 4096
#define MESSAGES     2000
#define FORGERIES    10
#define PATIENCE     3.0 /* seconds until a rank is lost */

/* What both ranks and the evil one see. */
struct board {
    _Atomic int gathered[GATHERS];
    char gather[GATHERS][2][GATHER_BYTES];
    char address[OFI_ADDRESS]; /* of rank 0 */
    unsigned char secret[SEAL_BYTES];
};
extern struct board *board;

/* One rank, which is a process. */
struct side {
    struct job *job;
    struct net_map map;
    struct net *net;
    int gathers;
    uint64_t received;
    int dead, byes, wrong;
};
extern struct side side;
extern const char *provider;
/** How the ranks of this job tell each other what they do at start; pair_gather() at first. */
extern void (*gather_by)(void *arg, const void *mine, void *all, size_t bytes);
void pair_gather(void *arg, const void *mine, void *all, size_t bytes);

struct ofi_wire *wire_of(struct net *net);
/** Opens this process's rank; with a provider that is there. */
int open_with(struct job *job, int rank, const struct net_ofi_options *options);
void open_side(struct job *job, int rank);
void send_ping(uint64_t number);
void poll_or_sleep(void);
uint64_t malformed(const struct net *net);
/** Closes once both have all. */
void part(void);

typedef int side_main(struct job *job, int rank);
pid_t start(struct job *job, side_main *run, int rank);
void job_begin(struct job *job);
void run_both(side_main *run);

/* ---- the stranger */

/** Changes what it asks libfabric for; NULL: as it is. */
extern struct fi_info *(*evil_hints)(struct fi_info *hints);
/** Its endpoint, and rank 0's address there. */
struct ofi_wire *evil_open(fi_addr_t *victim);
/** It learns what it knows of this rank. */
void tell_evil(const struct side *own);
void run_with(side_main *evil_run, side_main *run);

/* ---- test_ofi_reads.c */

#define READ_BYTES 65536 /* of the segment, whose pages there are */
#define READ_DATA  40000 /* where they are read: behind what the nets have there */
#define READ_MOST  12288 /* bytes of one read */

/** Opens the way, and fills what is read. */
void open_reads(struct job *job, int rank);
/** Reads from the other rank, and looks at what has come; how the read ends. */
int read_with(struct net_pass pass, uint64_t offset, uint64_t length);
void test_reads(void);
void test_read_strangers(void);

/* ---- test_ofi_regions.c */
void test_region_reads(void);
void test_region_gone(void);
void test_regions_kept(void);
void test_regions_refused(void);

#endif
