/* Seeing what is stored: one object, this rank's part of the store, and who keeps it full. */
#include "api/api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Structs of an older program are shorter, those of a newer one longer: then the rest is 0. */
static int give(void *to, size_t size, const void *from, size_t known)
{
    if (size < sizeof(size_t) || size > 4096)
        return base_fail(RAYMPI_ERR_ARGUMENT, "its size is %zu: set it to the struct's before the call",
                         size);
    size_t both = size < known ? size : known;
    memset((char *)to + sizeof(size_t), 0, size - sizeof(size_t));
    memcpy((char *)to + sizeof(size_t), (const char *)from + sizeof(size_t), both - sizeof(size_t));
    return RAYMPI_OK;
}

/* ---- one object */

static raympi_tier tier_of(struct task_room *room, const struct value *value, struct store_look *look)
{
    *look = (struct store_look){.length = 0};
    if (value->kind == VALUE_INLINE || value->kind == VALUE_BLOB)
        return RAYMPI_TIER_PRIVATE;
    if (value->kind != VALUE_STORE)
        return RAYMPI_TIER_NONE;
    if (net_local(room->net, value_stored(value)->holder) < 0)
        return RAYMPI_TIER_ELSEWHERE;
    store_look(room->store, value_stored(value)->place, look);
    return look->in_memory ? RAYMPI_TIER_MEMORY : look->on_disk ? RAYMPI_TIER_DISK : RAYMPI_TIER_NONE;
}

static void look_at(struct task_room *room, struct object *object, struct raympi_object_info *info,
                    struct store_look *look)
{
    *info = (struct raympi_object_info){.status = RAYMPI_ERR_TIMEOUT,
                                        .owner = refcount_owner(object_handle(object)),
                                        .holder = -1,
                                        .holds = refcount_holds(&object->count) - 1, /* but our own */
                                        .made_by = object_label(object)};
    if (!object_ready(object))
        return;
    struct value *value = value_behind(&object->value);
    info->status = object->status;
    if (object->status != RAYMPI_OK)
        return;
    info->bytes = value->length;
    info->nested = value->nested;
    info->tier = tier_of(room, value, look);
    if (value->kind == VALUE_STORE)
        info->holder = value_stored(value)->holder;
}

static int object_info(struct task_thread *thread, uint64_t handle, struct raympi_object_info *info)
{
    struct store_look look;
    struct object *object;
    struct raympi_object_info known;
    if (task_handle_is_actor(handle))
        return base_fail(RAYMPI_ERR_TYPE, "an actor handle is no ref");
    int status = object_hold(thread, handle, &object);
    if (status != RAYMPI_OK)
        return status;
    look_at(thread->room, object, &known, &look);
    object_drop(thread->room, object);
    return give(info, info->size, &known, sizeof known);
}

int raympi_object_info(raympi_ref ref, struct raympi_object_info *info)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = info ? object_info(thread, ref.handle, info)
                  : base_fail(RAYMPI_ERR_ARGUMENT, "raympi_object_info needs a struct to fill");
    api_leave(thread);
    return status;
}

/* ---- this rank's part of the store */

static int store_stats(struct task_room *room, struct raympi_store_stats *stats)
{
    struct store_counters store;
    struct task_copies copies;
    store_counters(room->store, &store);
    task_copies_count(room, &copies);
    const struct raympi_store_stats known = {.capacity = store_capacity(room->store),
                                             .extents = store.extents,
                                             .objects = store.blocks,
                                             .memory = store.memory_bytes,
                                             .memory_peak = store.peak_bytes,
                                             .disk = store.on_disk_bytes,
                                             .spilled = store.spilled_bytes,
                                             .restored = store.restored_bytes,
                                             .copies = copies.bytes,
                                             .fetched = copies.fetched,
                                             .evicted = copies.evicted,
                                             .served = copies.served,
                                             .relayed = copies.relayed};
    return give(stats, stats->size, &known, sizeof known);
}

int raympi_store_stats(struct raympi_store_stats *stats)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = stats ? store_stats(thread->room, stats)
                   : base_fail(RAYMPI_ERR_ARGUMENT, "raympi_store_stats needs a struct to fill");
    api_leave(thread);
    return status;
}

/* ---- who owns what */

struct line {
    uint64_t bytes;
    char text[256];
};
struct report {
    struct line *lines;
    size_t count, size;
    uint64_t bytes, disk, elsewhere;
    int status;
};

static const char *tier_name(raympi_tier tier)
{
    static const char *const names[] = {"going", "private", "in memory", "on disk", "on another host"};
    return names[tier];
}

static void report_add(struct report *report, const struct object *object,
                       const struct raympi_object_info *info, const struct store_look *look)
{
    if (report->count == report->size) {
        size_t size = report->size ? 2 * report->size : 64;
        struct line *longer = realloc(report->lines, size * sizeof *longer);
        if (!longer) {
            report->status = base_fail(RAYMPI_ERR_MEMORY, "no memory for a report on %zu objects", size);
            return;
        }
        report->lines = longer;
        report->size = size;
    }
    struct line *line = &report->lines[report->count++];
    line->bytes = info->bytes;
    report->bytes += info->bytes;
    report->disk += info->tier == RAYMPI_TIER_DISK ? info->bytes : 0;
    report->elsewhere += info->tier == RAYMPI_TIER_ELSEWHERE ? info->bytes : 0;
    snprintf(line->text, sizeof line->text,
             "%#" PRIx64 " %" PRIu64 " bytes, %s of rank %d, %u holds%s%s, made by %s\n",
             object_handle(object), info->bytes, tier_name(info->tier), info->holder, info->holds,
             look->pinned[0] ? ", read by local ranks " : "", look->pinned, info->made_by);
}

static void visit(void *arg, struct task_room *room, struct object *object)
{
    struct report *report = arg;
    struct store_look look;
    struct raympi_object_info info;
    look_at(room, object, &info, &look);
    if (info.holder >= 0 && object->value.kind == VALUE_STORE && report->status == RAYMPI_OK)
        report_add(report, object, &info, &look);
}

static int larger_first(const void *a, const void *b)
{
    const struct line *first = a, *second = b;
    return first->bytes < second->bytes ? 1 : first->bytes > second->bytes ? -1 : 0;
}

static int report_print(struct report *report, int rank, char **text)
{
    size_t size = 256 + report->count * sizeof report->lines->text, used = 0;
    *text = malloc(size);
    if (!*text)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a report on %zu objects", report->count);
    qsort(report->lines, report->count, sizeof *report->lines, larger_first);
    for (size_t i = 0; i < report->count; i++)
        used += (size_t)snprintf(*text + used, size - used, "%s", report->lines[i].text);
    snprintf(*text + used, size - used,
             "rank %d owns %zu stored objects of %" PRIu64 " bytes: %" PRIu64 " on disk, %" PRIu64
             " on other hosts\n",
             rank, report->count, report->bytes, report->disk, report->elsewhere);
    return RAYMPI_OK;
}

int raympi_memory_report(char **text)
{
    struct task_thread *thread;
    struct report report = {.status = RAYMPI_OK};
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    if (text) {
        *text = NULL;
        task_objects_each(thread, visit, &report);
        status = report.status == RAYMPI_OK ? report_print(&report, thread->room->config.rank, text)
                                            : report.status;
        free(report.lines);
    } else {
        status = base_fail(RAYMPI_ERR_ARGUMENT, "raympi_memory_report needs a place for the text");
    }
    api_leave(thread);
    return status;
}
