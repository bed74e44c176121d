/* What a crash says when somebody has written to an object. Async-signal-safe except for snprintf, which with
 * these conversions allocates nothing in glibc. */
#include "api/api.h"

#include <inttypes.h>
#include <stdio.h>

struct maker {
    uint32_t note;
    const char *name;
};

static void maker_look(void *arg, const struct task_function *function)
{
    struct maker *maker = arg;
    if (task_note_of(function->full_hash) == maker->note)
        maker->name = function->full_name;
}

/* Whose the object is, as far as it is known. */
static void describe_maker(uint32_t note, char *text, size_t size)
{
    struct maker maker = {note, NULL};
    text[0] = 0;
    if (note & TASK_NOTE_COPY) {
        snprintf(text, size, ", a copy of one of rank %u", note & ~TASK_NOTE_COPY);
        return;
    }
    task_functions_each(maker_look, &maker);
    if (note == TASK_NOTE_OUTSIDE)
        snprintf(text, size, ", made outside of tasks");
    else if (maker.name)
        snprintf(text, size, ", made by %.100s", maker.name);
}

size_t api_misuse(const struct api_node *node, const void *address, char *text, size_t size)
{
    struct store_spot spot;
    char maker[128];
    int used;
    if (!store_find(node->store, address, &spot))
        return 0;
    if (spot.rank < 0) {
        used =
            snprintf(text, size,
                     " used memory of the object store where no sealed object is: the view or the ref that "
                     "kept it has ended");
    } else {
        describe_maker(spot.note, maker, sizeof maker);
        used =
            snprintf(text, size,
                     " wrote to a sealed object (byte %" PRIu64 " of %" PRIu64
                     ", held by rank %d%s): objects can not be changed once they are sealed, copy it first",
                     spot.at, spot.length, net_rank_of_local(node->net, spot.rank), maker);
    }
    return used < 0 ? 0 : (size_t)used < size ? (size_t)used : size - 1;
}
