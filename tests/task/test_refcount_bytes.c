/* Messages of reference counting as bytes: what is written is read, and nothing else. */
#include "../unit.h"
#include "task/task_refcount.h"

#include <stdlib.h>
#include <string.h>

#define HANDLE(rank, sequence) ((uint64_t)(rank) << REFCOUNT_SEQUENCE_BITS | (sequence))

enum { OWNER = 3, FORWARDER = 7, RANKS = 8 };

static const uint64_t object = HANDLE(OWNER, 11);
static const uint64_t container = HANDLE(FORWARDER, 12);

static struct refcount_message registration(int32_t forwarder, uint64_t token)
{
    return (struct refcount_message){
        .kind = REFCOUNT_REGISTER, .handle = object, .forwarder = forwarder, .token = token, .to = OWNER};
}

static void check_round_trip(struct refcount_message message)
{
    unsigned char bytes[REFCOUNT_WIRE_SIZE];
    struct refcount_message read;

    CU_ASSERT_EQUAL(refcount_encode(&message, bytes, sizeof bytes), REFCOUNT_OK);
    CU_ASSERT_EQUAL(refcount_decode(bytes, sizeof bytes, REFCOUNT_MAX_RANKS, message.to, &read), REFCOUNT_OK);
    CU_ASSERT_EQUAL(read.kind, message.kind);
    CU_ASSERT_EQUAL(read.handle, message.handle);
    CU_ASSERT_EQUAL(read.forwarder, message.forwarder);
    CU_ASSERT_EQUAL(read.token, message.token);
    CU_ASSERT_EQUAL(read.to, message.to);
}

static void test_bytes_round_trip(void)
{
    check_round_trip(registration(FORWARDER, container));
    check_round_trip((struct refcount_message){.kind = REFCOUNT_RELEASE, .handle = object, .to = OWNER});
    check_round_trip((struct refcount_message){.kind = REFCOUNT_ACK, .handle = UINT64_MAX, .to = 1});
    check_round_trip((struct refcount_message){.kind = REFCOUNT_REGISTER,
                                               .handle = 1,
                                               .forwarder = REFCOUNT_MAX_RANKS - 1,
                                               .token = UINT64_MAX,
                                               .to = 0});
}

static void check_not_encoded(struct refcount_message message)
{
    unsigned char bytes[REFCOUNT_WIRE_SIZE];

    CU_ASSERT_EQUAL(refcount_encode(&message, bytes, sizeof bytes), REFCOUNT_E_MALFORMED);
}

static void test_encode_rejects(void)
{
    struct refcount_message message = registration(FORWARDER, container);
    unsigned char bytes[REFCOUNT_WIRE_SIZE];

    CU_ASSERT_EQUAL(refcount_encode(&message, bytes, sizeof bytes - 1), REFCOUNT_E_MALFORMED);
    check_not_encoded((struct refcount_message){.handle = object});
    check_not_encoded((struct refcount_message){.kind = REFCOUNT_RELEASE});
    check_not_encoded((struct refcount_message){.kind = REFCOUNT_ACK, .handle = object, .token = object});
    check_not_encoded((struct refcount_message){.kind = REFCOUNT_ACK, .handle = object, .forwarder = -1});
    check_not_encoded(registration(-1, container));
    check_not_encoded(registration(FORWARDER, 0));
}

/* Changes one byte of a good message. */
static int decode_changed(const struct refcount_message *message, int position, unsigned char value)
{
    unsigned char bytes[REFCOUNT_WIRE_SIZE];
    struct refcount_message read;

    CU_ASSERT_EQUAL(refcount_encode(message, bytes, sizeof bytes), REFCOUNT_OK);
    bytes[position] = value;
    return refcount_decode(bytes, sizeof bytes, RANKS, OWNER, &read);
}

static void test_decode_rejects(void)
{
    struct refcount_message message = registration(FORWARDER, container);
    struct refcount_message release = {.kind = REFCOUNT_RELEASE, .handle = object, .to = OWNER};

    CU_ASSERT_EQUAL(decode_changed(&message, 0, REFCOUNT_REGISTER), REFCOUNT_OK);
    CU_ASSERT_EQUAL(decode_changed(&message, 0, 0), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(&message, 0, 4), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(&message, 0, REFCOUNT_ACK), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(&message, 2, 1), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(&message, 4, RANKS), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(&message, 7, 0x80), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(&message, 15, 0x80), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(&message, 23, 0x80), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(&release, 4, 1), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(decode_changed(&release, 16, 1), REFCOUNT_E_MALFORMED);
}

static void test_decode_rejects_lengths_and_null_handles(void)
{
    unsigned char bytes[REFCOUNT_WIRE_SIZE + 1] = {0};
    struct refcount_message message = registration(FORWARDER, container), read = {.to = -7};

    CU_ASSERT_EQUAL(refcount_encode(&message, bytes, sizeof bytes), REFCOUNT_OK);
    for (size_t length = 0; length <= sizeof bytes; length++)
        if (length != REFCOUNT_WIRE_SIZE)
            CU_ASSERT_EQUAL(refcount_decode(bytes, length, RANKS, OWNER, &read), REFCOUNT_E_MALFORMED);
    memset(bytes + 8, 0, 8);
    CU_ASSERT_EQUAL(refcount_decode(bytes, REFCOUNT_WIRE_SIZE, RANKS, OWNER, &read), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(read.to, -7);
}

/* Whatever is accepted must be what encode would have written: no two byte strings for one message. */
static void test_decode_of_random_bytes(void)
{
    unsigned char bytes[REFCOUNT_WIRE_SIZE], again[REFCOUNT_WIRE_SIZE];
    struct refcount_message read;
    int good = 0;

    srand(1);
    for (int round = 0; round < 200000; round++) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (unsigned char)(rand() % 4 ? 0 : rand() % 8);
        if (refcount_decode(bytes, sizeof bytes, RANKS, OWNER, &read) != REFCOUNT_OK)
            continue;
        good++;
        CU_ASSERT_EQUAL(refcount_encode(&read, again, sizeof again), REFCOUNT_OK);
        CU_ASSERT_EQUAL(memcmp(bytes, again, sizeof bytes), 0);
    }
    CU_ASSERT_TRUE(good > 0);
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"bytes: what is written is read", test_bytes_round_trip},
        {"bytes: what can not be is not written", test_encode_rejects},
        {"bytes: nor read", test_decode_rejects},
        {"bytes: lengths, and no handle", test_decode_rejects_lengths_and_null_handles},
        {"bytes: whatever is read is what would be written", test_decode_of_random_bytes},
    };
    return UNIT_MAIN("task: refcount, bytes", tests);
}
