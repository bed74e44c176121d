/* Every place where one rank can meet another: a child goes through one store call instruction by
 * instruction, and after the n-th, for each n, this process does something that must not go wrong there. */
#include "spill_disk.h"

#include <sched.h>
#include <sys/ptrace.h>

#define STEPS_MOST 150000 /* in one scene: calls of many instructions (sanitizers) are sampled */

enum { CHILD_FINE = 0, CHILD_LOST, CHILD_WRONG, CHILD_FAILED };

struct meeting {
    struct host host;
    struct store_place place;
};

struct scene {
    /* Before the call, the call, after it (answers the exit code); in the child, which is rank 1. */
    void (*before)(struct store *store, struct meeting *meeting);
    int (*call)(struct store *store, struct meeting *meeting);
    int (*after)(struct store *store, struct meeting *meeting, int status);
    /* In this process, rank 0: before the child starts, before its call, after the n-th instruction, at the
     * end. */
    void (*prepare)(struct store *store, struct meeting *meeting);
    void (*ready)(struct store *store, struct meeting *meeting);
    void (*meet)(struct store *store, struct meeting *meeting);
    void (*check)(struct store *store, struct meeting *meeting, int code);
};

struct child {
    const struct scene *scene;
    struct meeting *meeting;
};

static int child_run(void *arg)
{
    struct child *child = arg;
    struct store *store = host_open(&child->meeting->host, 1);
    if (!store || ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        return CHILD_FAILED;
    if (child->scene->before)
        child->scene->before(store, child->meeting);
    raise(SIGSTOP);
    int status = child->scene->call(store, child->meeting);
    raise(SIGSTOP);
    int code = child->scene->after(store, child->meeting, status);
    store_close(store);
    return code;
}

/* Steps a stopped child; the number of steps it took, less than `most` if the call ended. */
static long child_step(pid_t pid, long most)
{
    for (long steps = 0; steps < most; steps++) {
        int status;
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid ||
            !WIFSTOPPED(status) || WSTOPSIG(status) == SIGSTOP)
            return steps;
    }
    return most;
}

/* One meeting after `stop` instructions; how many there were. */
static long scene_play(const struct scene *scene, long stop)
{
    struct meeting *meeting = shared_make(sizeof *meeting);
    struct child child = {scene, meeting};
    struct store_layout layout = layout_of(2, 64 << 10);
    int status;
    CU_ASSERT_PTR_NOT_NULL_FATAL(meeting);
    CU_ASSERT_FATAL(layout.extents == 1 && host_make(&meeting->host, layout));
    struct store *store = host_open(&meeting->host, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(store);
    if (scene->prepare)
        scene->prepare(store, meeting);
    pid_t pid = process_start(child_run, &child);
    CU_ASSERT_FATAL(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
    if (scene->ready)
        scene->ready(store, meeting);
    long steps = child_step(pid, stop);
    scene->meet(store, meeting);
    if (steps == stop) { /* still in the call: to its end */
        ptrace(PTRACE_CONT, pid, NULL, NULL);
        CU_ASSERT_FATAL(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
    }
    ptrace(PTRACE_CONT, pid, NULL, NULL);
    scene->check(store, meeting, process_end(pid));
    store_close(store);
    host_end(&meeting->host);
    munmap(meeting, sizeof *meeting);
    return steps;
}

static void scene_everywhere(const struct scene *scene)
{
    long length = scene_play(scene, 1000000);
    CU_ASSERT(length > 20 && length < 1000000);
    const char *most = getenv("RAYMPI_TEST_STEPS");
    long stride = 1 + length * length / 2 / (most ? atol(most) : STEPS_MOST);
    for (long stop = 0; stop <= length; stop += stride)
        scene_play(scene, stop);
}

static struct store_place block_put(struct store *store)
{
    struct store_place place = {0, 0, 0};
    void *data;
    if (store_create(store, 4096, &place, &data) == RAYMPI_OK) {
        payload_fill(data, 4096, place_seed(place));
        store_seal(store, place);
    }
    return place;
}

static int block_check(const void *data, struct store_place place)
{
    return payload_right(data, 4096, place_seed(place)) ? CHILD_FINE : CHILD_WRONG;
}

static void store_check_empty(struct store *store)
{
    struct store_counters counters;
    store_collect(store);
    store_counters(store, &counters);
    CU_ASSERT_EQUAL(counters.blocks, 0);
    CU_ASSERT_EQUAL(counters.waiting, 0);
}

/* ---- the holder frees while another pins, and while another unpins */

static const void *child_view;

static void block_prepare(struct store *store, struct meeting *meeting)
{
    meeting->place = block_put(store);
}

/* Frees the block, and if that is possible at once gives its memory and descriptor to another. */
static void block_replace(struct store *store, struct meeting *meeting)
{
    store_free(store, meeting->place);
    struct store_place next = block_put(store);
    CU_ASSERT(next.generation > 0);
    store_free(store, next);
}

static int pin_call(struct store *store, struct meeting *meeting)
{
    uint64_t length;
    return store_pin(store, meeting->place, &child_view, &length);
}

static int pin_after(struct store *store, struct meeting *meeting, int status)
{
    if (status != RAYMPI_OK)
        return CHILD_LOST;
    int code = block_check(child_view, meeting->place);
    store_unpin(store, meeting->place);
    return code;
}

static void free_check(struct store *store, struct meeting *meeting, int code)
{
    (void)meeting;
    CU_ASSERT(code == CHILD_FINE || code == CHILD_LOST);
    store_check_empty(store);
}

static void test_pin(void)
{
    static const struct scene scene = {NULL, pin_call,      pin_after, block_prepare,
                                       NULL, block_replace, free_check};
    scene_everywhere(&scene);
}

static void unpin_before(struct store *store, struct meeting *meeting)
{
    pin_call(store, meeting);
}

static int unpin_call(struct store *store, struct meeting *meeting)
{
    store_unpin(store, meeting->place);
    return RAYMPI_OK;
}

static int unpin_after(struct store *store, struct meeting *meeting, int status)
{
    (void)store, (void)meeting, (void)status;
    return CHILD_FINE;
}

static void test_unpin(void)
{
    static const struct scene scene = {unpin_before, unpin_call,    unpin_after, block_prepare,
                                       NULL,         block_replace, free_check};
    scene_everywhere(&scene);
}

/* ---- another pins while the holder frees */

static const void *own_view;

static void free_before(struct store *store, struct meeting *meeting)
{
    meeting->place = block_put(store);
}

static int free_call(struct store *store, struct meeting *meeting)
{
    store_free(store, meeting->place);
    return RAYMPI_OK;
}

static int free_after(struct store *store, struct meeting *meeting, int status)
{
    (void)meeting, (void)status;
    return block_put(store).generation ? CHILD_FINE : CHILD_WRONG;
}

static void pin_meet(struct store *store, struct meeting *meeting)
{
    uint64_t length;
    if (store_pin(store, meeting->place, &own_view, &length) != RAYMPI_OK)
        own_view = NULL;
}

static void pin_check(struct store *store, struct meeting *meeting, int code)
{
    CU_ASSERT_EQUAL(code, CHILD_FINE);
    if (!own_view)
        return;
    CU_ASSERT_EQUAL(block_check(own_view, meeting->place), CHILD_FINE);
    store_unpin(store, meeting->place);
}

static void test_free(void)
{
    static const struct scene scene = {free_before, free_call, free_after, NULL, NULL, pin_meet, pin_check};
    scene_everywhere(&scene);
}

/* ---- two want the only extent, which is in reserve of the one or the other */

static struct store_place own_place;
static int own_status;

static int create_call(struct store *store, struct meeting *meeting)
{
    void *data;
    return store_create(store, 64 << 10, &meeting->place, &data);
}

static int create_after(struct store *store, struct meeting *meeting, int status)
{
    (void)store, (void)meeting;
    return status == RAYMPI_OK ? CHILD_FINE : status == RAYMPI_ERR_STORE_FULL ? CHILD_LOST : CHILD_WRONG;
}

static void create_meet(struct store *store, struct meeting *meeting)
{
    void *data;
    (void)meeting;
    own_status = store_create(store, 64 << 10, &own_place, &data);
}

static void create_check(struct store *store, struct meeting *meeting, int code)
{
    (void)meeting;
    CU_ASSERT(code == CHILD_FINE || code == CHILD_LOST);
    CU_ASSERT_EQUAL((own_status == RAYMPI_OK) + (code == CHILD_FINE), 1);
    if (own_status == RAYMPI_OK)
        store_free(store, own_place);
    store_check_empty(store);
}

/* The extent is in reserve of whoever did this last; it is committed then, and so are the rank's descriptors.
 */
static void put_and_free(struct store *store, struct meeting *meeting)
{
    (void)meeting;
    store_free(store, block_put(store));
}

static void test_claim(void)
{
    static const struct scene from_other = {put_and_free, create_call, create_after, NULL,
                                            put_and_free, create_meet, create_check};
    static const struct scene from_own = {put_and_free, create_call, create_after, NULL,
                                          NULL,         create_meet, create_check};
    scene_everywhere(&from_other);
    scene_everywhere(&from_own);
}

/* ---- the holder drops a block that is on disk too, while another pins; another pins while the holder drops
 */

/* A block in memory with a copy on disk. */
static struct store_place block_clean(struct store *store)
{
    struct store_place place = {0, 0, 0};
    if (!spill_open(store, false))
        return place;
    place = block_put(store);
    spill_everything(store);
    return spill_fetch(store, place) == RAYMPI_OK ? place : (struct store_place){0, 0, 0};
}

/* Drops the block if that is possible. */
static uint64_t block_evict(struct store *store)
{
    uint64_t coming;
    int status;
    return store_make_room(store, 1, &coming, &status);
}

/* What its memory is given to, until the end: it comes back elsewhere. */
static struct store_place other_place;

static void drop_prepare(struct store *store, struct meeting *meeting)
{
    meeting->place = block_clean(store);
    CU_ASSERT(meeting->place.generation > 0);
}

static void drop_meet(struct store *store, struct meeting *meeting)
{
    (void)meeting;
    other_place.generation = 0;
    if (block_evict(store))
        other_place = block_put(store);
}

static int pin_dropped_after(struct store *store, struct meeting *meeting, int status)
{
    if (status == STORE_ON_DISK || status == RAYMPI_OK)
        return pin_after(store, meeting, status);
    return CHILD_WRONG;
}

/* Whatever happened: it comes back, and is freed. */
static void drop_check(struct store *store, struct meeting *meeting, int code)
{
    CU_ASSERT(code == CHILD_FINE || code == CHILD_LOST);
    CU_ASSERT_EQUAL(spill_fetch(store, meeting->place), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, meeting->place));
    store_free(store, meeting->place);
    if (other_place.generation)
        store_free(store, other_place);
    store_check_empty(store);
}

static void test_drop(void)
{
    static const struct scene scene = {NULL, pin_call,  pin_dropped_after, drop_prepare,
                                       NULL, drop_meet, drop_check};
    if (spill_possible())
        scene_everywhere(&scene);
}

static void evict_before(struct store *store, struct meeting *meeting)
{
    meeting->place = block_clean(store);
}

static int evict_call(struct store *store, struct meeting *meeting)
{
    (void)meeting;
    return block_evict(store) ? RAYMPI_OK : RAYMPI_ERR_STORE_FULL;
}

static int evict_after(struct store *store, struct meeting *meeting, int status)
{
    if (status == RAYMPI_OK && !block_put(store).generation)
        return CHILD_WRONG;
    if (spill_fetch(store, meeting->place) != RAYMPI_OK || !spill_block_right(store, meeting->place))
        return CHILD_WRONG;
    return CHILD_FINE;
}

static void test_pin_dropped(void)
{
    static const struct scene scene = {evict_before, evict_call, evict_after, NULL,
                                       NULL,         pin_meet,   pin_check};
    if (spill_possible())
        scene_everywhere(&scene);
}

static const struct unit_test tests[] = {
    {"steps: a free at every instruction of a pin", test_pin},
    {"steps: a free at every instruction of an unpin", test_unpin},
    {"steps: a pin at every instruction of a free", test_free},
    {"steps: a drop at every instruction of a pin", test_drop},
    {"steps: a pin at every instruction of a drop", test_pin_dropped},
    {"steps: a create at every instruction of a create", test_claim},
};

int main(void)
{
    /* On one processor the child and its tracer hand over to each other quicker. */
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    return UNIT_MAIN("store: steps", tests);
}
