/*
 * Random programs, many seeds in one job: program [options], under mpirun; tests/random-program starts it.
 *
 *   --seeds A..B    those of them that want as many workers as this job has
 *   --ops K         operations of a program
 *   --skip LIST     operations that are left out: numbers and ranges, separated by commas
 *   --patience S    seconds until a seed is said to hang
 *   --stacks        a seed that hangs shows the stacks of all ranks
 *   --defects       lists the defects that can be planted
 *   --large         one in ten values is of up to a megabyte
 *   --print         prints the plan of the first seed for --ranks N; needs no mpirun
 *   --sim           on the sim, with --ranks N; needs no mpirun. With it:
 *   --delay US      microseconds that messages take, at most; now and then ten times that
 *   --deaths N      nodes that die; --breaks N: ways between two nodes that break
 *
 * Between two seeds all ranks meet twice: when the drivers have ended, again and again until every script
 * that had to run has run; and when nothing is left anywhere.
 */
#include "base/base_defect.h"
#include "run.h"
#include "sim.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STACKS_SECONDS 10

enum verdict { VERDICT_GO = 1, VERDICT_AGAIN, VERDICT_STOP };

static struct {
    uint64_t first, last;
    int ops, ranks, patience;
    bool stacks, print, sim;
    double delay;
    int deaths, breaks;
    bool *skip;
    int skip_count;
} options = {.first = 1, .last = 1, .ops = 400, .ranks = 1, .patience = 60};

static struct {
    uint64_t seeds, ops, tasks, remote, actors;
    uint64_t moved[MOVED]; /* as of the last seed */
    uint64_t counts[OP_KINDS];
} totals; /* rank 0 */

#define HOSTS_MAX 8

/* ---- ranks meet */

static struct box verdicts; /* of this rank */
static struct {
    pthread_mutex_t lock;
    int ranks;
    uint64_t ran, ran_sum, destroyed, failures, tasks, remote;
    uint64_t host_tasks[HOSTS_MAX]; /* by host */
    uint64_t moved[MOVED];
    time_t since;
} meeting = {.lock = PTHREAD_MUTEX_INITIALIZER}; /* on rank 0 */

RAYMPI_TASK_DECLARE(random_arrive);
RAYMPI_TASK_DECLARE(random_verdict);
RAYMPI_TASK_DECLARE(random_ready);

static void submit_to(const raympi_definition *task, const char *name, int rank, const raympi_value *values,
                      size_t count)
{
    raympi_options at = {
        .size = sizeof at, .num_returns = RAYMPI_NONE, .strategy = RAYMPI_STRATEGY_NODE, .node = rank};
    raympi_release(raympi_submit(task, name, &at, values, count));
}

static enum verdict meet(struct job *job, bool settled)
{
    uint64_t moved[MOVED];
    bytes_moved(moved);
    raympi_value values[] = {
        raympi_value_int((int64_t)job->plan->seed),
        raympi_value_int(settled),
        raympi_value_int((int64_t)atomic_load(&job->ran)),
        raympi_value_int((int64_t)atomic_load(&job->ran_sum)),
        raympi_value_int((int64_t)job->destroyed),
        raympi_value_int(atomic_load(&job->failures)),
        raympi_value_int((int64_t)atomic_load(&job->tasks)),
        raympi_value_int((int64_t)atomic_load(&job->remote)),
        raympi_value_int(raympi_rank()),
        raympi_value_bytes((raympi_bytes){moved, sizeof moved}),
    };
    submit_to(&raympi_task_random_arrive, "random_arrive", 0, values, sizeof values / sizeof values[0]);
    return (enum verdict)box_take(&verdicts);
}

static void tell_all(enum verdict verdict)
{
    for (int rank = 0; rank < raympi_size(); rank++) {
        raympi_value value = raympi_value_int(verdict);
        submit_to(&raympi_task_random_verdict, "random_verdict", rank, &value, 1);
    }
}

/* A rank has prepared its first program. */
RAYMPI_TASK(random_ready)
{
    (void)ctx;
    pthread_mutex_lock(&meeting.lock);
    bool all = ++meeting.ranks == raympi_size();
    if (all)
        meeting.ranks = 0;
    pthread_mutex_unlock(&meeting.lock);
    if (all)
        tell_all(VERDICT_GO);
    return RAYMPI_OK;
}

/* Of tests/hosts/run, which has put as many ranks on each; 1 without. */
static int host_count(void)
{
    const char *names = getenv("RAYMPI_TEST_HOSTS");
    int count = names && *names ? 1 : 0;
    for (; names && *names; names++)
        count += *names == ' ';
    return count > 0 && count <= HOSTS_MAX ? count : 1;
}

RAYMPI_TASK(random_verdict)
{
    box_put(&verdicts, (uint64_t)raympi_arg_int(ctx, 0));
    return RAYMPI_OK;
}

static enum verdict judge_scripts(struct job *job)
{
    const struct plan *plan = job->plan;
    if (meeting.ran == plan->runs && meeting.ran_sum == plan->runs_sum)
        return VERDICT_GO;
    if (meeting.ran < plan->runs && time(NULL) - meeting.since < options.patience / 2 + 1)
        return VERDICT_AGAIN;
    complain(job, PLAN_NONE, "%llu scripts have run, not %llu: one did not, or one ran twice",
             (unsigned long long)meeting.ran, (unsigned long long)plan->runs);
    return VERDICT_STOP;
}

static enum verdict judge_end(struct job *job)
{
    uint64_t made = plan_actors_made(job->plan);
    if (meeting.destroyed != made) {
        complain(job, PLAN_NONE, "%llu actors have ended, not %llu", (unsigned long long)meeting.destroyed,
                 (unsigned long long)made);
        return VERDICT_STOP;
    }
    for (int host = 0; host < host_count(); host++)
        if (meeting.host_tasks[host] == 0) {
            complain(job, PLAN_NONE, "no task has run on host %d", host);
            return VERDICT_STOP;
        }
    totals.seeds++;
    memcpy(totals.moved, meeting.moved, sizeof totals.moved);
    totals.tasks += meeting.tasks;
    totals.remote += meeting.remote;
    totals.actors += made;
    for (int i = 0; i < job->plan->op_count; i++) {
        totals.counts[job->plan->ops[i].kind] += job->plan->ops[i].live;
        totals.ops += job->plan->ops[i].live;
    }
    return VERDICT_GO;
}

RAYMPI_TASK(random_arrive)
{
    enum verdict verdict = VERDICT_GO;
    struct job *job = job_of((uint64_t)raympi_arg_int(ctx, 0));
    if (!job)
        complain(job, PLAN_NONE, "a rank is at another seed");
    pthread_mutex_lock(&meeting.lock);
    meeting.ran += (uint64_t)raympi_arg_int(ctx, 2);
    meeting.ran_sum += (uint64_t)raympi_arg_int(ctx, 3);
    meeting.destroyed += (uint64_t)raympi_arg_int(ctx, 4);
    meeting.failures += (uint64_t)raympi_arg_int(ctx, 5);
    meeting.tasks += (uint64_t)raympi_arg_int(ctx, 6);
    meeting.remote += (uint64_t)raympi_arg_int(ctx, 7);
    int host = (int)raympi_arg_int(ctx, 8) * host_count() / raympi_size();
    meeting.host_tasks[host] += (uint64_t)raympi_arg_int(ctx, 6);
    const uint64_t *moved = raympi_arg(ctx, 9, NULL);
    for (int i = 0; i < MOVED; i++)
        meeting.moved[i] += moved[i];
    bool all = ++meeting.ranks == raympi_size();
    if (all) {
        verdict = meeting.failures         ? VERDICT_STOP
                  : raympi_arg_int(ctx, 1) ? judge_end(job)
                                           : judge_scripts(job);
        time_t since = verdict == VERDICT_AGAIN ? meeting.since : time(NULL);
        meeting.ranks = 0;
        meeting.ran = meeting.ran_sum = meeting.destroyed = meeting.failures = meeting.tasks =
            meeting.remote = 0;
        memset(meeting.host_tasks, 0, sizeof meeting.host_tasks);
        memset(meeting.moved, 0, sizeof meeting.moved);
        meeting.since = since;
    }
    pthread_mutex_unlock(&meeting.lock);
    if (all)
        tell_all(verdict);
    return RAYMPI_OK;
}

/* ---- drivers of a rank */

static struct box starts[2], ended;
static _Atomic int running;

static void *thread_main(void *data)
{
    int thread = (int)(intptr_t)data;
    uint64_t seed;
    while ((seed = box_take(&starts[thread - 1])) != UINT64_MAX) {
        struct job *job = job_of(seed);
        run_driver(job, raympi_rank() * (job->plan->threads + 1) + thread);
        if (atomic_fetch_sub(&running, 1) == 1)
            box_put(&ended, 1);
    }
    return NULL;
}

static void drive(struct job *job)
{
    int threads = job->plan->threads;
    atomic_store(&running, threads);
    for (int i = 0; i < threads; i++)
        box_put(&starts[i], job->plan->seed);
    run_driver(job, raympi_rank() * (threads + 1));
    if (threads)
        box_take(&ended);
}

/* Waits until this rank has let go of everything. */
static void settle(struct job *job)
{
    char text[400];
    raympi_ref never;
    raympi_view view;
    time_t since = time(NULL);
    if (nothing_left(0, text, sizeof text))
        return;
    raympi_create(8, &never);
    while (!nothing_left(1, text, sizeof text)) {
        if (time(NULL) - since > options.patience / 2 + 1) {
            complain(job, PLAN_NONE, "this is left: %s", text);
            break;
        }
        raympi_get_timeout(never, &view, 0.0002);
    }
    raympi_seal(never);
    raympi_release(never);
}

/* ---- hangs */

static char hang_text[64], own_pid[16];

/* Each rank shows its own stacks, and then gives the others time to do so: the first that leaves ends the
 * job. */
static void show_stacks(void)
{
    pid_t child = fork();
    if (child == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execlp("gdb", "gdb", "-p", own_pid, "-batch", "-nx", "-ex", "set pagination off", "-ex",
               "thread apply all bt", (char *)NULL);
        _exit(1);
    }
    if (child > 0)
        waitpid(child, NULL, 0);
    sleep(STACKS_SECONDS);
}

static void hangs(int signal)
{
    (void)signal;
    if (write(STDERR_FILENO, hang_text, strlen(hang_text)) > 0 && options.stacks)
        show_stacks();
    _exit(EXIT_FAILURE);
}

static char crash_text[64];

static void crashes(int number)
{
    if (write(STDERR_FILENO, crash_text, strlen(crash_text)) > 0)
        signal(number, SIG_DFL);
    raise(number);
}

/* Before raympi and MPI look for handlers, which then come first and call ours. A sanitizer has its own. */
static void watch_crashes(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT};
    struct sigaction before;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            signal(signals[i], crashes);
}

static void watch(uint64_t seed)
{
    snprintf(crash_text, sizeof crash_text, "random-program: seed %llu crashes\n", (unsigned long long)seed);
    now_at = seed;
    snprintf(hang_text, sizeof hang_text, "random-program: seed %llu hangs\n", (unsigned long long)seed);
    snprintf(own_pid, sizeof own_pid, "%d", (int)getpid());
    alarm((unsigned)options.patience);
}

/* ---- the job */

static struct plan *plan_of(uint64_t seed)
{
    return plan_make(seed, options.ranks, options.ops, options.skip, options.skip_count);
}

static uint64_t next_seed(uint64_t seed)
{
    while (seed <= options.last && plan_workers(seed) != raympi_workers())
        seed++;
    return seed;
}

static bool run_seeds(void)
{
    uint64_t seed = next_seed(options.first);
    struct job *job = seed <= options.last ? job_prepare(plan_of(seed)) : NULL;
    bool good = true;
    /* Nobody sends a task of the first one before all know it. */
    submit_to(&raympi_task_random_ready, "random_ready", 0, NULL, 0);
    box_take(&verdicts);
    while (job && good) {
        struct job *next = NULL;
        enum verdict verdict;
        watch(seed);
        drive(job);
        while ((verdict = meet(job, false)) == VERDICT_AGAIN)
            continue;
        if (verdict == VERDICT_GO) {
            settle(job);
            uint64_t other = next_seed(seed + 1);
            next = other <= options.last ? job_prepare(plan_of(other)) : NULL;
            verdict = meet(job, true);
        }
        good = verdict == VERDICT_GO;
        if (!good && raympi_rank() == 0)
            fprintf(stderr, "random-program: seed %llu FAILED\n", (unsigned long long)seed);
        job = next;
        seed = job ? job->plan->seed : seed;
    }
    return good;
}

static void report(double seconds)
{
    printf("random-program: %llu programs in %.2f s: %llu operations, %llu tasks (%.1f %% left their "
           "submitter), "
           "%llu actors\n",
           (unsigned long long)totals.seeds, seconds, (unsigned long long)totals.ops,
           (unsigned long long)totals.tasks,
           totals.tasks ? 100.0 * (double)totals.remote / (double)totals.tasks : 0.0,
           (unsigned long long)totals.actors);
    printf("bytes: %llu fetched, %llu of them one-sidedly, %llu spilled, %llu restored\n",
           (unsigned long long)totals.moved[MOVED_FETCHED], (unsigned long long)totals.moved[MOVED_READ],
           (unsigned long long)totals.moved[MOVED_SPILLED], (unsigned long long)totals.moved[MOVED_RESTORED]);
    printf("regions: %llu registered, %llu of them dropped, %llu refused\n",
           (unsigned long long)totals.moved[MOVED_REGIONS], (unsigned long long)totals.moved[MOVED_DROPPED],
           (unsigned long long)totals.moved[MOVED_REFUSED]);
    printf("counts:");
    for (int kind = 0; kind < OP_KINDS; kind++)
        printf(" %s=%llu", plan_op_name((enum op_kind)kind), (unsigned long long)totals.counts[kind]);
    printf("\n");
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int run_job(void)
{
    pthread_t threads[2];
    watch_crashes();
    int status = raympi_init(NULL, NULL, NULL), count = raympi_workers() > 1 ? 2 : 0;
    if (status != RAYMPI_OK) {
        fprintf(stderr, "raympi_init: %s (%s)\n", raympi_strerror(status), raympi_detail());
        return EXIT_FAILURE;
    }
    options.ranks = raympi_size();
    box_init(&verdicts);
    box_init(&ended);
    signal(SIGALRM, hangs);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    for (int i = 0; i < count; i++) {
        box_init(&starts[i]);
        pthread_create(&threads[i], NULL, thread_main, (void *)(intptr_t)(i + 1));
    }
    meeting.since = time(NULL);
    double start = now();
    bool good = run_seeds();
    if (!good) /* what is left of it is of no use */
        _exit(EXIT_FAILURE);
    if (raympi_rank() == 0)
        report(now() - start);
    for (int i = 0; i < count; i++)
        box_put(&starts[i], UINT64_MAX);
    status = raympi_finalize();
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    alarm(0);
    jobs_free();
    if (status != RAYMPI_OK)
        fprintf(stderr, "random-program: raympi_finalize gave %s (%s)\n", raympi_strerror(status),
                raympi_detail());
    return status == RAYMPI_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_sim(void)
{
    const struct sim_request request = {.first = options.first,
                                        .last = options.last,
                                        .ranks = options.ranks,
                                        .delay = options.delay,
                                        .deaths = options.deaths,
                                        .breaks = options.breaks,
                                        .plan_of = plan_of,
                                        .watch = watch};
    if (options.ranks < 1 || options.ranks > RANDOM_RANKS_MOST) {
        fprintf(stderr, "random-program: 1 to %d ranks on the sim\n", RANDOM_RANKS_MOST);
        return 2;
    }
    watch_crashes();
    signal(SIGALRM, hangs);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    return sim_run_seeds(&request) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void add_skip(int from, int to)
{
    if (to >= options.skip_count) {
        options.skip = realloc(options.skip, (size_t)to + 1);
        memset(options.skip + options.skip_count, 0, (size_t)(to + 1 - options.skip_count));
        options.skip_count = to + 1;
    }
    for (int i = from; i <= to; i++)
        options.skip[i] = true;
}

static void read_skip(const char *list)
{
    while (*list) {
        char *end;
        long from = strtol(list, &end, 10), to = from;
        if (*end == '-')
            to = strtol(end + 1, &end, 10);
        if (end == list || from < 0 || to < from || to > 1000000)
            break;
        add_skip((int)from, (int)to);
        list = *end == ',' ? end + 1 : end;
    }
}

static bool read_option(const char *name, const char *value)
{
    unsigned long long first, last;
    if (!strcmp(name, "--seeds") && sscanf(value, "%llu..%llu", &first, &last) == 2) {
        options.first = first;
        options.last = last;
    } else if (!strcmp(name, "--ops"))
        options.ops = atoi(value);
    else if (!strcmp(name, "--ranks"))
        options.ranks = atoi(value);
    else if (!strcmp(name, "--patience"))
        options.patience = atoi(value);
    else if (!strcmp(name, "--delay"))
        options.delay = atof(value);
    else if (!strcmp(name, "--deaths"))
        options.deaths = atoi(value);
    else if (!strcmp(name, "--breaks"))
        options.breaks = atoi(value);
    else if (!strcmp(name, "--skip"))
        read_skip(value);
    else
        return false;
    return true;
}

static int list_defects(void)
{
#ifdef RAYMPI_DEFECTS
    for (int defect = 0; defect < DEFECTS; defect++)
        printf("%s\n", base_defect_name((enum base_defect)defect));
    return EXIT_SUCCESS;
#else
    fprintf(stderr, "random-program: no defects are planted here: configure --enable-defects\n");
    return EXIT_FAILURE;
#endif
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--stacks"))
            options.stacks = true;
        else if (!strcmp(argv[i], "--defects"))
            return list_defects();
        else if (!strcmp(argv[i], "--large"))
            plan_large = true;
        else if (!strcmp(argv[i], "--print"))
            options.print = true;
        else if (!strcmp(argv[i], "--sim"))
            options.sim = true;
        else if (i + 1 < argc && read_option(argv[i], argv[i + 1]))
            i++;
        else {
            fprintf(stderr, "random-program: what is %s?\n", argv[i]);
            return 2;
        }
    }
    if (!options.print)
        return options.sim ? run_sim() : run_job();
    struct plan *plan = plan_of(options.first);
    plan_print(plan);
    plan_free(plan);
    return EXIT_SUCCESS;
}
