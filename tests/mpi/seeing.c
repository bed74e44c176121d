/* What is told of objects and of the store: raympi_object_info, raympi_store_stats, raympi_memory_report. */
#include "mpi_test.h"

#define LONG (100 << 10)

RAYMPI_TASK(makes)
{
    char *bytes = raympi_return(ctx, 0, LONG);
    if (bytes)
        memset(bytes, 1, LONG);
    return RAYMPI_OK;
}

RAYMPI_TASK(fails)
{
    return raympi_fail(ctx, 5, "on purpose");
}

static struct raympi_object_info info_of(raympi_ref ref)
{
    struct raympi_object_info info = {.size = sizeof info};
    CHECK_OK(raympi_object_info(ref, &info));
    return info;
}

static void objects_are_told(raympi_ref stored, raympi_ref made)
{
    raympi_ref pending, small = raympi_put("12345678", 8), failed = raympi_call(fails);
    raympi_view view;
    CHECK(raympi_create(LONG, &pending) != NULL);
    CHECK(raympi_get(failed, &view) == 5);
    CHECK_OK(raympi_get(made, &view));
    struct raympi_object_info info = info_of(stored);
    CHECK(info.bytes == LONG && info.tier == RAYMPI_TIER_MEMORY && info.status == RAYMPI_OK);
    CHECK(info.owner == raympi_rank() && info.holder == raympi_rank() && info.holds == 1 && info.nested == 0);
    CHECK(!strcmp(info.made_by, "put"));
    info = info_of(made);
    CHECK(info.bytes == LONG && info.owner == raympi_rank() && info.holder >= 0 &&
          !strcmp(info.made_by, "makes"));
    CHECK(info.tier == RAYMPI_TIER_MEMORY || info.tier == RAYMPI_TIER_ELSEWHERE);
    info = info_of(small);
    CHECK(info.bytes == 8 && info.tier == RAYMPI_TIER_PRIVATE && info.holder == -1);
    info = info_of(pending);
    CHECK(info.status == RAYMPI_ERR_TIMEOUT && info.bytes == 0 && info.tier == RAYMPI_TIER_NONE);
    info = info_of(failed);
    CHECK(info.status == 5 && info.tier == RAYMPI_TIER_NONE && !strcmp(info.made_by, "fails"));
    raympi_ref nested = raympi_put_nested("12", 2, (raympi_ref[]){stored, small}, 2);
    CHECK(info_of(nested).nested == 2);
    CHECK(info_of(stored).holds == 2);
    CHECK_OK(raympi_seal(pending));
}

static void the_report_lists_them(raympi_ref stored, raympi_ref made)
{
    char *report, name[32];
    CHECK_OK(raympi_memory_report(&report));
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%#llx %d bytes", (unsigned long long)(i ? made : stored).handle, LONG);
        CHECK(strstr(report, name) != NULL);
    }
    CHECK(strstr(report, "made by makes") != NULL);
    snprintf(name, sizeof name, "rank %d owns", raympi_rank());
    CHECK(strstr(report, name) != NULL);
    free(report);
}

static void the_store_is_told(void)
{
    struct raympi_store_stats stats = {.size = sizeof stats}, later = stats;
    CHECK_OK(raympi_store_stats(&stats));
    CHECK(stats.capacity >= 1 << 20 && stats.objects >= 1 && stats.memory >= LONG);
    CHECK(stats.memory_peak >= stats.memory && stats.extents >= 1);
    raympi_ref more = raympi_put(memset(malloc(LONG), 0, LONG), LONG);
    CHECK_OK(raympi_store_stats(&later));
    CHECK(later.memory >= stats.memory + LONG || raympi_size() > 1);
    CHECK_OK(raympi_release(more));
}

static void wrong_input_is_told(raympi_ref stored)
{
    struct raympi_object_info info = {.size = sizeof info};
    struct raympi_store_stats stats = {.size = 0};
    raympi_ref gone = raympi_put("1", 1);
    CHECK_OK(raympi_release(gone));
    CHECK(raympi_object_info(stored, NULL) == RAYMPI_ERR_ARGUMENT);
    CHECK(raympi_object_info(gone, &info) == RAYMPI_ERR_RELEASED);
    CHECK(raympi_object_info((raympi_ref){0}, &info) == RAYMPI_ERR_ARGUMENT);
    info.size = 0;
    CHECK(raympi_object_info(stored, &info) == RAYMPI_ERR_ARGUMENT);
    CHECK(strstr(raympi_detail(), "size") != NULL);
    CHECK(raympi_store_stats(&stats) == RAYMPI_ERR_ARGUMENT);
    CHECK(raympi_store_stats(NULL) == RAYMPI_ERR_ARGUMENT);
    CHECK(raympi_memory_report(NULL) == RAYMPI_ERR_ARGUMENT);
    /* Of a program that knows less, and of one that knows more. */
    struct {
        struct raympi_object_info info;
        uint64_t more;
    } newer = {.info = {.size = sizeof newer}, .more = 7};
    CHECK_OK(raympi_object_info(stored, &newer.info));
    CHECK(newer.info.bytes == LONG && newer.more == 0);
    info = (struct raympi_object_info){.size = offsetof(struct raympi_object_info, nested), .nested = 9};
    CHECK_OK(raympi_object_info(stored, &info));
    CHECK(info.bytes == LONG && info.nested == 9);
}

static void drive(void)
{
    char *bytes = calloc(1, LONG);
    raympi_ref stored = raympi_put(bytes, LONG), made = raympi_call(makes);
    objects_are_told(stored, made);
    the_report_lists_them(stored, made);
    the_store_is_told();
    wrong_input_is_told(stored);
    free(bytes);
}

int main(int argc, char **argv)
{
    struct raympi_store_stats stats = {.size = sizeof stats};
    char *report;
    CHECK(raympi_store_stats(&stats) == RAYMPI_ERR_STATE);
    CHECK(raympi_memory_report(&report) == RAYMPI_ERR_STATE);
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    return test_end(test_drive(drive));
}
