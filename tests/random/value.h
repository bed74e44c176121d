/* The bytes of the values of random programs: a number, then the wire forms of members, then a pattern that
 * depends on the number. */
#ifndef RANDOM_VALUE_H
#define RANDOM_VALUE_H

#include "plan.h"

#include <raympi.h>
#include <string.h>

#define VALUE_WIRE sizeof(raympi_wire_ref)

static inline uint64_t value_word(uint64_t number, size_t at)
{
    return (number ^ at) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline void value_fill(void *to, size_t length, uint64_t number, int members)
{
    char *bytes = to;
    size_t at = sizeof number + (size_t)members * VALUE_WIRE;
    if (length < sizeof number)
        return;
    memcpy(bytes, &number, sizeof number);
    for (; at + 8 <= length; at += 8) {
        uint64_t word = value_word(number, at);
        memcpy(bytes + at, &word, 8);
    }
    uint64_t word = value_word(number, at);
    if (at < length)
        memcpy(bytes + at, &word, length - at);
}

/* Are these bytes a value? */
static inline bool value_check(const void *data, size_t length, int members, uint64_t *number)
{
    const char *bytes = data;
    size_t at = sizeof *number + (size_t)members * VALUE_WIRE;
    *number = 0;
    if (length == 0)
        return members == 0;
    if (!data || length < at)
        return false;
    memcpy(number, bytes, sizeof *number);
    for (; at + 8 <= length; at += 8) {
        uint64_t word = value_word(*number, at);
        if (memcmp(bytes + at, &word, 8) != 0)
            return false;
    }
    uint64_t word = value_word(*number, at);
    return at >= length || memcmp(bytes + at, &word, length - at) == 0;
}

static inline void value_member_set(void *to, int member, raympi_ref ref, bool actor)
{
    char *at = (char *)to + sizeof(uint64_t) + (size_t)member * VALUE_WIRE;
    if (actor) {
        raympi_wire_actor wire = raympi_wire((raympi_actor){ref.handle});
        memcpy(at, &wire, sizeof wire);
    } else {
        raympi_wire_ref wire = raympi_wire(ref);
        memcpy(at, &wire, sizeof wire);
    }
}

static inline void value_member_get(const void *data, int member, void *wire, size_t size)
{
    memcpy(wire, (const char *)data + sizeof(uint64_t) + (size_t)member * VALUE_WIRE, size);
}

#endif
