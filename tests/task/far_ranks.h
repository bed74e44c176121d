/* The other ranks of a node of task_node.h, on hosts of their own: what they are asked for and told, and what
 * the test has them send. */
#ifndef TESTS_TASK_FAR_RANKS_H
#define TESTS_TASK_FAR_RANKS_H

#include "far_reads.h"
#include "far_values.h"

#define PULLS 64
#define SMALL (3 * RANGE_BYTES + 40) /* bytes: a copy that rank 0 fetches */
#define STEPS (2 * STEP_BYTES + 40)  /* the same, one-sidedly */

/* What a rank was asked for and told. */
struct far {
    struct pull pulls[PULLS];
    int pulled, reads, refusals, stale, elsewheres;
    struct elsewhere elsewhere;
    uint64_t got;
    bool wrong; /* bytes */
    struct leased leased;
    int leases;
};

static struct far far[NODE_RANKS];

static inline void on_pull(void *arg, const struct net_message *message)
{
    struct far *to = arg;
    CU_ASSERT_FATAL(message->length == sizeof *to->pulls && to->pulled < PULLS);
    memcpy(&to->pulls[to->pulled++], message->data, message->length);
}

static inline void on_chunk(void *arg, const struct net_message *message)
{
    struct far *to = arg;
    struct chunk chunk;
    uint64_t length = message->length - sizeof chunk;
    memcpy(&chunk, message->data, sizeof chunk);
    to->refusals += length == 0;
    to->got += length;
    if (length > 0 && memcmp((const char *)message->data + sizeof chunk, content + chunk.offset, length) != 0)
        to->wrong = true;
}

static inline void on_elsewhere(void *arg, const struct net_message *message)
{
    struct far *to = arg;
    CU_ASSERT_FATAL(message->length == sizeof to->elsewhere);
    memcpy(&to->elsewhere, message->data, message->length);
    to->elsewheres++;
}

static inline void on_leased(void *arg, const struct net_message *message)
{
    struct far *to = arg;
    CU_ASSERT_FATAL(message->length == sizeof to->leased);
    memcpy(&to->leased, message->data, message->length);
    to->leases++;
}

static inline void on_read(void *arg, const struct net_message *message)
{
    (void)message;
    ((struct far *)arg)->reads++;
}

static inline void on_stale(void *arg, const struct net_message *message)
{
    (void)message;
    ((struct far *)arg)->stale++;
}

static inline void begin(void)
{
    far_begin(STEPS);
    memset(far, 0, sizeof far);
    one_sided = ranges_shut = memory_shut = false;
    ranges_asked = ranges_open = memory_open = 0;
    reading = NULL;
    for (int rank = 1; rank < NODE_RANKS; rank++) {
        net_handle(node.net[rank], TASK_MESSAGE_PULL, on_pull, &far[rank]);
        net_handle(node.net[rank], TASK_MESSAGE_CHUNK, on_chunk, &far[rank]);
        net_handle(node.net[rank], TASK_MESSAGE_ELSEWHERE, on_elsewhere, &far[rank]);
        net_handle(node.net[rank], TASK_MESSAGE_LEASED, on_leased, &far[rank]);
        net_handle(node.net[rank], TASK_MESSAGE_READ, on_read, &far[rank]);
        net_handle(node.net[rank], TASK_MESSAGE_STALE, on_stale, &far[rank]);
    }
}

/* ---- a copy that rank 0 fetches */

static inline void chunk(int source, uint64_t offset, uint64_t length)
{
    struct chunk head = {.at = far_block, .offset = offset};
    struct net_piece pieces[] = {{&head, sizeof head}, {content + offset, length}};
    CU_ASSERT_EQUAL(net_send(node.net[source], 0, TASK_MESSAGE_CHUNK, pieces, 2), RAYMPI_OK);
    node_settle(&node);
}

/* Bytes of the copy that rank 0 fetches, from `source`. */
static inline void chunks(int source, uint64_t from, uint64_t to)
{
    while (from < to) {
        uint64_t left = to - from, range = RANGE_BYTES - from % RANGE_BYTES;
        uint64_t length = left < range ? left : range;
        chunk(source, from, length < 10000 ? length : 10000);
        from += length < 10000 ? length : 10000;
    }
}

static inline struct value fetched(uint64_t length)
{
    struct value value = far_value(length);
    value_fetch(node.room, &value);
    node_settle(&node);
    CU_ASSERT_FATAL(far[1].pulled > 0);
    CU_ASSERT(far[1].pulls[0].serial != 0);
    return value;
}

static inline void sent_to(int rank, uint64_t serial)
{
    const struct elsewhere elsewhere = {far_block, serial, rank, 0};
    node_receive(&node, copy_on_elsewhere, &elsewhere, sizeof elsewhere);
    node_settle(&node);
}

/* ---- one-sidedly */

static inline void lease_as(int rank, struct leased leased)
{
    leased.at = far_block;
    leased.offset = 4096;
    node_receive_from(&node, rank, copy_on_leased, &leased, sizeof leased);
    node_settle(&node);
}

static inline void lease(int rank, uint64_t ready)
{
    lease_as(rank, (struct leased){.ready = ready});
}

/* What is being read comes, or (not OK) does not. */
static inline void read_ends(int rank, uint64_t offset, uint64_t length, int status)
{
    struct net_read *read = reading;
    CU_ASSERT_PTR_NOT_NULL_FATAL(read);
    reading = NULL;
    CU_ASSERT_EQUAL(read->rank, rank);
    CU_ASSERT_EQUAL(read->offset, 4096 + offset);
    CU_ASSERT_EQUAL_FATAL(read->length, length);
    if (status == RAYMPI_OK)
        memcpy(read->to, content + offset, length);
    else
        base_fail(status, "the test says so");
    read->done(read, status);
    node_settle(&node);
}

#endif
