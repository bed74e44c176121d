/* Texts of status codes, and the detail text of the last failure of each thread. */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

#define BASE_DETAIL_SIZE 1024

static const struct {
    int status;
    const char *text;
} base_status_texts[] = {
    {RAYMPI_OK, "RAYMPI_OK: success"},
    {RAYMPI_ERR_ARGUMENT, "RAYMPI_ERR_ARGUMENT: an argument is null, negative or of the wrong size"},
    {RAYMPI_ERR_STATE,
     "RAYMPI_ERR_STATE: not possible now (before init, after finalize, twice, or in a forked child)"},
    {RAYMPI_ERR_UNSUPPORTED, "RAYMPI_ERR_UNSUPPORTED: this version does not have that option or setup"},
    {RAYMPI_ERR_TIMEOUT, "RAYMPI_ERR_TIMEOUT: time was up; the operation itself goes on"},
    {RAYMPI_ERR_UNKNOWN, "RAYMPI_ERR_UNKNOWN: no task, class or method of that name is registered"},
    {RAYMPI_ERR_TYPE, "RAYMPI_ERR_TYPE: wrong number or kind of argument"},
    {RAYMPI_ERR_RELEASED,
     "RAYMPI_ERR_RELEASED: the ref or handle was released, or never was one of this job"},
    {RAYMPI_ERR_REENTRY, "RAYMPI_ERR_REENTRY: called from a signal handler that interrupted a raympi call"},
    {RAYMPI_ERR_TOO_LARGE, "RAYMPI_ERR_TOO_LARGE: can never fit, whatever is freed"},
    {RAYMPI_ERR_CONFIG, "RAYMPI_ERR_CONFIG: a malformed or impossible RAYMPI_* variable"},
    {RAYMPI_ERR_INFEASIBLE, "RAYMPI_ERR_INFEASIBLE: no node of the job can ever satisfy the request"},
    {RAYMPI_ERR_MEMORY, "RAYMPI_ERR_MEMORY: out of private memory, threads or descriptors"},
    {RAYMPI_ERR_MPI, "RAYMPI_ERR_MPI: MPI failed, or was initialised at too low a thread level"},
    {RAYMPI_ERR_DEADLOCK, "RAYMPI_ERR_DEADLOCK: nothing in the job can move and this wait can never end"},
    {RAYMPI_ERR_TASK, "RAYMPI_ERR_TASK: the task failed"},
    {RAYMPI_ERR_NO_RESULT, "RAYMPI_ERR_NO_RESULT: the task returned without setting one of its results"},
    {RAYMPI_ERR_UNSEEN, "RAYMPI_ERR_UNSEEN: a task failed and nobody ever looked at its error"},
    {RAYMPI_ERR_STORE_FULL, "RAYMPI_ERR_STORE_FULL: the object store has no room"},
    {RAYMPI_ERR_LOST, "RAYMPI_ERR_LOST: no copy of the object is left"},
    {RAYMPI_ERR_ACTOR_DEAD,
     "RAYMPI_ERR_ACTOR_DEAD: the actor was killed, has exited, or its constructor failed"},
    {RAYMPI_ERR_NODE_DIED, "RAYMPI_ERR_NODE_DIED: a rank of the job died"},
    {RAYMPI_ERR_MISMATCH, "RAYMPI_ERR_MISMATCH: ranks differ in library version, settings or host"},
};

static _Thread_local char base_detail_text[BASE_DETAIL_SIZE];

const char *raympi_strerror(int status)
{
    if (status > 0)
        return "error code of the task";
    for (size_t i = 0; i < sizeof base_status_texts / sizeof base_status_texts[0]; i++)
        if (base_status_texts[i].status == status)
            return base_status_texts[i].text;
    return "not a status of raympi";
}

int base_fail(int status, const char *format, ...)
{
    /* Not straight into the detail text: the old one may be among the arguments. */
    char text[BASE_DETAIL_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    base_detail_set(text);
    return status;
}

const char *base_detail(void)
{
    return base_detail_text;
}

void base_detail_set(const char *text)
{
    if (text == base_detail_text)
        return;
    size_t length = strnlen(text, sizeof base_detail_text - 1);
    memcpy(base_detail_text, text, length);
    base_detail_text[length] = '\0';
}
