/* Reads a bind address, and names the other end of a connection.
 *
 * address_parse() decides the kind by prefix, then fills the sockaddr and the canonical text by which the arbiter
 * recognises an address over reloads. A host name is resolved here, once; peers never are: a connection must not wait
 * for a name server. */
#include "io/address.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>

#define DEFAULT_PORT 8000

static _Thread_local char message[256];

static const char *parse_fd(struct slice digits, struct address *a) {
    uint64_t number;
    if (!slice_to_u64(digits, &number) || number > INT32_MAX)
        return "fd:// wants the number of an inherited descriptor, as in fd://3";
    a->kind = ADDRESS_FD;
    a->fd = (int)number;
    snprintf(a->text, sizeof(a->text), "fd://%d", a->fd);
    return NULL;
}

static const char *parse_unix(struct slice path, struct address *a) {
    bool is_abstract = path.len && path.data[0] == '@';
    size_t most = sizeof(a->name.un.sun_path) - (is_abstract ? 0 : 1);
    if (path.len < (is_abstract ? 2 : 1))
        return "unix: wants a path, as in unix:/run/app.sock, or a name, as in unix:@app";
    if (path.len > most) {
        snprintf(message, sizeof(message), "the path of a unix socket has at most %zu bytes, this one has %zu", most,
                 path.len);
        return message;
    }
    a->kind = is_abstract ? ADDRESS_ABSTRACT : ADDRESS_UNIX;
    a->name.un.sun_family = AF_UNIX;
    memcpy(a->name.un.sun_path, path.data, path.len);
    if (is_abstract) a->name.un.sun_path[0] = '\0';
    a->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + (is_abstract ? 0 : 1));
    snprintf(a->text, sizeof(a->text), "unix:%.*s", SLICE_ARG(path));
    return NULL;
}

/* Splits HOST:PORT, [V6]:PORT, :PORT, HOST and an IPv6 address without brackets. */
static const char *split_port(struct slice text, struct slice *host, uint64_t *port) {
    struct slice digits;
    *host = text;
    *port = DEFAULT_PORT;
    if (text.data[0] == '[') {
        size_t end = slice_find(text, ']');
        if (end == text.len) return "the ] behind the IPv6 address is missing";
        *host = slice_make(text.data + 1, end - 1);
        struct slice rest = slice_make(text.data + end + 1, text.len - end - 1);
        if (!rest.len) return NULL;
        if (rest.data[0] != ':') return "behind ] comes :PORT";
        digits = slice_make(rest.data + 1, rest.len - 1);
    } else {
        size_t colon = slice_find(text, ':');
        if (colon == text.len) return NULL;
        digits = slice_make(text.data + colon + 1, text.len - colon - 1);
        if (slice_find(digits, ':') < digits.len)
            return NULL; /* more than one colon: an IPv6 address without brackets */
        *host = slice_make(text.data, colon);
    }
    if (!slice_to_u64(digits, port) || *port > 65535) return "a port is a number from 0 to 65535";
    return NULL;
}

static void write_tcp_text(struct address *a) {
    char ip[INET6_ADDRSTRLEN] = "";
    if (a->name.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a->name.v6.sin6_addr, ip, sizeof(ip));
        snprintf(a->text, sizeof(a->text), "[%s]:%u", ip, ntohs(a->name.v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &a->name.v4.sin_addr, ip, sizeof(ip));
        snprintf(a->text, sizeof(a->text), "%s:%u", ip, ntohs(a->name.v4.sin_port));
    }
}

static const char *parse_tcp(struct slice text, struct address *a) {
    struct slice host;
    uint64_t port;
    char name[256], service[8];
    if (slice_to_u64(text, &port))
        return "a number alone could be a host or a port: write :PORT for all interfaces, or HOST:PORT";
    const char *fault = split_port(text, &host, &port);
    if (fault) return fault;
    if (host.len >= sizeof(name)) return "a host name has at most 255 bytes";
    if (!host.len || slice_equal(host, SLICE("*"))) host = SLICE("0.0.0.0");
    memcpy(name, host.data, host.len);
    name[host.len] = '\0';
    snprintf(service, sizeof(service), "%u", (unsigned)port);

    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    int failure = getaddrinfo(name, service, &hints, &found);
    if (failure) {
        snprintf(message, sizeof(message), "cannot resolve the host: %s", gai_strerror(failure));
        return message;
    }
    a->kind = ADDRESS_TCP;
    a->length = found->ai_addrlen;
    memcpy(&a->name, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    write_tcp_text(a);
    return NULL;
}

const char *address_parse(const char *text, struct address *a) {
    struct slice s = slice_trim(slice_of(text));
    memset(a, 0, sizeof(*a));
    a->fd = -1;
    if (!s.len) return "the address is empty";
    if (slice_starts_with(s, SLICE("fd://"))) return parse_fd(slice_make(s.data + 5, s.len - 5), a);
    if (slice_starts_with(s, SLICE("unix://"))) return parse_unix(slice_make(s.data + 7, s.len - 7), a);
    if (slice_starts_with(s, SLICE("unix:"))) return parse_unix(slice_make(s.data + 5, s.len - 5), a);
    if (slice_starts_with(s, SLICE("tcp://"))) s = slice_make(s.data + 6, s.len - 6);
    if (!s.len) return "the address is empty";
    return parse_tcp(s, a);
}

static void peer_set_v4(struct peer *p, const unsigned char ip[4], uint16_t port) {
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    memcpy(p->ip, mapped, sizeof(mapped));
    memcpy(p->ip + sizeof(mapped), ip, 4);
    p->port = port;
    for (int i = 0; i < 4; i++) {
        unsigned value = ip[i];
        if (i) p->text[p->text_len++] = '.';
        if (value >= 100) p->text[p->text_len++] = (char)('0' + value / 100);
        if (value >= 10) p->text[p->text_len++] = (char)('0' + value / 10 % 10);
        p->text[p->text_len++] = (char)('0' + value % 10);
    }
}

bool ip_parse(int family, struct slice text, void *address) {
    char terminated[INET6_ADDRSTRLEN];
    if (text.len >= sizeof(terminated) || memchr(text.data, '\0', text.len)) return false;
    memcpy(terminated, text.data, text.len);
    terminated[text.len] = '\0';
    return inet_pton(family, terminated, address) == 1;
}

void peer_from_sockaddr(struct peer *p, const struct sockaddr *name, socklen_t length) {
    memset(p, 0, sizeof(*p));
    if (name->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *v4 = (const void *)name;
        peer_set_v4(p, (const void *)&v4->sin_addr, ntohs(v4->sin_port));
    } else if (name->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *v6 = (const void *)name;
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            peer_set_v4(p, v6->sin6_addr.s6_addr + 12, ntohs(v6->sin6_port));
            return;
        }
        char text[INET6_ADDRSTRLEN];
        memcpy(p->ip, &v6->sin6_addr, sizeof(p->ip));
        p->port = ntohs(v6->sin6_port);
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
        p->text_len = (uint8_t)strnlen(text, sizeof(p->text));
        memcpy(p->text, text, p->text_len);
    } else {
        p->is_unix = true;
    }
}
