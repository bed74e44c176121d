/* Whether a text is JSON (RFC 8259): enough of a parser to say no. */
#ifndef TESTS_TRACE_JSON_H
#define TESTS_TRACE_JSON_H

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline const char *json_blank(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/** Each parser returns the end of what it accepted, or NULL. */
static inline const char *json_string(const char *at)
{
    if (*at++ != '"')
        return NULL;
    while (*at != '"') {
        if ((unsigned char)*at < 0x20)
            return NULL; /* the end of the text as well */
        if (*at == '\\' && at[1] == 'u') {
            for (int i = 2; i < 6; i++)
                if (!isxdigit((unsigned char)at[i]))
                    return NULL;
            at += 6;
        } else if (*at == '\\') {
            if (at[1] == '\0' || strchr("\"\\/bfnrt", at[1]) == NULL)
                return NULL;
            at += 2;
        } else {
            at++;
        }
    }
    return at + 1;
}

static inline const char *json_number(const char *at)
{
    char *end;
    if (!isdigit((unsigned char)*at) && *at != '-')
        return NULL;
    if (*at == '0' && isdigit((unsigned char)at[1]))
        return NULL;
    strtod(at, &end);
    return end > at ? end : NULL;
}

static inline const char *json_value(const char *at, int depth);

static inline const char *json_members(const char *at, char close, int depth)
{
    at = json_blank(at);
    if (*at == close)
        return at + 1;
    for (;;) {
        if (close == '}') {
            at = json_string(json_blank(at));
            at = at != NULL ? json_blank(at) : NULL;
            if (at == NULL || *at++ != ':')
                return NULL;
        }
        at = json_value(at, depth + 1);
        if (at == NULL)
            return NULL;
        at = json_blank(at);
        if (*at == close)
            return at + 1;
        if (*at++ != ',')
            return NULL;
    }
}

static inline const char *json_value(const char *at, int depth)
{
    at = json_blank(at);
    if (depth > 100)
        return NULL;
    if (*at == '{')
        return json_members(at + 1, '}', depth);
    if (*at == '[')
        return json_members(at + 1, ']', depth);
    if (*at == '"')
        return json_string(at);
    if (strncmp(at, "true", 4) == 0 || strncmp(at, "null", 4) == 0)
        return at + 4;
    if (strncmp(at, "false", 5) == 0)
        return at + 5;
    return json_number(at);
}

static inline bool json_valid(const char *text)
{
    const char *end = json_value(text, 0);
    return end != NULL && *json_blank(end) == '\0';
}

#endif
