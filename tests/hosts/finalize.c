/* Is loaded before the libraries of ranks on several hosts, where MPI is MPICH on UCX. MPI_Finalize of MPICH
 * before 4.2 waits for the other ranks in a read() while these may still need its answer to close their TCP
 * connections, and hang (its pull request 6596). Here that read lets UCX go on meanwhile. */
#include <dlfcn.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/types.h>

#define PAUSE 1 /* ms */

static void *worker; /* the first one of UCX: the only one there is */
static int launcher = -1;

int ucp_worker_create(void *context, const void *parameters, void **created);
int ucp_worker_create(void *context, const void *parameters, void **created)
{
    int (*real)(void *, const void *, void **) =
        (int (*)(void *, const void *, void **))dlsym(RTLD_NEXT, "ucp_worker_create");
    int status = real(context, parameters, created);
    if (status == 0 && !worker)
        worker = *created;
    return status;
}

void ucp_worker_destroy(void *destroyed);
void ucp_worker_destroy(void *destroyed)
{
    if (destroyed == worker)
        worker = NULL;
    ((void (*)(void *))dlsym(RTLD_NEXT, "ucp_worker_destroy"))(destroyed);
}

int MPI_Finalize(void);
int MPI_Finalize(void)
{
    const char *file = getenv("PMI_FD");
    launcher = file ? atoi(file) : -1;
    return ((int (*)(void))dlsym(RTLD_NEXT, "MPI_Finalize"))();
}

ssize_t read(int file, void *buffer, size_t size)
{
    if (worker && file == launcher) {
        unsigned (*progress)(void *) = (unsigned (*)(void *))dlsym(RTLD_DEFAULT, "ucp_worker_progress");
        struct pollfd answer = {.fd = file, .events = POLLIN};
        while (poll(&answer, 1, PAUSE) == 0)
            progress(worker);
    }
    return ((ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read"))(file, buffer, size);
}
