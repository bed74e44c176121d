#include "../unit.h"
#include "child.h"

#include "base/base.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

/* Shared with the children, as the host segment would be. */
static char *text;
#define TEXT 2048

static const char *volatile described = "task crasher";

static size_t describe(char *into, size_t size)
{
    size_t length = strlen(described);
    length = length < size - 1 ? length : size - 1;
    memcpy(into, described, length);
    return length;
}

static void terminated(int signal)
{
    (void)signal;
    static const char line[] = "terminated\n";
    ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
    (void)written;
}

static struct base_crash_hooks hooks(void)
{
    return (struct base_crash_hooks){.text = text, .size = TEXT, .rank = 3, .describe = describe};
}

/** Installs in a child, above default actions: sanitizers have handlers of their own. */
static void install(const struct base_crash_hooks *with)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTERM};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        signal(signals[i], SIG_DFL);
    if (base_crash_thread_init() != RAYMPI_OK || base_crash_install(with) != RAYMPI_OK)
        _exit(99);
}

static void run(void (*body)(void *), void *arg, struct child_result *child)
{
    memset(text, 0, TEXT);
    child_run(body, arg, child);
}

static bool died_of(const struct child_result *child, int number)
{
    return WIFSIGNALED(child->status) && WTERMSIG(child->status) == number;
}

static char *volatile nowhere = (char *)16;

__attribute__((noinline, no_sanitize("all"))) void crash_in_function(void)
{
    *nowhere = 1;
}

static void segfault(void *arg)
{
    struct base_crash_hooks with = hooks();
    (void)arg;
    install(&with);
    crash_in_function();
}

static void test_segfault(void)
{
    struct child_result child;
    static const char first[] = "raympi: rank 3: task crasher crashed: SIGSEGV (address 0x10)\n";
    char module[300];
    run(segfault, NULL, &child);
    CU_ASSERT_TRUE(died_of(&child, SIGSEGV));
    CU_ASSERT_EQUAL(strncmp(child.text, first, strlen(first)), 0);
    CU_ASSERT_TRUE(child_lines(child.text) >= 3);
    CU_ASSERT_PTR_NOT_NULL(strstr(child.text, "raympi: rank 3:   #0 "));
    snprintf(module, sizeof module, "%s+0x", program_invocation_short_name);
    CU_ASSERT_PTR_NOT_NULL(strstr(child.text, module)); /* with an offset for addr2line */
    CU_ASSERT_TRUE(strlen(text) > strlen(first));
    CU_ASSERT_EQUAL(strncmp(child.text, text, strlen(text)), 0); /* survivors read the same */
    CU_ASSERT_EQUAL(text[strlen(text) - 1], '\n');
}

static size_t misuse(const void *address, char *into, size_t size)
{
    static const char what[] = " wrote to a thing that is whose it is";
    if (address == (void *)24 || size < sizeof what)
        return 0;
    memcpy(into, what, sizeof what);
    return sizeof what - 1;
}

/* Of an address, not of a signal that somebody has sent. */
static void misuse_it(void *arg)
{
    struct base_crash_hooks with = hooks();
    with.misuse = misuse;
    install(&with);
    if (arg)
        raise(SIGSEGV);
    crash_in_function();
}

static void test_misuse(void)
{
    struct child_result child;
    run(misuse_it, NULL, &child);
    CU_ASSERT_TRUE(died_of(&child, SIGSEGV));
    CU_ASSERT_PTR_NOT_NULL(strstr(child.text,
                                  "raympi: rank 3: task crasher wrote to a thing that is whose it is: "
                                  "SIGSEGV (address 0x10)\n"));
    run(misuse_it, text, &child);
    CU_ASSERT_TRUE(died_of(&child, SIGSEGV));
    CU_ASSERT_PTR_NOT_NULL(strstr(child.text, "task crasher crashed: SIGSEGV\n"));
    nowhere += 8;
    run(misuse_it, NULL, &child);
    nowhere -= 8;
    CU_ASSERT_PTR_NOT_NULL(strstr(child.text, "task crasher crashed: SIGSEGV (address 0x18)\n"));
}

static void raise_signal(void *arg)
{
    struct base_crash_hooks with = hooks();
    install(&with);
    raise(*(int *)arg);
}

static void test_each_signal(void)
{
    static const struct {
        int number;
        const char *line;
    } cases[] = {{SIGSEGV, "task crasher crashed: SIGSEGV\n"},
                 {SIGBUS, "task crasher crashed: SIGBUS\n"},
                 {SIGFPE, "task crasher crashed: SIGFPE\n"},
                 {SIGILL, "task crasher crashed: SIGILL\n"},
                 {SIGABRT, "task crasher crashed: SIGABRT\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct child_result child;
        int number = cases[i].number;
        run(raise_signal, &number, &child);
        CU_ASSERT_TRUE(died_of(&child, number));
        CU_ASSERT_PTR_NOT_NULL(strstr(child.text, cases[i].line));
        CU_ASSERT_PTR_NOT_NULL(strstr(text, cases[i].line));
    }
}

static void call_abort(void *arg)
{
    struct base_crash_hooks with = hooks();
    (void)arg;
    install(&with);
    abort();
}

static void test_abort(void)
{
    struct child_result child;
    run(call_abort, NULL, &child);
    CU_ASSERT_TRUE(died_of(&child, SIGABRT));
    CU_ASSERT_PTR_NOT_NULL(strstr(child.text, "task crasher crashed: SIGABRT\n"));
}

static void no_task(void *arg)
{
    struct base_crash_hooks with = {.rank = 0};
    (void)arg;
    install(&with);
    raise(SIGILL);
}

static void test_without_hooks(void)
{
    struct child_result child;
    run(no_task, NULL, &child);
    CU_ASSERT_TRUE(died_of(&child, SIGILL));
    CU_ASSERT_PTR_NOT_NULL(strstr(child.text, "raympi: rank 0: code outside of tasks crashed: SIGILL\n"));
    CU_ASSERT_STRING_EQUAL(text, "");
}

/* ---- a stack that runs over: a thread on a stack of ours with a guard stands for a fiber */

#define STACK ((size_t)4 << 20)
#define GUARD ((size_t)64 * 1024)
static char *stack;

static bool overflow(const void *address)
{
    return (const char *)address >= stack && (const char *)address < stack + GUARD;
}

__attribute__((noinline, no_sanitize("all"))) static int deeper(volatile char *above)
{
    volatile char frame[1024];
    frame[0] = above[0];
    int sum = above[0] != 0 ? deeper(frame) : 0;
    return sum + frame[0];
}

static void *overflow_thread(void *arg)
{
    volatile char first = 1;
    (void)arg;
    if (base_crash_thread_init() != RAYMPI_OK)
        _exit(99);
    deeper(&first);
    return NULL;
}

static void overflow_stack(void *arg)
{
    struct base_crash_hooks with = hooks();
    pthread_attr_t attributes;
    pthread_t thread;
    (void)arg;
    with.overflow = overflow;
    install(&with);
    stack = mmap(NULL, STACK + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(stack, GUARD, PROT_NONE);
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stack + GUARD, STACK);
    if (pthread_create(&thread, &attributes, overflow_thread, NULL) == 0)
        pthread_join(thread, NULL);
}

static void test_overflow(void)
{
    struct child_result child;
    run(overflow_stack, NULL, &child);
    CU_ASSERT_TRUE(died_of(&child, SIGSEGV));
    CU_ASSERT_PTR_NOT_NULL(strstr(
        child.text, "raympi: rank 3: task crasher overflowed its fiber stack (raise RAYMPI_STACK_BYTES)"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "overflowed its fiber stack"));
}

/* ---- chaining */

static void users_handler(int number, siginfo_t *info, void *context)
{
    (void)context;
    _exit(number == SIGSEGV && info->si_addr == nowhere ? 42 : 43);
}

static void chain_fault(void *arg)
{
    struct base_crash_hooks with = hooks();
    struct sigaction action = {.sa_sigaction = users_handler, .sa_flags = SA_SIGINFO};
    (void)arg;
    sigaction(SIGSEGV, &action, NULL);
    if (base_crash_thread_init() != RAYMPI_OK || base_crash_install(&with) != RAYMPI_OK)
        _exit(99);
    crash_in_function();
}

static void test_chained_to_users_handler(void)
{
    struct child_result child;
    run(chain_fault, NULL, &child);
    CU_ASSERT_TRUE(WIFEXITED(child.status));
    CU_ASSERT_EQUAL(WEXITSTATUS(child.status), 42); /* with the address of the fault */
    CU_ASSERT_PTR_NOT_NULL(strstr(child.text, "task crasher crashed: SIGSEGV"));
}

static void exiting_handler(int number)
{
    (void)number;
    exit(44);
}

static void chain_exit(void *arg)
{
    struct base_crash_hooks with = hooks();
    (void)arg;
    with.terminated = terminated;
    signal(SIGSEGV, exiting_handler);
    if (base_crash_thread_init() != RAYMPI_OK || base_crash_install(&with) != RAYMPI_OK)
        _exit(99);
    crash_in_function();
}

static void test_handler_that_exits(void)
{
    struct child_result child;
    run(chain_exit, NULL, &child);
    CU_ASSERT_EQUAL(WEXITSTATUS(child.status), 44);
    CU_ASSERT_PTR_NOT_NULL(strstr(child.text, "task crasher crashed: SIGSEGV"));
    CU_ASSERT_PTR_NULL(strstr(child.text, "terminated\n"));
}

static void aborting_hook(void *arg)
{
    struct base_crash_hooks with = hooks();
    (void)arg;
    with.describe = (size_t(*)(char *, size_t))abort;
    install(&with);
    raise(SIGFPE);
}

static void test_hook_that_crashes(void)
{
    struct child_result child;
    run(aborting_hook, NULL, &child);
    CU_ASSERT_TRUE(WIFSIGNALED(child.status));
}

/* ---- forked children of a task */

static void fork_in_task(void *arg)
{
    struct base_crash_hooks with = hooks();
    int status = 0;
    (void)arg;
    with.terminated = terminated;
    install(&with);
    pid_t child = fork();
    if (child == 0)
        crash_in_function();
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV)
        _exit(1);
    child = fork();
    if (child == 0)
        exit(0);
    waitpid(child, &status, 0);
    _exit(status == 0 ? 0 : 2);
}

static void test_forked_child_is_silent(void)
{
    struct child_result child;
    run(fork_in_task, NULL, &child);
    CU_ASSERT_EQUAL(child.status, 0);
    CU_ASSERT_STRING_EQUAL(child.text, "");
    CU_ASSERT_STRING_EQUAL(text, "");
}

/* ---- exit and SIGTERM inside a job */

static void exit_in_job(void *arg)
{
    struct base_crash_hooks with = hooks();
    with.terminated = terminated;
    install(&with);
    if (arg != NULL)
        base_crash_remove();
    exit(5);
}

static void test_exit(void)
{
    struct child_result child;
    run(exit_in_job, NULL, &child);
    CU_ASSERT_EQUAL(WEXITSTATUS(child.status), 5);
    CU_ASSERT_PTR_NOT_NULL(strstr(child.text, "terminated\n"));
    run(exit_in_job, &child, &child);
    CU_ASSERT_EQUAL(WEXITSTATUS(child.status), 5);
    CU_ASSERT_PTR_NULL(strstr(child.text, "terminated\n"));
}

static void test_sigterm(void)
{
    struct child_result child;
    int number = SIGTERM;
    run(raise_signal, &number, &child); /* no hook: no handler */
    CU_ASSERT_TRUE(died_of(&child, SIGTERM));
    CU_ASSERT_STRING_EQUAL(child.text, "");
}

static void sigterm_with_hook(void *arg)
{
    struct base_crash_hooks with = hooks();
    (void)arg;
    with.terminated = terminated;
    install(&with);
    raise(SIGTERM);
}

static void test_sigterm_with_hook(void)
{
    struct child_result child;
    run(sigterm_with_hook, NULL, &child);
    CU_ASSERT_TRUE(died_of(&child, SIGTERM));
    CU_ASSERT_STRING_EQUAL(child.text, "terminated\n");
}

static void sigterm_ignored(void *arg)
{
    struct base_crash_hooks with = hooks();
    (void)arg;
    with.terminated = terminated;
    signal(SIGTERM, SIG_IGN);
    if (base_crash_install(&with) != RAYMPI_OK)
        _exit(99);
    raise(SIGTERM);
    _exit(6);
}

static void test_sigterm_ignored(void)
{
    struct child_result child;
    run(sigterm_ignored, NULL, &child);
    CU_ASSERT_EQUAL(WEXITSTATUS(child.status), 6);
    CU_ASSERT_STRING_EQUAL(child.text, "");
}

/* ---- two threads crash at once */

static pthread_barrier_t both;

static void *crash_thread(void *arg)
{
    (void)arg;
    if (base_crash_thread_init() != RAYMPI_OK)
        _exit(99);
    pthread_barrier_wait(&both);
    crash_in_function();
    return NULL;
}

static void crash_twice(void *arg)
{
    struct base_crash_hooks with = hooks();
    pthread_t threads[2];
    (void)arg;
    install(&with);
    pthread_barrier_init(&both, NULL, 2);
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, crash_thread, NULL) != 0)
            _exit(98);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void test_two_threads(void)
{
    struct child_result child;
    run(crash_twice, NULL, &child);
    CU_ASSERT_TRUE(died_of(&child, SIGSEGV));
    const char *first = strstr(child.text, "crashed:");
    CU_ASSERT_PTR_NOT_NULL_FATAL(first);
    /* a second report may begin, but only after the first one's frames */
    const char *second = strstr(first + 1, "crashed:");
    const char *frame = strstr(first, "  #0 ");
    CU_ASSERT_TRUE(second == NULL || (frame != NULL && frame < second));
}

static void test_install_and_remove(void)
{
    struct base_crash_hooks with = hooks();
    struct sigaction before, now;
    stack_t stack_before, stack_now;
    sigaction(SIGSEGV, NULL, &before);
    sigaltstack(NULL, &stack_before);
    CU_ASSERT_EQUAL_FATAL(base_crash_install(&with), RAYMPI_OK);
    CU_ASSERT_EQUAL(base_crash_install(&with), RAYMPI_ERR_STATE);
    CU_ASSERT_EQUAL(base_crash_thread_init(), RAYMPI_OK);
    CU_ASSERT_EQUAL(base_crash_thread_init(), RAYMPI_OK);
    sigaltstack(NULL, &stack_now);
    CU_ASSERT_TRUE(stack_now.ss_size >= 65536);
    sigaction(SIGSEGV, NULL, &now);
    CU_ASSERT_PTR_NOT_EQUAL((void *)now.sa_sigaction, (void *)before.sa_sigaction);
    base_crash_remove();
    base_crash_thread_fini();
    base_crash_thread_fini();
    sigaction(SIGSEGV, NULL, &now);
    CU_ASSERT_PTR_EQUAL((void *)now.sa_sigaction, (void *)before.sa_sigaction);
    sigaltstack(NULL, &stack_now);
    CU_ASSERT_PTR_EQUAL(stack_now.ss_sp, stack_before.ss_sp);
    CU_ASSERT_EQUAL_FATAL(base_crash_install(&with), RAYMPI_OK);
    base_crash_remove();
}

static const struct unit_test tests[] = {
    {"SIGSEGV: task, address, backtrace, text for survivors", test_segfault},
    {"what is known of an address is said", test_misuse},
    {"each signal is named", test_each_signal},
    {"abort", test_abort},
    {"outside of tasks, without hooks", test_without_hooks},
    {"stack overflow is named", test_overflow},
    {"the user's handler runs after the report", test_chained_to_users_handler},
    {"a handler before ours that calls exit is no exit of the task", test_handler_that_exits},
    {"a hook that crashes does not hang", test_hook_that_crashes},
    {"a forked child is silent", test_forked_child_is_silent},
    {"exit inside a job", test_exit},
    {"SIGTERM without a hook", test_sigterm},
    {"SIGTERM with a hook", test_sigterm_with_hook},
    {"SIGTERM that the user ignores", test_sigterm_ignored},
    {"two threads crash at once", test_two_threads},
    {"install and remove", test_install_and_remove},
};

int main(void)
{
    text = mmap(NULL, TEXT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return text == MAP_FAILED ? EXIT_FAILURE : UNIT_MAIN("base: crash reports", tests);
}
