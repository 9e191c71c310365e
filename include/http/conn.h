/* One client connection. All functions want the engine's lock, except those marked "serving thread", which want the
 * connection to be in CONN_SERVING and are called by the thread that serves it, without the lock. */
#ifndef CSERVE_HTTP_CONN_H
#define CSERVE_HTTP_CONN_H

#include "http/handler.h"
#include "http/output.h"
#include "io/listener.h"
#include "io/loop.h"
#include "io/timer.h"

enum conn_state {
    CONN_IDLE,      /* nothing of the next request has arrived */
    CONN_READING,   /* a request is arriving */
    CONN_READY,     /* a request is complete and waits for an application thread */
    CONN_SERVING,   /* an application thread owns the exchange */
    CONN_FLUSHING,  /* answered; the rest leaves as fast as the client reads */
    CONN_LINGERING, /* our side is shut; what still arrives is thrown away (RFC 9112, 9.6) */
    CONN_CLOSED     /* in server.free_conns */
};

struct conn {
    struct loop_source source;
    struct server *server;
    struct exchange *exchange; /* from the first byte of a request to the end of its answer */
    struct timer timer;        /* in the queue that fits the state */
    struct list link;          /* server.ready or server.free_conns */
    struct output output;
    struct buf pending;       /* arrived behind the current request */
    const struct peer *local; /* the listener's address */
    struct peer peer;         /* the socket's other end */
    struct peer client;       /* what requests see: the same, or what a trusted PROXY header said */
    uint64_t linger_until_ms;
    size_t unacknowledged; /* bytes in the socket when send_timeout began to count */
    uint32_t requests;     /* answered */
    enum conn_state state;
    uint32_t watched;  /* what the epoll set has it for; 0: it is not in there */
    bool may_read;     /* the socket had more to read than was taken, or an event came while nobody read */
    bool is_gone;      /* reset, or shut in both directions */
    bool is_timed_out; /* the courier has answered, or found the response begun */
    bool wants_proxy;  /* the PROXY header has not come yet */
    bool closes;       /* after the answer that is leaving */
    bool lingers;      /* the client may still be sending when we close */
    bool has_queued;   /* while serving, the serving thread's: `output` may hold something */
};

enum close_reason {
    CLOSE_DONE,
    CLOSE_CLIENT,
    CLOSE_TIMEOUT,
    CLOSE_BROKEN,
    CLOSE_CROWDED,
    CLOSE_SHUTDOWN,
    CLOSE_HANDED_OVER
};

/* Owns the connected, non-blocking descriptor from now on; in CONN_IDLE, not watched, no timer. */
struct conn *conn_new(struct server *s, int fd, const struct peer *local, const struct peer *peer);
/* A new connection: reads what is there already. */
void conn_start(struct server *s, int fd, const struct peer *local, const struct peer *peer);
/* Between requests, or into the next one that has already arrived. */
void conn_await_request(struct conn *c);
/* The parser has come to the end of a request, or to a refusal. */
void conn_complete(struct conn *c);
/* The serving thread is done with the exchange. */
void conn_answered(struct conn *c);
/* Has the client taken anything since `unacknowledged` was noted? The socket says nothing while it is more than full.
 * Notes anew. */
bool conn_has_progress(struct conn *c);
/* Is the socket reset, or shut in both directions? Asks the kernel. Serving thread, too. */
bool conn_is_cut(const struct conn *c);
/* Its deadline has come. */
void conn_expire(struct conn *c);
/* Idle while draining: a request that is on its way is still read; else the connection is handed over, or closed. */
void conn_retire(struct conn *c);
void conn_close(struct conn *c, enum close_reason reason);

/* An answer of the engine's own as far as the socket takes it at once: for a connection that somebody else is going to
 * close. */
void conn_send_text(struct conn *c, unsigned status);
/* In the epoll set from now on, if it was not: for what the client sends; for room in the socket, too. */
void conn_watch(struct conn *c);
void conn_watch_output(struct conn *c);

/* Serving thread (http/conn_serving.c): sends, keeps what does not go. `owner`, as in response_body(), owns the bytes
 * of vectors[owned]. */
enum response_result conn_send(struct conn *c, struct iovec *vectors, int count, int owned, void *owner);
/* Serving thread: the same for a range of a file. */
enum response_result conn_send_file(struct conn *c, int fd, uint64_t offset, uint64_t length);

#endif
