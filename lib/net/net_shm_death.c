/* Deaths on one host. Every rank watches the life words of the next two living ranks; who finds a death bumps
 * and wakes the host's death word, which every sleeper waits on and every poll looks at; then each rank looks
 * at all life words, since neighbours often die together. Ranks that died or left are passed over, so their
 * watchers' duty moves on to those before them, who are woken by the same event. */
#include "net/net_shm.h"

#include <limits.h>

static uint32_t shm_life_word(const struct shm_net *shm, int rank, int slot)
{
    return atomic_load(&shm->ranks[rank].life.slots[slot].word);
}

static bool shm_dead_announced(const struct shm_net *shm, int rank)
{
    return atomic_load(&shm->host->dead[rank / 64]) >> (rank % 64) & 1;
}

enum net_life_state shm_life_state(const struct shm_net *shm, int rank)
{
    enum net_life_state first = net_life_state(shm_life_word(shm, rank, 0));
    enum net_life_state second = net_life_state(shm_life_word(shm, rank, 1));
    /* Killed while it left in good order: its words differ. It had left. */
    if (first == NET_LIFE_LEFT || second == NET_LIFE_LEFT)
        return NET_LIFE_LEFT;
    if (first == NET_LIFE_DIED || second == NET_LIFE_DIED)
        return NET_LIFE_DIED;
    return first;
}

/** Wakes everybody first and marks the rank afterwards: should this rank die in between, the next one to find
 * the death announces it again. */
static void shm_death_announce(struct shm_net *shm, int rank)
{
    if (shm_dead_announced(shm, rank))
        return;
    atomic_fetch_add(&shm->host->deaths, 1);
    net_futex_wake(&shm->host->deaths, INT_MAX);
    atomic_fetch_or(&shm->host->dead[rank / 64], UINT64_C(1) << (rank % 64));
}

static void shm_death_tell(struct shm_net *shm, int rank)
{
    shm->in[rank].told = true;
    shm_in_finish(shm, rank);
    shm_out_drop(shm, rank, true);
    net_died(&shm->net, rank);
}

void shm_deaths_handle(struct shm_net *shm)
{
    /* Read before the life words: a death that comes later bumps it again. */
    shm->deaths_seen = atomic_load(&shm->host->deaths);
    for (int rank = 0; rank < shm->net.size; rank++) {
        if (rank == shm->net.rank || shm->in[rank].told || shm_life_state(shm, rank) != NET_LIFE_DIED)
            continue;
        shm_death_announce(shm, rank);
        shm_death_tell(shm, rank);
    }
}

int shm_watch(struct shm_net *shm, struct net_futex watched[NET_LIFE_WORDS])
{
    int slot = 0;
    for (int distance = 1; distance < shm->net.size && slot < NET_LIFE_WORDS; distance++) {
        int rank = (shm->net.rank + distance) % shm->net.size;
        /* Read before the state is judged: if it changes afterwards, the wait returns at once. */
        uint32_t word = shm_life_word(shm, rank, slot);
        enum net_life_state state = shm_life_state(shm, rank);
        if (state == NET_LIFE_DIED)
            shm_death_announce(shm, rank);
        if (state == NET_LIFE_DIED || state == NET_LIFE_LEFT)
            continue;
        /* The nearest living rank before it sleeps on its first word, the second nearest on its second. */
        watched[slot] = (struct net_futex){.word = &shm->ranks[rank].life.slots[slot].word, .expected = word};
        slot++;
    }
    return slot;
}

int shm_dead_peer(struct net *net)
{
    const struct shm_net *shm = shm_of(net);
    for (int rank = 0; rank < net->size; rank++)
        if (rank != net->rank && shm_life_state(shm, rank) == NET_LIFE_DIED)
            return rank;
    return -1;
}
