/* At start: are ranks that are asleep, as idle ones are, read promptly? The first rank of each host reads
 * from the first rank of the next host: once while all are awake, which makes the connection; then the even
 * hosts' while all others sleep, then the odd ones'. Who would be served only when he wakes up is found out:
 * that is long after. */
#include "net/net_joint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Nanoseconds from the begin of a round, which ranks take to be at moments that differ a little. */
#define TRY_AWAKE  UINT64_C(20000000) /* of a round in which connections are made */
#define TRY_MOST   4                  /* of these: ofi_rxm takes 10 ms for each of some steps */
#define TRY_BEGIN  UINT64_C(5000000)  /* of the reads, when the others are asleep */
#define TRY_END    UINT64_C(25000000) /* of the others' sleep */
#define TRY_PROMPT UINT64_C(8000000)  /* that such a read may take at most */
#define TRY_PAUSE  UINT64_C(4000000)  /* from one to the next: the others are asleep again */
#define TRY_NAP    UINT64_C(500000)   /* of those that are awake */
#define TRY_READS  2

struct try_result {
    uint64_t longest; /* ns of a read that counts */
    int32_t failed;
    char text[128]; /* why */
};

struct try_read {
    struct net_read read;
    bool done;
    int status;
    char text[128];
    struct net_range into;
    char bytes[READS_FIRST];
};

static void try_done(struct net_read *read, int status)
{
    struct try_read *own = base_container(read, struct try_read, read);
    own->done = true;
    own->status = status;
    snprintf(own->text, sizeof own->text, "%s", status == RAYMPI_OK ? "" : base_detail());
}

static void sleep_until(struct net *net, uint64_t end)
{
    while (base_now() < end)
        net_sleep(net, end, NULL, NULL);
}

/* Awake, but for short naps: ranks may share cores. */
static void poll_once(struct net *net)
{
    if (net_poll(net, 1) == 0)
        net_sleep(net, base_now() + TRY_NAP, NULL, NULL);
}

static void poll_until(struct net *net, uint64_t end)
{
    while (base_now() < end)
        poll_once(net);
}

static void read_begin(struct net *net, struct try_read *own, int rank)
{
    own->done = false;
    own->read = (struct net_read){
        .rank = rank, .to = own->bytes, .into = own->into, .length = sizeof own->bytes, .done = try_done};
    net_read(net, &own->read);
}

/* Has it come? If not, its memory is not to be used any more, unless it is awaited again. */
static void read_end(struct net *net, struct try_read *own, uint64_t end, struct try_result *result)
{
    while (!own->done && base_now() < end)
        poll_once(net);
    result->failed = !own->done || own->status != RAYMPI_OK;
    if (result->failed)
        snprintf(result->text, sizeof result->text, "%s", own->done ? own->text : "it does not come in time");
}

static void read_all(struct net *net, struct try_read *own, int rank, uint64_t begin,
                     struct try_result *result)
{
    uint64_t next = begin + TRY_BEGIN;
    for (int i = 0; i < TRY_READS; i++) {
        sleep_until(net, next);
        uint64_t start = base_now();
        read_begin(net, own, rank);
        read_end(net, own, start + TRY_PROMPT, result);
        if (result->failed)
            return;
        uint64_t took = base_now() - start;
        result->longest = took > result->longest ? took : result->longest;
        next = base_now() + TRY_PAUSE;
    }
}

/* The first rank of the next host, where this rank is the one that reads there; -1: it is not. */
static int partner(const struct net *net)
{
    const struct net_map *map = net->map;
    if (map->ranks[0] != map->rank || map->host + 1 == map->hosts)
        return -1;
    int rank = 0;
    while (map->host_of[rank] != map->host + 1)
        rank++;
    return rank;
}

static void hold(struct net_reads *reads, bool held)
{
    base_spin_lock(&reads->links->wire_lock);
    reads->held = held;
    base_spin_unlock(&reads->links->wire_lock);
}

/* The read that makes the connection, begun before. */
static struct try_result connect_round(struct net *net, struct try_read *own)
{
    struct try_result mine = {.longest = 0};
    uint64_t end = base_now() + TRY_AWAKE;
    if (partner(net) >= 0)
        read_end(net, own, end, &mine);
    poll_until(net, end);
    return mine;
}

static struct try_result sleep_round(struct net *net, struct try_read *own, int odd)
{
    struct try_result mine = {.longest = 0};
    uint64_t begin = base_now();
    if (partner(net) >= 0 && net->map->host % 2 == odd)
        read_all(net, own, partner(net), begin, &mine);
    sleep_until(net, begin + TRY_END);
    return mine;
}

/* What all say: the first one that failed, or the longest. On hold, since it is MPI that tells. */
static struct try_result all_of(struct net *net, const struct net_gather *gather,
                                const struct try_result *mine)
{
    struct try_result worst = {.longest = 0}, *all = base_alloc_sure((size_t)net->size * sizeof *all, "net",
                                                                     "what ranks tell each other");
    hold(reads_of(net), true);
    gather->run(gather->arg, mine, all, sizeof *mine);
    hold(reads_of(net), false);
    for (int rank = 0; rank < net->size; rank++) {
        if (all[rank].failed && !worst.failed)
            worst = all[rank];
        worst.longest = all[rank].longest > worst.longest ? all[rank].longest : worst.longest;
    }
    free(all);
    return worst;
}

bool net_reads_try(struct net *net, const struct net_gather *gather, char *text, size_t size)
{
    struct try_read *own = base_alloc_sure(sizeof *own, "net", "a read");
    struct try_result worst = {.failed = true};
    hold(reads_of(net), false);
    net_range_open_to(net, own->bytes, sizeof own->bytes, &own->into); /* if not, no read comes */
    if (partner(net) >= 0)
        read_begin(net, own, partner(net));
    for (int round = 0; round < TRY_MOST && worst.failed; round++) {
        struct try_result mine = connect_round(net, own);
        worst = all_of(net, gather, &mine);
    }
    for (int odd = 0; odd < 2 && !worst.failed; odd++) {
        uint64_t longest = worst.longest;
        struct try_result mine = sleep_round(net, own, odd);
        worst = all_of(net, gather, &mine);
        worst.longest = longest > worst.longest ? longest : worst.longest;
    }
    hold(reads_of(net), true);
    if (worst.failed) /* and what is on its way may come still: its memory stays */
        snprintf(text, size, "a read fails at start: %.*s", (int)sizeof worst.text - 1, worst.text);
    else
        snprintf(text, size, "a sleeping rank is read in %.1f ms", (double)worst.longest / 1e6);
    if (!worst.failed) {
        net_range_close(net, &own->into);
        free(own);
    }
    return !worst.failed;
}
