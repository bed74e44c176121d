/* Crash reports. Everything that runs in a handler is async-signal-safe: own formatting, write(2), memory
 * that was there before. backtrace() and dladdr() are not promised to be, but allocate nothing once they have
 * run before; the line that names the task is out before they are asked. */
#include "base/base_internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define CRASH_FRAMES      64
#define CRASH_LINE        512
#define CRASH_STACK_BYTES (64 * 1024)

static const struct {
    int number;
    const char *name;
} crash_signals[] = {{SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
                     {SIGILL, "SIGILL"},   {SIGABRT, "SIGABRT"}, {SIGTERM, "SIGTERM"}};
#define CRASH_SIGNALS (sizeof crash_signals / sizeof crash_signals[0])

static struct base_crash_hooks crash_hooks;
static struct sigaction crash_previous[CRASH_SIGNALS];
static bool
    crash_taken[CRASH_SIGNALS]; /* whether the signal was taken over, so that crash_previous is valid */
static _Atomic bool crash_installed;
static pid_t crash_pid;
static _Atomic bool
    crash_reported; /* by a line: an exit() after it, of another's handler, is none of the task's */
/* Thread that reports now; another one that crashes meanwhile waits, so that reports do not mix. */
static _Atomic pid_t crash_reporter;
static size_t crash_used; /* bytes of crash_hooks.text in use; the reporter's */

static _Thread_local char *crash_stack; /* this thread's mapping: guard page, then the alternate stack */
static _Thread_local size_t crash_stack_size;
static _Thread_local stack_t crash_stack_previous;

/* ---- text */

struct crash_line {
    char text[CRASH_LINE];
    size_t length;
};

static void line_text(struct crash_line *line, const char *text)
{
    while (*text != '\0' && line->length < sizeof line->text - 1)
        line->text[line->length++] = *text++;
}

static void line_number(struct crash_line *line, uint64_t value, unsigned radix)
{
    char digits[24];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = "0123456789abcdef"[value % radix];
        value /= radix;
    } while (value != 0);
    line_text(line, radix == 16 ? "0x" : "");
    line_text(line, digits + at);
}

/** Ends the line, prints it, and appends it to the text that survivors read. */
static void line_put(struct crash_line *line)
{
    line->text[line->length++] = '\n';
    const char *text = line->text;
    for (size_t left = line->length; left > 0;) {
        ssize_t written = write(STDERR_FILENO, text, left);
        if (written < 0 && errno != EINTR)
            break;
        text += written > 0 ? written : 0;
        left -= written > 0 ? (size_t)written : 0;
    }
    if (crash_hooks.text == NULL || crash_used + line->length >= crash_hooks.size)
        return;
    memcpy(crash_hooks.text + crash_used, line->text, line->length);
    crash_used += line->length;
    crash_hooks.text[crash_used] = '\0';
}

static void line_begin(struct crash_line *line)
{
    line->length = 0;
    line_text(line, "raympi: ");
    if (crash_hooks.rank < 0)
        return;
    line_text(line, "rank ");
    line_number(line, (uint64_t)crash_hooks.rank, 10);
    line_text(line, ": ");
}

static void line_who(struct crash_line *line)
{
    char who[256];
    size_t length = crash_hooks.describe != NULL ? crash_hooks.describe(who, sizeof who) : 0;
    if (length == 0) {
        line_text(line, "code outside of tasks");
        return;
    }
    who[length < sizeof who ? length : sizeof who - 1] = '\0';
    line_text(line, who);
}

static void line_where(struct crash_line *line, int signal, const siginfo_t *info)
{
    if (info->si_code > 0 && signal != SIGABRT) {
        line_text(line, " (address ");
        line_number(line, (uint64_t)(uintptr_t)info->si_addr, 16);
        line_text(line, ")");
    } else if (info->si_code <= 0 && info->si_pid != crash_pid) {
        line_text(line, " (sent by process ");
        line_number(line, (uint64_t)info->si_pid, 10);
        line_text(line, ")");
    }
}

/** What is known of a fault at an address; false: nothing. */
static bool line_misuse(struct crash_line *line, const void *address)
{
    char text[320];
    size_t length = crash_hooks.misuse != NULL ? crash_hooks.misuse(address, text, sizeof text) : 0;
    if (length == 0)
        return false;
    text[length < sizeof text ? length : sizeof text - 1] = '\0';
    line_text(line, text);
    line_text(line, ": ");
    return true;
}

static void crash_headline(int signal, const char *name, const siginfo_t *info)
{
    struct crash_line line;
    bool fault = info->si_code > 0 && (signal == SIGSEGV || signal == SIGBUS);
    line_begin(&line);
    line_who(&line);
    if (fault && crash_hooks.overflow != NULL && crash_hooks.overflow(info->si_addr))
        line_text(&line, " overflowed its fiber stack (raise RAYMPI_STACK_BYTES): ");
    else if (!fault || !line_misuse(&line, info->si_addr))
        line_text(&line, " crashed: ");
    line_text(&line, name);
    line_where(&line, signal, info);
    line_put(&line);
}

/* ---- backtrace */

static const void *crash_counter(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (const void *)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (const void *)context->uc_mcontext.pc;
#else
    (void)context;
    return NULL;
#endif
}

static void crash_frame(const void *address, unsigned number)
{
    struct crash_line line;
    Dl_info module;
    line_begin(&line);
    line_text(&line, "  #");
    line_number(&line, number, 10);
    line_text(&line, " ");
    if (dladdr(address, &module) == 0 || module.dli_fname == NULL) {
        line_number(&line, (uint64_t)(uintptr_t)address, 16);
        line_put(&line);
        return;
    }
    if (module.dli_sname != NULL) {
        line_text(&line, module.dli_sname);
        line_text(&line, "+");
        line_number(&line, (uint64_t)((const char *)address - (const char *)module.dli_saddr), 16);
        line_text(&line, " in ");
    }
    const char *slash = strrchr(module.dli_fname, '/');
    line_text(&line, slash != NULL ? slash + 1 : module.dli_fname);
    line_text(&line, "+");
    line_number(&line, (uint64_t)((const char *)address - (const char *)module.dli_fbase), 16);
    line_put(&line);
}

/** A recursion that went too deep is one frame many times. */
static void crash_repeated(unsigned times)
{
    struct crash_line line;
    line_begin(&line);
    line_text(&line, "  (the same ");
    line_number(&line, times, 10);
    line_text(&line, " more times)");
    line_put(&line);
}

/** The frames of the interrupted code; those of the handler above it are left out where it can be told. */
static void crash_backtrace(const ucontext_t *context)
{
    void *frames[CRASH_FRAMES];
    int count = backtrace(frames, CRASH_FRAMES);
    int first = 0;
    for (int i = 0; i < count; i++)
        if (frames[i] == crash_counter(context))
            first = i;
    for (int i = first; i < count; i++) {
        int same = i;
        while (same + 1 < count && frames[same + 1] == frames[i])
            same++;
        crash_frame(frames[i], (unsigned)(i - first));
        if (same > i)
            crash_repeated((unsigned)(same - i));
        i = same;
    }
}

/* ---- handlers */

static size_t crash_index(int signal)
{
    size_t i = 0;
    while (i < CRASH_SIGNALS - 1 && crash_signals[i].number != signal)
        i++;
    return i;
}

/** Puts the action back that was there before and sends the signal once more, with its origin and address; it
 * is delivered when the handler returns. */
static void crash_chain(size_t index, siginfo_t *info)
{
    int signal = crash_signals[index].number;
    sigaction(signal, &crash_previous[index], NULL);
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), signal, info) != 0)
        raise(signal);
}

/** False when this thread reports already: a hook of the report has called abort(). */
static bool crash_reporter_enter(void)
{
    pid_t self = (pid_t)syscall(SYS_gettid), found = 0;
    struct timespec pause = {0, 1000000};
    /* acquire: the reporter before us has finished its lines and the shared text */
    while (!atomic_compare_exchange_strong_explicit(&crash_reporter, &found, self, memory_order_acquire,
                                                    memory_order_relaxed)) {
        if (found == self)
            return false;
        found = 0;
        nanosleep(&pause, NULL);
    }
    return true;
}

static void crash_handle(int signal, siginfo_t *info, void *context)
{
    int saved = errno;
    size_t index = crash_index(signal);
    /* A forked child shares stderr and the host segment with a rank that lives: it must not write either. */
    if (atomic_load(&crash_installed) && getpid() == crash_pid && crash_reporter_enter()) {
        atomic_store(&crash_reported, true);
        crash_headline(signal, crash_signals[index].name, info);
        crash_backtrace(context);
        /* release: see crash_reporter_enter() */
        atomic_store_explicit(&crash_reporter, 0, memory_order_release);
    }
    crash_chain(index, info);
    errno = saved;
}

static void crash_terminate(int signal, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    if (atomic_load(&crash_installed) && getpid() == crash_pid && crash_hooks.terminated != NULL)
        crash_hooks.terminated(signal);
    crash_chain(crash_index(signal), info);
    errno = saved;
}

static void crash_exit(void)
{
    if (atomic_load(&crash_installed) && !atomic_load(&crash_reported) && getpid() == crash_pid &&
        crash_hooks.terminated != NULL)
        crash_hooks.terminated(0);
}

/* ---- installation */

static bool crash_is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) != 0 &&
           (action->sa_sigaction == crash_handle || action->sa_sigaction == crash_terminate);
}

static void crash_take(size_t index)
{
    int signal = crash_signals[index].number;
    struct sigaction action;
    if (sigaction(signal, NULL, &crash_previous[index]) != 0)
        return;
    /* Whoever ignores SIGTERM will not be ended by it. */
    if (signal == SIGTERM && (crash_hooks.terminated == NULL || crash_previous[index].sa_handler == SIG_IGN))
        return;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = signal == SIGTERM ? crash_terminate : crash_handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    /* With all signals blocked nothing interrupts a report, and a crash inside it ends the process at once.
     */
    sigfillset(&action.sa_mask);
    crash_taken[index] = sigaction(signal, &action, NULL) == 0;
}

int base_crash_install(const struct base_crash_hooks *hooks)
{
    static bool at_exit;
    if (atomic_load(&crash_installed))
        return base_fail(RAYMPI_ERR_STATE, "crash handlers are installed already");
    if (!at_exit && hooks->terminated != NULL && atexit(crash_exit) != 0)
        return base_fail(RAYMPI_ERR_MEMORY, "no room for an exit handler");
    at_exit = at_exit || hooks->terminated != NULL;
    /* The first call loads libgcc and fills caches, which a handler may not do. */
    void *frame;
    Dl_info module;
    backtrace(&frame, 1);
    dladdr(&crash_hooks, &module);
    crash_hooks = *hooks;
    crash_pid = getpid();
    crash_used = 0;
    atomic_store(&crash_reported, false);
    atomic_store(&crash_installed, true);
    for (size_t i = 0; i < CRASH_SIGNALS; i++)
        crash_take(i);
    return RAYMPI_OK;
}

void base_crash_remove(void)
{
    for (size_t i = 0; i < CRASH_SIGNALS; i++) {
        struct sigaction now;
        if (!crash_taken[i])
            continue;
        crash_taken[i] = false;
        /* A handler that was put on top of ours stays; should it call ours, that one just chains. */
        if (sigaction(crash_signals[i].number, NULL, &now) == 0 && crash_is_ours(&now))
            sigaction(crash_signals[i].number, &crash_previous[i], NULL);
    }
    atomic_store(&crash_installed, false);
}

int base_crash_thread_init(void)
{
    if (crash_stack != NULL)
        return RAYMPI_OK;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = CRASH_STACK_BYTES;
    long least = sysconf(_SC_SIGSTKSZ); /* large vector registers are saved there as well */
    if (least > 0 && (size_t)least > size)
        size = base_align_up((uint64_t)least, page);
    char *memory = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the signal stack of a thread");
    stack_t stack = {.ss_sp = memory + page, .ss_size = size};
    if (mprotect(memory, page, PROT_NONE) != 0 || sigaltstack(&stack, &crash_stack_previous) != 0) {
        munmap(memory, size + page);
        return base_fail(RAYMPI_ERR_MEMORY, "can not set the signal stack of a thread: %s", strerror(errno));
    }
    crash_stack = memory;
    crash_stack_size = size + page;
    return RAYMPI_OK;
}

void base_crash_thread_fini(void)
{
    if (crash_stack == NULL)
        return;
    sigaltstack(&crash_stack_previous, NULL);
    munmap(crash_stack, crash_stack_size);
    crash_stack = NULL;
}
