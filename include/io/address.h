/* Where to listen and who connected. */
#ifndef CSERVE_IO_ADDRESS_H
#define CSERVE_IO_ADDRESS_H

#include "base/slice.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX, ADDRESS_ABSTRACT, ADDRESS_FD };

struct address {
    enum address_kind kind;
    int fd; /* ADDRESS_FD: the inherited descriptor */
    socklen_t length;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    } name;
    char text[128]; /* canonical: "127.0.0.1:8000", "[::1]:8000", "unix:/run/x", "unix:@x", "fd://3" */
};

/* HOST:PORT, [V6]:PORT, :PORT, HOST, unix:/path, unix:@abstract, fd://N. A host name is resolved (getaddrinfo(3), first
 * result). NULL, or a message that says what is wrong with `text` (static or thread-local storage). */
const char *address_parse(const char *text, struct address *a);

/* The other end of an accepted connection, as REMOTE_ADDR and REMOTE_PORT want it. 64 bytes: one lives in every
 * connection. */
struct peer {
    unsigned char ip[16]; /* IPv4 as ::ffff:a.b.c.d; meaningless for unix */
    uint16_t port;
    bool is_unix;
    uint8_t text_len;
    char text[44]; /* "192.0.2.1", "2001:db8::1"; "" for unix; not NUL-terminated when full */
};

/* An address of the family (AF_INET, AF_INET6) in its textual form, into a struct in_addr or in6_addr. inet_pton(3)
 * refuses leading zeros, shortened IPv4 forms and zones. */
bool ip_parse(int family, struct slice text, void *address);

void peer_from_sockaddr(struct peer *p, const struct sockaddr *name, socklen_t length);

#endif
