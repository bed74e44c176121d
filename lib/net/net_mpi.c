/* Packets by MPI point-to-point: where there is nothing better. MPI can not sleep, so the net looks from time
 * to time. */
#include "net/net_wire.h"

#include "net/net_joint.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#define MPI_IN  8  /* receives that are posted */
#define MPI_OUT 64 /* sends that may be on their way */
#define MPI_TAG 1

struct mpi_wire {
    struct net_wire wire;
    MPI_Comm comm;
    MPI_Request in[MPI_IN], out[MPI_OUT];
    struct net_packet *in_packets[MPI_IN], *out_packets[MPI_OUT];
    int next; /* the receive that was posted first: messages match in that order */
    int outs;
};

static struct mpi_wire *mpi_of(struct net_wire *wire)
{
    return base_container(wire, struct mpi_wire, wire);
}

static bool mpi_post(struct net_wire *wire, struct net_packet *packet)
{
    struct mpi_wire *mpi = mpi_of(wire);
    if (mpi->outs == MPI_OUT || MPI_Isend(packet->bytes, (int)packet->length, MPI_BYTE, packet->peer, MPI_TAG,
                                          mpi->comm, &mpi->out[mpi->outs]) != MPI_SUCCESS)
        return false;
    mpi->out_packets[mpi->outs++] = packet;
    return true;
}

/* False: no memory. */
static bool receive_post(struct mpi_wire *mpi, int slot)
{
    struct net_packet *packet = mpi->in_packets[slot];
    if (!packet && !(packet = net_packet_new(mpi->wire.links)))
        return false;
    mpi->in_packets[slot] = packet;
    return MPI_Irecv(packet->bytes, NET_PACKET_BYTES, MPI_BYTE, MPI_ANY_SOURCE, MPI_TAG, mpi->comm,
                     &mpi->in[slot]) == MPI_SUCCESS;
}

static int receive(struct mpi_wire *mpi)
{
    int came = 0, here = 1;
    while (here) {
        MPI_Status status;
        int length, slot = mpi->next;
        if (mpi->in[slot] == MPI_REQUEST_NULL && !receive_post(mpi, slot))
            break;
        if (MPI_Test(&mpi->in[slot], &here, &status) != MPI_SUCCESS || !here)
            break;
        struct net_packet *packet = mpi->in_packets[slot];
        MPI_Get_count(&status, MPI_BYTE, &length);
        packet->length = (uint32_t)length;
        mpi->in_packets[slot] = NULL;
        receive_post(mpi, slot); /* without memory: when it is this one's turn */
        mpi->next = (slot + 1) % MPI_IN;
        net_link_arrived(mpi->wire.links, packet, status.MPI_SOURCE);
        came++;
    }
    return came;
}

static int sent(struct mpi_wire *mpi)
{
    int done[MPI_OUT], count = 0, left = 0;
    if (mpi->outs == 0 ||
        MPI_Testsome(mpi->outs, mpi->out, &count, done, MPI_STATUSES_IGNORE) != MPI_SUCCESS || count <= 0)
        return 0;
    for (int i = 0; i < mpi->outs; i++) {
        if (mpi->out[i] == MPI_REQUEST_NULL) {
            net_link_sent(mpi->wire.links, mpi->out_packets[i]);
            continue;
        }
        mpi->out[left] = mpi->out[i];
        mpi->out_packets[left++] = mpi->out_packets[i];
    }
    mpi->outs = left;
    return count;
}

static int mpi_poll(struct net_wire *wire)
{
    struct mpi_wire *mpi = mpi_of(wire);
    return sent(mpi) + receive(mpi);
}

static bool mpi_idle(const struct net_wire *wire)
{
    return base_container((struct net_wire *)wire, struct mpi_wire, wire)->outs == 0;
}

static void mpi_close(struct net_wire *wire)
{
    struct mpi_wire *mpi = mpi_of(wire);
    for (int slot = 0; slot < MPI_IN; slot++) {
        if (mpi->in[slot] != MPI_REQUEST_NULL) {
            MPI_Cancel(&mpi->in[slot]);
            MPI_Wait(&mpi->in[slot], MPI_STATUS_IGNORE);
        }
        free(mpi->in_packets[slot]);
    }
    /* What is still on its way is nobody's message: the job is at its end, or has failed. */
    if (mpi->outs > 0)
        MPI_Waitall(mpi->outs, mpi->out, MPI_STATUSES_IGNORE);
    for (int i = 0; i < mpi->outs; i++)
        free(mpi->out_packets[i]);
    MPI_Comm_free(&mpi->comm);
    free(mpi);
}

static const struct net_wire_operations mpi_operations = {.name = "mpi",
                                                          .uses_mpi = true,
                                                          .post = mpi_post,
                                                          .poll = mpi_poll,
                                                          .idle = mpi_idle,
                                                          .close = mpi_close};

int net_mpi_open(struct net *net, const void *comm)
{
    struct mpi_wire *mpi = calloc(1, sizeof *mpi);
    /* Collective: before anything else can go wrong. */
    MPI_Comm own = MPI_COMM_NULL;
    int duplicated = MPI_Comm_dup(*(const MPI_Comm *)comm, &own);
    if (!mpi || duplicated != MPI_SUCCESS) {
        if (duplicated == MPI_SUCCESS)
            MPI_Comm_free(&own);
        free(mpi);
        return mpi ? base_fail(RAYMPI_ERR_MPI, "MPI_Comm_dup failed")
                   : base_fail(RAYMPI_ERR_MEMORY, "no memory for messages by MPI");
    }
    MPI_Comm_set_errhandler(own, MPI_ERRORS_RETURN);
    mpi->wire.operations = &mpi_operations;
    mpi->comm = own;
    for (int slot = 0; slot < MPI_IN; slot++)
        mpi->in[slot] = MPI_REQUEST_NULL;
    net_joint_wire(net, &mpi->wire); /* has no descriptor, so nothing can go wrong */
    for (int slot = 0; slot < MPI_IN; slot++)
        if (!receive_post(mpi, slot) && slot == 0)
            return base_fail(RAYMPI_ERR_MEMORY, "no memory for messages by MPI"); /* closed with the net */
    return RAYMPI_OK;
}
