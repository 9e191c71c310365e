/* The PROXY protocol's header, versions 1 and 2 (haproxy.org, proxy-protocol.txt), before the first request of a
 * connection. */
#ifndef CSERVE_HTTP_PROXY_PROTOCOL_H
#define CSERVE_HTTP_PROXY_PROTOCOL_H

#include "config/settings.h"
#include "io/address.h"

#define PROXY_V1_MAX 107         /* bytes of a v1 line with its CRLF */
#define PROXY_V2_MAX (16 + 4096) /* a longer v2 header is refused */

/* Parses the header at the start of data. Returns its length and sets *client (left alone for LOCAL, UNKNOWN); 0 if
 * more bytes are needed; -1 if it is not a valid header of an allowed version. */
ssize_t proxy_protocol_parse(struct slice data, enum proxy_protocol allowed, struct peer *client);

#endif
