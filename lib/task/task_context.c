/* What a running task, main() or a user's thread holds: refs and views in scopes, all let go at the end. */
#include "task/task_internal.h"

#include <stdlib.h>

#define VIEW_LOOKS 16 /* places looked at for a free one before the table grows */

struct task_id context_id_make(struct context *context)
{
    const struct object *record = task_object(context->run->task);
    context->id = task_id_child(record->parent, record->child);
    context->id_known = true;
    return context->id;
}

static struct object *view_object(uintptr_t view)
{
    return (struct object *)(view & ~VIEW_LEANS);
}

static void view_drop(struct context *context, uintptr_t view)
{
    if (!view)
        return;
    struct object *object = view_object(view);
    value_unpin_stored(context->room, &object->value);
    if (view & VIEW_LEANS)
        context->leaning--;
    else
        object_drop(context->room, object);
}

static void views_drop_from(struct context *context, uint32_t first)
{
    for (uint32_t i = first; i < context->view_used; i++)
        view_drop(context, context->views[i]);
    context->view_used = first;
}

void views_stand(struct context *context, struct object *object)
{
    uint32_t few = context->view_used < VIEWS_INLINE ? context->view_used : VIEWS_INLINE;
    for (uint32_t i = 0; i < few; i++)
        if (context->views[i] == ((uintptr_t)object | VIEW_LEANS)) {
            if (!base_defect(DEFECT_EARLY_VIEW))
                object_retain(object);
            context->views[i] = (uintptr_t)object;
            context->leaning--;
        }
}

void context_let_go(struct context *context)
{
    if (__atomic_load_n(&context->lanes, __ATOMIC_RELAXED))
        context->room->actor.leave(context->room->actor.arg, context);
    views_drop_from(context, 0);
    held_drop_from(context, 0);
    held_fini(context);
    if (context->views != context->view_first)
        free(context->views);
    free(context->frames);
    context->views = context->view_first;
    context->view_size = VIEWS_INLINE;
    context->frames = NULL;
    context->frame_used = context->frame_size = context->held_floor = 0;
    context->grown = false;
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
        context->grown = true;
    }
    context->held_floor = context->held_used;
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
    context->held_floor = context->frame_used ? context->frames[context->frame_used - 2] : 0;
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

static int views_grow(struct context *context)
{
    bool first = context->views == context->view_first;
    uint32_t size = 2 * context->view_size;
    uintptr_t *views = realloc(first ? NULL : context->views, size * sizeof *views);
    if (!views)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for another view");
    if (first)
        memcpy(views, context->view_first, sizeof context->view_first);
    context->views = views;
    context->view_size = size;
    context->grown = true;
    return RAYMPI_OK;
}

/* The first few views lean on the hold that the scope has: two atomic operations less for most. */
static uintptr_t view_of(struct context *context, struct object *object, uint32_t place)
{
    if (place < VIEWS_INLINE && context_holds(context, object, object_handle(object))) {
        context->leaning++;
        return (uintptr_t)object | VIEW_LEANS;
    }
    if (!base_defect(DEFECT_EARLY_VIEW))
        object_retain(object);
    return (uintptr_t)object;
}

int context_view_add(struct context *context, struct object *object, uint64_t *position)
{
    uint32_t place = context->view_used;
    if (base_unlikely(place == context->view_size) && !view_place(context, &place)) {
        int status = views_grow(context);
        if (status != RAYMPI_OK)
            return status;
        place = context->view_used;
    }
    if (place == context->view_used)
        context->view_used++;
    *position = place;
    context->views[place] = view_of(context, object, place);
    return RAYMPI_OK;
}

int context_view_end(struct context *context, struct object *object, uint64_t position)
{
    if (position >= context->view_used || view_object(context->views[position]) != object)
        return base_fail(RAYMPI_ERR_ARGUMENT,
                         "this view is not open in %s: ended before, or got in another scope", context->name);
    uintptr_t view = context->views[position];
    context->views[position] = 0;
    uint32_t first = context->frame_used ? context->frames[context->frame_used - 1] : 0;
    while (context->view_used > first && !context->views[context->view_used - 1])
        context->view_used--;
    view_drop(context, view);
    return RAYMPI_OK;
}

struct object *context_view_object(const struct context *context, uint64_t handle, uint64_t position)
{
    struct object *object = position < context->view_used ? view_object(context->views[position]) : NULL;
    return object && object_handle(object) == handle ? object : NULL;
}

int kept_add(struct kept_set *set, uint64_t handle)
{
    struct kept *kept;
    base_spin_lock(&set->lock);
    HASH_FIND(hh, set->table, &handle, sizeof handle, kept);
    if (!kept && (kept = calloc(1, sizeof *kept))) {
        kept->handle = handle;
        HASH_ADD(hh, set->table, handle, sizeof handle, kept);
        if (!kept->hh.tbl) {
            free(kept);
            kept = NULL;
        }
    }
    if (kept) {
        kept->holds++;
    }
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

struct object *kept_hold(struct task_room *room, struct kept_set *set, uint64_t handle)
{
    struct object *object = NULL;
    struct kept *kept;
    /* Whoever lets go of it takes it out first: as long as it is in there, it has a hold. */
    base_spin_lock(&set->lock);
    HASH_FIND(hh, set->table, &handle, sizeof handle, kept);
    if (kept && (object = object_find(room, handle)))
        object_retain(object);
    base_spin_unlock(&set->lock);
    return object;
}

void kept_drop_all(struct task_room *room, struct kept_set *set)
{
    struct kept *kept, *next;
    HASH_ITER (hh, set->table, kept, next) {
        HASH_DEL(set->table, kept);
        struct object *object = object_find(room, kept->handle);
        while (object && kept->holds-- > 0)
            object_drop_named(room, object);
        free(kept);
    }
}
