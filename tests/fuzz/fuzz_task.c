/* TASK messages: what another rank asks this one to run. */
#include "fuzz_node.h"

/* The TASK message of a call, as rank 1 got it. */
static void seed_of(raympi_ref ref)
{
    node_settle(&node);
    fuzz_seed(node.got[TASK_MESSAGE_TASK].bytes, node.got[TASK_MESSAGE_TASK].length);
    raympi_release(ref);
}

/* Numbers behind the head, which the short way puts there. */
static void seed_numbers(void)
{
    struct {
        struct task_head head;
        struct task_numbers numbers;
    } message;
    raympi_release(raympi_call_opts(there, add));
    node_settle(&node);
    FUZZ_CHECK(node.got[TASK_MESSAGE_TASK].length == sizeof message.head);
    memcpy(&message.head, node.got[TASK_MESSAGE_TASK].bytes, sizeof message.head);
    message.head.how = (uint8_t)((message.head.how & HOW_PINNED) | HOW_NUMBERS | 2 * HOW_ARG);
    message.numbers = (struct task_numbers){RAYMPI_KIND_INT | RAYMPI_KIND_INT << 8, {40, 2}};
    fuzz_seed(&message, sizeof message.head + task_numbers_size(2));
}

static void fuzz_seeds(void)
{
    char blob[200] = "blob";
    raympi_ref members[2];
    node_begin();
    seed_of(raympi_call_opts(there, nothing, 1, 2.5, "text"));
    seed_of(raympi_call_opts(there, add, 40, 2));
    seed_of(raympi_call_opts(there, nothing, RAYMPI_BYTES(blob, sizeof blob)));
    for (int i = 0; i < 2; i++)
        members[i] = raympi_call(add, i, 1);
    node_settle(&node);
    seed_of(raympi_call_opts(there, nothing, RAYMPI_REFS(members, 2), 1, 2, 3, 4));
    raympi_actor actor = raympi_actor_new_opts(there, counter, 1);
    seed_of(raympi_actor_call(actor, increment, 1));
    seed_numbers();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    node_begin();
    node_receive(&node, task_on_task, data, size);
    node_settle(&node);
    node_end();
    return 0;
}
