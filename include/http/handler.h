/* The seam between the HTTP engine and what answers requests: the WSGI gateway, the status pages, the tests' echo
 * handler.
 *
 * serve() is called on an application thread, without the engine's lock, with a complete request. It owns the exchange,
 * and nothing else of the engine, until it returns; it answers through http/response.h. It is synchronous: waiting for
 * a slow client's room is a call inside response_body(), not a state to come back to, because a thread runs one
 * exchange at a time anyway. */
#ifndef CSERVE_HTTP_HANDLER_H
#define CSERVE_HTTP_HANDLER_H

#include "http/request.h"
#include "http/response.h"

struct server;
struct conn;

struct exchange {
    struct request request;
    struct response response;
    struct server *server; /* the engine's own */
    struct conn *conn;
    unsigned thread;       /* index of the application thread that runs it, 0 to threads - 1 */
    uint64_t number;       /* of the worker's requests, counted from 1 in the order of their serve() */
    uint64_t started_us;   /* CLOCK_MONOTONIC when serve() was called; 0 unless an access log wants it */
    uint64_t served_ms;    /* when serve() was called, coarse */
    uint64_t accepted_ms;  /* when the request was complete */
    void *handler_data;    /* the handler's, NULL at serve() */
    struct parser *parser; /* the engine's own, as the rest */
    struct buf input;      /* what request.head points into */
    struct exchange *next_free;
};

struct handler {
    void *ctx;
    void (*serve)(void *ctx, struct exchange *x);
    /* The thread is about to wait for work, or for the engine's lock: let go of what others may need (the GIL). May be
     * NULL. */
    void (*idle)(void *ctx);
    /* A wait inside response_body() or response_file() is over: take again what idle() let go. May be NULL. */
    void (*wake)(void *ctx);
    /* A body that response_body() kept is no longer needed. From any thread, possibly with the engine's lock: must not
     * block or take the GIL. May be NULL if no owner is ever passed. */
    void (*release)(void *ctx, void *owner);
    /* The access log's %({name}e)s: appends the text; called before serve() returns, from within response_finish() or
     * response_abort(). May be NULL. */
    void (*variable)(void *ctx, struct exchange *x, struct slice name, struct buf *out);
};

/* Has the client gone away? Looks at the socket without reading from it. Any thread that owns the exchange. */
bool exchange_is_client_gone(struct exchange *x);

#endif
