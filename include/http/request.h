/* A parsed request. Everything points into `head`, the bytes as they arrived; nothing is decoded, lower-cased or joined
 * here.
 *
 * Complete before a handler sees it: the head has passed every rule of http/parser.h, the body is whole. Memory: the
 * exchange's. */
#ifndef CSERVE_HTTP_REQUEST_H
#define CSERVE_HTTP_REQUEST_H

#include "http/body.h"
#include "http/field_names.h"
#include "io/address.h"

/* A run of bytes in request.head. */
struct span {
    uint32_t offset;
    uint32_t length;
};

struct field {
    struct span name;
    struct span value; /* without the white space around it */
    enum field_id id;  /* FIELD_OTHER for names that field_names.h does not list */
};

#define REQUEST_MAX_FIELDS 256 /* upper bound of limit_request_fields */

struct request {
    const char *head; /* base of all spans */
    struct span method;
    struct span target;    /* as on the request line: RAW_URI */
    struct span authority; /* of a target in absolute-form; length 0 for others */
    struct span path;      /* without authority and query; "*" for OPTIONS * */
    struct span query;     /* behind the first "?"; empty if none */
    struct span block;     /* the field lines, from the first name to the blank line */
    uint32_t block_serial; /* the same for equal blocks that the engine has seen before; 0 for others */
    uint8_t minor_version;
    bool is_head;
    bool is_https; /* what a trusted proxy, or nobody, said of the scheme */
    bool keep_alive;
    bool is_chunked;
    bool has_content_length;
    bool wants_continue;
    uint64_t content_length;
    uint32_t field_count;
    struct field *fields; /* of limit_request_fields + 1 entries */
    struct body body;
    const struct peer *peer;  /* the client, or what a trusted PROXY header said */
    const struct peer *local; /* the listener's address */
    struct span script_name;  /* from a trusted forwarder's SCRIPT_NAME field; length 0 if none */
};

static inline struct slice request_span(const struct request *r, struct span s) {
    return slice_make(r->head + s.offset, s.length);
}

/* The first field of that kind, or NULL. */
const struct field *request_find(const struct request *r, enum field_id id);
/* The host that the request is for: that of its target, else that of its Host field (RFC 9112, 3.2.2); length 0 if it
 * has neither, which only 1.0 may. */
struct span request_host(const struct request *r);
/* By name without case, for names that have no id. */
const struct field *request_find_name(const struct request *r, struct slice name);

static inline struct slice request_protocol(const struct request *r) {
    return r->minor_version ? SLICE("HTTP/1.1") : SLICE("HTTP/1.0");
}

#endif
