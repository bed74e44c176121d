/* Parts of the host segment that are registered with libfabric one by one: where a provider pins what is
 * registered, the whole segment, which is sparse, can not be, so what others read is registered as it is
 * lent; and where libfabric has to know what it writes to, what copies come to. To register costs (some
 * milliseconds for a few MiB that are pinned), so a region is kept after its last use, until there are too
 * many, the limit of locked memory leaves no other way, or the memory is another rank's. All under the wire
 * lock. */
#include "net/net_ofi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <utlist.h>

#define REGIONS_MOST  256                 /* that are kept, */
#define REGIONS_BYTES (UINT64_C(4) << 30) /* and of these together: unless so many are open */
#define KEY_TRIES     8                   /* draws of a key that is not in use, where they are short */

struct ofi_region {
    struct ofi_region *prev, *next; /* least recently used first */
    const char *start;              /* others read it by another mapping than the one that copies come by */
    uint64_t length;
    struct fid_mr *mr;
    int users;    /* open ranges */
    bool dropped; /* it goes with the last one */
};

/* ---- registering */

/* As long as the provider's keys. */
static uint64_t key_draw(const struct ofi_wire *ofi)
{
    unsigned char drawn[SEAL_BYTES];
    uint64_t key;
    size_t bytes = ofi->info->domain_attr->mr_key_size;
    net_seal_secret(drawn);
    memcpy(&key, drawn, sizeof key);
    return bytes < sizeof key ? key & ((UINT64_C(1) << (8 * bytes)) - 1) : key;
}

static int mr_enable(const struct ofi_wire *ofi, struct fid_mr *mr)
{
    if (!(ofi->info->domain_attr->mr_mode & FI_MR_ENDPOINT))
        return 0;
    int result = fi_mr_bind(mr, &ofi->ep->fid, 0);
    return result ? result : fi_mr_enable(mr);
}

int ofi_mr_open(struct ofi_wire *ofi, const char *start, uint64_t length, uint64_t access, struct fid_mr **mr)
{
    int result = -FI_ENOKEY;
    for (int i = 0; i < KEY_TRIES && result == -FI_ENOKEY; i++)
        result = fi_mr_reg(ofi->domain, start, length, access, 0, key_draw(ofi), 0, mr, NULL);
    if (result == 0 && (result = mr_enable(ofi, *mr)) != 0)
        fi_close(&(*mr)->fid);
    if (result != 0)
        *mr = NULL;
    return result;
}

struct net_pass ofi_mr_pass(const struct ofi_wire *ofi, struct fid_mr *mr, const char *start, uint64_t offset,
                            uint64_t length)
{
    bool by_address = ofi->info->domain_attr->mr_mode & FI_MR_VIRT_ADDR;
    return (struct net_pass){.offset = offset,
                             .length = length,
                             .key = fi_mr_key(mr),
                             .base = by_address ? (uint64_t)(uintptr_t)start : 0};
}

/* ---- what is kept */

static void region_end(struct ofi_regions *regions, struct ofi_region *region)
{
    DL_DELETE(regions->first, region);
    regions->count--;
    regions->bytes -= region->length;
    net_count(regions->dropped, 1);
    fi_close(&region->mr->fid);
    free(region);
}

/* The least recently used one that nobody has open goes. False: there is none. */
static bool regions_evict(struct ofi_regions *regions)
{
    struct ofi_region *region;
    DL_FOREACH (regions->first, region) {
        if (region->users > 0)
            continue;
        region_end(regions, region);
        return true;
    }
    return false;
}

static void regions_shrink(struct ofi_regions *regions, int more, uint64_t length)
{
    while ((regions->count + more > regions->most || regions->bytes + length > REGIONS_BYTES) &&
           regions_evict(regions))
        continue;
}

static struct ofi_region *region_find(const struct ofi_regions *regions, const char *start, uint64_t length)
{
    struct ofi_region *region;
    DL_FOREACH (regions->first, region)
        if (!region->dropped && start >= region->start && start + length <= region->start + region->length)
            return region;
    return NULL;
}

/* What a limit of locked memory does, for tests. */
static bool is_too_much(const struct ofi_regions *regions, uint64_t length)
{
    return regions->limit && length > regions->limit - regions->bytes;
}

/* 0, or what libfabric says in the end, when all that can go has gone. */
static int region_register(struct ofi_regions *regions, struct ofi_region *region, uint64_t access)
{
    int result;
    do {
        result = is_too_much(regions, region->length)
                     ? -FI_ENOMEM
                     : ofi_mr_open(regions->ofi, region->start, region->length, access, &region->mr);
    } while (result != 0 && regions_evict(regions));
    return result;
}

static int region_refused(const struct ofi_regions *regions, uint64_t length, int result)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    char locked[64] = "unlimited";
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur != RLIM_INFINITY)
        snprintf(locked, sizeof locked, "%llu KiB", (unsigned long long)limit.rlim_cur / 1024);
    return base_fail(
        RAYMPI_ERR_UNSUPPORTED,
        "libfabric's %s does not register %llu bytes of the host's store, besides %llu: %s; memory "
        "that is read is locked, of which a process may have %s: raise that (ulimit -l unlimited, "
        "memlock in /etc/security/limits.conf, LimitMEMLOCK of the batch system's daemon)",
        regions->ofi->info->fabric_attr->prov_name, (unsigned long long)length,
        (unsigned long long)regions->bytes, fi_strerror(-result), locked);
}

static int region_new(struct ofi_regions *regions, const char *start, uint64_t length, uint64_t access,
                      struct ofi_region **out)
{
    struct ofi_region *region = malloc(sizeof *region);
    if (!region)
        return base_fail(RAYMPI_ERR_UNSUPPORTED, "no private memory to register a part of the host's store");
    *region = (struct ofi_region){.start = start, .length = length};
    regions_shrink(regions, 1, length);
    int result = region_register(regions, region, access);
    if (result != 0) {
        free(region);
        return region_refused(regions, length, result);
    }
    DL_APPEND(regions->first, region);
    regions->count++;
    regions->bytes += length;
    net_count(regions->made, 1);
    *out = region;
    return RAYMPI_OK;
}

/* ---- the interface */

static int region_take(struct ofi_regions *regions, const char *start, uint64_t length, uint64_t access,
                       struct ofi_region **out)
{
    struct ofi_region *region = region_find(regions, start, length);
    int status = region ? RAYMPI_OK : region_new(regions, start, length, access, &region);
    if (status != RAYMPI_OK)
        return status;
    region->users++;
    *out = region;
    return RAYMPI_OK;
}

int ofi_region_open(struct ofi_regions *regions, uint64_t offset, uint64_t length, struct net_range *range)
{
    struct ofi_region *region;
    int status = region_take(regions, regions->segment + offset, length, FI_REMOTE_READ, &region);
    if (status != RAYMPI_OK)
        return status;
    range->region = region;
    range->pass = ofi_mr_pass(regions->ofi, region->mr, region->start,
                              (uint64_t)(region->start - regions->segment), region->length);
    return RAYMPI_OK;
}

int ofi_region_open_to(struct ofi_regions *regions, char *memory, uint64_t length, struct net_range *range)
{
    struct ofi_region *region;
    int status = region_take(regions, memory, length, FI_READ, &region);
    if (status == RAYMPI_OK)
        range->region = region;
    return status;
}

void *ofi_region_desc(const struct net_range *range)
{
    const struct ofi_region *region = range->region;
    return region ? fi_mr_desc(region->mr) : NULL;
}

void ofi_region_close(struct ofi_regions *regions, struct net_range *range)
{
    struct ofi_region *region = range->region;
    if (--region->users > 0)
        return;
    if (region->dropped) {
        region_end(regions, region);
        return;
    }
    DL_DELETE(regions->first, region);
    DL_APPEND(regions->first, region);
    regions_shrink(regions, 0, 0);
}

static void region_drop(struct ofi_regions *regions, struct ofi_region *region)
{
    region->dropped = true;
    if (region->users == 0)
        region_end(regions, region);
}

static bool touches(const struct ofi_region *region, const char *start, uint64_t length)
{
    return region->start < start + length && start < region->start + region->length;
}

void ofi_regions_drop(struct ofi_regions *regions, uint64_t offset, const char *memory, uint64_t length)
{
    struct ofi_region *region, *next;
    DL_FOREACH_SAFE (regions->first, region, next)
        if (touches(region, regions->segment + offset, length) || touches(region, memory, length))
            region_drop(regions, region);
}

const char *ofi_test_pinning(void)
{
    return getenv("RAYMPI_TEST_PINNING");
}

/* KEPT[,BYTES]: how many are kept; how much can be registered at once. */
static void regions_test(struct ofi_regions *regions, const char *text)
{
    char *end;
    regions->most = (int)strtol(text, &end, 10);
    regions->limit = *end == ',' ? strtoull(end + 1, NULL, 10) : 0;
}

void ofi_regions_open(struct ofi_regions *regions, struct ofi_wire *ofi, const char *segment)
{
    const char *test = ofi_test_pinning();
    size_t good = ofi->info->domain_attr->mr_cnt;
    regions->ofi = ofi;
    regions->segment = segment;
    regions->most = good > 0 && good < REGIONS_MOST ? (int)good : REGIONS_MOST;
    if (test)
        regions_test(regions, test);
}

void ofi_regions_free(struct ofi_regions *regions)
{
    while (regions->first)
        region_end(regions, regions->first);
}
