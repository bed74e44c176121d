#include "sched/sched_deque.h"

#include <stdlib.h>

#define DEQUE_FIRST 256

static struct sched_deque_array *array_new(int64_t slots, struct sched_deque_array *older)
{
    struct sched_deque_array *array = malloc(sizeof *array + (size_t)slots * sizeof array->slot[0]);
    if (!array)
        return NULL;
    array->mask = slots - 1;
    array->older = older;
    return array;
}

int sched_deque_init(struct sched_deque *deque)
{
    struct sched_deque_array *array = array_new(DEQUE_FIRST, NULL);
    if (!array)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a worker's queue");
    atomic_init(&deque->array, array);
    atomic_init(&deque->top, 0);
    atomic_init(&deque->bottom, 0);
    return RAYMPI_OK;
}

void sched_deque_fini(struct sched_deque *deque)
{
    struct sched_deque_array *array = atomic_load_explicit(&deque->array, memory_order_relaxed);
    while (array) {
        struct sched_deque_array *older = array->older;
        free(array);
        array = older;
    }
}

struct sched_deque_array *sched_deque_grow(struct sched_deque *deque, int64_t top, int64_t bottom)
{
    struct sched_deque_array *array = atomic_load_explicit(&deque->array, memory_order_relaxed);
    struct sched_deque_array *larger = array_new(2 * (array->mask + 1), array);
    if (!larger)
        return NULL;
    for (int64_t i = top; i < bottom; i++) {
        struct sched_item *item = atomic_load_explicit(&array->slot[i & array->mask], memory_order_relaxed);
        atomic_store_explicit(&larger->slot[i & larger->mask], item, memory_order_relaxed);
    }
    /* Release: a thief that sees the new array sees its contents. */
    atomic_store_explicit(&deque->array, larger, memory_order_release);
    return larger;
}

struct sched_item *sched_deque_steal(struct sched_deque *deque)
{
    int64_t top = atomic_load_explicit(&deque->top, memory_order_seq_cst);
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_seq_cst);
    if (top >= bottom)
        return NULL;
    struct sched_deque_array *array = atomic_load_explicit(&deque->array, memory_order_acquire);
    struct sched_item *item = atomic_load_explicit(&array->slot[top & array->mask], memory_order_relaxed);
    if (!atomic_compare_exchange_strong_explicit(&deque->top, &top, top + 1, memory_order_seq_cst,
                                                 memory_order_relaxed))
        return NULL;
    return item;
}
