#include "task/task_refcount.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 4
#define ORPHAN         UINT32_MAX /* as the number of holders, of which a borrower's record has none */

static bool rank_is_valid(int32_t rank)
{
    return rank >= 0 && rank < REFCOUNT_MAX_RANKS;
}

void refcount_init(struct refcount *record, uint64_t handle, uint64_t count)
{
    *record = (struct refcount){.handle = handle};
    /* relaxed: the caller's lock publishes the record together with its place in the table */
    atomic_store_explicit(&record->count, count, memory_order_relaxed);
}

void refcount_fini(struct refcount *record)
{
    free(record->holders);
    record->holders = NULL;
    record->holder_count = record->holder_capacity = 0;
}

/* Index of the first holder that is not less than `rank`. */
static uint32_t holder_position(const struct refcount *record, int32_t rank)
{
    uint32_t low = 0, high = record->holder_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (record->holders[middle] < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool refcount_is_holder(const struct refcount *record, int32_t rank)
{
    uint32_t position = holder_position(record, rank);

    return position < record->holder_count && record->holders[position] == rank;
}

static int holder_reserve(struct refcount *record)
{
    uint32_t capacity = record->holder_capacity ? 2 * record->holder_capacity : FIRST_CAPACITY;
    int32_t *holders;

    if (record->holder_count < record->holder_capacity)
        return REFCOUNT_OK;
    holders = realloc(record->holders, capacity * sizeof *holders);
    if (!holders)
        return REFCOUNT_E_MEMORY;
    record->holders = holders;
    record->holder_capacity = capacity;
    return REFCOUNT_OK;
}

static int holder_insert(struct refcount *record, int32_t rank)
{
    uint32_t position = holder_position(record, rank);
    int status = holder_reserve(record);

    if (status != REFCOUNT_OK)
        return status;
    memmove(&record->holders[position + 1], &record->holders[position],
            (record->holder_count - position) * sizeof *record->holders);
    record->holders[position] = rank;
    record->holder_count++;
    return REFCOUNT_OK;
}

static void holder_remove(struct refcount *record, int32_t rank)
{
    uint32_t position = holder_position(record, rank);

    if (--record->holder_count == 0) { /* without holders there is no memory for them */
        free(record->holders);
        record->holders = NULL;
        record->holder_capacity = 0;
        return;
    }
    memmove(&record->holders[position], &record->holders[position + 1],
            (record->holder_count - position) * sizeof *record->holders);
}

int refcount_underflow(struct refcount *record, uint64_t units)
{
    /* relaxed: only undoes the wrong drop, for a report; the protocol is broken already */
    atomic_fetch_add_explicit(&record->count, units, memory_order_relaxed);
    return REFCOUNT_E_UNDERFLOW;
}

int refcount_reached_zero(struct refcount *record, int32_t self, struct refcount_output *output)
{
    *output = (struct refcount_output){.verdict = REFCOUNT_KEEP};
    if (!record)
        return REFCOUNT_OK;
    /*
     * acquire: pairs with the release in refcount_drop, so freeing comes after all that holders did. Only
     * calls under the caller's lock raise a count from 0, so a 0 that is seen here stays.
     */
    if ((uint32_t)atomic_load_explicit(&record->count, memory_order_acquire) != 0)
        return REFCOUNT_OK;
    if (refcount_owner(record->handle) == self) {
        /* each holder is a unit of the count, so somebody here has dropped what was not his */
        if (record->holder_count != 0)
            return REFCOUNT_E_UNDERFLOW;
        output->verdict = REFCOUNT_FREE;
        return REFCOUNT_OK;
    }
    output->verdict = REFCOUNT_ERASE;
    if (refcount_is_orphan(record))
        return REFCOUNT_OK;
    output->has_message = true;
    output->message = (struct refcount_message){
        .kind = REFCOUNT_RELEASE, .handle = record->handle, .to = refcount_owner(record->handle)};
    return REFCOUNT_OK;
}

static void acknowledge(int32_t self, int32_t accepter, int32_t forwarder, uint64_t token,
                        struct refcount_output *output)
{
    if (forwarder == self) {
        output->drop = token;
        return;
    }
    output->has_message = true;
    output->message = (struct refcount_message){
        .kind = REFCOUNT_ACK, .handle = token, .forwarder = accepter, .to = forwarder};
}

int refcount_decline(int32_t self, int32_t forwarder, uint64_t token, struct refcount_output *output)
{
    *output = (struct refcount_output){.verdict = REFCOUNT_KEEP};
    if (token == 0 || !rank_is_valid(forwarder))
        return REFCOUNT_E_MALFORMED;
    acknowledge(self, self, forwarder, token, output);
    return REFCOUNT_OK;
}

/* First hold of a rank: the owner counts it and then tells the forwarder. */
static void introduce(uint64_t handle, int32_t forwarder, uint64_t token, struct refcount_output *output)
{
    output->verdict = REFCOUNT_CREATE;
    output->has_message = true;
    output->message = (struct refcount_message){.kind = REFCOUNT_REGISTER,
                                                .handle = handle,
                                                .forwarder = forwarder,
                                                .token = token,
                                                .to = refcount_owner(handle)};
}

int refcount_accept(struct refcount *record, int32_t self, uint64_t handle, int32_t forwarder, uint64_t token,
                    struct refcount_output *output)
{
    bool is_owner = refcount_owner(handle) == self;

    *output = (struct refcount_output){.verdict = REFCOUNT_KEEP};
    if (handle == 0 || token == 0 || !rank_is_valid(forwarder))
        return REFCOUNT_E_MALFORMED;
    if (record ? record->handle != handle : is_owner)
        return REFCOUNT_E_UNKNOWN;
    if (!record) {
        introduce(handle, forwarder, token, output);
        return REFCOUNT_OK;
    }
    /* relaxed: at the owner nobody but the ref that is accepted here could change a 0 */
    if (is_owner && refcount_holds(record) == 0)
        return REFCOUNT_E_DEAD;
    /*
     * relaxed: a borrower's count may rise from 0 here. The lock orders this against refcount_reached_zero,
     * which then sees it and keeps the record.
     */
    atomic_fetch_add_explicit(&record->count, 1, memory_order_relaxed);
    acknowledge(self, self, forwarder, token, output);
    return REFCOUNT_OK;
}

static int receive_register(struct refcount *record, int32_t self, int32_t from,
                            const struct refcount_message *message, struct refcount_output *output)
{
    int status;

    if (message->token == 0 || !rank_is_valid(message->forwarder))
        return REFCOUNT_E_MALFORMED;
    /* relaxed: some hold covers the ref, so a 0 is a broken protocol and not a race */
    if (refcount_holds(record) == 0)
        return REFCOUNT_E_DEAD;
    if (refcount_is_holder(record, from))
        return REFCOUNT_E_HOLDER;
    status = holder_insert(record, from);
    if (status != REFCOUNT_OK)
        return status;
    refcount_retain(record);
    acknowledge(self, from, message->forwarder, message->token, output);
    return REFCOUNT_OK;
}

static int drop_and_decide(struct refcount *record, int32_t self, struct refcount_output *output)
{
    int status = refcount_drop(record);

    if (status <= 0)
        return status;
    status = refcount_reached_zero(record, self, output);
    if (status != REFCOUNT_OK)
        refcount_retain(record); /* as it was: a failed call changes nothing */
    return status;
}

static int receive_release(struct refcount *record, int32_t self, int32_t from,
                           struct refcount_output *output)
{
    if (!refcount_is_holder(record, from))
        return REFCOUNT_E_NOT_HOLDER;
    /* relaxed: only a check; drop_and_decide orders what matters */
    if (refcount_holds(record) < record->holder_count)
        return REFCOUNT_E_UNDERFLOW;
    holder_remove(record, from);
    return drop_and_decide(record, self, output);
}

int refcount_receive(struct refcount *record, int32_t self, int32_t from,
                     const struct refcount_message *message, struct refcount_output *output)
{
    *output = (struct refcount_output){.verdict = REFCOUNT_KEEP};
    if (message->handle == 0 || !rank_is_valid(from))
        return REFCOUNT_E_MALFORMED;
    if (from == self || (message->kind != REFCOUNT_ACK && refcount_owner(message->handle) != self))
        return REFCOUNT_E_MISROUTED;
    if (!record || record->handle != message->handle)
        return REFCOUNT_E_UNKNOWN;
    switch (message->kind) {
    case REFCOUNT_REGISTER:
        return receive_register(record, self, from, message, output);
    case REFCOUNT_RELEASE:
        return receive_release(record, self, from, output);
    case REFCOUNT_ACK:
        return drop_and_decide(record, self, output);
    }
    return REFCOUNT_E_MALFORMED;
}

/* ---- deaths */

void refcount_orphan(struct refcount *record)
{
    record->holder_count = ORPHAN;
}

bool refcount_is_orphan(const struct refcount *record)
{
    return record->holder_count == ORPHAN;
}

int refcount_holder_lost(struct refcount *record, int32_t self, int32_t rank, struct refcount_output *output)
{
    *output = (struct refcount_output){.verdict = REFCOUNT_KEEP};
    if (refcount_owner(record->handle) != self || rank == self)
        return REFCOUNT_E_MISROUTED;
    if (!refcount_is_holder(record, rank))
        return REFCOUNT_OK;
    return receive_release(record, self, rank, output);
}

static struct refcount_member *member_of(struct refcount_members *members, int32_t rank)
{
    return rank >= 0 && rank < members->ranks && !members->member[rank].dead ? &members->member[rank] : NULL;
}

int refcount_members_lost(struct refcount_members *members, int32_t rank, uint32_t epoch)
{
    struct refcount_member *lost = member_of(members, rank);

    if (!lost || rank == members->self || epoch != members->epoch + 1)
        return REFCOUNT_E_MALFORMED;
    lost->dead = true;
    members->epoch = epoch;
    members->member[members->self].acknowledged = epoch;
    return REFCOUNT_OK;
}

int refcount_members_acknowledged(struct refcount_members *members, int32_t from, uint32_t epoch)
{
    struct refcount_member *member = member_of(members, from);

    if (!member || epoch != member->acknowledged + 1)
        return REFCOUNT_E_MALFORMED;
    member->acknowledged = epoch;
    return REFCOUNT_OK;
}

int refcount_members_settled(struct refcount_members *members, int32_t from, uint32_t epoch)
{
    struct refcount_member *member = member_of(members, from);

    if (!member || epoch <= member->settled || epoch > member->acknowledged)
        return REFCOUNT_E_MALFORMED;
    member->settled = epoch;
    return REFCOUNT_OK;
}

/* Have all living ranks come so far? */
static bool all_acknowledged(const struct refcount_members *members)
{
    for (int32_t i = 0; i < members->ranks; i++)
        if (!members->member[i].dead && members->member[i].acknowledged < members->epoch)
            return false;
    return true;
}

static bool all_settled(const struct refcount_members *members)
{
    for (int32_t i = 0; i < members->ranks; i++)
        if (!members->member[i].dead && members->member[i].settled < members->epoch)
            return false;
    return true;
}

enum refcount_round refcount_members_next(struct refcount_members *members)
{
    struct refcount_member *self = &members->member[members->self];

    if (self->settled < members->epoch && all_acknowledged(members)) {
        self->settled = members->epoch;
        return REFCOUNT_ROUND_SETTLED;
    }
    if (members->forgotten < members->epoch && all_settled(members)) {
        members->forgotten = members->epoch;
        return REFCOUNT_ROUND_FORGET;
    }
    return REFCOUNT_ROUND_NONE;
}

/* Bytes: kind, three of zero, forwarder (4), handle (8), token (8). */
static void put_word(unsigned char *bytes, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get_word(const unsigned char *bytes, int size)
{
    uint64_t value = 0;

    for (int i = 0; i < size; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static bool handle_is_valid(uint64_t handle, int32_t ranks)
{
    return handle != 0 && refcount_owner(handle) < ranks;
}

static bool message_is_valid(const struct refcount_message *message, int32_t ranks)
{
    if (!handle_is_valid(message->handle, ranks))
        return false;
    switch (message->kind) {
    case REFCOUNT_REGISTER:
        return message->forwarder >= 0 && message->forwarder < ranks &&
               handle_is_valid(message->token, ranks);
    case REFCOUNT_RELEASE:
        return message->forwarder == 0 && message->token == 0;
    case REFCOUNT_ACK:
        return message->forwarder >= 0 && message->forwarder < ranks && message->token == 0;
    }
    return false;
}

int refcount_encode(const struct refcount_message *message, unsigned char *bytes, size_t capacity)
{
    if (capacity < REFCOUNT_WIRE_SIZE || !message_is_valid(message, REFCOUNT_MAX_RANKS))
        return REFCOUNT_E_MALFORMED;
    put_word(bytes, message->kind, 4);
    put_word(bytes + 4, (uint32_t)message->forwarder, 4);
    put_word(bytes + 8, message->handle, 8);
    put_word(bytes + 16, message->token, 8);
    return REFCOUNT_OK;
}

int refcount_decode(const unsigned char *bytes, size_t length, int32_t ranks, int32_t self,
                    struct refcount_message *message)
{
    struct refcount_message read = {.to = self};

    if (length != REFCOUNT_WIRE_SIZE)
        return REFCOUNT_E_MALFORMED;
    read.kind = (enum refcount_kind)get_word(bytes, 4);
    read.forwarder = (int32_t)get_word(bytes + 4, 4);
    read.handle = get_word(bytes + 8, 8);
    read.token = get_word(bytes + 16, 8);
    if (!message_is_valid(&read, ranks))
        return REFCOUNT_E_MALFORMED;
    *message = read;
    return REFCOUNT_OK;
}

const char *refcount_kind_name(enum refcount_kind kind)
{
    switch (kind) {
    case REFCOUNT_REGISTER:
        return "REGISTER";
    case REFCOUNT_RELEASE:
        return "RELEASE";
    case REFCOUNT_ACK:
        return "ACK";
    }
    return "unknown kind";
}

const char *refcount_verdict_name(enum refcount_verdict verdict)
{
    switch (verdict) {
    case REFCOUNT_KEEP:
        return "KEEP";
    case REFCOUNT_CREATE:
        return "CREATE";
    case REFCOUNT_FREE:
        return "FREE";
    case REFCOUNT_ERASE:
        return "ERASE";
    }
    return "unknown verdict";
}

const char *refcount_status_name(int status)
{
    switch ((enum refcount_status)status) {
    case REFCOUNT_OK:
        return "ok";
    case REFCOUNT_E_MEMORY:
        return "no memory for the holder set";
    case REFCOUNT_E_MALFORMED:
        return "malformed message";
    case REFCOUNT_E_MISROUTED:
        return "message at a rank that is not the owner";
    case REFCOUNT_E_UNKNOWN:
        return "no record of the object";
    case REFCOUNT_E_UNDERFLOW:
        return "more drops than holds";
    case REFCOUNT_E_DEAD:
        return "ref to an object without holds";
    case REFCOUNT_E_HOLDER:
        return "registration of a holder";
    case REFCOUNT_E_NOT_HOLDER:
        return "release by a rank that is no holder";
    }
    return "unknown status";
}
