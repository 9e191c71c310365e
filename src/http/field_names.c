/* Field names to small numbers: a perfect hash of the length and two letters picks the only candidate, one compare
 * without case decides.
 *
 * The slots are written by hand as SLOT(length, first letter, last letter but one): two names in one slot are a compile
 * error
 * (-Woverride-init), a name without a slot fails the unit test. It must never take a byte for a letter that is none:
 * folding with a bare | 0x20 would make CR a "-". */
#include "http/field_names.h"

#include "base/compiler.h"

struct name {
    uint8_t length;
    char text[31];
};

static const struct name names[FIELD_COUNT] = {
#define X(id, name) [FIELD_##id] = {sizeof(name) - 1, name},
    FIELD_NAMES(X)
#undef X
};

#define SLOT(length, first, last_but_one) (uint8_t)((length) + 9 * ((last_but_one) | 0x20) + 5 * ((first) | 0x20))

static const uint8_t slots[256] = {
    /* clang-format off */
    [SLOT(6, 'a', 'p')] = FIELD_ACCEPT,
    [SLOT(14, 'a', 'e')] = FIELD_ACCEPT_CHARSET,
    [SLOT(15, 'a', 'n')] = FIELD_ACCEPT_ENCODING,
    [SLOT(15, 'a', 'g')] = FIELD_ACCEPT_LANGUAGE,
    [SLOT(13, 'a', 'o')] = FIELD_AUTHORIZATION,
    [SLOT(13, 'c', 'o')] = FIELD_CACHE_CONTROL,
    [SLOT(10, 'c', 'o')] = FIELD_CONNECTION,
    [SLOT(16, 'c', 'n')] = FIELD_CONTENT_ENCODING,
    [SLOT(14, 'c', 't')] = FIELD_CONTENT_LENGTH,
    [SLOT(12, 'c', 'p')] = FIELD_CONTENT_TYPE,
    [SLOT(6, 'c', 'i')] = FIELD_COOKIE,
    [SLOT(3, 'd', 'n')] = FIELD_DNT,
    [SLOT(6, 'e', 'c')] = FIELD_EXPECT,
    [SLOT(9, 'f', 'e')] = FIELD_FORWARDED,
    [SLOT(4, 'h', 's')] = FIELD_HOST,
    [SLOT(14, 'h', 'g')] = FIELD_HTTP2_SETTINGS,
    [SLOT(8, 'i', 'c')] = FIELD_IF_MATCH,
    [SLOT(17, 'i', 'c')] = FIELD_IF_MODIFIED_SINCE,
    [SLOT(13, 'i', 'c')] = FIELD_IF_NONE_MATCH,
    [SLOT(8, 'i', 'g')] = FIELD_IF_RANGE,
    [SLOT(19, 'i', 'c')] = FIELD_IF_UNMODIFIED_SINCE,
    [SLOT(10, 'k', 'v')] = FIELD_KEEP_ALIVE,
    [SLOT(12, 'm', 'd')] = FIELD_MAX_FORWARDS,
    [SLOT(6, 'o', 'i')] = FIELD_ORIGIN,
    [SLOT(6, 'p', 'm')] = FIELD_PRAGMA,
    [SLOT(8, 'p', 't')] = FIELD_PRIORITY,
    [SLOT(19, 'p', 'o')] = FIELD_PROXY_AUTHORIZATION,
    [SLOT(16, 'p', 'o')] = FIELD_PROXY_CONNECTION,
    [SLOT(5, 'r', 'g')] = FIELD_RANGE,
    [SLOT(7, 'r', 'e')] = FIELD_REFERER,
    [SLOT(9, 's', 'u')] = FIELD_SEC_CH_UA,
    [SLOT(16, 's', 'l')] = FIELD_SEC_CH_UA_MOBILE,
    [SLOT(18, 's', 'r')] = FIELD_SEC_CH_UA_PLATFORM,
    [SLOT(14, 's', 's')] = FIELD_SEC_FETCH_DEST,
    [SLOT(14, 's', 'd')] = FIELD_SEC_FETCH_MODE,
    [SLOT(14, 's', 't')] = FIELD_SEC_FETCH_SITE,
    [SLOT(14, 's', 'e')] = FIELD_SEC_FETCH_USER,
    [SLOT(2, 't', 't')] = FIELD_TE,
    [SLOT(7, 't', 'e')] = FIELD_TRAILER,
    [SLOT(17, 't', 'n')] = FIELD_TRANSFER_ENCODING,
    [SLOT(7, 'u', 'd')] = FIELD_UPGRADE,
    [SLOT(25, 'u', 't')] = FIELD_UPGRADE_INSECURE_REQUESTS,
    [SLOT(10, 'u', 'n')] = FIELD_USER_AGENT,
    [SLOT(3, 'v', 'i')] = FIELD_VIA,
    [SLOT(12, 'x', 'e')] = FIELD_X_CSRF_TOKEN,
    [SLOT(11, 'x', 'e')] = FIELD_X_CSRFTOKEN,
    [SLOT(15, 'x', 'o')] = FIELD_X_FORWARDED_FOR,
    [SLOT(16, 'x', 's')] = FIELD_X_FORWARDED_HOST,
    [SLOT(16, 'x', 'r')] = FIELD_X_FORWARDED_PORT,
    [SLOT(17, 'x', 't')] = FIELD_X_FORWARDED_PROTO,
    [SLOT(9, 'x', 'i')] = FIELD_X_REAL_IP,
    [SLOT(12, 'x', 'i')] = FIELD_X_REQUEST_ID,
    [SLOT(16, 'x', 't')] = FIELD_X_REQUESTED_WITH,
    /* clang-format on */
};

static inline uint64_t load64(const char *data) {
    uint64_t word;
    memcpy(&word, data, sizeof word);
    return word;
}

static inline uint32_t load32(const char *data) {
    uint32_t word;
    memcpy(&word, data, sizeof word);
    return word;
}

/* Non-zero if eight bytes differ from those of `name` in more than the case of a letter. In the listed names bit 0x40
 * marks the letters; there, and only there, the two may differ in bit 0x20. */
static inline uint64_t differ64(const char *data, const char *name) {
    uint64_t listed = load64(name);
    return (load64(data) ^ listed) & ~((listed & UINT64_C(0x4040404040404040)) >> 1);
}

static inline uint32_t differ32(const char *data, const char *name) {
    uint32_t listed = load32(name);
    return (load32(data) ^ listed) & ~((listed & UINT32_C(0x40404040)) >> 1);
}

static inline bool is_same_name(const char *data, const char *name, size_t length) {
    if (length >= 8) {
        /* The last eight bytes overlap the ones before: no tail to walk. */
        uint64_t difference = differ64(data + length - 8, name + length - 8);
        for (size_t i = 0; i + 8 < length; i += 8) difference |= differ64(data + i, name + i);
        return difference == 0;
    }
    if (length >= 4) return (differ32(data, name) | differ32(data + length - 4, name + length - 4)) == 0;
    for (size_t i = 0; i < length; i++)
        if (ascii_lower(data[i]) != ascii_lower(name[i])) return false;
    return true;
}

enum field_id field_id_of(struct slice name) {
    if (name.len < 2) return FIELD_OTHER;
    size_t slot = SLOT(name.len, (unsigned char)name.data[0], (unsigned char)name.data[name.len - 2]);
    enum field_id id = slots[slot];
    if (names[id].length != name.len) return FIELD_OTHER;
    return is_same_name(name.data, names[id].text, name.len) ? id : FIELD_OTHER;
}

struct slice field_name_of(enum field_id id) {
    return slice_make(names[id].text, names[id].length);
}

/* Where a second value would let two readers of one request disagree on its frame, its target, its rights or its
 * conditions. User-Agent is one by its grammar too, but clients and proxies do repeat it, and nothing is decided by
 * it. */
bool field_is_singleton(enum field_id id) {
    switch (id) {
    case FIELD_AUTHORIZATION:
    case FIELD_CONTENT_LENGTH:
    case FIELD_CONTENT_TYPE:
    case FIELD_HOST:
    case FIELD_IF_MODIFIED_SINCE:
    case FIELD_IF_RANGE:
    case FIELD_IF_UNMODIFIED_SINCE:
    case FIELD_MAX_FORWARDS:
    case FIELD_ORIGIN:
    case FIELD_PROXY_AUTHORIZATION:
    case FIELD_RANGE:
    case FIELD_REFERER: return true;
    default: return false;
    }
}
