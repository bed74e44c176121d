#include "api/api_bootstrap.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT     512
#define SETTINGS 1024
#define HOST     128

/* Of all that ranks send each other, at start and later: one more with each change of it. */
#define FORMAT 1

/* Nanoseconds that the end waits at most for the threads of MPI. Where the program has called MPI_Init,
 * threads of its own, which may compute, can not be told from them. */
#define OWN_MPI_REST   1000000000
#define USERS_MPI_REST 100000000

/* ---- agreement */

int bootstrap_agree(struct bootstrap *b, int status)
{
    struct {
        int status, rank;
    } mine = {status, b->rank}, worst;
    MPI_Allreduce(&mine, &worst, 1, MPI_2INT, MPI_MINLOC, b->comm);
    if (worst.status == RAYMPI_OK)
        return RAYMPI_OK;
    char text[TEXT] = "";
    if (b->rank == worst.rank)
        snprintf(text, sizeof text, "%s", base_detail());
    MPI_Bcast(text, sizeof text, MPI_CHAR, worst.rank, b->comm);
    if (status != RAYMPI_OK)
        return status;
    return base_fail(worst.status, "rank %d: %s", worst.rank, text);
}

int bootstrap_worst(struct bootstrap *b, int status)
{
    int worst;
    MPI_Allreduce(&status, &worst, 1, MPI_INT, MPI_MIN, b->comm);
    if (worst != status)
        base_fail(worst, "another rank reports %s", raympi_strerror(worst));
    return worst;
}

void bootstrap_gather(void *arg, const void *mine, void *all, size_t bytes)
{
    const struct bootstrap *b = arg;
    MPI_Allgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, b->comm);
}

void bootstrap_barrier(struct bootstrap *b)
{
    MPI_Barrier(b->comm);
}

/* ---- MPI */

static int open_mpi(struct bootstrap *b, int *argc, char ***argv, const void *comm)
{
    int initialized, finalized;
    MPI_Initialized(&initialized);
    MPI_Finalized(&finalized);
    if (finalized)
        return base_fail(RAYMPI_ERR_MPI,
                         "MPI has been finalized already: raympi_init comes before MPI_Finalize");
    if (comm && !initialized)
        return base_fail(RAYMPI_ERR_MPI, "raympi_config.comm was given, but MPI is not initialised");
    if (!initialized)
        mpi_threads_before(&b->mpi_threads);
    if (initialized) {
        MPI_Query_thread(&b->thread_level);
    } else if (MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &b->thread_level) != MPI_SUCCESS) {
        return base_fail(RAYMPI_ERR_MPI, "MPI_Init_thread failed");
    }
    mpi_threads_after(&b->mpi_threads);
    b->own_mpi = !initialized;
    MPI_Comm source = comm ? *(const MPI_Comm *)comm : MPI_COMM_WORLD;
    if (source == MPI_COMM_NULL)
        return base_fail(RAYMPI_ERR_ARGUMENT,
                         "raympi_config.comm is MPI_COMM_NULL on this rank: only members call");
    if (MPI_Comm_dup(source, &b->comm) != MPI_SUCCESS)
        return base_fail(RAYMPI_ERR_MPI, "MPI_Comm_dup failed");
    MPI_Comm_rank(b->comm, &b->rank);
    MPI_Comm_size(b->comm, &b->size);
    if (b->thread_level < MPI_THREAD_SERIALIZED)
        return base_fail(RAYMPI_ERR_MPI, "MPI was initialised at a thread level below MPI_THREAD_SERIALIZED: "
                                         "ask for it in MPI_Init_thread, "
                                         "or let raympi_init() initialise MPI");
    return RAYMPI_OK;
}

/* ---- what all must have in common */

static void host_name(char host[HOST])
{
    memset(host, 0, HOST);
    if (gethostname(host, HOST - 1) != 0)
        snprintf(host, HOST, "?");
}

/* The one thing that is the same in all versions. */
struct greeting {
    char library[128], host[HOST];
};

static struct greeting greeting_of(struct bootstrap *b, const struct greeting *mine, int rank)
{
    struct greeting greeting = *mine;
    MPI_Bcast(&greeting, sizeof greeting, MPI_BYTE, rank, b->comm);
    greeting.library[sizeof greeting.library - 1] = greeting.host[HOST - 1] = 0;
    return greeting;
}

/* Collective, before all else: what follows may have another form in another version. All return the same. */
static int compare_versions(struct bootstrap *b)
{
    struct greeting mine;
    memset(&mine, 0, sizeof mine);
    snprintf(mine.library, sizeof mine.library, "%s (messages of format %d)", raympi_version(), FORMAT);
    host_name(mine.host);
    struct greeting first = greeting_of(b, &mine, 0);
    int other = strcmp(mine.library, first.library) == 0 ? b->size : b->rank, rank;
    MPI_Allreduce(&other, &rank, 1, MPI_INT, MPI_MIN, b->comm);
    if (rank == b->size)
        return RAYMPI_OK;
    struct greeting there = greeting_of(b, &mine, rank);
    return base_fail(RAYMPI_ERR_MISMATCH,
                     "rank 0 on host %s has raympi %s, rank %d on host %s has raympi %s: all ranks need the "
                     "same, see `ldd PROGRAM` on both hosts",
                     first.host, first.library, rank, there.host, there.library);
}

/* Ranks of one version have the same variables, in the same order. */
static int compare_settings(struct bootstrap *b)
{
    char mine[SETTINGS], first[SETTINGS], host[HOST];
    char *rest = mine, *rest_first = first, *own, *wanted;
    base_config_common(&b->config, mine, sizeof mine);
    memcpy(first, mine, sizeof first);
    MPI_Bcast(first, sizeof first, MPI_CHAR, 0, b->comm);
    do {
        own = strsep(&rest, "\n");
        wanted = strsep(&rest_first, "\n");
    } while (own && wanted && strcmp(own, wanted) == 0);
    host_name(host);
    int status = own && wanted ? base_fail(RAYMPI_ERR_MISMATCH,
                                           "rank %d on host %s has %s, rank 0 has %s: all ranks need the "
                                           "same, set it for all of them, as by `mpirun -x NAME=VALUE`",
                                           b->rank, host, own, wanted)
                               : RAYMPI_OK;
    return bootstrap_agree(b, status);
}

static int merge_all(struct bootstrap *b, const char *all, const int *lengths, const int *offsets)
{
    for (int rank = 0; rank < b->size; rank++) {
        int status = task_functions_merge(all + offsets[rank], (size_t)lengths[rank], rank, b->size);
        if (status != RAYMPI_OK)
            return status;
    }
    return RAYMPI_OK;
}

static int exchange_names(struct bootstrap *b)
{
    size_t length = 0;
    char *mine = task_functions_names(&length), *all = NULL;
    int *lengths = calloc((size_t)b->size, sizeof *lengths),
        *offsets = calloc((size_t)b->size, sizeof *offsets);
    int status = mine && lengths && offsets
                     ? RAYMPI_OK
                     : base_fail(RAYMPI_ERR_MEMORY, "no memory for the names of tasks");
    status = bootstrap_agree(b, status);
    if (status == RAYMPI_OK) {
        int count = (int)length, sum = 0;
        MPI_Allgather(&count, 1, MPI_INT, lengths, 1, MPI_INT, b->comm);
        for (int rank = 0; rank < b->size; rank++) {
            offsets[rank] = sum;
            sum += lengths[rank];
        }
        all = malloc((size_t)sum + 1);
        status = bootstrap_agree(b, all ? RAYMPI_OK
                                        : base_fail(RAYMPI_ERR_MEMORY, "no memory for the names of tasks"));
        if (status == RAYMPI_OK) {
            MPI_Allgatherv(mine, count, MPI_CHAR, all, lengths, offsets, MPI_CHAR, b->comm);
            status = bootstrap_agree(b, merge_all(b, all, lengths, offsets));
        }
    }
    free(mine);
    free(all);
    free(lengths);
    free(offsets);
    return status;
}

/* ---- the host */

/* Hosts are numbered by their first ranks. */
static int map_fill(struct bootstrap *b)
{
    int first = b->rank, hosts = 0, *firsts = malloc((size_t)b->size * sizeof *firsts);
    b->host_of = malloc((size_t)b->size * sizeof *b->host_of);
    b->ranks = malloc((size_t)b->map.locals * sizeof *b->ranks);
    b->names = calloc((size_t)b->size, sizeof *b->names);
    bool memory = firsts && b->host_of && b->ranks && b->names;
    int status = bootstrap_agree(b, memory ? RAYMPI_OK
                                           : base_fail(RAYMPI_ERR_MEMORY, "no memory for the map of hosts"));
    if (status != RAYMPI_OK) {
        free(firsts);
        return status;
    }
    MPI_Allgather(&b->rank, 1, MPI_INT, b->ranks, 1, MPI_INT, b->host_comm);
    MPI_Bcast(&first, 1, MPI_INT, 0, b->host_comm);
    MPI_Allgather(&first, 1, MPI_INT, firsts, 1, MPI_INT, b->comm);
    gethostname(b->names[b->rank], sizeof *b->names - 1);
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, b->names, sizeof *b->names, MPI_CHAR, b->comm);
    for (int rank = 0; rank < b->size; rank++) {
        b->host_of[rank] = firsts[rank] == rank ? hosts++ : b->host_of[firsts[rank]];
        memmove(b->names[b->host_of[rank]], b->names[rank], sizeof *b->names); /* a host's is never after */
    }
    free(firsts);
    b->map.rank = b->rank;
    b->map.size = b->size;
    b->map.host = b->host_of[b->rank];
    b->map.hosts = hosts;
    b->map.host_of = b->host_of;
    b->map.ranks = b->ranks;
    b->map.names = (const char(*)[NET_HOST_NAME])b->names;
    return RAYMPI_OK;
}

static int find_hosts(struct bootstrap *b)
{
    int split = MPI_Comm_split_type(b->comm, MPI_COMM_TYPE_SHARED, b->rank, MPI_INFO_NULL, &b->host_comm);
    if (split != MPI_SUCCESS)
        return base_fail(RAYMPI_ERR_MPI, "MPI_Comm_split_type failed");
    MPI_Comm_rank(b->host_comm, &b->local);
    MPI_Comm_size(b->host_comm, &b->map.locals);
    return map_fill(b);
}

static void count_sharing(struct bootstrap *b)
{
    uint64_t key = topo_cpuset_key(b->topo), keys[b->map.locals];
    MPI_Allgather(&key, 1, MPI_UINT64_T, keys, 1, MPI_UINT64_T, b->host_comm);
    b->sharing = 0;
    for (int local = 0; local < b->map.locals; local++)
        b->sharing += keys[local] == key;
}

/* By default a third of what one may use; a wish that does not fit is refused here, not by the kernel later.
 */
static int store_size(struct bootstrap *b, uint64_t *bytes)
{
    uint64_t available = base_memory_available();
    *bytes = b->config.store_bytes ? b->config.store_bytes : available / 3;
    if (*bytes > available)
        return base_fail(RAYMPI_ERR_STORE_FULL,
                         "RAYMPI_STORE_BYTES asks for %llu bytes, but only %llu can really be used on this "
                         "host (the least of "
                         "MemAvailable, the cgroup's limit and room in /dev/shm): ask for less, or free some",
                         (unsigned long long)*bytes, (unsigned long long)available);
    if (*bytes < (UINT64_C(1) << 20) * (uint64_t)b->map.locals)
        return base_fail(
            RAYMPI_ERR_STORE_FULL,
            "only %llu bytes are left for the object store of %d ranks, at least 1 MiB each is needed: free "
            "memory or /dev/shm, or start fewer ranks",
            (unsigned long long)*bytes, b->map.locals);
    return RAYMPI_OK;
}

struct host_message {
    char name[64];
    uint64_t cookie[2];
    uint64_t bytes;
};

static uint64_t place_areas(struct bootstrap *b, uint64_t bytes, uint64_t *control)
{
    store_layout_make(&b->layout, b->map.locals, bytes);
    b->net_offset = 4096;
    b->store_offset = b->net_offset + base_align_up(net_shm_bytes(b->map.locals), 4096);
    *control = b->store_offset + base_align_up(b->layout.control_bytes, 4096);
    b->data_offset = base_align_up(*control, b->layout.extent_bytes);
    return b->data_offset + b->layout.extents * b->layout.extent_bytes;
}

static int create_segment(struct bootstrap *b, struct host_message *message)
{
    uint64_t control;
    int status = store_size(b, &message->bytes);
    if (status != RAYMPI_OK)
        return status;
    message->cookie[0] = base_mix(base_now() ^ (uint64_t)getpid() << 32);
    message->cookie[1] = base_mix(message->cookie[0] + (uintptr_t)message);
    uint64_t size = place_areas(b, message->bytes, &control);
    status = base_segment_create(&b->segment, size, control, message->cookie);
    if (status == RAYMPI_OK)
        memcpy(message->name, b->segment.name, sizeof message->name);
    return status;
}

static int attach_segment(struct bootstrap *b, const struct host_message *message, bool *same)
{
    uint64_t control;
    uint64_t size = place_areas(b, message->bytes, &control);
    int status = base_segment_attach(&b->segment, message->name, size, control, message->cookie, same);
    if (status == RAYMPI_OK && !*same) {
        char host[HOST];
        host_name(host);
        status = base_fail(RAYMPI_ERR_UNSUPPORTED,
                           "rank %d (host %s) does not see the shared memory of rank %d, though MPI says "
                           "that they are on one host: "
                           "let the containers of a host share /dev/shm and the IPC namespace",
                           b->rank, host, b->ranks[0]);
    }
    return status;
}

static int open_segment(struct bootstrap *b)
{
    struct host_message message = {0};
    bool same = true;
    bool first = b->local == 0;
    int status = bootstrap_agree(b, first ? create_segment(b, &message) : RAYMPI_OK);
    b->segment_open = first && b->segment.write;
    if (status != RAYMPI_OK)
        return status;
    MPI_Bcast(&message, sizeof message, MPI_BYTE, 0, b->host_comm);
    if (!first) {
        status = attach_segment(b, &message, &same);
        b->segment_open = status == RAYMPI_OK;
    }
    status = bootstrap_agree(b, status);
    if (first)
        base_segment_unlink(&b->segment); /* nothing is left behind, whatever happens from now on */
    return status;
}

/* ---- open and close */

static int open_shared(struct bootstrap *b)
{
    int status = bootstrap_agree(b, base_config_read(&b->config));
    if (status == RAYMPI_OK)
        status = bootstrap_agree(b, task_functions_build());
    if (status == RAYMPI_OK)
        status = compare_settings(b);
    if (status == RAYMPI_OK)
        status = exchange_names(b);
    if (status == RAYMPI_OK)
        status = bootstrap_agree(b, find_hosts(b));
    if (status == RAYMPI_OK)
        status = bootstrap_agree(b, topo_open(&b->topo));
    if (status != RAYMPI_OK)
        return status;
    count_sharing(b);
    return open_segment(b);
}

int bootstrap_open(struct bootstrap *b, int *argc, char ***argv, const void *comm)
{
    *b = (struct bootstrap){.comm = MPI_COMM_NULL, .host_comm = MPI_COMM_NULL};
    pthread_mutexattr_t checked;
    pthread_mutexattr_init(&checked);
    pthread_mutexattr_settype(&checked, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&b->mpi_lock, &checked);
    pthread_mutexattr_destroy(&checked);
    int status = open_mpi(b, argc, argv, comm);
    base_log_rank(b->rank);
    if (b->comm != MPI_COMM_NULL) {
        int versions = compare_versions(b);
        status = versions == RAYMPI_OK ? bootstrap_agree(b, status) : versions;
    }
    if (status == RAYMPI_OK)
        status = open_shared(b);
    if (status == RAYMPI_OK)
        return RAYMPI_OK;
    char text[2 * TEXT];
    snprintf(text, sizeof text, "%s", base_detail());
    base_log(BASE_LOG_ERROR, "api", "%s", text);
    bootstrap_close(b);
    return base_fail(status, "%s", text);
}

void bootstrap_close(struct bootstrap *b)
{
    if (b->segment_open)
        base_segment_close(&b->segment);
    if (b->topo)
        topo_close(b->topo);
    task_functions_clear();
    if (b->host_comm != MPI_COMM_NULL)
        MPI_Comm_free(&b->host_comm);
    if (b->comm != MPI_COMM_NULL)
        MPI_Comm_free(&b->comm);
    free(b->host_of);
    free(b->ranks);
    free(b->names);
    int finalized = 0;
    MPI_Finalized(&finalized);
#ifdef OPEN_MPI
    if (!finalized)
        mpi_threads_rest(&b->mpi_threads, b->own_mpi ? OWN_MPI_REST : USERS_MPI_REST);
#endif
    if (b->own_mpi && !finalized)
        MPI_Finalize();
    pthread_mutex_destroy(&b->mpi_lock);
    *b = (struct bootstrap){.comm = MPI_COMM_NULL, .host_comm = MPI_COMM_NULL};
}

/* ---- timeline and table */

/* Whether rank 0 has memory for what it collects from all: else nobody sends. */
static bool collects(struct bootstrap *b, const void *memory, const char *what)
{
    int there = memory != NULL;
    MPI_Bcast(&there, 1, MPI_INT, 0, b->comm);
    if (!there && b->rank == 0)
        base_log(BASE_LOG_ERROR, "trace", "no memory for %s", what);
    return there;
}

/* MPI counts with ints: whole blocks, so that two gigabytes are not the end. */
#define TRACE_BLOCK 4096

/* What this rank has recorded, in whole blocks; NULL, and 0 bytes: it can not be told. */
static char *own_trace(const struct bootstrap *b, struct api_node *node, uint64_t *bytes)
{
    char *mine = NULL, *whole = NULL;
    size_t length = 0, most = (size_t)(INT32_MAX / b->size) * TRACE_BLOCK;
    int status = trace_serialize(node->trace, &mine, &length);
    if (status == RAYMPI_OK && length > most)
        status = base_fail(RAYMPI_ERR_TOO_LARGE, "%zu bytes, at most %zu of each of %d ranks", length, most,
                           b->size);
    else if (status == RAYMPI_OK && !(whole = realloc(mine, base_align_up(length, TRACE_BLOCK))))
        status = base_fail(RAYMPI_ERR_MEMORY, "no memory");
    if (status == RAYMPI_OK) {
        memset(whole + length, 0, base_align_up(length, TRACE_BLOCK) - length);
        *bytes = length;
        return whole;
    }
    base_log(BASE_LOG_WARN, "trace", "the timeline lacks rank %d: %s", b->rank, base_detail());
    free(mine);
    *bytes = 0;
    return NULL;
}

static int trace_blocks(uint64_t bytes)
{
    return (int)(base_align_up(bytes, TRACE_BLOCK) / TRACE_BLOCK);
}

/* Rank 0: all traces, each at its offset in blocks; NULL elsewhere, or when there is no memory for them. */
static char *gather_traces(struct bootstrap *b, const char *mine, const uint64_t *bytes, int *offsets)
{
    int counts[b->size], sum = 0;
    char *all = NULL;
    for (int rank = 0; b->rank == 0 && rank < b->size; rank++) {
        counts[rank] = trace_blocks(bytes[rank]);
        offsets[rank] = sum;
        sum += counts[rank];
    }
    if (b->rank == 0)
        all = malloc((size_t)sum * TRACE_BLOCK + 1);
    if (!collects(b, all, "the timeline"))
        return NULL;
    MPI_Datatype block;
    MPI_Type_contiguous(TRACE_BLOCK, MPI_BYTE, &block);
    MPI_Type_commit(&block);
    MPI_Gatherv(mine, trace_blocks(bytes[b->rank]), block, all, counts, offsets, block, 0, b->comm);
    MPI_Type_free(&block);
    return all;
}

static void write_trace(struct bootstrap *b, struct api_node *node)
{
    uint64_t bytes[b->size];
    int offsets[b->size];
    char *mine = own_trace(b, node, &bytes[b->rank]);
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, bytes, 1, MPI_UINT64_T, b->comm);
    char *all = gather_traces(b, mine, bytes, offsets);
    free(mine);
    if (!all)
        return;
    const char *buffers[b->size];
    size_t lengths[b->size];
    for (int rank = 0; rank < b->size; rank++) {
        buffers[rank] = all + (size_t)offsets[rank] * TRACE_BLOCK;
        lengths[rank] = bytes[rank];
    }
    FILE *file = fopen(b->config.trace_file, "w");
    if (!file || trace_write_json(file, buffers, lengths, b->size) != RAYMPI_OK)
        base_log(BASE_LOG_ERROR, "trace", "the timeline could not be written to %s: %s", b->config.trace_file,
                 file ? base_detail() : "the file can not be opened");
    if (file)
        fclose(file);
    free(all);
}

static void write_table(struct bootstrap *b, struct api_node *node)
{
    uint64_t sums[TRACE_COUNTERS], *all = b->rank == 0 ? calloc((size_t)b->size, sizeof sums) : NULL;
    trace_counters(node->trace, sums);
    if (!collects(b, all, "the table of counts"))
        return;
    MPI_Gather(sums, TRACE_COUNTERS, MPI_UINT64_T, all, TRACE_COUNTERS, MPI_UINT64_T, 0, b->comm);
    if (b->rank == 0)
        trace_table(stderr, all, b->size);
    free(all);
    unsigned long mine[2] = {sched_stack_high_water(node->sched), sched_fibers_peak(node->sched)}, most[2];
    MPI_Reduce(mine, most, 2, MPI_UNSIGNED_LONG, MPI_MAX, 0, b->comm);
    if (b->rank == 0)
        fprintf(stderr,
                "deepest task stack %lu of %llu bytes (RAYMPI_STACK_BYTES), at most %lu fibers at once on a "
                "rank\n",
                most[0], (unsigned long long)b->config.stack_bytes, most[1]);
}

void bootstrap_collect(struct bootstrap *b, struct api_node *node)
{
    if (b->config.trace_file)
        write_trace(b, node);
    if (b->config.stats)
        write_table(b, node);
}

/* ---- the user's own MPI */

int bootstrap_mpi_lock(struct bootstrap *b)
{
    if (b->thread_level == MPI_THREAD_MULTIPLE)
        return RAYMPI_OK;
    if (b->reads_are_mpi && !b->wire_is_mpi)
        return base_fail(
            RAYMPI_ERR_UNSUPPORTED,
            "raympi reads other hosts by MPI, as RAYMPI_FETCH=rma asks for: the program's own calls beside "
            "that would need MPI_THREAD_MULTIPLE (or use RAYMPI_FETCH=ofi or pull)");
    if (b->wire_is_mpi)
        return base_fail(
            RAYMPI_ERR_UNSUPPORTED,
            "between hosts raympi's own messages go by MPI: for calls of the program's beside them MPI has "
            "to be initialised at MPI_THREAD_MULTIPLE, by MPI_Init_thread before raympi_init (or use "
            "libfabric: RAYMPI_NET=ofi)");
    if (pthread_mutex_lock(&b->mpi_lock) != 0)
        return base_fail(RAYMPI_ERR_STATE,
                         "raympi_mpi_enter twice on one thread: raympi_mpi_leave comes first (and no "
                         "blocking raympi call in between, it lets other tasks run)");
    return RAYMPI_OK;
}

int bootstrap_mpi_unlock(struct bootstrap *b)
{
    if (b->thread_level == MPI_THREAD_MULTIPLE)
        return RAYMPI_OK;
    if (pthread_mutex_unlock(&b->mpi_lock) != 0)
        return base_fail(RAYMPI_ERR_STATE, "raympi_mpi_leave without raympi_mpi_enter on the same thread");
    return RAYMPI_OK;
}
