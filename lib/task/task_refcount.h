/*
 * Counting references across ranks: a pure state machine. It sends nothing, keeps no table and takes no lock;
 * a call changes one record and says in a `struct refcount_output` what the caller has to do.
 *
 * The protocol
 * ------------
 * Every object x has one owner rank, named in the top bits of its handle. Holders are ranks. A rank that
 * holds x has a record with the number of its local holds: user refs, arguments of pending tasks, containers
 * it owns, refs on their way to somebody else. At the owner every registered remote holder is one unit of the
 * count too, and is a member of the holder set. The owner frees x when its count is 0; a borrower whose count
 * is 0 erases its record and sends RELEASE.
 *
 * A ref that travels from S to B is covered by a hold that S keeps on a *token*: on x itself, or on a
 * container that holds x. B accepts the ref when somebody there keeps it. A rank that is new to x sends
 * REGISTER to the owner, and the owner sends ACK(token) to S; a rank that has a record already sends the ACK
 * itself. Only ACK ends the hold of S, so x is never without a hold that the owner knows or that one known to
 * it covers. (A record older than its own REGISTER's arrival is covered by the forwarder's hold, the
 * forwarder's record likewise by an older one: records are made in an order in time, so the chain ends at one
 * the owner counts.)
 *
 * What the caller must do
 * -----------------------
 * - Hold one lock around lookup, call, and the change of the table for every function marked [locked].
 *   Put the message of the output into its channel before unlocking: a REGISTER must not overtake an
 *   earlier RELEASE.
 * - Channels between two ranks are first in first out, reliable and exactly once.
 * - Apply an output in this order: table change (verdict), message, then `drop`.
 * - When an object that is a container is freed, its owner drops one hold on each nested ref.
 * - Arguments of a task from S to B are covered by holds of S. If the task keeps an argument x, or reads a
 *   nested ref out of it, or hands it on, B calls refcount_accept(x, S, token x) once for that argument;
 *   the hold this gives belongs to the *task* and is dropped at its end, whoever keeps the ref retains for
 *   itself. The task's completion says which arguments were accepted; S drops its hold for the others only.
 * - To take x out of a container y, a rank needs a record of y: it retains y (the guard) and calls
 *   refcount_accept(x, forwarder itself, token y). The guard ends by `drop` or by the ACK.
 * - A ref that arrives and is wanted by nobody (the result of a task whose ref was released) has to be
 * answered too, or its forwarder would hold it for ever. raympi accepts it like any other: the result's
 * record is there until the task has ended, takes it, and drops it as it goes. refcount_decline would do
 * where there is no such record.
 *
 * Deaths
 * ------
 * Ranks die, one by one or all of a host. Deaths are numbered by one place: the epoch. What a dead rank R
 * held stays counted until nobody can come with a ref that R had passed on: who got one may not have
 * registered yet. Two rounds find that out, both in the channels that REGISTERs go through:
 *
 *   1. Who has handled all that R sent, and sent REGISTERs for what it had from R, acknowledges the epoch to
 *      every living rank.
 *   2. Who has that from all living ranks has their REGISTERs too, and tells all that it has settled.
 *
 * When all living ranks have settled the latest epoch, what the dead held is forgotten. One round is not
 * enough: a hold of R's on a container, or a forwarder's hold on a ref that R never registered, may cover a
 * ref that a third rank P registers with another owner. Whoever counts that hold has P's acknowledgement
 * perhaps before the other owner has P's REGISTER. Nor is each death for itself: of two ranks that passed a
 * ref on one after the other, the first is forgotten only with the second.
 *
 * What the caller must do in addition:
 * - Take epochs in their order, and each only after everything that came from R. From then on send nothing to
 *   R, and pass no ref on to it. Its number is not used again.
 * - Know of each hold that covers a ref on its way whom the ref went to (an ACK says who has accepted), and
 *   of each guard which owner it waits for. Where tasks are handed on from runner to runner, giver and taker
 *   tell the submitter: either may die with the news. Known from the giver alone, a task is lost with him.
 * - When R is lost, at once and in this order:
 *   + R's objects become orphans here, by refcount_orphan() on each record: they count on, and nobody is told
 *     when they end. All covers on them, as many as were passed on and not acknowledged by anybody, and all
 *     guards on them end by `drop`. From now on their refs on their way need no cover, ACKs about them are
 *     dropped unread, a record that refcount_accept() asks for is made an orphan, its REGISTER is not sent
 *     and its guard ends at once, and nothing is taken out of them: what they nest is not held any more.
 *   + Guards that wait for R as an owner end by `drop`: what R has acknowledged has come.
 *   + For each task of R's that is here, running or not: refcount_accept() for each argument that is not
 *     accepted yet, forwarder R. Its end is told to nobody. Of R's tasks that come later, from who handed
 *     them on, nothing is accepted: they are dropped as they come.
 *   + refcount_members_lost(), and the acknowledgement to every living rank.
 * - After each refcount_members_lost/acknowledged/settled() call refcount_members_next() until it gives
 *   REFCOUNT_ROUND_NONE. On REFCOUNT_ROUND_SETTLED tell all living ranks. On REFCOUNT_ROUND_FORGET, for every
 *   dead rank: refcount_holder_lost() on every owned record; covers of refs that went to it and were not
 *   acknowledged end by `drop`; tasks that it ran are lost.
 */
#ifndef RAYMPI_TASK_REFCOUNT_H
#define RAYMPI_TASK_REFCOUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REFCOUNT_SEQUENCE_BITS 44
#define REFCOUNT_RANK_BITS     20
#define REFCOUNT_MAX_RANKS     (1 << REFCOUNT_RANK_BITS)
#define REFCOUNT_WIRE_SIZE     24

enum refcount_status {
    REFCOUNT_OK = 0,
    REFCOUNT_E_MEMORY =
        -1, /* holder set could not grow; nothing has changed, the message can be tried again */
    REFCOUNT_E_MALFORMED = -2, /* bytes or arguments that no correct peer makes */
    REFCOUNT_E_MISROUTED =
        -3, /* REGISTER or RELEASE at a rank that is not the owner, or a message to oneself */
    REFCOUNT_E_UNKNOWN = -4,    /* no record of the object that the message is about */
    REFCOUNT_E_UNDERFLOW = -5,  /* more drops than holds */
    REFCOUNT_E_DEAD = -6,       /* a ref arrived at an owner that counts no hold any more */
    REFCOUNT_E_HOLDER = -7,     /* REGISTER of a rank that is a holder */
    REFCOUNT_E_NOT_HOLDER = -8, /* RELEASE by a rank that is no holder */
};

/* One rank's holds on one object; 32 bytes. Only the owner's record uses the holder set. */
struct refcount {
    uint64_t handle;
    _Atomic uint64_t count; /* holds; in units of REFCOUNT_NAME, how many of them a user has a name for */
    uint32_t holder_count;
    uint32_t holder_capacity;
    int32_t *holders; /* sorted, owned by the record */
};

enum refcount_kind {
    REFCOUNT_REGISTER = 1, /* to the owner: the sender holds x now, tell the forwarder */
    REFCOUNT_RELEASE = 2,  /* to the owner: the sender holds x no more */
    REFCOUNT_ACK = 3,      /* to a forwarder: drop one hold on the token, `forwarder` says who accepted */
};

struct refcount_message {
    enum refcount_kind kind;
    uint64_t handle;   /* REGISTER, RELEASE: the object; ACK: the token */
    int32_t forwarder; /* REGISTER: who passed the ref on; ACK: who has accepted it; RELEASE: 0 */
    uint64_t token;    /* REGISTER only, else 0: what the forwarder keeps a hold on */
    int32_t to;        /* destination rank, not part of the bytes */
};

enum refcount_verdict {
    REFCOUNT_KEEP,   /* the table stays as it is */
    REFCOUNT_CREATE, /* insert a record made by refcount_init(record, handle, 1) */
    REFCOUNT_FREE,   /* owner: remove the record, free the object and what it nests */
    REFCOUNT_ERASE,  /* borrower: remove the record */
};

/* What is to be done; meaningful only if the call returned REFCOUNT_OK. */
struct refcount_output {
    enum refcount_verdict verdict;
    bool has_message;
    struct refcount_message message;
    uint64_t drop; /* 0, or the object on which one local hold is to be dropped: an ACK to oneself */
};

static inline int32_t refcount_owner(uint64_t handle)
{
    return (int32_t)(handle >> REFCOUNT_SEQUENCE_BITS);
}

/* Starts a record with `count` local holds (each with a name: REFCOUNT_NAMED_HOLD) and no holders. Cannot
 * fail. */
void refcount_init(struct refcount *record, uint64_t handle, uint64_t count);

/* Frees the holder set. The record may be initialised again. */
void refcount_fini(struct refcount *record);

/* A hold that a user can name, by a handle that some scope keeps, counts here too: a hold and its name come
 * and go by one atomic operation. The two bits above are the caller's as well. No function here looks at any
 * of them. */
#define REFCOUNT_NAME       (UINT64_C(1) << 32)
#define REFCOUNT_NAMED_HOLD (REFCOUNT_NAME + 1)
#define REFCOUNT_MARK_A     (UINT64_C(1) << 62)
#define REFCOUNT_MARK_B     (UINT64_C(1) << 63)

static inline uint32_t refcount_holds(const struct refcount *record)
{
    return (uint32_t)atomic_load_explicit(&((struct refcount *)record)->count, memory_order_relaxed);
}

static inline uint32_t refcount_names(const struct refcount *record)
{
    uint64_t count = atomic_load_explicit(&((struct refcount *)record)->count, memory_order_relaxed);
    return (uint32_t)((count & (REFCOUNT_MARK_A - 1)) >> 32);
}

/* One more hold, for a caller that has one: never from 0. Lock-free, from any thread. */
static inline void refcount_retain(struct refcount *record)
{
    /* relaxed: the caller's own hold keeps the record, and a new hold publishes nothing */
    atomic_fetch_add_explicit(&record->count, 1, memory_order_relaxed);
}

/* One more hold, for a caller that has none, but knows that all drops are atomic: false where no user has a
 * name for the object, which may be ending then, or another one by now. */
static inline bool refcount_retain_named(struct refcount *record)
{
    const uint64_t names = REFCOUNT_MARK_A - REFCOUNT_NAME;
    uint64_t count = atomic_load_explicit(&record->count, memory_order_relaxed);
    /* Acquire: what the record says of itself is looked at after. */
    while ((count & names) != 0)
        if (atomic_compare_exchange_weak_explicit(&record->count, &count, count + 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    return false;
}

/* A hold of the caller's gets a name. */
static inline void refcount_name(struct refcount *record)
{
    atomic_fetch_add_explicit(&record->count, REFCOUNT_NAME, memory_order_relaxed);
}

/* `units` is more than there was: undone, and told. */
int refcount_underflow(struct refcount *record, uint64_t units);
static inline int refcount_drop_units(struct refcount *record, uint64_t units)
{
    /*
     * release: whatever this thread did under its hold happens before the count is seen at 0. Later
     * increments and decrements are read-modify-writes and so continue the release sequence: the one acquire
     * load in refcount_reached_zero sees the work of every holder.
     * acquire: the owner's last drop, which destroys the record without that function, sees it too.
     */
    uint32_t before = (uint32_t)atomic_fetch_sub_explicit(&record->count, units, memory_order_acq_rel);

    if (__builtin_expect(before > 1, 1))
        return 0;
    return before == 1 ? 1 : refcount_underflow(record, units);
}

/*
 * One hold less. Lock-free, from any thread. Returns 0 while holds are left, 1 when the count reached 0, or
 * REFCOUNT_E_UNDERFLOW, with the count as it was. After 1 the caller takes the lock, looks the record up *by
 * its handle* (copied before the call: another thread may erase the record as soon as this one has let go)
 * and calls refcount_reached_zero.
 */
static inline int refcount_drop(struct refcount *record)
{
    return refcount_drop_units(record, 1);
}
/* The same for a hold and its name. */
static inline int refcount_drop_named(struct refcount *record)
{
    return refcount_drop_units(record, REFCOUNT_NAMED_HOLD);
}

/*
 * At the owner, for a caller who has a hold: is it the only one? Then nobody is left who could pass one on:
 * the caller may end the record as after a drop to 0, and needs no atomic subtraction for it.
 */
static inline bool refcount_is_last(const struct refcount *record)
{
    /* acquire: pairs with the release in refcount_drop, so the end comes after all that other holders did */
    return (uint32_t)atomic_load_explicit(&((struct refcount *)record)->count, memory_order_acquire) == 1;
}

/* The same where all of the word is known: holds, names and marks. */
static inline bool refcount_is_only(const struct refcount *record, uint64_t word)
{
    return atomic_load_explicit(&((struct refcount *)record)->count, memory_order_acquire) == word;
}

/* The only hold goes, and its name, where nobody else can come to the record. */
static inline void refcount_drop_last(struct refcount *record)
{
    uint64_t count = atomic_load_explicit(&record->count, memory_order_relaxed);
    atomic_store_explicit(&record->count, count & (REFCOUNT_MARK_A | REFCOUNT_MARK_B), memory_order_relaxed);
}

/*
 * [locked] Decides what a count of 0 means. An accept may have raised the count since, or another thread may
 * have been here first: then the verdict is KEEP. `record` is NULL if the table has none any more.
 */
int refcount_reached_zero(struct refcount *record, int32_t self, struct refcount_output *output);

/*
 * [locked] A ref to `handle` arrived from `forwarder`, which keeps a hold on `token`, and is kept here: this
 * rank has one hold more. `record` is this rank's record or NULL; at the owner there must be one. Verdict
 * CREATE asks for a record; if the caller cannot make it, it forgets the output and nothing has happened.
 */
int refcount_accept(struct refcount *record, int32_t self, uint64_t handle, int32_t forwarder, uint64_t token,
                    struct refcount_output *output);

/* The same for a ref that nobody here wants: only ends the forwarder's hold. Needs no record and no lock. */
int refcount_decline(int32_t self, int32_t forwarder, uint64_t token, struct refcount_output *output);

/*
 * [locked] A message arrived from rank `from`. `record` is what this rank's table has for `message->handle`,
 * or NULL. A negative status leaves everything unchanged; all but REFCOUNT_E_MEMORY mean that a peer broke
 * the protocol.
 */
int refcount_receive(struct refcount *record, int32_t self, int32_t from,
                     const struct refcount_message *message, struct refcount_output *output);

/* Whether `rank` is registered at this owner's record. [locked] */
bool refcount_is_holder(const struct refcount *record, int32_t rank);

/* ---- deaths */

/* [locked] At a borrower: the owner is dead. The record counts on and ends without a RELEASE. */
void refcount_orphan(struct refcount *record);
bool refcount_is_orphan(const struct refcount *record);

/* [locked] At the owner, when the dead are forgotten: `rank` holds no more. Nothing happens where it did not.
 */
int refcount_holder_lost(struct refcount *record, int32_t self, int32_t rank, struct refcount_output *output);

/* What a rank knows of the others' way through the two rounds. */
struct refcount_member {
    uint32_t acknowledged, settled; /* epochs */
    bool dead;
};
struct refcount_members {
    struct refcount_member *member; /* the caller's, `ranks` of them, zeroed at first */
    int32_t ranks, self;
    uint32_t epoch;     /* the latest that is known here; 0: nobody is dead */
    uint32_t forgotten; /* the latest of which the dead are forgotten */
};
enum refcount_round {
    REFCOUNT_ROUND_NONE,    /* wait */
    REFCOUNT_ROUND_SETTLED, /* tell all living ranks: `members->epoch` is settled here */
    REFCOUNT_ROUND_FORGET,  /* the holds of all dead ranks end */
};

/* `rank` is lost. MALFORMED: `epoch` is not the next one, or the rank is dead already or this one. */
int refcount_members_lost(struct refcount_members *members, int32_t rank, uint32_t epoch);
/* Rank `from` has acknowledged, has settled `epoch`, which may be unknown here yet. MALFORMED: not its next.
 */
int refcount_members_acknowledged(struct refcount_members *members, int32_t from, uint32_t epoch);
int refcount_members_settled(struct refcount_members *members, int32_t from, uint32_t epoch);
/* What is to be done now; it is taken to be done. */
enum refcount_round refcount_members_next(struct refcount_members *members);

/* Writes REFCOUNT_WIRE_SIZE bytes, little-endian. REFCOUNT_E_MALFORMED if `capacity` or the message is no
 * good. */
int refcount_encode(const struct refcount_message *message, unsigned char *bytes, size_t capacity);

/*
 * Reads a message that arrived at `self` in a job of `ranks` ranks. Rejects every other length, unknown
 * kinds, null handles, ranks outside the job, and bytes set that the kind does not use; `message` is set on
 * success only.
 */
int refcount_decode(const unsigned char *bytes, size_t length, int32_t ranks, int32_t self,
                    struct refcount_message *message);

const char *refcount_kind_name(enum refcount_kind kind);
const char *refcount_verdict_name(enum refcount_verdict verdict);
const char *refcount_status_name(int status);

#endif
