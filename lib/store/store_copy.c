/* Copying values into the store. Non-temporal stores do not read the destination's lines before they
 * overwrite them and leave the caches to others: a large value is not read back by the core that put it. */
#include "store/store.h"

#include <string.h>

#define COPY_PAST_CACHES (1u << 20) /* bytes; below, the destination often is in a cache */

#if defined(__x86_64__)
#include <emmintrin.h>

static void copy_line(char *to, const char *from)
{
    __m128i a = _mm_loadu_si128((const __m128i *)from);
    __m128i b = _mm_loadu_si128((const __m128i *)(from + 16));
    __m128i c = _mm_loadu_si128((const __m128i *)(from + 32));
    __m128i d = _mm_loadu_si128((const __m128i *)(from + 48));
    _mm_stream_si128((__m128i *)to, a);
    _mm_stream_si128((__m128i *)(to + 16), b);
    _mm_stream_si128((__m128i *)(to + 32), c);
    _mm_stream_si128((__m128i *)(to + 48), d);
}

static void copy_past_caches(char *to, const char *from, size_t length)
{
    size_t head = -(uintptr_t)to % BASE_CACHE_LINE;
    memcpy(to, from, head);
    to += head, from += head, length -= head;
    for (; length >= BASE_CACHE_LINE; length -= BASE_CACHE_LINE) {
        copy_line(to, from);
        to += BASE_CACHE_LINE, from += BASE_CACHE_LINE;
    }
    memcpy(to, from, length);
    /* Orders these stores, which are outside the usual order of x86, before the one that seals the block. */
    _mm_sfence();
}
#else
static void copy_past_caches(char *to, const char *from, size_t length)
{
    memcpy(to, from, length);
}
#endif

void store_copy(void *to, const void *from, size_t length)
{
    if (length >= COPY_PAST_CACHES)
        copy_past_caches(to, from, length);
    else if (length)
        memcpy(to, from, length);
}
