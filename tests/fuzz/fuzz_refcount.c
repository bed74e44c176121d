/* Counting messages as such: what is accepted is written back as the same bytes, and no record breaks. */
#include "fuzz.h"

#include "task/task_refcount.h"

#define RANKS  4
#define HANDLE 77 /* of rank 0 */

static void fuzz_seeds(void)
{
    unsigned char bytes[REFCOUNT_WIRE_SIZE];
    static const struct refcount_message messages[] = {{REFCOUNT_REGISTER, HANDLE, 1, HANDLE, 0},
                                                       {.kind = REFCOUNT_RELEASE, .handle = HANDLE},
                                                       {.kind = REFCOUNT_ACK, .handle = HANDLE}};
    for (int i = 0; i < 3; i++) {
        FUZZ_CHECK(refcount_encode(&messages[i], bytes, sizeof bytes) == REFCOUNT_OK);
        fuzz_seed(bytes, sizeof bytes);
    }
}

#ifdef FUZZ_PLANTED
/* A decoder that trusts the length that it is told: to see that this is found. */
static int decode(const unsigned char *bytes, size_t length, struct refcount_message *message)
{
    unsigned char copy[REFCOUNT_WIRE_SIZE];
    if (length < 2 || bytes[0] != REFCOUNT_ACK)
        return REFCOUNT_E_MALFORMED;
    memcpy(copy, bytes, bytes[1]);
    return refcount_decode(copy, sizeof copy, RANKS, 0, message);
}
#else
static int decode(const unsigned char *bytes, size_t length, struct refcount_message *message)
{
    return refcount_decode(bytes, length, RANKS, 0, message);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct refcount record;
    refcount_init(&record, HANDLE, 1);
    for (int from = 1; size > 0; from = from % (RANKS - 1) + 1) {
        size_t length = size < REFCOUNT_WIRE_SIZE ? size : REFCOUNT_WIRE_SIZE;
        unsigned char *bytes = fuzz_copy(data, length), again[REFCOUNT_WIRE_SIZE];
        struct refcount_message message;
        struct refcount_output output = {0};
        if (decode(bytes, length, &message) == REFCOUNT_OK) {
            FUZZ_CHECK(refcount_encode(&message, again, sizeof again) == REFCOUNT_OK);
            FUZZ_CHECK(memcmp(again, bytes, sizeof again) == 0);
            refcount_receive(message.handle == HANDLE ? &record : NULL, 0, from, &message, &output);
        }
        free(bytes);
        data += length;
        size -= length;
    }
    refcount_fini(&record);
    return 0;
}
