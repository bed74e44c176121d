/* At start: are ranks that are asleep, as idle ones are, read promptly? The first rank of every other host
 * reads from the first rank of the next host, while all others sleep; then those read that slept. Who would
 * be served only when he wakes up is found out: all has to come well before. */
#include "net/net_joint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRY_SLEEP  UINT64_C(40000000) /* ns that the others sleep */
#define TRY_PROMPT UINT64_C(20000000) /* ns of that after which all has to have come */
#define TRY_BEGIN  3000000            /* ns of that until the first read: the others are asleep then */
#define TRY_PAUSE  1000000            /* ns between two reads: they are asleep again */
#define TRY_READS  3                  /* the first one makes the connection */
#define TRY_BYTES  4096               /* of the segment's first page, which is there */
/* A read that does not come even then. Its memory stays, as it may still come. */
#define TRY_END UINT64_C(2000000000) /* ns */

struct try_result {
    uint64_t longest; /* ns of a read, but for the first one */
    uint32_t prompt, failed;
};

static struct try_read {
    struct net_read read;
    bool done;
    int status;
    char bytes[TRY_BYTES];
} * try_memory;

static void try_done(struct net_read *read, int status)
{
    struct try_read *own = base_container(read, struct try_read, read);
    own->done = true;
    own->status = status;
}

static void pause_for(long nanoseconds)
{
    const struct timespec pause = {.tv_nsec = nanoseconds};
    nanosleep(&pause, NULL);
}

static void sleep_until(struct net *net, uint64_t end)
{
    while (base_now() < end)
        net_sleep(net, end, NULL, NULL);
}

static bool read_once(struct net *net, struct try_read *own, int rank)
{
    uint64_t end = base_now() + TRY_END;
    own->done = false;
    own->read =
        (struct net_read){.rank = rank, .to = own->bytes, .length = sizeof own->bytes, .done = try_done};
    net_read(net, &own->read);
    while (!own->done && base_now() < end)
        if (net_poll(net, 1) == 0)
            net_sleep(net, end, NULL, NULL);
    return own->done && own->status == RAYMPI_OK;
}

static void read_all(struct net *net, int rank, struct try_result *result)
{
    uint64_t end = base_now() + TRY_PROMPT;
    pause_for(TRY_BEGIN);
    for (int i = 0; i < TRY_READS && !result->failed; i++) {
        uint64_t begin = base_now();
        result->failed = !read_once(net, try_memory, rank);
        uint64_t took = base_now() - begin;
        if (i > 0 && took > result->longest)
            result->longest = took;
        pause_for(TRY_PAUSE);
    }
    result->prompt = !result->failed && base_now() < end;
}

/* The first rank of the next host, where this rank reads in this round; -1: it sleeps. */
static int partner(const struct net *net, int round)
{
    const struct net_map *map = net->map;
    if (map->ranks[0] != map->rank || map->host % 2 != round || map->host + 1 == map->hosts)
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

static struct try_result try_round(struct net *net, int round)
{
    struct try_result mine = {.prompt = true};
    int rank = partner(net, round);
    uint64_t end = base_now() + TRY_SLEEP;
    hold(reads_of(net), false);
    if (rank >= 0)
        read_all(net, rank, &mine);
    sleep_until(net, end);
    hold(reads_of(net), true);
    return mine;
}

bool net_reads_try(struct net *net, const struct net_gather *gather, char *text, size_t size)
{
    struct try_result *all = base_alloc_sure((size_t)net->size * sizeof *all, "net",
                                             "what ranks tell each other"),
                      worst = {.prompt = true};
    try_memory = base_alloc_sure(sizeof *try_memory, "net", "a read");
    for (int round = 0; round < 2; round++) {
        struct try_result mine = try_round(net, round);
        gather->run(gather->arg, &mine, all, sizeof mine);
        for (int rank = 0; rank < net->size; rank++) {
            worst.longest = all[rank].longest > worst.longest ? all[rank].longest : worst.longest;
            worst.prompt = worst.prompt && all[rank].prompt;
            worst.failed = worst.failed || all[rank].failed;
        }
    }
    if (!reads_word(&reads_of(net)->under_way))
        free(try_memory);
    free(all);
    if (worst.failed)
        snprintf(text, size, "a read of a sleeping rank fails");
    else
        snprintf(text, size, "a sleeping rank is read in %.1f ms", (double)worst.longest / 1e6);
    return worst.prompt;
}
