/* The work-stealing deque: one owner, several thieves, growth. */
#include "../unit.h"
#include "sched/sched.h"
#include "sched/sched_deque.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

enum { ITEMS = 100000, THIEVES = 3 };

static struct sched_item items[ITEMS];
static _Atomic int taken[ITEMS];

static struct sched_item *steal_one(struct sched_deque *deque)
{
    struct sched_item *item;
    return sched_deque_steal(deque, &item, 1, SCHED_THIEF) > 0 ? item : NULL;
}

static void note(struct sched_item *item)
{
    atomic_fetch_add_explicit(&taken[item - items], 1, memory_order_relaxed);
}

static void forget(void)
{
    for (int i = 0; i < ITEMS; i++)
        atomic_store(&taken[i], 0);
}

static int missing_or_double(int count)
{
    int bad = 0;
    for (int i = 0; i < count; i++)
        bad += atomic_load(&taken[i]) != 1;
    return bad;
}

static void owner_and_thief_take_from_opposite_ends(void)
{
    struct sched_deque deque;
    CU_ASSERT_EQUAL_FATAL(sched_deque_init(&deque), RAYMPI_OK);
    CU_ASSERT_PTR_NULL(sched_deque_pop(&deque));
    CU_ASSERT_PTR_NULL(steal_one(&deque));
    for (int i = 0; i < 10; i++)
        CU_ASSERT(sched_deque_push(&deque, &items[i]));
    CU_ASSERT_EQUAL(sched_deque_size(&deque), 10);
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_PTR_EQUAL(sched_deque_pop(&deque), &items[9 - i]);
        CU_ASSERT_PTR_EQUAL(steal_one(&deque), &items[i]);
    }
    CU_ASSERT_PTR_NULL(sched_deque_pop(&deque));
    CU_ASSERT_PTR_NULL(steal_one(&deque));
    CU_ASSERT_EQUAL(sched_deque_size(&deque), 0);
    sched_deque_fini(&deque);
}

static void it_grows_and_keeps_the_order(void)
{
    struct sched_deque deque;
    int next = 0, front = 0;
    CU_ASSERT_EQUAL_FATAL(sched_deque_init(&deque), RAYMPI_OK);
    /* The front moves while it grows, so that the arrays wrap at different places. */
    while (next < 5000) {
        for (int i = 0; i < 7; i++)
            CU_ASSERT(sched_deque_push(&deque, &items[next++]));
        CU_ASSERT_PTR_EQUAL(steal_one(&deque), &items[front++]);
    }
    CU_ASSERT_EQUAL(sched_deque_size(&deque), next - front);
    while (next > front)
        CU_ASSERT_PTR_EQUAL(sched_deque_pop(&deque), &items[--next]);
    CU_ASSERT_PTR_NULL(sched_deque_pop(&deque));
    sched_deque_fini(&deque);
}

struct theft {
    struct sched_deque *deque;
    _Atomic int *over;
    int stolen;
};

static void *thief(void *arg)
{
    struct theft *theft = arg;
    for (;;) {
        bool over = atomic_load(theft->over); /* before the look: nothing comes after it */
        struct sched_item *item = steal_one(theft->deque);
        if (item) {
            note(item);
            theft->stolen++;
        } else if (over && sched_deque_size(theft->deque) == 0) {
            return NULL;
        } else if (!item) {
            sched_yield();
        }
    }
}

/* The owner pushes in bursts and pops some of each; every item must come out exactly once. */
static void nothing_is_lost_or_doubled(void)
{
    static const int bursts[] = {1, 2, 3, 600, 1, 50, 2000};
    struct sched_deque deque;
    struct theft thefts[THIEVES];
    pthread_t threads[THIEVES];
    _Atomic int over = 0;
    struct sched_item *item;
    CU_ASSERT_EQUAL_FATAL(sched_deque_init(&deque), RAYMPI_OK);
    forget();
    for (int i = 0; i < THIEVES; i++) {
        thefts[i] = (struct theft){&deque, &over, 0};
        pthread_create(&threads[i], NULL, thief, &thefts[i]);
    }
    for (int next = 0, burst = 0; next < ITEMS; burst++) {
        int size = bursts[burst % 7];
        for (int i = 0; i < size && next < ITEMS; i++)
            CU_ASSERT_FATAL(sched_deque_push(&deque, &items[next++]));
        for (int i = 0; i < (burst % 2 ? size : size / 2) && (item = sched_deque_pop(&deque)); i++)
            note(item);
    }
    while ((item = sched_deque_pop(&deque)))
        note(item);
    atomic_store(&over, 1);
    for (int i = 0; i < THIEVES; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(missing_or_double(ITEMS), 0);
    sched_deque_fini(&deque);
}

/* The race for the last item, over and over. */
static void the_last_item_has_one_taker(void)
{
    struct sched_deque deque;
    struct theft thefts[THIEVES];
    pthread_t threads[THIEVES];
    _Atomic int over = 0;
    struct sched_item *item;
    CU_ASSERT_EQUAL_FATAL(sched_deque_init(&deque), RAYMPI_OK);
    forget();
    for (int i = 0; i < THIEVES; i++) {
        thefts[i] = (struct theft){&deque, &over, 0};
        pthread_create(&threads[i], NULL, thief, &thefts[i]);
    }
    for (int next = 0; next < ITEMS; next++) {
        CU_ASSERT_FATAL(sched_deque_push(&deque, &items[next]));
        if ((item = sched_deque_pop(&deque)))
            note(item);
    }
    atomic_store(&over, 1);
    for (int i = 0; i < THIEVES; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(missing_or_double(ITEMS), 0);
    sched_deque_fini(&deque);
}

static const struct unit_test tests[] = {
    {"owner and thief take from opposite ends", owner_and_thief_take_from_opposite_ends},
    {"it grows and keeps the order", it_grows_and_keeps_the_order},
    {"nothing is lost or doubled", nothing_is_lost_or_doubled},
    {"the last item has one taker", the_last_item_has_one_taker},
};

int main(void)
{
    alarm(120); /* against a hang only */
    return UNIT_MAIN("sched: deque", tests);
}
