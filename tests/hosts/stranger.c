/* Somebody on the hosts' network who knows addresses of a job, but not its secret.
 *
 *   stranger find                       prints ADDRESS PORT of what listens on this host at one address,
 * which is not its loopback stranger disturb ADDRESS PORT FILE  sends garbage there, leaves messages half
 * sent, opens connections and says nothing; makes FILE when all that is done, and lets the silent connections
 * be until it is ended */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SILENT  200 /* connections */
#define GARBAGE 100

static int fail(const char *what)
{
    fprintf(stderr, "stranger: %s: %s\n", what, strerror(errno));
    return EXIT_FAILURE;
}

static int find(void)
{
    char line[512];
    FILE *table = fopen("/proc/net/tcp", "r");
    if (!table)
        return fail("/proc/net/tcp");
    while (fgets(line, sizeof line, table)) {
        unsigned address, port, state;
        struct in_addr in;
        /* as the kernel prints it: the address in network order, the port in the host's */
        if (sscanf(line, " %*d: %8X:%4X %*8X:%*4X %2X", &address, &port, &state) != 3 || state != 0x0A)
            continue;
        in.s_addr = address;
        if (address != INADDR_ANY && (ntohl(address) >> 24) != 127)
            printf("%s %u\n", inet_ntoa(in), port);
    }
    fclose(table);
    return EXIT_SUCCESS;
}

static int connect_to(const struct sockaddr_in *victim)
{
    int file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (file >= 0 && connect(file, (const struct sockaddr *)(const void *)victim, sizeof *victim) == 0)
        return file;
    if (file >= 0)
        close(file);
    return -1;
}

/* The victim may have hung up: that is its right. */
static void put(int file, const void *bytes, size_t length)
{
    if (send(file, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        errno = 0;
}

static void send_garbage(const struct sockaddr_in *victim)
{
    unsigned char bytes[5000];
    for (int i = 0; i < GARBAGE; i++) {
        int file = connect_to(victim);
        if (file < 0)
            continue;
        for (size_t at = 0; at < sizeof bytes; at++)
            bytes[at] = (unsigned char)(i % 4 == 0 ? 0 : i % 4 == 1 ? 0xff : rand());
        put(file, bytes, 1 + (size_t)rand() % sizeof bytes);
        close(file);
    }
}

/* Some have begun to say something. */
static int stay_silent(const struct sockaddr_in *victim)
{
    int opened = 0;
    for (int i = 0; i < SILENT; i++) {
        int file = connect_to(victim);
        opened += file >= 0;
        if (file >= 0 && i % 2)
            put(file, "\1\0\0\0\0\0\0\0\0\0\0\0", (size_t)(i % 12));
    }
    return opened;
}

static int disturb(const char *address, const char *port, const char *done)
{
    struct sockaddr_in victim = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (inet_pton(AF_INET, address, &victim.sin_addr) != 1)
        return fail(address);
    srand((unsigned)atoi(port));
    send_garbage(&victim);
    int opened = stay_silent(&victim);
    send_garbage(&victim);
    printf("stranger: %d silent connections to %s %s\n", opened, address, port);
    fflush(stdout);
    int file = open(done, O_CREAT | O_WRONLY, 0600);
    if (file < 0)
        return fail(done);
    close(file);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "find") == 0)
        return find();
    if (argc == 5 && strcmp(argv[1], "disturb") == 0)
        return disturb(argv[2], argv[3], argv[4]);
    fprintf(stderr, "usage: stranger find | stranger disturb ADDRESS PORT FILE\n");
    return 2;
}
