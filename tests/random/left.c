/* What is left on a rank, as the rooms count it. */
#include "actor/actor_internal.h"
#include "api/api.h"
#include "run.h"
#include "task/task_internal.h"

#include <stdio.h>

/* Looks without a lock at what others may be at: it is asked again until it stands still. */
__attribute__((no_sanitize_thread, noinline)) static unsigned objects_left(struct task_room *room)
{
    unsigned objects = 0;
    for (uint32_t i = 0; i < room->slab_used; i++) {
        const struct object *slab = atomic_load_explicit(&room->slabs[i], memory_order_acquire);
        for (uint32_t j = 0; j < task_slots(room, i); j++) {
            uint64_t handle = *(const volatile uint64_t *)&slab[j].count.handle;
            objects += handle != 0 && handle != OBJECT_NO_HANDLE;
        }
    }
    return objects;
}

static unsigned borrowed_left(struct task_room *room)
{
    base_spin_lock(&room->borrow_lock);
    unsigned left = HASH_COUNT(room->borrowed);
    base_spin_unlock(&room->borrow_lock);
    return left;
}

static unsigned kept_left(struct task_room *room)
{
    base_spin_lock(&room->kept.lock);
    unsigned left = HASH_COUNT(room->kept.table);
    base_spin_unlock(&room->kept.lock);
    return left;
}

static unsigned actors_left(struct actor_room *room)
{
    base_spin_lock(&room->lock);
    unsigned left = HASH_COUNT(room->table);
    base_spin_unlock(&room->lock);
    return left;
}

static void count_parked(void *arg, const struct sched_parker *parker)
{
    (void)parker;
    ++*(int *)arg;
}

bool nothing_left(int own, char *text, size_t size)
{
    struct api_node *node = api_node_of(task_self->room);
    struct task_room *room = node->tasks;
    struct store_counters store;
    unsigned inflight = 0, parked = 0;
    int boxes = atomic_load(box_objects());
    for (int rank = 0; rank < room->config.size; rank++)
        inflight += task_inflight(room, rank);
    uint64_t tasks = task_outstanding(room);
    unsigned borrowed = borrowed_left(room), kept = kept_left(room), actors = actors_left(node->actors);
    unsigned counted = atomic_load(&net_board(node->net, room->config.rank)->actors);
    int unseen = atomic_load(&room->unseen);
    sched_each_parked(node->sched, count_parked, &parked);
    store_collect(node->store);
    store_counters(node->store, &store);
    unsigned objects = objects_left(room);
    bool nothing = !inflight && !tasks && !borrowed && !kept && !actors && !counted && !unseen &&
                   (int)parked == boxes && !store.blocks && !store.waiting && !store.bytes &&
                   (int)objects == boxes + own;
    if (!nothing)
        snprintf(
            text, size,
            "%u objects, %u borrowed refs, %u kept, %llu tasks that have not ended, %u credits, %u actors "
            "(%u on the board), %u blocked, %llu store blocks (%llu waiting, %llu bytes), %d unseen errors; "
            "%d objects are ours",
            objects, borrowed, kept, (unsigned long long)tasks, inflight, actors, counted, parked,
            (unsigned long long)store.blocks, (unsigned long long)store.waiting,
            (unsigned long long)store.bytes, unseen, boxes + own);
    return nothing;
}

void bytes_moved(uint64_t moved[MOVED])
{
    struct net_counters net;
    struct raympi_store_stats store = {.size = sizeof store};
    net_counters(api_node_of(task_self->room)->net, &net);
    raympi_store_stats(&store);
    moved[MOVED_FETCHED] = store.fetched;
    moved[MOVED_READ] = net.read_bytes;
    moved[MOVED_SPILLED] = store.spilled;
    moved[MOVED_RESTORED] = store.restored;
    moved[MOVED_REGIONS] = net.regions;
    moved[MOVED_DROPPED] = net.dropped;
    moved[MOVED_REFUSED] = net.refused;
}
