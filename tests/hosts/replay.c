/* Listens to what this host sends, and sends it once more: replay DEVICE BYTES FILE. Records the TCP
 * connections that begin at DEVICE until one of them has sent so many bytes, sends those in connections of
 * its own to where they had gone, makes FILE and stays until it is ended. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAMS 64
#define MOST    65536
#define TIMES   3

static struct stream {
    struct sockaddr_in from, to;
    uint32_t next; /* sequence number */
    size_t length;
    unsigned char bytes[MOST];
} streams[STREAMS];
static int count;

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "replay: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static bool same(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
    return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
}

/* What is lost or comes twice is not of interest: the beginning of one whole stream is enough. */
static struct stream *take(const unsigned char *bytes, size_t length)
{
    struct iphdr ip;
    struct tcphdr tcp;
    if (length < sizeof ip + sizeof tcp)
        return NULL;
    memcpy(&ip, bytes, sizeof ip);
    size_t at = ip.ihl * 4u;
    if (ip.protocol != IPPROTO_TCP || at + sizeof tcp > length)
        return NULL;
    memcpy(&tcp, bytes + at, sizeof tcp);
    at += tcp.doff * 4u;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = tcp.source, .sin_addr.s_addr = ip.saddr};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = tcp.dest, .sin_addr.s_addr = ip.daddr};
    if (tcp.syn && !tcp.ack && count < STREAMS)
        streams[count++] = (struct stream){.from = from, .to = to, .next = ntohl(tcp.seq) + 1};
    for (int i = 0; i < count && at < length; i++) {
        struct stream *stream = &streams[i];
        size_t size = length - at;
        if (!same(&stream->from, &from) || !same(&stream->to, &to) || stream->next != ntohl(tcp.seq))
            continue;
        stream->next += (uint32_t)size;
        size = size < MOST - stream->length ? size : MOST - stream->length;
        memcpy(stream->bytes + stream->length, bytes + at, size);
        stream->length += size;
        return stream;
    }
    return NULL;
}

static const struct stream *record(const char *device, size_t enough)
{
    static unsigned char bytes[1 << 17];
    struct sockaddr_ll here = {.sll_family = AF_PACKET,
                               .sll_protocol = htons(ETH_P_ALL),
                               .sll_ifindex = (int)if_nametoindex(device)};
    int file = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL));
    if (file < 0 || bind(file, (struct sockaddr *)(void *)&here, sizeof here) != 0)
        fail(device);
    puts("replay: listens");
    fflush(stdout);
    for (;;) {
        struct sockaddr_ll seen;
        socklen_t size = sizeof seen;
        ssize_t length = recvfrom(file, bytes, sizeof bytes, 0, (struct sockaddr *)(void *)&seen, &size);
        if (length < 0 || seen.sll_pkttype != PACKET_OUTGOING || seen.sll_protocol != htons(ETH_P_IP))
            continue;
        const struct stream *stream = take(bytes, (size_t)length);
        if (stream && stream->length >= enough)
            return stream;
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: replay DEVICE BYTES FILE\n");
        return 2;
    }
    const struct stream *stream = record(argv[1], (size_t)atol(argv[2]));
    for (int i = 0; i < TIMES; i++) {
        int file = socket(AF_INET, SOCK_STREAM, 0);
        if (file < 0 ||
            connect(file, (const struct sockaddr *)(const void *)&stream->to, sizeof stream->to) != 0)
            fail("connect");
        ssize_t sent = send(file, stream->bytes, stream->length, MSG_NOSIGNAL);
        printf("replay: %zd of %zu bytes to %s\n", sent, stream->length, inet_ntoa(stream->to.sin_addr));
        fflush(stdout);
    }
    close(open(argv[3], O_CREAT | O_WRONLY, 0600));
    for (;;)
        pause();
}
