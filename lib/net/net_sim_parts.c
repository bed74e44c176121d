/* The containers of the sim transport: a pair's messages in order, sets that one draws from, datagrams in no
 * order. */
#include "net/net_sim_internal.h"

#include <stdlib.h>

/* ---- queues */

void sim_queue_init(struct sim_queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

void sim_queue_put(struct sim_queue *queue, struct sim_message *message)
{
    message->next = NULL;
    *queue->last = message;
    queue->last = &message->next;
}

struct sim_message *sim_queue_take(struct sim_queue *queue)
{
    struct sim_message *message = queue->first;
    if (message == NULL)
        return NULL;
    queue->first = message->next;
    if (queue->first == NULL)
        queue->last = &queue->first;
    return message;
}

void sim_queue_drop(struct sim_queue *queue)
{
    struct sim_message *message;
    while ((message = sim_queue_take(queue)) != NULL)
        free(message);
}

/* ---- sets */

int sim_set_create(struct sim_set *set, int capacity)
{
    set->items = calloc((size_t)capacity, sizeof *set->items);
    set->place = malloc((size_t)capacity * sizeof *set->place);
    if (set->items == NULL || set->place == NULL)
        return RAYMPI_ERR_MEMORY;
    for (int i = 0; i < capacity; i++)
        set->place[i] = -1;
    return RAYMPI_OK;
}

void sim_set_destroy(struct sim_set *set)
{
    free(set->items);
    free(set->place);
}

void sim_set_add(struct sim_set *set, int item)
{
    if (set->place[item] >= 0)
        return;
    set->place[item] = set->count;
    set->items[set->count++] = item;
}

void sim_set_remove(struct sim_set *set, int item)
{
    int place = set->place[item];
    if (place < 0)
        return;
    int last = set->items[--set->count];
    set->items[place] = last;
    set->place[last] = place;
    set->place[item] = -1;
}

/* ---- clouds */

static void cloud_swap(struct sim_cloud *cloud, int one, int other)
{
    struct sim_message *message = cloud->items[one];
    cloud->items[one] = cloud->items[other];
    cloud->items[other] = message;
}

int sim_cloud_add(struct sim_cloud *cloud, struct sim_message *message)
{
    if (cloud->count == cloud->room) {
        int room = cloud->room > 0 ? 2 * cloud->room : 64;
        struct sim_message **items = realloc(cloud->items, (size_t)room * sizeof *items);
        if (items == NULL)
            return base_fail(RAYMPI_ERR_MEMORY, "no memory for %d datagrams", room);
        cloud->items = items;
        cloud->room = room;
    }
    if (cloud->count == cloud->due || message->due < cloud->next)
        cloud->next = message->due;
    cloud->items[cloud->count++] = message;
    return RAYMPI_OK;
}

/* The last of those that are due takes its place, and the last of all that one's. */
struct sim_message *sim_cloud_take(struct sim_cloud *cloud, int place)
{
    struct sim_message *message = cloud->items[place];
    if (place < cloud->due) {
        cloud->items[place] = cloud->items[--cloud->due];
        place = cloud->due;
    }
    cloud->items[place] = cloud->items[--cloud->count];
    return message;
}

void sim_cloud_advance(struct sim_cloud *cloud, uint64_t now)
{
    if (cloud->count == cloud->due || cloud->next > now)
        return;
    cloud->next = UINT64_MAX;
    for (int i = cloud->due; i < cloud->count; i++) {
        uint64_t due = cloud->items[i]->due;
        if (due <= now)
            cloud_swap(cloud, i, cloud->due++);
        else if (due < cloud->next)
            cloud->next = due;
    }
}

static bool cloud_between(const struct sim_message *message, int one, int other)
{
    int source = message->source, destination = message->destination;
    if (other < 0)
        return source == one || destination == one;
    return (source == one && destination == other) || (source == other && destination == one);
}

void sim_cloud_drop(struct sim_cloud *cloud, int one, int other)
{
    for (int i = 0; i < cloud->count;)
        if (cloud_between(cloud->items[i], one, other))
            free(sim_cloud_take(cloud, i));
        else
            i++;
}

void sim_cloud_destroy(struct sim_cloud *cloud)
{
    for (int i = 0; i < cloud->count; i++)
        free(cloud->items[i]);
    free(cloud->items);
}
