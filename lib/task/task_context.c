/* What a running task, main() or a user's thread holds: refs and views in scopes, all let go at the end. */
#include "task/task_internal.h"

#include <stdlib.h>

#define VIEW_LOOKS 16 /* places looked at for a free one before the table grows */

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
    context->held_index = NULL;
    context->frames = NULL;
    context->frame_used = context->frame_size = 0;
    context->views = NULL;
    context->view_used = context->view_size = context->view_cursor = 0;
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

void context_fini(struct context *context)
{
    if (__atomic_load_n(&context->lanes, __ATOMIC_RELAXED))
        context->room->actor.leave(context->room->actor.arg, context);
    views_drop_from(context, 0);
    held_drop_from(context, 0);
    held_fini(context);
    free(context->views);
    free(context->frames);
    context->views = NULL;
    context->frames = NULL;
    context->frame_used = 0;
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
        return base_fail(RAYMPI_ERR_STATE, "raympi_scope_end without raympi_scope_begin in %s",
                         context->name);
    views_drop_from(context, context->frames[--context->frame_used]);
    held_drop_from(context, context->frames[--context->frame_used]);
    return RAYMPI_OK;
}

/* A place that an ended view has left; only in the innermost scope, and only a short search. */
static bool view_place(struct context *context, uint32_t *place)
{
    uint32_t first = context->frame_used ? context->frames[context->frame_used - 1] : 0;
    for (int looks = 0; looks < VIEW_LOOKS && first < context->view_used; looks++) {
        if (context->view_cursor < first || context->view_cursor >= context->view_used)
            context->view_cursor = first;
        *place = context->view_cursor++;
        if (!context->views[*place])
            return true;
    }
    return false;
}

int context_view_add(struct context *context, struct object *object, uint64_t *position)
{
    uint32_t place;
    if (context->view_used == context->view_size && view_place(context, &place)) {
        object_retain(object);
        *position = place;
        context->views[place] = object;
        return RAYMPI_OK;
    }
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
        return base_fail(RAYMPI_ERR_ARGUMENT,
                         "this view is not open in %s: ended before, or got in another scope", context->name);
    context->views[position] = NULL;
    uint32_t first = context->frame_used ? context->frames[context->frame_used - 1] : 0;
    while (context->view_used > first && !context->views[context->view_used - 1])
        context->view_used--;
    object_drop(context->room, object);
    return RAYMPI_OK;
}

int kept_add(struct kept_set *set, struct object *object)
{
    uint64_t handle = object_handle(object);
    struct kept *kept;
    base_spin_lock(&set->lock);
    HASH_FIND(hh, set->table, &handle, sizeof handle, kept);
    if (!kept && (kept = calloc(1, sizeof *kept))) {
        kept->handle = handle;
        HASH_ADD(hh, set->table, handle, sizeof handle, kept);
    }
    if (kept) {
        kept->holds++;
        atomic_fetch_add_explicit(&object->named, 1, memory_order_relaxed);
    }
    base_spin_unlock(&set->lock);
    return kept ? RAYMPI_OK : base_fail(RAYMPI_ERR_MEMORY, "no memory to keep a ref");
}

bool kept_remove(struct kept_set *set, struct object *object)
{
    uint64_t handle = object_handle(object);
    struct kept *kept;
    base_spin_lock(&set->lock);
    HASH_FIND(hh, set->table, &handle, sizeof handle, kept);
    if (kept && --kept->holds == 0) {
        HASH_DEL(set->table, kept);
        free(kept);
    }
    base_spin_unlock(&set->lock);
    if (kept)
        atomic_fetch_sub_explicit(&object->named, 1, memory_order_relaxed);
    return kept != NULL;
}

void kept_drop_all(struct task_room *room, struct kept_set *set)
{
    struct kept *kept, *next;
    HASH_ITER (hh, set->table, kept, next) {
        HASH_DEL(set->table, kept);
        while (kept->holds-- > 0)
            object_drop_named(room, kept->handle);
        free(kept);
    }
}
