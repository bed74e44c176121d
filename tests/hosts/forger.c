/* A rank of another job, with another secret, which sends to a rank of this one:
 *
 *   forger ADDRESS PORT FILE    makes FILE when all has been sent, and stays until it is ended
 *
 * What it sends are packets as raympi makes them, that say they are of any of the ranks, and pieces of such.
 */
#include "net/net_ofi.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PACKETS  100
#define RANKS    5 /* one more than there are */
#define PATIENCE UINT64_C(20000000000)

static struct ofi_wire evil;
static fi_addr_t victim;
static uint64_t begin;

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "forger: %s failed\n", what);
    exit(EXIT_FAILURE);
}

static void open_endpoint(const struct sockaddr_in *address)
{
    struct fi_av_attr table = {.type = FI_AV_TABLE, .count = 1};
    struct fi_cq_attr queue = {.format = FI_CQ_FORMAT_MSG};
    struct fi_info *hints = fi_allocinfo();
    hints->ep_attr->type = FI_EP_RDM;
    hints->caps = FI_MSG;
    hints->mode = FI_CONTEXT;
    hints->addr_format = FI_SOCKADDR_IN;
    hints->fabric_attr->prov_name = strdup("tcp;ofi_rxm");
    must(fi_getinfo(OFI_VERSION, NULL, NULL, 0, hints, &evil.info) == 0, "fi_getinfo");
    fi_freeinfo(hints);
    must(fi_fabric(evil.info->fabric_attr, &evil.fabric, NULL) == 0, "fi_fabric");
    must(fi_domain(evil.fabric, evil.info, &evil.domain, NULL) == 0, "fi_domain");
    must(fi_av_open(evil.domain, &table, &evil.av, NULL) == 0, "fi_av_open");
    must(fi_cq_open(evil.domain, &queue, &evil.cq, NULL) == 0, "fi_cq_open");
    must(fi_endpoint(evil.domain, evil.info, &evil.ep, NULL) == 0, "fi_endpoint");
    must(fi_ep_bind(evil.ep, &evil.av->fid, 0) == 0, "fi_ep_bind");
    must(fi_ep_bind(evil.ep, &evil.cq->fid, FI_TRANSMIT | FI_RECV) == 0, "fi_ep_bind");
    must(fi_enable(evil.ep) == 0, "fi_enable");
    must(fi_av_insert(evil.av, address, 1, &victim, 0, NULL) == 1, "fi_av_insert");
}

/* The victims need the cores, too. */
static void wait_a_little(const char *what)
{
    must(base_now() - begin < PATIENCE, what);
    usleep(1000);
}

static void send_packet(const struct net_packet *packet, size_t length)
{
    struct fi_context2 context;
    struct fi_cq_msg_entry entry;
    ssize_t result;
    while ((result = fi_send(evil.ep, packet->bytes, length, NULL, victim, &context)) == -FI_EAGAIN) {
        fi_cq_read(evil.cq, &entry, 0);
        wait_a_little("fi_send");
    }
    must(result == 0, "fi_send");
    while ((result = fi_cq_read(evil.cq, &entry, 1)) == -FI_EAGAIN)
        wait_a_little("a send");
    must(result == 1, "a send");
}

/* Right but for the key. */
static size_t forge(struct net_packet *packet, const unsigned char *secret, int number)
{
    unsigned char key[SEAL_BYTES];
    struct link_head *head = link_head_of(packet);
    size_t length = sizeof *head + (size_t)number * 37 % 2000;
    memset(packet->bytes, number, length);
    *head = (struct link_head){.magic = LINK_MAGIC,
                               .kind = (uint8_t)(1 + number % LINK_BYE),
                               .source = number % RANKS,
                               .length = (uint32_t)length,
                               .serial = (uint64_t)number + 1};
    net_seal_key(key, secret, head->source, 0);
    net_seal_make((unsigned char *)packet->bytes + length, key, head->source, head->serial, packet->bytes,
                  length);
    return number % 7 ? length + SEAL_TAG_BYTES : (size_t)number + 1;
}

int main(int argc, char **argv)
{
    unsigned char secret[SEAL_BYTES];
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct net_packet *packet = aligned_alloc(BASE_CACHE_LINE, sizeof *packet);
    must(argc == 4 && packet && inet_pton(AF_INET, argv[1], &address.sin_addr) == 1,
         "usage: forger ADDRESS PORT FILE:");
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    must(net_seal_open(), "libsodium");
    net_seal_secret(secret);
    begin = base_now();
    open_endpoint(&address);
    for (int number = 0; number < PACKETS; number++)
        send_packet(packet, forge(packet, secret, number));
    int file = open(argv[3], O_CREAT | O_WRONLY, 0600);
    must(file >= 0, argv[3]);
    close(file);
    for (;;)
        pause();
}
