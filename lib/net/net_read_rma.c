/* Reads through an MPI window over each host's segment. Nothing here waits: requests are tested by whoever
 * has the wire lock, so MPI is entered by one thread at a time.
 *
 * A request to a rank that has died may never end (Open MPI 4.1 over TCP): who reads learns of the death from
 * the net, and the request is left alone with its memory. So is the window where a rank has died: to free it
 * all are needed. */
#include "net/net_read.h"

#include "net/net_joint.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RMA_PIECE (UINT64_C(1) << 20) /* bytes: by measurement; counts of MPI are ints */

struct rma_way {
    struct reads_way way;
    MPI_Comm comm;
    MPI_Win window;
    const void *alias; /* of this host's segment */
    uint64_t size;
    MPI_Request requests[READS_PIECES];
    struct read_piece *pieces[READS_PIECES];
    int count;
};

static struct rma_way *rma_of(struct reads_way *way)
{
    return base_container(way, struct rma_way, way);
}

static void error_text(int error, char *text, size_t size)
{
    char message[MPI_MAX_ERROR_STRING];
    int length = 0;
    if (MPI_Error_string(error, message, &length) != MPI_SUCCESS)
        length = 0;
    snprintf(text, size, "%.*s (MPI's error %d)", length, message, error);
}

static int rma_post(struct reads_way *way, struct read_piece *piece)
{
    struct rma_way *rma = rma_of(way);
    int error = MPI_Rget(piece->to, (int)piece->length, MPI_BYTE, piece->rank, (MPI_Aint)piece->offset,
                         (int)piece->length, MPI_BYTE, rma->window, &rma->requests[rma->count]);
    if (error != MPI_SUCCESS) {
        char text[READS_TEXT];
        error_text(error, text, sizeof text);
        return base_fail(RAYMPI_ERR_MPI, "MPI_Rget from rank %d: %s", piece->rank, text);
    }
    rma->pieces[rma->count++] = piece;
    return RAYMPI_OK;
}

static void ended(struct rma_way *rma, int index, int error)
{
    struct read_piece *piece = rma->pieces[index];
    char text[READS_TEXT] = "", cause[READS_TEXT - 64];
    rma->pieces[index] = NULL;
    if (error != MPI_SUCCESS) {
        error_text(error, cause, sizeof cause);
        snprintf(text, sizeof text, "MPI_Rget from rank %d: %s", piece->rank, cause);
    }
    read_piece_ended(rma->way.reads, piece, error == MPI_SUCCESS ? RAYMPI_OK : RAYMPI_ERR_MPI, text);
}

static bool rma_poll(struct reads_way *way)
{
    struct rma_way *rma = rma_of(way);
    MPI_Status statuses[READS_PIECES];
    int indices[READS_PIECES], count = 0, left = 0, there;
    if (rma->count == 0) { /* any call lets MPI serve those that read here */
        MPI_Iprobe(MPI_ANY_SOURCE, 0, rma->comm, &there, MPI_STATUS_IGNORE);
        return false;
    }
    int result = MPI_Testsome(rma->count, rma->requests, &count, indices, statuses);
    for (int i = 0; i < count; i++)
        ended(rma, indices[i], result == MPI_ERR_IN_STATUS ? statuses[i].MPI_ERROR : result);
    for (int i = 0; i < rma->count && count > 0; i++) {
        if (!rma->pieces[i])
            continue;
        rma->requests[left] = rma->requests[i];
        rma->pieces[left++] = rma->pieces[i];
    }
    rma->count = count > 0 ? left : rma->count;
    return count > 0;
}

static void rma_close(struct reads_way *way, bool orderly)
{
    struct rma_way *rma = rma_of(way);
    if (!orderly || rma->count > 0)
        return; /* MPI may still look at it */
    if (rma->window != MPI_WIN_NULL) {
        MPI_Win_unlock_all(rma->window);
        MPI_Win_free(&rma->window);
    }
    if (rma->comm != MPI_COMM_NULL)
        MPI_Comm_free(&rma->comm);
    if (rma->alias)
        base_segment_unmap_read(rma->alias, rma->size);
    free(rma);
}

static const struct reads_operations rma_operations = {
    .way = NET_READ_RMA, .uses_mpi = true, .post = rma_post, .poll = rma_poll, .close = rma_close};

void net_reads_name_rma(char *text, size_t size)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    MPI_Get_library_version(version, &length);
    snprintf(text, size, "%.*s", (int)strcspn(version, ",\n"), version);
}

/* ---- start */

/* Collective. */
static int window_open(struct rma_way *rma, const MPI_Comm *comm)
{
    char text[READS_TEXT];
    int level = MPI_THREAD_SERIALIZED;
    if (MPI_Comm_dup(*comm, &rma->comm) != MPI_SUCCESS)
        return base_fail(RAYMPI_ERR_MPI, "MPI_Comm_dup failed");
    /* Before there is a window: to have none is no error that ends the job. */
    MPI_Comm_set_errhandler(rma->comm, MPI_ERRORS_RETURN);
    int error =
        MPI_Win_create((void *)rma->alias, (MPI_Aint)rma->size, 1, MPI_INFO_NULL, rma->comm, &rma->window);
    if (error == MPI_SUCCESS) {
        MPI_Win_set_errhandler(rma->window, MPI_ERRORS_RETURN);
        /* All only read: nobody has to be asked for the lock. */
        error = MPI_Win_lock_all(MPI_MODE_NOCHECK, rma->window);
    } else {
        rma->window = MPI_WIN_NULL;
    }
    if (error == MPI_SUCCESS)
        return RAYMPI_OK;
    error_text(error, text, sizeof text);
    MPI_Query_thread(&level);
    return base_fail(
        RAYMPI_ERR_MPI, "MPI has no windows between hosts here: %s; %s, or leave RAYMPI_FETCH to auto", text,
        level == MPI_THREAD_MULTIPLE
            ? "Open MPI's for TCP (osc pt2pt) are not there at MPI_THREAD_MULTIPLE: initialise MPI at "
              "MPI_THREAD_SERIALIZED"
            : "with Open MPI over TCP set OMPI_MCA_osc=^ucx for all ranks (as by mpirun --mca osc ^ucx)");
}

static struct rma_way *rma_make(const struct base_segment *segment)
{
    struct rma_way *rma = base_alloc_sure(sizeof *rma, "net", "the window of a host");
    memset(rma, 0, sizeof *rma);
    rma->way.operations = &rma_operations;
    rma->way.piece = RMA_PIECE;
    rma->comm = MPI_COMM_NULL;
    rma->window = MPI_WIN_NULL;
    rma->size = segment->size;
    rma->alias = base_segment_map_read(segment);
    return rma;
}

int net_rma_open(struct net *net, const struct base_segment *segment, const struct net_gather *gather,
                 const void *comm)
{
    struct rma_way *rma = rma_make(segment);
    struct read_card card = {.size = segment->size}, *cards = NULL;
    int status =
        rma->alias ? RAYMPI_OK : base_fail(RAYMPI_ERR_MEMORY, "the host segment can not be mapped again");
    status = reads_agree(net, gather, status, &card, NULL);
    if (status == RAYMPI_OK)
        status = reads_agree(net, gather, window_open(rma, comm), &card, &cards);
    if (status == RAYMPI_OK)
        status = reads_agree(net, gather, reads_install(net, &rma->way, cards), &card, NULL);
    free(cards);
    if (status == RAYMPI_OK)
        return status;
    if (net_reads(net) != NET_READ_NONE)
        net_reads_close(net); /* another rank could not; a window that only some have is left alone */
    else if (rma->window == MPI_WIN_NULL)
        rma_close(&rma->way, true);
    return status;
}
