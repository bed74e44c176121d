/* Bytes of messages. Ranks of a job run the same library (checked at start), so numbers travel as they lie.
 */
#include "task/task_internal.h"

#include <stdlib.h>

void writer_init(struct writer *writer)
{
    writer->bytes = writer->first;
    writer->used = 0;
    writer->size = sizeof writer->first;
    writer->failed = writer->far = writer->moved = writer->results = writer->sure = false;
}

void writer_fini(struct writer *writer)
{
    if (writer->bytes != writer->first)
        free(writer->bytes);
}

bool writer_grow(struct writer *writer, size_t length)
{
    size_t size = writer->size, need = writer->used + length;
    while (size < need)
        size *= 2;
    bool first = writer->bytes == writer->first;
    char *bytes;
    int tries = 0;
    while (!(bytes = writer->failed ? NULL : realloc(first ? NULL : writer->bytes, size))) {
        if (!writer->sure) {
            writer->failed = true;
            return false;
        }
        base_await_memory(&tries, "task", "a message that another rank waits for");
    }
    if (first)
        memcpy(bytes, writer->first, writer->used);
    writer->bytes = bytes;
    writer->size = size;
    return true;
}

int task_tell(struct task_room *room, int rank, enum task_message_type type, const struct net_piece *pieces,
              int count)
{
    int tries = 0, status;
    while ((status = net_send(room->net, rank, type, pieces, count)) == RAYMPI_ERR_MEMORY)
        base_await_memory(&tries, "task", "a message that another rank waits for");
    return status;
}

int writer_send(struct task_room *room, struct writer *writer, int rank, enum task_message_type type)
{
    struct net_piece piece = {writer->bytes, writer->used};
    if (writer->failed)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a message of more than %zu bytes", writer->used);
    return writer->sure ? task_tell(room, rank, type, &piece, 1) : net_send(room->net, rank, type, &piece, 1);
}
