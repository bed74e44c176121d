/* How a way to read other hosts' segments is opened by all ranks together, or by none. */
#include "net/net_read.h"

#include "net/net_joint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void card_check(struct read_card *card)
{
    card->text[READS_CARD_TEXT - 1] = 0;
    if (card->status > RAYMPI_OK)
        card->status = RAYMPI_ERR_MISMATCH;
}

int reads_agree(struct net *net, const struct net_gather *gather, int status, struct read_card *card,
                struct read_card **cards)
{
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    card->status = status;
    if (status != RAYMPI_OK)
        snprintf(card->text, sizeof card->text, "rank %d on host %s: %s", net->rank, host, base_detail());
    struct read_card *all =
        base_alloc_sure((size_t)net->size * sizeof *all, "net", "what ranks tell each other at start");
    gather->run(gather->arg, card, all, sizeof *all);
    int wrong = -1;
    for (int rank = net->size - 1; rank >= 0; rank--) {
        card_check(&all[rank]);
        wrong = all[rank].status != RAYMPI_OK ? rank : wrong;
    }
    if (wrong >= 0)
        status = base_fail(all[wrong].status, "%s", all[wrong].text);
    if (wrong < 0 && cards)
        *cards = all;
    else
        free(all);
    return status;
}

int reads_install(struct net *net, struct reads_way *way, const struct read_card *cards)
{
    struct net_reads *reads = reads_of(net);
    way->sizes = malloc((size_t)net->size * sizeof *way->sizes);
    if (!way->sizes)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the sizes of %d segments", net->size);
    for (int rank = 0; rank < net->size; rank++)
        way->sizes[rank] = cards[rank].size;
    way->reads = reads;
    base_spin_lock(&reads->links->wire_lock);
    reads->way = way;
    base_spin_unlock(&reads->links->wire_lock);
    return RAYMPI_OK;
}

void net_reads_close(struct net *net)
{
    struct net_reads *reads = reads_of(net);
    struct reads_way *way = reads ? reads->way : NULL;
    if (!way)
        return;
    base_spin_lock(&reads->links->wire_lock);
    reads->way = NULL;
    free(way->sizes);
    way->operations->close(way, reads->orderly);
    base_spin_unlock(&reads->links->wire_lock);
}
