/* The response side of an exchange, for handlers. Only the thread that runs the exchange calls these, without the
 * engine's lock.
 *
 * Order: response_start, response_add*, then response_body* or response_file, then response_finish; or response_abort
 * at any time. The head leaves with the first byte of the body, or at the end; until then response_start may begin
 * anew. The engine adds Date, Server, Connection and the framing, and holds back bodies that the status or the method
 * forbids (RFC 9110, 6.4.1, 9.3.2). */
#ifndef CSERVE_HTTP_RESPONSE_H
#define CSERVE_HTTP_RESPONSE_H

#include "base/buf.h"
#include "http/date.h"

#include <stdatomic.h>

struct exchange;

struct response {
    struct buf out;          /* status line and fields; behind head_length what is being sent with or after it */
    size_t head_length;      /* 0 until the head is complete */
    uint16_t status;         /* 0 until response_start() */
    _Atomic bool is_claimed; /* somebody answers: the application's thread, or the courier with 504 */
    bool is_head_sent;       /* at least handed to the socket or its queue: too late for another head */
    bool is_chunked;
    bool is_bodiless; /* HEAD, 204, 304 */
    bool is_finished;
    bool is_aborted; /* the client is gone, or the response broke its own framing */
    bool must_close;
    bool has_length;
    bool has_date;
    bool has_server;
    uint64_t length;       /* Content-Length if has_length */
    uint64_t body_bytes;   /* passed to response_body() and response_file() */
    uint64_t sent_bytes;   /* of the body, for the access log */
    struct http_date date; /* outlives the response */
};

/* Begins a head, forgetting one that was not sent. `status` is "200 OK": three digits from 200 to 599 (up to 999
 * accepted), a space, a reason without control bytes (RFC 9112, 4). NULL, or what is wrong. */
const char *response_start(struct exchange *x, struct slice status);
/* Adds a field. Refuses names that are no tokens, values with CR, LF, NUL or other control bytes (RFC 9110, 5.5),
 * hop-by-hop fields (PEP 3333, "Other HTTP Features"), a second or malformed Content-Length. NULL, or what is wrong. */
const char *response_add(struct exchange *x, struct slice name, struct slice value);
/* A field that was checked, with its line as it is sent: for handlers that send the same fields again and again. */
struct response_line {
    struct slice text; /* "Name: value" CRLF; the handler's memory */
    uint64_t length;   /* Content-Length: its value */
    uint8_t kind;      /* what it means to the engine */
};
/* Checks like response_add() and fills *line, whose text goes to `text`. NULL, or what is wrong. */
const char *response_prepare_line(struct slice name, struct slice value, struct buf *text, struct response_line *line);
/* As response_add(), with nothing left to check but what depends on the other fields. */
const char *response_add_line(struct exchange *x, const struct response_line *line);
/* The length of the whole body, when the handler knows it and gave no Content-Length. Before the first
 * response_body(). */
void response_set_length(struct exchange *x, uint64_t length);

enum response_result {
    RESPONSE_GONE = -1, /* the client is gone or the response is aborted: stop producing */
    RESPONSE_TAKEN = 0, /* the bytes are sent or copied */
    RESPONSE_KEPT = 1,  /* the engine still reads from `data`: handler.release(owner) will be called once, later */
};

/* Sends a piece now, as far as the socket takes it. An empty piece does nothing (it does not send the head either).
 * What the socket does not take is kept by reference if `owner` is not NULL and the piece is large, else copied; beyond
 * response_buffer and response_spool it waits for the client, at most send_timeout without progress. Bytes beyond
 * Content-Length are dropped and logged as an error. */
enum response_result response_body(struct exchange *x, const void *data, size_t len, void *owner);
/* Sends `length` bytes of the file from `offset` with sendfile(2), never waiting for the client: the descriptor is
 * duplicated for what does not leave at once. A file that turns out shorter aborts. */
enum response_result response_file(struct exchange *x, int fd, uint64_t offset, uint64_t length);
/* Ends the response: head if it was not sent, last chunk, access log. A body shorter than Content-Length aborts and is
 * logged. */
void response_finish(struct exchange *x);
/* Ends it so that the client sees that it is incomplete: the connection is closed. */
void response_abort(struct exchange *x);
/* A whole small answer with text/plain body "STATUS\n" and Connection: close if `close`; replaces an unsent head. */
void response_error(struct exchange *x, struct slice status, bool close);
/* 103 Early Hints (RFC 8297) with the given field lines ("Link: ...\r\n" each, already checked by
 * response_check_interim); nothing for 1.0 or after the head. */
void response_early_hints(struct exchange *x, struct slice field_lines);
/* The checks of response_add() that concern one field alone, and RFC 9110, 8.6: no Content-Length in a 1xx response.
 * NULL, or what is wrong. */
const char *response_check_interim(struct slice name, struct slice value);

/* May the caller write the head? True once. */
static inline bool response_claim(struct response *r) {
    return !atomic_exchange_explicit(&r->is_claimed, true, memory_order_acq_rel);
}

static inline bool response_is_head_sent(const struct response *r) {
    return r->is_head_sent;
}

#endif
