/* Errors that a sanitizer has to report, in tasks on their fibers: tests/sanitize/planted.test sees to it. */
#include <raympi.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int here;
static int shared;

/* Two of these run at once, on two workers; relaxed operations make no order. */
RAYMPI_TASK(race)
{
    atomic_fetch_add_explicit(&here, 1, memory_order_relaxed);
    while (atomic_load_explicit(&here, memory_order_relaxed) < 2)
        sched_yield();
    shared++;
    return raympi_return_int(ctx, 0, shared);
}

RAYMPI_TASK(overflow)
{
    int64_t length = raympi_arg_int(ctx, 0);
    char *bytes = malloc(8);
    memset(bytes, 0, (size_t)length);
    int64_t sum = bytes[7];
    free(bytes);
    return raympi_return_int(ctx, 0, sum);
}

RAYMPI_TASK(stack_overflow)
{
    char bytes[8];
    int64_t length = raympi_arg_int(ctx, 0);
    memset(bytes, 1, (size_t)length);
    return raympi_return_int(ctx, 0, bytes[7]);
}

RAYMPI_TASK(undefined)
{
    int number = (int)raympi_arg_int(ctx, 0) + 0x7ffffff0;
    return raympi_return_int(ctx, 0, number + (int)raympi_arg_int(ctx, 0) * 8);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    raympi_view view;
    if (raympi_init(&argc, &argv, NULL) != RAYMPI_OK)
        return EXIT_FAILURE;
    raympi_scope_begin();
    raympi_ref refs[2];
    int count = 1;
    if (strcmp(what, "race") == 0) {
        for (count = 0; count < 2; count++)
            refs[count] = raympi_call(race);
    } else if (strcmp(what, "overflow") == 0) {
        refs[0] = raympi_call(overflow, 9);
    } else if (strcmp(what, "stack") == 0) {
        refs[0] = raympi_call(stack_overflow, 9);
    } else {
        refs[0] = raympi_call(undefined, 2);
    }
    for (int i = 0; i < count; i++)
        if (raympi_get(refs[i], &view) == RAYMPI_OK)
            raympi_view_end(&view);
    raympi_scope_end();
    raympi_finalize();
    printf("not reported\n");
    return EXIT_SUCCESS;
}
