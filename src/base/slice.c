/* Looking into runs of bytes without copying them. Must never read beyond `len`, nor ask the locale anything. */
#include "base/slice.h"

bool slice_equal_nocase(struct slice a, struct slice b) {
    return a.len == b.len && slice_starts_with_nocase(a, b);
}

bool slice_starts_with(struct slice s, struct slice prefix) {
    return s.len >= prefix.len && (!prefix.len || memcmp(s.data, prefix.data, prefix.len) == 0);
}

#define EVERY_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* Eight bytes at once, the letters A to Z among them in lower case. */
static uint64_t lower_8(const char *at) {
    uint64_t bytes;
    memcpy(&bytes, at, sizeof bytes);
    uint64_t low7 = bytes & EVERY_BYTE(0x7f);
    uint64_t from_a = low7 + EVERY_BYTE(0x80 - 'A'), behind_z = low7 + EVERY_BYTE(0x80 - 'Z' - 1);
    return bytes | ((from_a & ~behind_z & ~bytes & EVERY_BYTE(0x80)) >> 2);
}

bool slice_starts_with_nocase(struct slice s, struct slice prefix) {
    if (s.len < prefix.len) return false;
    size_t i = 0;
    for (; i + 8 <= prefix.len; i += 8)
        if (lower_8(s.data + i) != lower_8(prefix.data + i)) return false;
    /* The rest overlaps what was compared, where there is something to overlap. */
    if (i && i < prefix.len) return lower_8(s.data + prefix.len - 8) == lower_8(prefix.data + prefix.len - 8);
    for (; i < prefix.len; i++)
        if (ascii_lower(s.data[i]) != ascii_lower(prefix.data[i])) return false;
    return true;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s) {
    while (s.len && is_blank(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len && is_blank(s.data[s.len - 1])) s.len--;
    return s;
}

bool slice_next(struct slice *rest, char separator, struct slice *part) {
    if (!rest->data) return false;
    size_t end = slice_find(*rest, separator);
    *part = slice_make(rest->data, end);
    if (end == rest->len) *rest = slice_make(NULL, 0);
    else *rest = slice_make(rest->data + end + 1, rest->len - end - 1);
    return true;
}

bool slice_to_u64(struct slice s, uint64_t *value) {
    if (!s.len) return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(unsigned char)s.data[i] - '0';
        if (digit > 9) return false;
        if (sum > (UINT64_MAX - digit) / 10) return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return true;
}

size_t slice_find(struct slice s, char c) {
    const char *hit = s.len ? memchr(s.data, c, s.len) : NULL;
    return hit ? (size_t)(hit - s.data) : s.len;
}
