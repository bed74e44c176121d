/* Messages, credits and rest between hosts, over a wire that the test sees through. */
#include "../unit.h"
#include "hosts.h"

#include <time.h>

#define MESSAGE 7

struct got {
    int count;
    size_t bytes;
    bool wrong; /* out of order, of another length or content */
    int source;
};

/* The first word says which it is; all others are made from it. */
static void fill(uint64_t *words, size_t length, uint64_t number)
{
    for (size_t i = 0; i < length / 8; i++)
        words[i] = number + i * 3;
}

static void take(void *arg, const struct net_message *message)
{
    struct got *got = arg;
    const uint64_t *words = message->data;
    size_t count = message->length / 8;
    got->wrong = got->wrong || (uintptr_t)words % 8 != 0 || count == 0 || words[0] != (uint64_t)got->count;
    for (size_t i = 0; i < count; i++)
        got->wrong = got->wrong || words[i] != words[0] + i * 3;
    got->count++;
    got->bytes += message->length;
    got->source = message->source;
}

static void send(struct net *net, int peer, size_t length, uint64_t number)
{
    uint64_t *words = malloc(length);
    fill(words, length, number);
    struct net_piece pieces[2] = {{words, length / 16 * 8},
                                  {(char *)words + length / 16 * 8, length - length / 16 * 8}};
    CU_ASSERT_EQUAL(net_send(net, peer, MESSAGE, pieces, 2), RAYMPI_OK);
    free(words);
}

static void settle(struct hosts *hosts)
{
    for (int quiet = 0; quiet < 3; quiet++)
        for (int rank = 0; rank < HOSTS; rank++)
            while (net_poll(hosts->nets[rank], 64) > 0)
                quiet = 0;
}

static uint64_t malformed(struct net *net)
{
    struct net_counters counters;
    net_counters(net, &counters);
    return counters.malformed;
}

static void messages_pass_both_ways_in_order(void)
{
    static const size_t lengths[] = {8, 104, 4096, NET_PACKET_BYTES - 64, NET_PACKET_BYTES, 1 << 20};
    struct hosts hosts;
    struct got got[HOSTS] = {{0}};
    size_t sum = 0;
    hosts_open(&hosts);
    for (int rank = 0; rank < HOSTS; rank++)
        net_handle(hosts.nets[rank], MESSAGE, take, &got[rank]);
    for (uint64_t i = 0; i < 60; i++) {
        sum += lengths[i % 6];
        for (int rank = 0; rank < HOSTS; rank++)
            send(hosts.nets[rank], 1 - rank, lengths[i % 6], i);
        if (i % 7 == 0)
            settle(&hosts);
    }
    settle(&hosts);
    for (int rank = 0; rank < HOSTS; rank++) {
        struct net_counters counters;
        net_counters(hosts.nets[rank], &counters);
        CU_ASSERT_FALSE(got[rank].wrong);
        CU_ASSERT_EQUAL(got[rank].count, 60);
        CU_ASSERT_EQUAL(got[rank].bytes, sum);
        CU_ASSERT_EQUAL(got[rank].source, 1 - rank);
        CU_ASSERT_EQUAL(counters.sent, 60);
        CU_ASSERT_EQUAL(counters.far_sent, 60);
        CU_ASSERT_EQUAL(counters.received, 60);
        CU_ASSERT_EQUAL(counters.far_bytes, sum);
        CU_ASSERT_EQUAL(counters.bytes_received, sum);
        CU_ASSERT_EQUAL(net_pending(hosts.nets[rank], 1 - rank), 0);
    }
    hosts_close(&hosts);
}

static void messages_to_oneself_and_the_budget(void)
{
    struct hosts hosts;
    struct got got = {0};
    hosts_open(&hosts);
    net_handle(hosts.nets[1], MESSAGE, take, &got);
    for (uint64_t i = 0; i < 10; i++)
        send(hosts.nets[1], 1, 16, i);
    while (net_poll(hosts.nets[1], 64) > 0)
        ;
    CU_ASSERT_EQUAL(got.count, 10);
    CU_ASSERT_EQUAL(got.source, 1); /* by its number in the job, not on its host */
    got = (struct got){0};
    hosts.wires[0].room = 0;
    for (uint64_t i = 0; i < 100; i++)
        send(hosts.nets[0], 1, 16, i);
    hosts.wires[0].room = 1; /* all in one packet */
    net_poll(hosts.nets[0], 64);
    CU_ASSERT_EQUAL(net_poll(hosts.nets[1], 30), 30);
    CU_ASSERT_EQUAL(net_poll(hosts.nets[1], 30), 30);
    settle(&hosts);
    CU_ASSERT_EQUAL(got.count, 100);
    CU_ASSERT_FALSE(got.wrong);
    hosts_close(&hosts);
}

static void who_does_not_read_slows_its_senders(void)
{
    struct hosts hosts;
    struct got got = {0};
    hosts_open(&hosts);
    net_handle(hosts.nets[1], MESSAGE, take, &got);
    for (uint64_t i = 0; i < 1000; i++) {
        send(hosts.nets[0], 1, 16000, i);
        net_poll(hosts.nets[0], 64);
    }
    CU_ASSERT_EQUAL(hosts.wires[0].posted, LINK_WINDOW);
    CU_ASSERT(net_pending(hosts.nets[0], 1) > 900 * 16000);
    settle(&hosts);
    CU_ASSERT_EQUAL(got.count, 1000);
    CU_ASSERT_FALSE(got.wrong);
    CU_ASSERT_EQUAL(net_pending(hosts.nets[0], 1), 0);
    hosts_close(&hosts);
}

static void short_messages_that_wait_share_packets(void)
{
    struct hosts hosts;
    struct got got = {0};
    hosts_open(&hosts);
    net_handle(hosts.nets[1], MESSAGE, take, &got);
    hosts.wires[0].room = 0;
    for (uint64_t i = 0; i < 1000; i++)
        send(hosts.nets[0], 1, 16, i);
    CU_ASSERT_EQUAL(hosts.wires[0].posted, 0);
    hosts.wires[0].room = 1; /* and then one at a time */
    settle(&hosts);
    CU_ASSERT_EQUAL(got.count, 1000);
    CU_ASSERT_FALSE(got.wrong);
    CU_ASSERT(hosts.wires[0].posted <= 2);
    hosts_close(&hosts);
}

static void both_without_credit_go_on(void)
{
    struct hosts hosts;
    struct got got[HOSTS] = {{0}};
    hosts_open(&hosts);
    for (int rank = 0; rank < HOSTS; rank++) {
        net_handle(hosts.nets[rank], MESSAGE, take, &got[rank]);
        hosts.wires[rank].room = 3;
    }
    for (uint64_t i = 0; i < 200; i++)
        for (int rank = 0; rank < HOSTS; rank++)
            send(hosts.nets[rank], 1 - rank, 30000, i);
    settle(&hosts);
    for (int rank = 0; rank < HOSTS; rank++) {
        CU_ASSERT_EQUAL(got[rank].count, 200);
        CU_ASSERT_FALSE(got[rank].wrong);
    }
    hosts_close(&hosts);
}

/* ---- what no correct peer sends */

static struct link_head head(uint64_t serial, uint32_t length)
{
    return (struct link_head){
        .magic = LINK_MAGIC, .kind = LINK_MESSAGES, .source = 0, .serial = serial, .length = length};
}

static void put(struct hosts *hosts, struct link_head head, const struct link_record *record, uint32_t length)
{
    char bytes[512] = {0};
    memcpy(bytes, &head, sizeof head);
    if (record)
        memcpy(bytes + sizeof head, record, sizeof *record);
    hosts->wires[0].under_way++;
    loop_put(&hosts->wires[1], bytes, length);
    net_poll(hosts->nets[1], 64);
}

static void wrong_packets_are_dropped_and_counted(void)
{
    const uint32_t length = sizeof(struct link_head) + sizeof(struct link_record) + 8;
    struct link_record record = {.type = MESSAGE, .kind = NET_RING_MESSAGE, .size = 8, .total = 8};
    struct hosts hosts;
    struct got got = {0};
    hosts_open(&hosts);
    base_log_threshold = BASE_LOG_ERROR;
    net_handle(hosts.nets[1], MESSAGE, take, &got);
    put(&hosts, head(1, 10), NULL, 10); /* shorter than a head */
    CU_ASSERT_EQUAL(malformed(hosts.nets[1]), 1);
    put(&hosts, head(1, length + 8), &record, length); /* of another length than it says */
    CU_ASSERT_EQUAL(malformed(hosts.nets[1]), 2);
    struct link_head other = head(1, length);
    other.magic = 1;
    put(&hosts, other, &record, length);
    CU_ASSERT_EQUAL(malformed(hosts.nets[1]), 3);
    other = head(1, length);
    other.source = 1; /* not who sent it */
    put(&hosts, other, &record, length);
    CU_ASSERT_EQUAL(malformed(hosts.nets[1]), 4);
    other = head(1, length);
    other.taken = 1; /* more than was sent */
    put(&hosts, other, &record, length);
    CU_ASSERT_EQUAL(malformed(hosts.nets[1]), 5);
    put(&hosts, head(2, length), &record, length); /* before the first */
    CU_ASSERT_EQUAL(malformed(hosts.nets[1]), 6);
    CU_ASSERT_EQUAL(got.count, 0);
    put(&hosts, head(1, length), &record, length); /* good */
    CU_ASSERT_EQUAL(got.count, 1);
    put(&hosts, head(1, length), &record, length); /* a second time */
    CU_ASSERT_EQUAL(malformed(hosts.nets[1]), 7);
    record.size = record.total = 4000; /* longer than the packet */
    put(&hosts, head(2, length), &record, length);
    CU_ASSERT_EQUAL(malformed(hosts.nets[1]), 8);
    record.size = 8;
    record.total = UINT32_MAX;
    record.kind = NET_RING_FIRST;
    put(&hosts, head(3, length), &record, length);
    CU_ASSERT_EQUAL(malformed(hosts.nets[1]), 9);
    record.total = 16;
    record.kind = NET_RING_NEXT; /* of nothing */
    put(&hosts, head(4, length), &record, length);
    CU_ASSERT_EQUAL(malformed(hosts.nets[1]), 10);
    other = head(5, length);
    other.kind = 77;
    put(&hosts, other, &record, length);
    CU_ASSERT_EQUAL(malformed(hosts.nets[1]), 11);
    CU_ASSERT_EQUAL(got.count, 1);
    CU_ASSERT_FALSE(got.wrong);
    hosts_close(&hosts);
}

/* ---- rest */

/* As a sleeper that nobody has anything for. */
static void look(struct hosts *hosts)
{
    for (int round = 0; round < 4; round++)
        for (int rank = 0; rank < HOSTS; rank++)
            net_sleep(hosts->nets[rank], 0, NULL, NULL);
}

static void set_finalizing(struct hosts *hosts, uint32_t value)
{
    for (int rank = 0; rank < HOSTS; rank++)
        atomic_store(&net_board(hosts->nets[rank], rank)->finalizing, value);
}

static void rest_is_found_once(void)
{
    struct hosts hosts;
    hosts_open(&hosts);
    set_finalizing(&hosts, 1);
    for (int again = 0; again < 3; again++) {
        CU_ASSERT_EQUAL(net_idle_publish(hosts.nets[1 - again % 2]), NET_REST_NO);
        look(&hosts);
        CU_ASSERT_EQUAL(net_idle_publish(hosts.nets[again % 2]), NET_REST_NO);
        look(&hosts);
        CU_ASSERT_EQUAL(net_idle_publish(hosts.nets[1]), NET_REST_NO); /* rank 0 is told */
        CU_ASSERT_EQUAL(net_idle_publish(hosts.nets[0]), NET_REST_DONE);
        look(&hosts);
        CU_ASSERT_EQUAL(net_idle_publish(hosts.nets[0]), NET_REST_NO);
        for (int rank = 0; rank < HOSTS; rank++)
            net_idle_withdraw(hosts.nets[rank]);
    }
    hosts_close(&hosts);
}

static void a_message_on_its_way_is_no_rest(void)
{
    struct hosts hosts;
    struct got got = {0};
    hosts_open(&hosts);
    net_handle(hosts.nets[1], MESSAGE, take, &got);
    set_finalizing(&hosts, 1);
    send(hosts.nets[0], 1, 16, 0);
    net_idle_publish(hosts.nets[0]);
    net_idle_publish(hosts.nets[1]); /* before it has looked at its messages */
    look(&hosts);
    CU_ASSERT_EQUAL(net_idle_publish(hosts.nets[0]), NET_REST_NO);
    net_idle_withdraw(hosts.nets[1]);
    while (net_poll(hosts.nets[1], 64) > 0)
        ;
    CU_ASSERT_EQUAL(got.count, 1);
    net_idle_publish(hosts.nets[1]);
    look(&hosts);
    CU_ASSERT_EQUAL(net_idle_publish(hosts.nets[0]), NET_REST_DONE);
    hosts_close(&hosts);
}

static void who_moves_before_the_question_refuses(void)
{
    struct hosts hosts;
    hosts_open(&hosts);
    set_finalizing(&hosts, 1);
    net_idle_publish(hosts.nets[1]);
    net_idle_publish(hosts.nets[0]);
    net_sleep(hosts.nets[0], 0, NULL, NULL); /* takes the report and asks */
    net_idle_withdraw(hosts.nets[1]);
    look(&hosts);
    CU_ASSERT_EQUAL(net_idle_publish(hosts.nets[0]), NET_REST_NO);
    atomic_store(&net_board(hosts.nets[1], 1)->waiting, 1);
    net_idle_publish(hosts.nets[1]);
    look(&hosts);
    CU_ASSERT_EQUAL(net_idle_publish(hosts.nets[0]), NET_REST_DEADLOCK);
    hosts_close(&hosts);
}

/* ---- lost hosts */

#define PATIENCE UINT64_C(50000000) /* ns */

struct loss {
    int told, rank;
};

static void lost(void *arg, int rank)
{
    struct loss *loss = arg;
    loss->told++;
    loss->rank = rank;
}

static void a_host_that_falls_silent_is_lost_once(void)
{
    struct hosts hosts;
    struct loss loss = {0, -1};
    struct net_death death;
    hosts_open_patient(&hosts, PATIENCE);
    net_on_death(hosts.nets[0], lost, &loss);
    /* Both are asked and answer, for longer than one may be silent. */
    uint64_t end = base_now() + 2 * PATIENCE;
    while (base_now() < end)
        for (int rank = 0; rank < HOSTS; rank++)
            net_poll(hosts.nets[rank], 64);
    CU_ASSERT(hosts.wires[1].posted >= 2);
    CU_ASSERT_EQUAL(loss.told, 0);
    CU_ASSERT_EQUAL(net_dead_peer(hosts.nets[0]), -1);
    while (loss.told == 0)
        net_poll(hosts.nets[0], 64);
    for (int i = 0; i < 1000; i++)
        net_poll(hosts.nets[0], 64);
    CU_ASSERT_EQUAL(loss.told, 1);
    CU_ASSERT_EQUAL(loss.rank, 1);
    CU_ASSERT_EQUAL(net_dead_peer(hosts.nets[0]), 1);
    net_death_read(hosts.nets[0], 1, &death);
    CU_ASSERT_EQUAL(death.whole_host, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(death.text, "RAYMPI_HOST_TIMEOUT"));
    hosts_close(&hosts);
}

/* A sleeper asks as well, and comes back when there is somebody to be told of. */
static void who_sleeps_finds_a_silent_host(void)
{
    struct hosts hosts;
    struct loss loss = {0, -1};
    hosts_open_patient(&hosts, PATIENCE);
    net_on_death(hosts.nets[0], lost, &loss);
    while (loss.told == 0) {
        net_sleep(hosts.nets[0], UINT64_MAX, NULL, NULL);
        net_poll(hosts.nets[0], 64);
    }
    CU_ASSERT_EQUAL(loss.rank, 1);
    hosts_close(&hosts);
}

/* As after a stop: the answer has come meanwhile, or was never asked for. */
static void who_was_paused_blames_nobody(void)
{
    struct hosts hosts;
    struct loss loss = {0, -1};
    struct timespec pause = {0, 2 * PATIENCE};
    hosts_open_patient(&hosts, PATIENCE);
    net_on_death(hosts.nets[0], lost, &loss);
    for (int again = 0; again < 5; again++) {
        nanosleep(&pause, NULL);
        for (int i = 0; i < 100; i++)
            for (int rank = 0; rank < HOSTS; rank++)
                net_poll(hosts.nets[rank], 64);
    }
    CU_ASSERT_EQUAL(loss.told, 0);
    hosts_close(&hosts);
}

static void put_death(struct hosts *hosts, uint64_t serial, const struct net_death *death, size_t length)
{
    char bytes[sizeof(struct link_head) + sizeof *death];
    struct link_head first = head(serial, (uint32_t)(sizeof first + length));
    first.kind = LINK_DEATH;
    memcpy(bytes, &first, sizeof first);
    memcpy(bytes + sizeof first, death, length);
    hosts->wires[0].under_way++;
    loop_put(&hosts->wires[1], bytes, first.length);
    net_poll(hosts->nets[1], 64);
    net_poll(hosts->nets[1], 64);
}

static void a_death_is_told_as_it_was_told(void)
{
    struct hosts hosts;
    struct loss loss = {0, -1};
    struct net_death death = {.rank = 0, .crashed = 7, .text = "why"}, wrong = death, known;
    hosts_open(&hosts);
    base_log_threshold = BASE_LOG_ERROR;
    net_on_death(hosts.nets[1], lost, &loss);
    put_death(&hosts, 1, &death, sizeof death - 1);
    wrong.rank = HOSTS;
    put_death(&hosts, 2, &wrong, sizeof wrong);
    wrong = death;
    memset(wrong.text, 'x', sizeof wrong.text);
    put_death(&hosts, 3, &wrong, sizeof wrong);
    CU_ASSERT_EQUAL(malformed(hosts.nets[1]), 3);
    CU_ASSERT_EQUAL(loss.told, 0);
    put_death(&hosts, 4, &death, sizeof death);
    CU_ASSERT_EQUAL(loss.told, 1);
    CU_ASSERT_EQUAL(loss.rank, 0);
    net_death_read(hosts.nets[1], 0, &known);
    CU_ASSERT_EQUAL(known.crashed, 7);
    CU_ASSERT_STRING_EQUAL(known.text, "why");
    death.rank = 1; /* later ones are not heard */
    put_death(&hosts, 5, &death, sizeof death);
    CU_ASSERT_EQUAL(loss.told, 1);
    CU_ASSERT_EQUAL(net_dead_peer(hosts.nets[1]), 0);
    hosts_close(&hosts);
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"messages pass both ways in order", messages_pass_both_ways_in_order},
        {"messages to oneself, and the budget of a poll", messages_to_oneself_and_the_budget},
        {"who does not read slows its senders", who_does_not_read_slows_its_senders},
        {"short messages that wait share packets", short_messages_that_wait_share_packets},
        {"both without credit go on", both_without_credit_go_on},
        {"wrong packets are dropped and counted", wrong_packets_are_dropped_and_counted},
        {"rest is found once", rest_is_found_once},
        {"a message on its way is no rest", a_message_on_its_way_is_no_rest},
        {"who moves before the question refuses", who_moves_before_the_question_refuses},
        {"a host that falls silent is lost, once", a_host_that_falls_silent_is_lost_once},
        {"who sleeps finds a silent host", who_sleeps_finds_a_silent_host},
        {"who was paused blames nobody", who_was_paused_blames_nobody},
        {"a death is told as it was told", a_death_is_told_as_it_was_told},
    };
    return UNIT_MAIN("net: hosts", tests);
}
