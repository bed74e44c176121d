/* The refs of a scope: a list of handles in the order in which they were got. Which entry is that of a
 * handle, the object's own hint tells in most cases; where several contexts hold the same object, or one
 * holds it several times, an index is made, so that letting go costs the same in any order. */
#include "task/task_internal.h"

#include <stdlib.h>

#define HELD_LOOKS 16 /* entries looked at from the end before an index is made */

/* Newest entry of each handle, and for each entry the one before it of the same handle; positions + 1, 0 =
 * none. Entries from `covered` on are not in it yet. What was let go stays until it is met, or the list ends
 * before it. */
struct held_index {
    uint32_t covered, used, mask, size;
    struct held_entry {
        uint64_t handle;
        uint32_t older;
    } * entries;
    struct held_slot {
        uint64_t handle;
        uint32_t newest;
    } * slots;
};

static void index_free(struct context *context)
{
    if (!context->held_index)
        return;
    free(context->held_index->entries);
    free(context->held_index->slots);
    free(context->held_index);
    context->held_index = NULL;
    context->indexed = 0;
}

static struct held_slot *slot_of(struct held_index *index, uint64_t handle)
{
    uint32_t at = (uint32_t)base_mix(handle) & index->mask;
    while (index->slots[at].handle && index->slots[at].handle != handle)
        at = (at + 1) & index->mask;
    return &index->slots[at];
}

static bool index_make(struct context *context)
{
    uint32_t size = 64;
    while (size / 2 < context->held_size)
        size *= 2;
    struct held_index *index = calloc(1, sizeof *index);
    if (!index)
        return false;
    context->held_index = index;
    context->indexed = 1;
    context->grown = true;
    index->mask = size - 1;
    index->size = context->held_size;
    index->entries = malloc(context->held_size * sizeof *index->entries);
    index->slots = calloc(size, sizeof *index->slots);
    if (index->entries && index->slots)
        return true;
    index_free(context);
    return false;
}

/* Brings the index up to date; it is made anew when the list has grown or the slots are half full of handles
 * that have gone. False when there is no memory. */
static bool index_extend(struct context *context)
{
    struct held_index *index = context->held_index;
    if (index && (index->size < context->held_size ||
                  index->used + (context->held_used - index->covered) > index->mask / 2 + 1)) {
        index_free(context);
        index = NULL;
    }
    if (!index && !index_make(context))
        return false;
    index = context->held_index;
    for (; index->covered < context->held_used; index->covered++) {
        uint64_t handle = context->held[index->covered];
        struct held_entry *entry = &index->entries[index->covered];
        *entry = (struct held_entry){handle, 0};
        if (!handle)
            continue;
        struct held_slot *slot = slot_of(index, handle);
        index->used += !slot->handle;
        slot->handle = handle;
        entry->older = slot->newest;
        slot->newest = index->covered + 1;
    }
    return true;
}

/* Entries from held_used on are gone: their places will be used again. */
static void index_shrink(struct context *context)
{
    struct held_index *index = context->held_index;
    while (index && index->covered > context->held_used) {
        struct held_entry *entry = &index->entries[--index->covered];
        struct held_slot *slot = entry->handle ? slot_of(index, entry->handle) : NULL;
        if (slot && slot->newest == index->covered + 1)
            slot->newest = entry->older;
    }
}

static uint32_t index_find(struct context *context, uint64_t handle)
{
    struct held_index *index = context->held_index;
    struct held_slot *slot = slot_of(index, handle);
    while (slot->newest && context->held[slot->newest - 1] != handle)
        slot->newest = index->entries[slot->newest - 1].older;
    return slot->newest ? slot->newest - 1 : UINT32_MAX;
}

/* Of a handle that may be nobody's: slots stay what they are, other records are looked at under their lock.
 */
static uint32_t held_hint(struct context *context, uint64_t handle)
{
    struct task_room *room = context->room;
    if (!object_owned(room, handle))
        return object_hint_borrowed(room, handle);
    struct object *object = object_by_slot(room, handle);
    return object ? atomic_load_explicit(&object->scope_index, memory_order_relaxed) : UINT32_MAX;
}

/* As the hint says, or among the newest. */
static uint32_t held_near(struct context *context, uint64_t handle)
{
    uint32_t at = held_hint(context, handle);
    if (at >= context->held_floor && at < context->held_used && context->held[at] == handle)
        return at;
    uint32_t looks = context->held_used < HELD_LOOKS ? context->held_used : HELD_LOOKS;
    for (at = context->held_used; at > context->held_used - looks;)
        if (context->held[--at] == handle)
            return at;
    return UINT32_MAX;
}

/* Position of a hold on the object, or UINT32_MAX; of several the newest one, or another of the innermost
 * scope: a hint that leads out of that (others may have set it) is not followed. */
static uint32_t held_find(struct context *context, uint64_t handle)
{
    uint32_t at = held_near(context, handle);
    if (at != UINT32_MAX || context->held_used <= HELD_LOOKS)
        return at;
    if (index_extend(context))
        return index_find(context, handle);
    for (at = context->held_used; at-- > 0;)
        if (context->held[at] == handle)
            return at;
    return UINT32_MAX;
}

/* Closes the gaps of released refs; only in the innermost scope, whose beginning stays where it is. */
static void held_compact(struct context *context)
{
    uint32_t kept = context->held_floor;
    for (uint32_t i = kept; i < context->held_used; i++)
        if (context->held[i]) {
            uint64_t handle = context->held[i];
            struct object *object =
                object_owned(context->room, handle) ? object_by_slot(context->room, handle) : NULL;
            if (object)
                atomic_store_explicit(&object->scope_index, kept, memory_order_relaxed);
            context->held[kept++] = handle;
        }
    context->held_used = kept;
    index_free(context);
}

static int held_grow(struct context *context)
{
    uint32_t before = context->held_used;
    held_compact(context);
    if (context->held_used <= before / 2 + before / 4)
        return RAYMPI_OK;
    uint32_t size = context->held_size * 2;
    bool first = context->held == context->held_first;
    uint64_t *held = realloc(first ? NULL : context->held, size * sizeof *held);
    if (!held)
        return context->held_used < context->held_size
                   ? RAYMPI_OK
                   : base_fail(RAYMPI_ERR_MEMORY, "no memory for %u refs in one scope", size);
    if (first)
        memcpy(held, context->held_first, context->held_used * sizeof *held);
    context->held = held;
    context->held_size = size;
    context->grown = true;
    return RAYMPI_OK;
}

int context_hold_more(struct context *context)
{
    return held_grow(context);
}

int context_hold(struct context *context, struct object *object)
{
    int status = context_hold_named(context, object);
    if (status == RAYMPI_OK)
        refcount_name(&object->count);
    return status;
}

/* The entry at `at` is free; so is the end of the list. */
static inline void held_clear(struct context *context, uint32_t at)
{
    context->held[at] = 0;
    uint32_t used = context->held_used, first = context->held_floor;
    while (used > first && context->held[used - 1] == 0)
        used--;
    context->held_used = used;
    if (base_unlikely(context->held_index != NULL))
        index_shrink(context);
}

bool context_holds_anywhere(struct context *context, uint64_t handle)
{
    return handle != 0 && held_find(context, handle) != UINT32_MAX;
}

bool context_holds_near(struct context *context, uint64_t handle)
{
    return handle != 0 && held_near(context, handle) != UINT32_MAX;
}

bool context_unhold_anywhere(struct context *context, uint64_t handle)
{
    uint32_t at = handle ? held_find(context, handle) : UINT32_MAX;
    if (base_unlikely(at == UINT32_MAX))
        return false;
    if (base_unlikely(context->leaning > 0))
        views_stand(context, object_find(context->room, handle));
    held_clear(context, at);
    return true;
}

void held_drop_from(struct context *context, uint32_t first)
{
    for (uint32_t i = first; i < context->held_used; i++) {
        struct object *object = context->held[i] ? object_find(context->room, context->held[i]) : NULL;
        if (!object)
            continue;
        if (base_unlikely(context->leaning > 0))
            views_stand(context, object);
        object_drop_named(context->room, object);
    }
    context->held_used = first;
    index_shrink(context);
}

void held_fini(struct context *context)
{
    index_free(context);
    if (context->held != context->held_first)
        free(context->held);
    context->held = context->held_first;
    context->held_size = sizeof context->held_first / sizeof context->held_first[0];
}
