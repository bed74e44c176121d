/* Start and end of a job: MPI is used here, and nowhere else on one host. */
#include "api/api_bootstrap.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum job_state { JOB_NONE, JOB_RUNNING, JOB_ENDED };

static struct {
    enum job_state state;
    struct api_node node;
    struct bootstrap bootstrap;
    pthread_t main_thread;
} job;

/* ---- death and departure */

#define DEATH_TEXT 800 /* bytes of a line about the end of a rank */

/* Names of what a rank ran: the task by which it ended, else what its workers showed. */
static void list_running(const struct net_death *death, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < 4 && used < size; i++) {
        uint64_t hash = death->crashed ? death->crashed : death->task[i];
        const char *name = hash ? task_function_shown(hash) : NULL;
        if (name)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", name);
        if (death->crashed)
            return;
    }
}

/* What has become of a rank or host, as the end of a sentence. */
static void describe_end(const struct net_death *death, char *text, size_t size)
{
    char names[256];
    list_running(death, names, sizeof names);
    if (death->text[0])
        snprintf(text, size, "is lost: %s", death->text);
    else
        snprintf(text, size, "has died %s%s", names[0] ? "while it ran " : "outside of any task", names);
}

/* Async-signal-safe except for snprintf, which with these conversions allocates nothing in glibc. */
static size_t describe_dead(int rank, char *text, size_t size)
{
    struct net_death death;
    char end[512], who[128];
    const char *host = net_host_name(job.node.net, rank);
    net_death_read(job.node.net, rank, &death);
    describe_end(&death, end, sizeof end);
    if (death.whole_host)
        snprintf(who, sizeof who, "host %s (rank %d and all others of it)", host, rank);
    else if (net_local(job.node.net, rank) < 0)
        snprintf(who, sizeof who, "rank %d on host %s", rank, host);
    else
        snprintf(who, sizeof who, "rank %d", rank);
    int used = snprintf(text, size, "raympi: rank %d: %s %s; the job can not go on and this rank leaves\n",
                        job.bootstrap.rank, who, end);
    return used < 0 ? 0 : (size_t)used < size ? (size_t)used : size - 1;
}

static void say(const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, length);
        if (written <= 0)
            return;
        text += written;
        length -= (size_t)written;
    }
}

/* Why this rank leaves: once, though it may be asked to end while it does. Async-signal-safe. */
static void say_dead(int rank)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    char text[DEATH_TEXT];
    net_leave(job.node.net);
    if (!atomic_flag_test_and_set(&said))
        say(text, describe_dead(rank, text, sizeof text));
}

/* On the polling thread. The job is lost: nothing may be sent to the dead one, and MPI can not end in good
 * order. */
static void peer_died(void *arg, int rank)
{
    (void)arg;
    say_dead(rank);
    net_farewell(job.node.net);
    if (ftrylockfile(stdout) == 0) /* what the program has printed so far is not lost */
        fflush_unlocked(stdout);
    base_crash_remove();
    _exit(EXIT_FAILURE);
}

#define OUTSIDE UINT64_C(1) /* as a name hash: no task has it */

/* What this thread does is what ends the rank: survivors are to name it. */
static void show_crashed(const struct task_thread *thread)
{
    struct context *context = thread ? thread->context : NULL;
    struct net_board *board = net_board(job.node.net, job.bootstrap.rank);
    atomic_store(&board->crashed,
                 context && context->run ? task_function_of(context->run->task)->full_hash : OUTSIDE);
}

static size_t describe_task(char *text, size_t size)
{
    struct task_thread *thread = task_self;
    const char *name = thread ? thread->context->name : "a thread that raympi does not know";
    show_crashed(thread);
    size_t length = strlen(name);
    length = length < size ? length : size - 1;
    memcpy(text, name, length);
    text[length] = 0;
    return length;
}

static bool in_guard(const void *address)
{
    return job.node.sched && sched_in_guard(job.node.sched, address);
}

static size_t describe_misuse(const void *address, char *text, size_t size)
{
    return job.node.store ? api_misuse(&job.node, address, text, size) : 0;
}

/* The process is asked to end (by mpirun, because another rank has died: say which), or leaves by exit(). */
static void terminated(int signal)
{
    char text[512];
    if (job.state != JOB_RUNNING)
        return;
    int dead = net_dead_peer(job.node.net);
    if (dead >= 0) {
        say_dead(dead);
        return;
    }
    if (signal)
        return;
    struct task_thread *thread = task_self;
    show_crashed(thread);
    const char *name = thread && thread->context->run ? thread->context->name : NULL;
    int used = snprintf(text, sizeof text,
                        "raympi: rank %d: %s%s called exit() inside the job, before raympi_finalize()\n",
                        job.bootstrap.rank, name ? "task " : "the program", name ? name : "");
    say(text, used > 0 ? (size_t)used : 0);
}

static int install_crash_handler(void)
{
    struct base_crash_hooks hooks = {.text = net_crash_text(job.node.net),
                                     .size = NET_CRASH_TEXT,
                                     .rank = job.bootstrap.rank,
                                     .describe = describe_task,
                                     .overflow = in_guard,
                                     .misuse = describe_misuse,
                                     .terminated = terminated};
    if (!job.node.config.crash_handler)
        return RAYMPI_OK;
    int status = base_crash_install(&hooks);
    return status == RAYMPI_OK ? base_crash_thread_init() : status;
}

/* ---- start */

/* Collective. */
static int open_wire(struct net *net)
{
    struct bootstrap *b = &job.bootstrap;
    const struct net_gather gather = {bootstrap_gather, b};
    const struct net_ofi_options options = {
        b->config.ofi_provider, b->config.ofi_interface, b->config.connect_timeout,
        b->config.fetch == BASE_FETCH_AUTO || b->config.fetch == BASE_FETCH_OFI};
    if (b->config.net != BASE_NET_MPI) {
        int status = net_ofi_open(net, &gather, &options);
        if (status == RAYMPI_OK || status == RAYMPI_ERR_MEMORY || b->config.net == BASE_NET_OFI)
            return status;
        if (b->rank == 0)
            base_log(BASE_LOG_WARN, "api",
                     "MPI carries the messages between hosts, slower, since libfabric can not: %s",
                     base_detail());
    }
    if (b->rank == 0)
        base_log(BASE_LOG_INFO, "net", "messages between %d hosts: MPI", b->map.hosts);
    b->wire_is_mpi = true;
    return net_mpi_open(net, &b->comm);
}

/* Collective, where there are several hosts. */
static int open_net(struct net **net)
{
    struct bootstrap *b = &job.bootstrap;
    struct net *inner = NULL;
    uint64_t patience = (uint64_t)(b->config.host_timeout * 1e9);
    int status = net_shm_open(&inner, &b->segment, b->net_offset, b->local, b->map.locals);
    *net = inner;
    if (b->map.hosts == 1 || (status = bootstrap_agree(b, status)) != RAYMPI_OK)
        return status;
    status = bootstrap_agree(b, net_joint_open(net, inner, &b->map, patience));
    if (status == RAYMPI_OK)
        status = bootstrap_agree(b, open_wire(*net));
    return status == RAYMPI_OK ? bootstrap_reads(b, *net) : status;
}

static void wake(void *net)
{
    net_wake(net);
}

/* Who waits for a disk waits in the net. */
static int open_spill(struct store *store, struct net *net)
{
    const struct base_config *config = &job.bootstrap.config;
    struct store_spill_config spill = {
        .directories = config->spill_folders, .asked_for = config->spill_asked, .wake = wake, .arg = net};
    return store_spill_open(store, &spill);
}

static int open_node(const raympi_config *config)
{
    struct bootstrap *b = &job.bootstrap;
    int workers = config && config->workers > 0 ? config->workers : b->config.workers;
    struct net *net = NULL;
    struct store *store = NULL;
    if (workers == 0)
        workers = topo_workers_default(topo_allowed_cores(b->topo), b->sharing);
    int status = open_net(&net);
    if (status == RAYMPI_OK)
        status = store_open(&store, &b->segment, &b->layout, b->store_offset, b->data_offset, b->local,
                            b->config.create_timeout);
    if (status == RAYMPI_OK && b->config.checksum)
        status = store_checksums_open(store);
    if (status == RAYMPI_OK && b->config.protect)
        store_protect(store);
    if (status == RAYMPI_OK)
        status = open_spill(store, net);
    if (status != RAYMPI_OK) {
        if (store)
            store_close(store);
        if (net)
            net_close(net);
        return status;
    }
    bool oversubscribed = workers * b->sharing > topo_allowed_cores(b->topo);
    double spin = b->config.spin >= 0 ? b->config.spin * 1e3 : oversubscribed ? 0 : 20e3;
    net_on_death(net, peer_died, NULL);
    return api_node_open(&job.node, &b->config, net, store, workers, spin, false);
}

static int start(const raympi_config *config)
{
    struct bootstrap *b = &job.bootstrap;
    int status = bootstrap_agree(b, open_node(config));
    if (status == RAYMPI_OK)
        status = install_crash_handler();
    if (status == RAYMPI_OK) {
        job.main_thread = pthread_self();
        job.state =
            JOB_RUNNING; /* from here on other ranks' tasks may run, and crash, exit, or start threads */
        status = api_attach_set(&job.node);
        if (status == RAYMPI_OK)
            status = api_node_start(&job.node);
    }
    status = bootstrap_agree(b, status);
    if (status != RAYMPI_OK)
        return status;
    net_hold(job.node.net, false);
    return status;
}

int raympi_init(int *argc, char ***argv, const raympi_config *config)
{
    if (job.state == JOB_RUNNING)
        return base_fail(RAYMPI_ERR_STATE, "raympi_init was called twice");
    if (job.state == JOB_ENDED)
        return base_fail(RAYMPI_ERR_STATE, "raympi can not be started again after raympi_finalize");
    if (config && config->size != sizeof *config)
        return base_fail(RAYMPI_ERR_ARGUMENT, "raympi_config.size is %zu, it must be sizeof(raympi_config)",
                         config->size);
    if (config && (config->workers < 0 || config->workers > NET_WORKERS_MAX))
        return base_fail(RAYMPI_ERR_ARGUMENT, "raympi_config.workers is %d: 0 (default) to %d",
                         config->workers, NET_WORKERS_MAX);
    int status = bootstrap_open(&job.bootstrap, argc, argv, config ? config->comm : NULL);
    if (status != RAYMPI_OK)
        return status;
    status = start(config);
    if (status != RAYMPI_OK) {
        char text[1024];
        snprintf(text, sizeof text, "%s", base_detail());
        base_log(BASE_LOG_ERROR, "api", "%s", text);
        job.state = JOB_NONE;
        api_attach_close();
        api_node_stop(&job.node);
        base_crash_remove();
        api_node_close(&job.node);
        bootstrap_close(&job.bootstrap);
        return base_fail(status, "%s", text);
    }
    return RAYMPI_OK;
}

/* ---- end */

static void count_rest(struct api_node *node)
{
    struct sched_counters sched;
    struct net_counters net;
    struct trace_thread *trace = task_self->trace;
    sched_counters(node->sched, &sched);
    net_counters(node->net, &net);
    trace_count(trace, TRACE_COUNT_SUBMITTED, task_submitted(node->tasks));
    trace_count(trace, TRACE_COUNT_RUN, sched.run);
    trace_count(trace, TRACE_COUNT_FAILED, atomic_load(&node->tasks->failed));
    trace_count(trace, TRACE_COUNT_STOLEN, atomic_load(&node->tasks->stolen));
    trace_count(trace, TRACE_COUNT_SLEEPS, sched.sleeps);
    trace_count(trace, TRACE_COUNT_SENT, atomic_load(&node->tasks->sent_away));
    trace_count(trace, TRACE_COUNT_MESSAGES, net.sent);
    trace_count(trace, TRACE_COUNT_MESSAGE_BYTES, net.bytes_sent);
    trace_count(trace, TRACE_COUNT_FAR_MESSAGES, net.far_sent);
    trace_count(trace, TRACE_COUNT_FAR_BYTES, net.far_bytes);
    trace_count(trace, TRACE_COUNT_MALFORMED, net.malformed);
}

static int finalize(struct task_thread *thread)
{
    struct api_node *node = &job.node;
    int status = task_finalize(node->tasks);
    thread->context = &thread->root;
    if (status != RAYMPI_OK)
        base_log(BASE_LOG_ERROR, "api", "the end of the job was not waited for: %s", base_detail());
    int report = task_report(node->tasks);
    status = status == RAYMPI_OK ? report : status;
    net_hold(node->net, true);
    count_rest(node);
    bootstrap_collect(&job.bootstrap, node);
    /* Every rank returns the same: the worst that happened anywhere. Nobody takes anything down before all
     * are here. */
    status = bootstrap_worst(&job.bootstrap, status);
    job.state = JOB_ENDED;
    api_attach_close();
    api_node_stop(node);
    base_crash_thread_fini();
    base_crash_remove();
    bootstrap_barrier(&job.bootstrap);
    api_node_close(node);
    bootstrap_close(&job.bootstrap);
    return status;
}

int raympi_finalize(void)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    if (!pthread_equal(pthread_self(), job.main_thread) || thread->context->run) {
        api_leave(thread);
        return base_fail(RAYMPI_ERR_STATE,
                         "raympi_finalize belongs to the thread that called raympi_init, outside of tasks");
    }
    return finalize(thread);
}

bool raympi_initialized(void)
{
    return api_attach_get() != NULL || task_self != NULL;
}

int raympi_rank(void)
{
    if (task_self)
        return task_self->room->config.rank;
    struct api_node *node = api_attach_get();
    return node ? net_rank(node->net) : -1;
}

int raympi_size(void)
{
    if (task_self)
        return task_self->room->config.size;
    struct api_node *node = api_attach_get();
    return node ? net_size(node->net) : -1;
}

int raympi_workers(void)
{
    if (task_self)
        return sched_workers(task_self->room->sched);
    struct api_node *node = api_attach_get();
    return node ? sched_workers(node->sched) : -1;
}

/* ---- the user's own MPI */

int raympi_mpi_enter(void)
{
    if (!api_attach_get())
        return api_not_running();
    return bootstrap_mpi_lock(&job.bootstrap);
}

int raympi_mpi_leave(void)
{
    if (!api_attach_get())
        return api_not_running();
    return bootstrap_mpi_unlock(&job.bootstrap);
}
