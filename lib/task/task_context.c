/* What a running task, main() or a user's thread holds: refs and views in scopes, all let go at the end. */
#include "task/task_internal.h"

#include <stdlib.h>

void context_init(struct context *context, struct task_room *room, const char *name)
{
    context->room = room;
    context->id_known = false;
    context->index = 0;
    context->children = 0;
    context->name = name;
    context->held = context->held_first;
    context->held_used = 0;
    context->held_size = sizeof context->held_first / sizeof context->held_first[0];
    context->frames = NULL;
    context->frame_used = context->frame_size = 0;
    context->views = NULL;
    context->view_used = context->view_size = 0;
    context->run = NULL;
    context->lanes = NULL;
}

struct task_id context_id(struct context *context)
{
    if (!context->id_known) {
        context->id = task_id_child(context->parent, context->index);
        context->id_known = true;
    }
    return context->id;
}

static void views_drop_from(struct context *context, uint32_t first)
{
    for (uint32_t i = first; i < context->view_used; i++)
        if (context->views[i])
            object_drop(context->room, context->views[i]);
    context->view_used = first;
}

static void held_drop_from(struct context *context, uint32_t first)
{
    for (uint32_t i = first; i < context->held_used; i++)
        if (context->held[i])
            object_drop_handle(context->room, context->held[i]);
    context->held_used = first;
}

void context_fini(struct context *context)
{
    if (__atomic_load_n(&context->lanes, __ATOMIC_RELAXED))
        context->room->actor.leave(context->room->actor.arg, context);
    views_drop_from(context, 0);
    held_drop_from(context, 0);
    if (context->held != context->held_first)
        free(context->held);
    free(context->views);
    free(context->frames);
    context->held = context->held_first;
    context->views = NULL;
    context->frames = NULL;
    context->frame_used = 0;
}

/* Closes the gaps of released refs; only in the innermost scope, whose beginning stays where it is. */
static void held_compact(struct context *context)
{
    uint32_t first = context->frame_used ? context->frames[context->frame_used - 2] : 0, kept = first;
    for (uint32_t i = first; i < context->held_used; i++)
        if (context->held[i]) {
            uint64_t handle = context->held[i];
            struct object *object = task_handle_is_actor(handle) ? NULL : object_by_slot(context->room, handle);
            if (object)
                object->scope_index = kept;
            context->held[kept++] = handle;
        }
    context->held_used = kept;
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
    return RAYMPI_OK;
}

int context_hold(struct context *context, struct object *object)
{
    if (context->held_used == context->held_size) {
        int status = held_grow(context);
        if (status != RAYMPI_OK)
            return status;
    }
    object->scope_index = context->held_used;
    context->held[context->held_used++] = object_handle(object);
    return RAYMPI_OK;
}

int context_unhold(struct context *context, uint64_t handle)
{
    struct object *object = handle ? object_find(context->room, handle) : NULL;
    uint32_t at = object ? object->scope_index : UINT32_MAX;
    if (at >= context->held_used || context->held[at] != handle)
        for (at = context->held_used; at-- > 0 && context->held[at] != handle;)
            continue;
    if (!object || at == UINT32_MAX)
        return base_fail(RAYMPI_ERR_RELEASED, "%s does not hold ref %#llx: released before, or got in another scope",
                         context->name, (unsigned long long)handle);
    context->held[at] = 0;
    uint32_t first = context->frame_used ? context->frames[context->frame_used - 2] : 0;
    while (context->held_used > first && context->held[context->held_used - 1] == 0)
        context->held_used--;
    return RAYMPI_OK;
}

int context_scope_begin(struct context *context)
{
    if (context->frame_used + 2 > context->frame_size) {
        uint32_t size = context->frame_size ? 2 * context->frame_size : 8;
        uint32_t *frames = realloc(context->frames, size * sizeof *frames);
        if (!frames)
            return base_fail(RAYMPI_ERR_MEMORY, "no memory for another scope");
        context->frames = frames;
        context->frame_size = size;
    }
    context->frames[context->frame_used++] = context->held_used;
    context->frames[context->frame_used++] = context->view_used;
    return RAYMPI_OK;
}

int context_scope_end(struct context *context)
{
    if (context->frame_used == 0)
        return base_fail(RAYMPI_ERR_STATE, "raympi_scope_end without raympi_scope_begin in %s", context->name);
    views_drop_from(context, context->frames[--context->frame_used]);
    held_drop_from(context, context->frames[--context->frame_used]);
    return RAYMPI_OK;
}

int context_view_add(struct context *context, struct object *object, uint64_t *position)
{
    if (context->view_used == context->view_size) {
        uint32_t size = context->view_size ? 2 * context->view_size : 8;
        struct object **views = realloc(context->views, size * sizeof *views);
        if (!views)
            return base_fail(RAYMPI_ERR_MEMORY, "no memory for another view");
        context->views = views;
        context->view_size = size;
    }
    object_retain(object);
    *position = context->view_used;
    context->views[context->view_used++] = object;
    return RAYMPI_OK;
}

int context_view_end(struct context *context, struct object *object, uint64_t position)
{
    if (position >= context->view_used || context->views[position] != object)
        return base_fail(RAYMPI_ERR_ARGUMENT, "this view is not open in %s: ended before, or got in another scope",
                         context->name);
    context->views[position] = NULL;
    uint32_t first = context->frame_used ? context->frames[context->frame_used - 1] : 0;
    while (context->view_used > first && !context->views[context->view_used - 1])
        context->view_used--;
    object_drop(context->room, object);
    return RAYMPI_OK;
}

int kept_add(struct kept_set *set, uint64_t handle)
{
    struct kept *kept;
    base_spin_lock(&set->lock);
    HASH_FIND(hh, set->table, &handle, sizeof handle, kept);
    if (!kept && (kept = calloc(1, sizeof *kept))) {
        kept->handle = handle;
        HASH_ADD(hh, set->table, handle, sizeof handle, kept);
    }
    if (kept)
        kept->holds++;
    base_spin_unlock(&set->lock);
    return kept ? RAYMPI_OK : base_fail(RAYMPI_ERR_MEMORY, "no memory to keep a ref");
}

bool kept_remove(struct kept_set *set, uint64_t handle)
{
    struct kept *kept;
    base_spin_lock(&set->lock);
    HASH_FIND(hh, set->table, &handle, sizeof handle, kept);
    if (kept && --kept->holds == 0) {
        HASH_DEL(set->table, kept);
        free(kept);
    }
    base_spin_unlock(&set->lock);
    return kept != NULL;
}

void kept_drop_all(struct task_room *room, struct kept_set *set)
{
    struct kept *kept, *next;
    HASH_ITER(hh, set->table, kept, next)
    {
        HASH_DEL(set->table, kept);
        while (kept->holds-- > 0)
            object_drop_handle(room, kept->handle);
        free(kept);
    }
}
