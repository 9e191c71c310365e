/* llhttp in strict mode, and on top of it every rule and limit that llhttp leaves to the server.
 *
 * One parser parses one message. The method is read here, because llhttp knows a fixed list only; everything behind it
 * goes through llhttp. What a rule refuses ends in PARSER_REFUSED with a status, a reason for the log, and the field it
 * concerns. */
#ifndef CSERVE_HTTP_PARSER_H
#define CSERVE_HTTP_PARSER_H

#include "config/settings.h"
#include "http/head_cache.h"
#include "http/request.h"

#include <llhttp.h>

enum parser_state {
    PARSER_METHOD,   /* nothing, an empty line, or a part of the method */
    PARSER_HEAD,     /* the rest of the request line, fields */
    PARSER_BODY,     /* the head is whole and accepted */
    PARSER_COMPLETE, /* the message is whole */
    PARSER_REFUSED   /* answer `refusal` and close */
};

struct refusal {
    unsigned status;
    const char *reason;  /* static text */
    struct span subject; /* the bytes of the head that it is about; length 0 if none */
};

struct parser {
    llhttp_t llhttp;
    struct request *request;
    const struct settings *settings;
    struct head_cache *cache;           /* NULL: none */
    const struct peer *connection_peer; /* who is at the other end of the socket: decides what is believed */
    enum parser_state state;
    uint32_t field_capacity;
    uint32_t offset;      /* bytes of the head that were parsed */
    uint32_t head_length; /* once the head is whole: up to and with its blank line */
    bool in_value;        /* the last piece belonged to a field's value */
    bool in_trailer;
    uint8_t trailer_name_length;
    char trailer_name[40];     /* the trailer field at hand, cut when longer: no forbidden name is */
    const char *chunk_mark;    /* where counting of framing bytes goes on */
    uint32_t chunk_line_bytes; /* framing bytes since the last byte of data */
    struct refusal refusal;
};

/* A parser for the next message into `request`, whose spans, fields and body it resets. */
void parser_start(struct parser *p, struct request *request, const struct settings *settings,
                  const struct peer *connection_peer);
/* While the head is incomplete: `data` holds the whole message so far, also the part that was passed before (it may
 * have moved). Behind the head: only the new bytes. Returns how many of `len` belong to this message; look at p->state.
 * Bytes of the body go to request->body. */
size_t parser_feed(struct parser *p, const char *data, size_t len);
/* Frees what the parser and the request hold on to. */
void parser_release(struct parser *p);
/* "llhttp 9.2.1" */
const char *parser_version(void);

/* The rules for a whole head (http/head.c): target, version, Host, framing fields, Expect, Connection, repeated fields.
 * Sets the request's derived members. False with *refusal filled. */
bool head_check(struct request *r, const struct settings *settings, struct refusal *refusal);
/* The rule for an origin-form target alone: sets path and query. */
bool head_check_target(struct request *r, struct refusal *refusal);

#endif
