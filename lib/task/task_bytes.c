/* Bytes of messages. Ranks of a job run the same library (checked at start), so numbers travel as they lie.
 */
#include "task/task_internal.h"

#include <stdlib.h>

void writer_init(struct writer *writer)
{
    writer->bytes = writer->first;
    writer->used = 0;
    writer->size = sizeof writer->first;
    writer->failed = false;
}

void writer_fini(struct writer *writer)
{
    if (writer->bytes != writer->first)
        free(writer->bytes);
}

static bool writer_grow(struct writer *writer, size_t need)
{
    size_t size = writer->size;
    while (size < need)
        size *= 2;
    bool first = writer->bytes == writer->first;
    char *bytes = realloc(first ? NULL : writer->bytes, size);
    if (!bytes)
        return false;
    if (first)
        memcpy(bytes, writer->first, writer->used);
    writer->bytes = bytes;
    writer->size = size;
    return true;
}

void write_bytes(struct writer *writer, const void *data, size_t length)
{
    if (writer->failed ||
        (writer->used + length > writer->size && !writer_grow(writer, writer->used + length))) {
        writer->failed = true;
        return;
    }
    if (length)
        memcpy(writer->bytes + writer->used, data, length);
    writer->used += length;
}

int writer_send(struct task_room *room, struct writer *writer, int rank, enum task_message_type type)
{
    if (writer->failed)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a message of more than %zu bytes", writer->used);
    struct net_piece piece = {writer->bytes, writer->used};
    return net_send(room->net, rank, type, &piece, 1);
}

const void *read_in_place(struct reader *reader, size_t length)
{
    if (reader->failed || length > (size_t)(reader->end - reader->at)) {
        reader->failed = true;
        return NULL;
    }
    const void *data = reader->at;
    reader->at += length;
    return data;
}

void read_bytes(struct reader *reader, void *data, size_t length)
{
    const void *from = read_in_place(reader, length);
    if (from && length)
        memcpy(data, from, length);
}
