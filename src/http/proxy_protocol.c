/* The PROXY protocol's header: a text line (version 1) or a binary block (version 2).
 *
 * Both are parsed from the bytes that are there, from the start each time: a header fits into the first read but for
 * contrived clients. What can no longer become a header is refused at once, not after a time-out. Nothing is guessed: a
 * connection that should begin with a header and does not is refused, as the specification wants it (section 2). */
#include "http/proxy_protocol.h"

#define V2_FIXED         16
#define V2_COMMAND_LOCAL 0
#define V2_COMMAND_PROXY 1
#define V2_TCP4          0x11
#define V2_TCP6          0x21

static const char v1_start[] = "PROXY ";
static const char v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";

/* Is data, as far as it goes, the beginning of `start`? */
static bool begins(struct slice data, const char *start, size_t length) {
    return memcmp(data.data, start, data.len < length ? data.len : length) == 0;
}

/* "0" to "65535" without leading zeros. */
static bool port_parse(struct slice text, uint16_t *port) {
    uint64_t value;
    if (text.len > 5 || !slice_to_u64(text, &value) || value > UINT16_MAX) return false;
    if (text.len > 1 && text.data[0] == '0') return false;
    *port = (uint16_t)value;
    return true;
}

struct endpoints {
    union {
        struct in_addr v4;
        struct in6_addr v6;
    } source, destination;
    uint16_t source_port;
    uint16_t destination_port;
};

static void client_set(struct peer *client, int family, const struct endpoints *e) {
    if (family == AF_INET) {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(e->source_port), .sin_addr = e->source.v4};
        peer_from_sockaddr(client, (const struct sockaddr *)&name, sizeof name);
    } else {
        struct sockaddr_in6 name = {
            .sin6_family = AF_INET6, .sin6_port = htons(e->source_port), .sin6_addr = e->source.v6};
        peer_from_sockaddr(client, (const struct sockaddr *)&name, sizeof name);
    }
}

/* What stands between "PROXY " and CRLF: family, two addresses, two ports, one space between each. */
static bool v1_parse_line(struct slice line, struct peer *client) {
    struct slice family, source, destination, source_port, destination_port;
    struct endpoints e;
    slice_next(&line, ' ', &family);
    if (slice_equal(family, SLICE("UNKNOWN"))) return true;

    int number;
    if (slice_equal(family, SLICE("TCP4"))) number = AF_INET;
    else if (slice_equal(family, SLICE("TCP6"))) number = AF_INET6;
    else return false;
    if (!slice_next(&line, ' ', &source) || !slice_next(&line, ' ', &destination) ||
        !slice_next(&line, ' ', &source_port) || !slice_next(&line, ' ', &destination_port) || line.data)
        return false;
    if (!ip_parse(number, source, &e.source) || !ip_parse(number, destination, &e.destination)) return false;
    if (!port_parse(source_port, &e.source_port) || !port_parse(destination_port, &e.destination_port)) return false;
    client_set(client, number, &e);
    return true;
}

static ssize_t v1_parse(struct slice data, struct peer *client) {
    size_t start = sizeof v1_start - 1;
    if (!begins(data, v1_start, start)) return -1;
    size_t length = data.len < PROXY_V1_MAX ? data.len : PROXY_V1_MAX;
    const char *cr = memchr(data.data, '\r', length);
    const char *lf = memchr(data.data, '\n', length);
    if (!cr && !lf) return length == PROXY_V1_MAX ? -1 : 0;
    if (!cr || (lf && lf != cr + 1)) return -1;
    if (!lf) return cr == data.data + length - 1 && length < PROXY_V1_MAX ? 0 : -1;
    if (!v1_parse_line(slice_make(data.data + start, (size_t)(cr - data.data) - start), client)) return -1;
    return lf + 1 - data.data;
}

static unsigned get16(const unsigned char *bytes) {
    return (unsigned)bytes[0] << 8 | bytes[1];
}

/* The address block behind the fixed part; what follows the addresses (TLVs) is skipped. */
static bool v2_parse_block(unsigned family, const unsigned char *block, size_t length, struct peer *client) {
    struct endpoints e;
    switch (family) {
    case V2_TCP4:
        if (length < 12) return false;
        memcpy(&e.source.v4, block, 4);
        e.source_port = (uint16_t)get16(block + 8);
        client_set(client, AF_INET, &e);
        return true;
    case V2_TCP6:
        if (length < 36) return false;
        memcpy(&e.source.v6, block, 16);
        e.source_port = (uint16_t)get16(block + 32);
        client_set(client, AF_INET6, &e);
        return true;
    default:
        /* Unspecified, datagrams, unix sockets: no address that REMOTE_ADDR could show. Other numbers are not
         * assigned. */
        return family >> 4 <= 3 && (family & 0x0f) <= 2;
    }
}

static ssize_t v2_parse(struct slice data, struct peer *client) {
    const unsigned char *bytes = (const unsigned char *)data.data;
    size_t signature = sizeof v2_signature - 1;
    if (!begins(data, v2_signature, signature)) return -1;
    if (data.len <= signature) return 0;

    unsigned version = bytes[12] >> 4, command = bytes[12] & 0x0f;
    if (version != 2 || command > V2_COMMAND_PROXY) return -1;
    if (data.len < V2_FIXED) return 0;
    size_t length = V2_FIXED + get16(bytes + 14);
    if (length > PROXY_V2_MAX) return -1;
    if (data.len < length) return 0;
    if (command == V2_COMMAND_PROXY && !v2_parse_block(bytes[13], bytes + V2_FIXED, length - V2_FIXED, client))
        return -1;
    return (ssize_t)length;
}

ssize_t proxy_protocol_parse(struct slice data, enum proxy_protocol allowed, struct peer *client) {
    if (data.len == 0) return 0;
    bool is_v1 = data.data[0] == v1_start[0];
    if (is_v1 && (allowed == PROXY_V1 || allowed == PROXY_AUTO)) return v1_parse(data, client);
    if (!is_v1 && (allowed == PROXY_V2 || allowed == PROXY_AUTO)) return v2_parse(data, client);
    return -1;
}
