/* Logical identity: the same for the same place in the job, different everywhere else. */
#include "../unit.h"
#include "task/task_internal.h"

#include <string.h>

static bool same(struct task_id a, struct task_id b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct task_id));
}

static void the_same_place_has_the_same_id(void)
{
    struct task_id root = task_id_root(0, 3, 0);
    CU_ASSERT(same(root, task_id_root(0, 3, 0)));
    CU_ASSERT(same(task_id_child(task_id_child(root, 5), 2), task_id_child(task_id_child(root, 5), 2)));
}

static void order_and_depth_matter(void)
{
    struct task_id root = task_id_root(0, 0, 0);
    struct task_id a = task_id_child(task_id_child(root, 1), 2), b = task_id_child(task_id_child(root, 2), 1);
    CU_ASSERT_FALSE(same(a, b));
    CU_ASSERT_FALSE(same(task_id_child(root, 0), root));
    CU_ASSERT_FALSE(same(task_id_root(0, 1, 0), task_id_root(1, 0, 0)));
    CU_ASSERT_FALSE(same(task_id_root(1, 0, 1), task_id_root(1, 1, 0)));
}

/* Roots, their children and grandchildren: all different, and both words of them. */
static void ids_do_not_collide(void)
{
    enum { ROOTS = 20, CHILDREN = 30, ALL = ROOTS * (1 + CHILDREN + CHILDREN * CHILDREN) };
    static struct task_id ids[ALL];
    int count = 0, equal = 0;
    for (int r = 0; r < ROOTS; r++) {
        struct task_id root = ids[count++] = task_id_root((uint64_t)r % 2, (uint64_t)r / 2, 0);
        for (uint64_t i = 0; i < CHILDREN; i++) {
            struct task_id child = ids[count++] = task_id_child(root, i);
            for (uint64_t j = 0; j < CHILDREN; j++)
                ids[count++] = task_id_child(child, j);
        }
    }
    CU_ASSERT_EQUAL(count, ALL);
    qsort(ids, ALL, sizeof ids[0], compare);
    for (int i = 1; i < ALL; i++)
        equal += ids[i].word[0] == ids[i - 1].word[0] || same(ids[i], ids[i - 1]);
    CU_ASSERT_EQUAL(equal, 0);
}

static const struct unit_test tests[] = {
    {"the same place has the same id", the_same_place_has_the_same_id},
    {"order and depth matter", order_and_depth_matter},
    {"ids do not collide", ids_do_not_collide},
};

int main(void)
{
    return UNIT_MAIN("task: identity", tests);
}
