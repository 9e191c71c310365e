/* What a proxy in front says of the client, and whether it is believed (settings forwarded_allow_ips,
 * secure_scheme_headers, forwarder_headers, header_map). */
#ifndef CSERVE_HTTP_FORWARDED_H
#define CSERVE_HTTP_FORWARDED_H

#include "config/settings.h"
#include "http/request.h"

/* Looks at the fields of a parsed head: sets is_https and script_name if `peer` is trusted; drops (by moving later
 * fields forward) or refuses names with an underscore as header_map and forwarder_headers say. NULL, or why the request
 * must be answered with 400: contradicting schemes, an underscore under header_map = refuse. */
const char *forwarded_apply(struct request *r, const struct settings *s, const struct peer *peer);

#endif
