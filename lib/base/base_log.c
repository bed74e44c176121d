/* Log lines. Each is one write(2), so that lines of several ranks and threads do not mix. */
#include "base/base.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BASE_LOG_LINE  4096 /* PIPE_BUF: up to here a write to a pipe is atomic */
#define BASE_LOG_UNSET INT_MIN

_Atomic int base_log_threshold = BASE_LOG_WARN;

static _Atomic int base_log_process_rank = -1;
static _Thread_local int base_log_thread_rank = BASE_LOG_UNSET;

void base_log_rank(int rank)
{
    base_log_thread_rank = rank;
    /* relaxed: a number shown in lines, it orders nothing */
    atomic_store_explicit(&base_log_process_rank, rank, memory_order_relaxed);
}

static const char *log_level_text(enum base_log_level level)
{
    static const char *const texts[] = {"error: ", "warning: ", "info: ", "debug: "};
    return (unsigned)level < sizeof texts / sizeof texts[0] ? texts[level] : "";
}

static size_t log_prefix(char *line, size_t size, enum base_log_level level, const char *room)
{
    int rank = base_log_thread_rank;
    if (rank == BASE_LOG_UNSET)
        rank = atomic_load_explicit(&base_log_process_rank, memory_order_relaxed);
    int length;
    if (rank < 0)
        length = snprintf(line, size, "raympi: %s: %s", room, log_level_text(level));
    else
        length = snprintf(line, size, "raympi: rank %d: %s: %s", rank, room, log_level_text(level));
    return (size_t)length < size ? (size_t)length : size - 1;
}

static void log_put(const char *line, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, line, length);
        if (written < 0 && errno != EINTR)
            return; /* nobody to tell */
        if (written > 0) {
            line += written;
            length -= (size_t)written;
        }
    }
}

void base_log_write(enum base_log_level level, const char *room, const char *format, ...)
{
    char line[BASE_LOG_LINE];
    const size_t size = sizeof line - 1; /* room for the newline */
    int saved = errno;
    size_t length = log_prefix(line, size, level, room);
    va_list arguments;
    va_start(arguments, format);
    int text = vsnprintf(line + length, size - length, format, arguments);
    va_end(arguments);
    if (text > 0 && (size_t)text < size - length) {
        length += (size_t)text;
    } else if (text > 0) {
        length = size - 1;
        memcpy(line + length - 3, "...", 3);
    }
    line[length++] = '\n';
    log_put(line, length);
    errno = saved;
}
