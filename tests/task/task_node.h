/* Rank 0 of a job of two, or NODE_RANKS: a whole node, over the sim transport. The others are nets only,
 * whose messages the test reads. */
#ifndef TESTS_TASK_NODE_H
#define TESTS_TASK_NODE_H

#include "../unit.h"
#include "api/api.h"
#include "net/net_internal.h"
#include "net/net_sim.h"
#include "task/task_internal.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#define NODE_PAGE 4096
#ifndef NODE_RANKS
#define NODE_RANKS 2
#endif
#ifndef NODE_STORE
#define NODE_STORE (2 << 20) /* bytes */
#endif

struct task_node {
    struct net_sim *sim;
    struct base_segment segment;
    struct net *net[NODE_RANKS];
    struct store *other_store;
    struct api_node api;
    struct task_room *room;
    /* the last message that any of the others got of each type */
    struct {
        char bytes[NET_MESSAGE_ONE];
        size_t length;
        int count;
    } got[NET_HANDLERS];
};

static inline void node_other_got(void *arg, const struct net_message *message)
{
    struct task_node *node = arg;
    CU_ASSERT_FATAL(message->length <= sizeof node->got[0].bytes);
    memcpy(node->got[message->type].bytes, message->data, message->length);
    node->got[message->type].length = message->length;
    node->got[message->type].count++;
}

static inline void node_open(struct task_node *node)
{
    static uint64_t serial;
    const uint64_t cookie[2] = {(uint64_t)getpid(), ++serial};
    struct store_layout layout;
    struct base_config config;
    struct store *store;
    memset(node, 0, sizeof *node);
    CU_ASSERT_FATAL(base_config_read(&config) == RAYMPI_OK);
    store_layout_make(&layout, 2, NODE_STORE);
    uint64_t control = base_align_up(NODE_PAGE + layout.control_bytes, NODE_PAGE);
    uint64_t size = control + layout.extents * layout.extent_bytes;
    CU_ASSERT_FATAL(base_segment_create(&node->segment, size, control, cookie) == RAYMPI_OK);
    base_segment_unlink(&node->segment);
    CU_ASSERT_FATAL(net_sim_create(&node->sim, NODE_RANKS, 1, NULL) == RAYMPI_OK);
    for (int rank = 0; rank < NODE_RANKS; rank++)
        CU_ASSERT_FATAL(net_sim_open(&node->net[rank], node->sim, rank) == RAYMPI_OK);
    CU_ASSERT_FATAL(store_open(&store, &node->segment, &layout, NODE_PAGE, control, 0, 1.0) == RAYMPI_OK);
    CU_ASSERT_FATAL(store_open(&node->other_store, &node->segment, &layout, NODE_PAGE, control, 1, 1.0) ==
                    RAYMPI_OK);
    for (int rank = 1; rank < NODE_RANKS; rank++)
        for (uint16_t type = 0; type < NET_HANDLERS; type++)
            net_handle(node->net[rank], type, node_other_got, node);
    CU_ASSERT_FATAL(api_node_open(&node->api, &config, node->net[0], store, 1, 0, true) == RAYMPI_OK);
    node->room = node->api.tasks;
}

/** The sim's ranks are on one host; from here on each is on one of its own. */
static inline void node_apart(struct task_node *node)
{
    static int host_of[NODE_RANKS], ranks[] = {0}, local_of[NODE_RANKS];
    static struct net_map map = {
        .size = NODE_RANKS, .hosts = NODE_RANKS, .host_of = host_of, .locals = 1, .ranks = ranks};
    for (int rank = 0; rank < NODE_RANKS; rank++) {
        host_of[rank] = rank;
        local_of[rank] = rank == 0 ? 0 : -1;
    }
    node->net[0]->map = &map;
    node->net[0]->local_of = local_of;
}

static inline void node_step(void *arg, int rank)
{
    struct task_node *node = arg;
    while (net_poll(node->net[rank], 64) > 0)
        ;
    if (rank == 0)
        sched_yield_fiber(node->api.sched);
    net_sleep(node->net[rank], UINT64_MAX, NULL, NULL);
}

/** Until nothing moves: messages arrive, tasks of rank 0 run. */
static inline void node_settle(struct task_node *node)
{
    struct context *context = task_self->context; /* tasks that parked leave theirs */
    task_self->in_call = 1;                       /* tasks run inside of a call */
    sched_yield_fiber(node->api.sched);
    net_sim_run(node->sim, node_step, NULL, node);
    task_self->in_call = 0;
    task_self->context = context;
}

static inline void node_close(struct task_node *node)
{
    context_fini(&task_self->root);
    node_settle(node);
    api_node_stop(&node->api);
    api_node_close(&node->api);
    store_close(node->other_store);
    for (int rank = 1; rank < NODE_RANKS; rank++)
        net_close(node->net[rank]);
    net_sim_destroy(node->sim);
    base_segment_close(&node->segment);
}

/** As if rank `source` had sent it. */
static inline void node_receive_from(struct task_node *node, int source, net_handler *handler,
                                     const void *bytes, size_t length)
{
    /* Of its own, and exactly that long, so that a sanitizer sees a read past its end. */
    char *copy = malloc(length ? length : 1);
    if (length)
        memcpy(copy, bytes, length);
    struct net_message message = {.source = source, .data = copy, .length = length};
    handler(node->room, &message);
    free(copy);
}

static inline void node_receive(struct task_node *node, net_handler *handler, const void *bytes,
                                size_t length)
{
    node_receive_from(node, 1, handler, bytes, length);
}

/* What is logged from here on is not shown, until quiet_end(): broken messages are many. */
static inline int quiet_begin(void)
{
    int kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    fflush(stderr);
    dup2(null, STDERR_FILENO);
    close(null);
    return kept;
}

static inline void quiet_end(int kept)
{
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
}

/** A block of rank 0's goes to the disk, in the working folder; false: that can not be used. */
static inline bool node_spill(struct task_node *node, struct store_place place)
{
    const struct store_spill_config config = {.directories = ".", .asked_for = true};
    struct store *store = node->room->store;
    struct store_look look;
    uint64_t coming;
    int status;
    int kept = quiet_begin();
    bool opened = store_spill_open(store, &config) == RAYMPI_OK;
    quiet_end(kept);
    while (opened && (store_look(store, place, &look), !look.on_disk)) {
        store_make_room(store, look.length, &coming, &status);
        CU_ASSERT_FATAL(status == RAYMPI_OK);
        sched_yield();
    }
    return opened;
}

#endif
