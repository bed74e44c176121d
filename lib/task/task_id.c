/* Logical identity: the same on every attempt, so that duplicates are recognised. */
#include "task/task_internal.h"

struct task_id task_id_child(struct task_id parent, uint64_t index)
{
    uint64_t low = base_mix(parent.word[0] + UINT64_C(0x9e3779b97f4a7c15) * (index + 1));
    uint64_t high = base_mix(parent.word[1] ^ base_mix(low + index));
    return (struct task_id){{low ^ (high << 1), high}};
}

struct task_id task_id_root(uint64_t kind, uint64_t rank, uint64_t number)
{
    struct task_id root = {{base_mix(kind + 1), base_mix(rank + 1)}};
    return task_id_child(root, number);
}
