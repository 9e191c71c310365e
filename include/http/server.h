/* The engine: all connections of a worker, one loop, one lock; whoever is idle leads.
 *
 * Application threads call server_run(); each takes the lock, runs the loop until a request is complete, lets the lock
 * go and serves it. With one thread that is a plain event loop. All state hangs off struct server; nothing here knows
 * Python. */
#ifndef CSERVE_HTTP_SERVER_H
#define CSERVE_HTTP_SERVER_H

#include "config/settings.h"
#include "http/activity.h"
#include "http/handler.h"
#include "io/listener.h"
#include "io/loop.h"

#include <stdatomic.h>

struct access_log;

struct server_config {
    const struct settings *settings;
    struct listener *const *listeners; /* owned by the caller, valid as long as the server */
    size_t listener_count;
    const struct handler *handler;
    struct activity *activity;     /* shared or private memory; never NULL */
    struct access_log *access_log; /* NULL: none */
    int handover_give_fd; /* SEQPACKET ends shared by all workers: connections that others may take; -1: none */
    int handover_take_fd;
    /* Do others accept from these listeners and take connections? May become true at any time, and stays so. NULL: no
     * one, ever. */
    const _Atomic bool *has_siblings;
    uint64_t max_requests;         /* call on_recycle after so many; 0: never */
    void (*on_recycle)(void *ctx); /* lock held; must not block */
    void *on_recycle_ctx;
    /* Request `number` of application thread `thread` has run into the setting `timeout`; its client was answered with
     * 504 if nothing had been sent. By the courier, lock held; must not block. May be NULL. */
    void (*on_timeout)(void *ctx, unsigned thread, uint64_t number);
    void *on_timeout_ctx;
};

/* NULL with errno. */
struct server *server_new(const struct server_config *config);
/* After every server_run() has returned: closes all connections. */
void server_free(struct server *s);

/* A descriptor of the caller's in the same loop (signals, lifeline); level-triggered unless `events` says otherwise.
 * on_event is called with the lock held, by any thread of the engine, also one without Python; it may call
 * server_drain() and server_stop(), must not block, and must drain the descriptor. -1 with errno. */
int server_watch(struct server *s, struct loop_source *source, uint32_t events);
int server_unwatch(struct server *s, struct loop_source *source);

/* Serves until drained or stopped. `thread` from 0 to settings->threads - 1, each once at a time. */
void server_run(struct server *s, unsigned thread);

enum server_drain_mode {
    SERVER_DRAIN_STOP,   /* nobody comes after us: accept what is queued first, then close the listeners; answers say
                            close */
    SERVER_DRAIN_RETIRE, /* siblings go on: stop accepting at once, hand idle connections over, close them where nobody
                            takes them */
};

/* No new requests; running ones finish; then server_run() returns everywhere. A server that retires can still be told
 * to stop: its siblings do the same, and nobody takes connections any more. From on_event, or with no thread in
 * server_run(). */
void server_drain(struct server *s, enum server_drain_mode mode);
/* server_run() returns as soon as the application lets it; nothing more is read or accepted. */
void server_stop(struct server *s);
bool server_is_draining(const struct server *s);
/* Requests being served or complete and waiting. */
unsigned server_busy_count(const struct server *s);

#endif
