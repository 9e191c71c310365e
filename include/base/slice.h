/* A run of bytes that somebody else owns: no terminator, any byte allowed. Passed by value. */
#ifndef CSERVE_BASE_SLICE_H
#define CSERVE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *data;
    size_t len;
};

#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})
/* For printf's "%.*s". */
#define SLICE_ARG(slice) (int)(slice).len, (slice).data

static inline struct slice slice_make(const char *data, size_t len) {
    return (struct slice){data, len};
}

static inline struct slice slice_of(const char *text) {
    return (struct slice){text, strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b) {
    return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

/* ASCII only, independent of the locale, as HTTP wants it (RFC 9110, 5.1). */
bool slice_equal_nocase(struct slice a, struct slice b);
bool slice_starts_with(struct slice s, struct slice prefix);
bool slice_starts_with_nocase(struct slice s, struct slice prefix);
/* Without the SP and HTAB at both ends (RFC 9110, 5.6.3); nothing else counts as space. */
struct slice slice_trim(struct slice s);
/* The part before the first `separator`, which is cut off *rest; all of it if there is none. False once *rest is used
 * up (rest->data is NULL then). An empty slice yields one empty part. */
bool slice_next(struct slice *rest, char separator, struct slice *part);
/* Digits only, the whole slice, no sign, no space. False when empty, not decimal, or beyond UINT64_MAX. */
bool slice_to_u64(struct slice s, uint64_t *value);
/* Index of the first `c`, or s.len. */
size_t slice_find(struct slice s, char c);

/* ASCII, independent of the locale. */
static inline char ascii_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline char ascii_upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c & ~0x20) : c;
}

#endif
