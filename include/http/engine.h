/* What the engine's own files share: struct server whole. Everyone else sees http/server.h.
 *
 * `lock` guards all of it but what is marked otherwise. A connection in CONN_SERVING belongs to the application thread that runs its exchange: the
 * loop then touches nothing of it but `output`, and that only under the lock. */
#ifndef CSERVE_HTTP_ENGINE_H
#define CSERVE_HTTP_ENGINE_H

#include "http/conn.h"
#include "http/server.h"
#include "io/timer.h"

#include <pthread.h>

#define READ_BYTES (64 * 1024)       /* one recv(2) */
#define KEPT_RESPONSE_BYTES (64 * 1024) /* response buffers beyond this are not kept for the next response */
#define FREE_EXCHANGES 64
#define FREE_CONNS 256
#define FRESH_TIMEOUT_MS 1000  /* while draining: for the first byte of a connection that was never used */
#define LINGER_TIMEOUT_MS 2000 /* without a byte after our answer to a refused request */
#define LINGER_MAX_MS 30000

/* A listener in the loop. */
struct acceptor {
    struct loop_source source;
    struct server *server;
    struct listener *listener;
    bool is_watched;
};

struct server {
    pthread_mutex_t lock;
    pthread_cond_t work; /* followers: the leader's place is free, or there is more to do */
    struct server_config config;
    const struct settings *settings;
    const struct handler *handler;
    struct loop loop;
    struct loop_source waker; /* eventfd: ends the leader's wait early */
    bool is_polling;          /* somebody is in loop_wait(), without the lock */
    unsigned followers;       /* threads that wait on `work` */
    unsigned serving;         /* exchanges in CONN_SERVING */
    bool is_stopped;
    _Atomic bool is_draining;
    enum server_drain_mode drain_mode;
    uint64_t now_ms;  /* CLOCK_MONOTONIC of this turn, coarse */
    uint64_t wake_ms; /* when the leader wants to wake up */
    uint64_t answered;

    struct list ready; /* conns with a complete request, oldest first */
    unsigned ready_count;
    struct list closed; /* conns whose memory a batch may still mention */

    struct timer_queue idle;   /* keep-alive: nothing of the next request has arrived; also who waits longest */
    struct timer_queue fresh;  /* never used, while draining */
    struct timer_queue header; /* a head is arriving */
    struct timer_queue body;   /* a body is arriving */
    struct timer_queue send;   /* a response is leaving */
    struct timer_queue linger;

    struct acceptor *acceptors; /* config.listener_count of them */
    uint64_t accept_again_ms;   /* out of descriptors until then; 0: accepting */
    bool is_short_of_room;      /* said so in the log; until the next connection is accepted */
    size_t conn_count;
    size_t conn_limit;

    struct buf scratch; /* what recv(2) fills */
    struct exchange *free_exchanges;
    unsigned free_exchange_count;
    struct list free_conns;
    unsigned free_conn_count;
};

/* http/exchange.c */
struct exchange *exchange_take(struct server *s, struct conn *c);
void exchange_give_back(struct server *s, struct exchange *x);
void exchange_free_all(struct server *s);

/* http/response.c */
void response_reset(struct response *r);

/* http/accept.c */
int accept_start(struct server *s);
void accept_stop(struct server *s);
/* Watches the listeners, or not, as the moment demands. */
void accept_update(struct server *s);
/* Takes everything that the kernel has queued. */
void accept_all(struct server *s);

/* http/server.c: a deadline earlier than the leader's planned waking. */
void server_expect_deadline(struct server *s, uint64_t deadline_ms);

static inline struct output_release server_release(const struct server *s) {
    return (struct output_release){s->handler->release, s->handler->ctx};
}

#endif
