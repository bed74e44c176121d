/* Which networks a host is on, and which it shares with others. */
#include "net/net_ofi.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int bytes_of(uint8_t family)
{
    return family == AF_INET ? 4 : 16;
}

static const void *bits_of(const struct sockaddr *address)
{
    return address->sa_family == AF_INET
               ? (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr
               : (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
}

static uint8_t prefix_of(const struct sockaddr *mask)
{
    const uint8_t *bits = bits_of(mask);
    int prefix = 0;
    for (int i = 0; i < bytes_of((uint8_t)mask->sa_family); i++)
        prefix += __builtin_popcount(bits[i]);
    return (uint8_t)prefix;
}

static bool within(const uint8_t *a, const uint8_t *b, int prefix)
{
    int whole = prefix / 8, rest = prefix % 8;
    return memcmp(a, b, (size_t)whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

/* 10.1.0.0/16, or an address alone, or an interface's name. */
static bool is_wished(const struct ifaddrs *interface, const struct ofi_network *network, const char *wish)
{
    char text[64];
    uint8_t range[16];
    snprintf(text, sizeof text, "%s", wish);
    char *slash = strchr(text, '/');
    if (slash)
        *slash = 0;
    int prefix = slash ? atoi(slash + 1) : 8 * bytes_of(network->family);
    if (inet_pton(network->family, text, range) == 1)
        return prefix >= 0 && prefix <= 8 * bytes_of(network->family) &&
               within(network->address, range, prefix);
    return strcmp(interface->ifa_name, wish) == 0;
}

static bool take(const struct ifaddrs *interface, const char *wish, struct ofi_network *network)
{
    const struct sockaddr *address = interface->ifa_addr;
    if (!address || !interface->ifa_netmask ||
        (address->sa_family != AF_INET && address->sa_family != AF_INET6) || !(interface->ifa_flags & IFF_UP))
        return false;
    *network = (struct ofi_network){.family = (uint8_t)address->sa_family,
                                    .prefix = prefix_of(interface->ifa_netmask)};
    memcpy(network->address, bits_of(address), (size_t)bytes_of(network->family));
    /* An address that is valid on its link only does not say on which. */
    if (network->family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)bits_of(address)))
        return false;
    if (wish)
        return is_wished(interface, network, wish);
    return (interface->ifa_flags & IFF_RUNNING) && !(interface->ifa_flags & IFF_LOOPBACK);
}

static int add_family(const struct ifaddrs *interface, uint8_t family, const char *wish,
                      struct ofi_network *networks, int count)
{
    for (; interface && count < OFI_NETWORKS; interface = interface->ifa_next)
        if (take(interface, wish, &networks[count]) && networks[count].family == family)
            count++;
    return count;
}

int ofi_networks_list(struct ofi_network *networks, const char *wish)
{
    struct ifaddrs *interfaces = NULL;
    if (getifaddrs(&interfaces) != 0)
        return 0;
    /* IPv4 first: what providers do with IPv6 is less well tried. */
    int count = add_family(interfaces, AF_INET, wish, networks, 0);
    count = add_family(interfaces, AF_INET6, wish, networks, count);
    freeifaddrs(interfaces);
    return count;
}

bool ofi_networks_same(const struct ofi_network *a, const struct ofi_network *b)
{
    return a->family == b->family && a->prefix == b->prefix && within(a->address, b->address, a->prefix);
}

bool ofi_networks_equal_address(const struct ofi_network *a, const struct ofi_network *b)
{
    return a->family == b->family && memcmp(a->address, b->address, sizeof a->address) == 0;
}

uint64_t ofi_networks_stack(void)
{
    char text[256] = "", link[128] = "";
    FILE *boot = fopen("/proc/sys/kernel/random/boot_id", "r");
    bool known =
        boot && fgets(text, sizeof link, boot) && readlink("/proc/self/ns/net", link, sizeof link - 1) > 0;
    if (boot)
        fclose(boot);
    if (!known) /* nobody shares with us */
        snprintf(text, sizeof text, "%lld %lld", (long long)getpid(), (long long)base_now());
    return base_hash_name(strcat(text, link));
}

void ofi_network_print(const struct ofi_network *network, char *text, size_t size)
{
    if (network->family == 0 || !inet_ntop(network->family, network->address, text, (socklen_t)size))
        snprintf(text, size, "any address");
}
