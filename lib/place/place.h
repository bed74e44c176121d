/* Where things go: pure functions over a snapshot of the nodes. */
#ifndef RAYMPI_PLACE_H
#define RAYMPI_PLACE_H

#include <stdbool.h>
#include <stdint.h>

/** What is known of one node when something is placed. */
struct place_node {
    uint32_t load;   /* tasks queued or running, or sent there and not yet ended, whichever is more */
    uint32_t actors; /* actors it hosts, or was told to host by us */
    bool available;  /* its workers can take new tasks */
    bool allowed;    /* the task is registered there */
};

/** A task: stays on `self` while at most `threshold` tasks wait there, else goes to the least loaded node
 * (ties: the first after self, going round). -1 when it is allowed nowhere. */
int place_task(const struct place_node *nodes, int count, int self, uint32_t threshold);

/** An actor: the node with the fewest actors (ties: the first at or after `start`), available ones first. -1
 * when it is allowed nowhere. */
int place_actor(const struct place_node *nodes, int count, int start);

/** Whom an idle node asks for work: the node with most tasks waiting, -1 when none has more than one.
 * `queued` has one entry per node. */
int place_victim(const uint32_t *queued, int count, int self);

#endif
