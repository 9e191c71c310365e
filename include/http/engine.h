/* What the engine's own files share: struct server whole. Everyone else sees http/server.h.
 *
 * `lock` guards all of it but what is marked otherwise. A connection in CONN_SERVING belongs to the application thread
 * that runs its exchange: the loop then touches nothing of it but `output`, and that only under the lock. */
#ifndef CSERVE_HTTP_ENGINE_H
#define CSERVE_HTTP_ENGINE_H

#include "http/conn.h"
#include "http/head_cache.h"
#include "http/server.h"
#include "io/timer.h"

#include <pthread.h>

#define READ_BYTES          (64 * 1024) /* one recv(2) */
#define KEPT_RESPONSE_BYTES (64 * 1024) /* response buffers beyond this are not kept for the next response */
#define FREE_EXCHANGES      64
#define FRESH_TIMEOUT_MS    1000 /* while draining: for the first byte of a connection that was never used */
#define LINGER_TIMEOUT_MS   2000 /* without a byte after our answer to a refused request */
#define LINGER_MAX_MS       30000
#define HANDOVER_RETRY_MS   2 /* when the hand-over socket is full */

/* A listener in the loop. */
struct acceptor {
    struct loop_source source;
    struct server *server;
    struct listener *listener;
    bool is_watched;
};

/* The address of a listener that only an earlier generation had, for connections that came from it. */
struct foreign_local {
    struct list link;
    struct peer local;
};

/* Which deadline a connection waits for. */
enum queue_kind {
    QUEUE_IDLE,   /* keep-alive: nothing of the next request has arrived; also who waits longest */
    QUEUE_FRESH,  /* never used, while draining */
    QUEUE_HEADER, /* a head is arriving */
    QUEUE_BODY,   /* a body is arriving */
    QUEUE_SEND,   /* a response is leaving */
    QUEUE_LINGER,
    QUEUE_COUNT
};

struct server {
    pthread_mutex_t lock;
    pthread_cond_t work; /* followers: the leader's place is free, or there is more to do */
    struct server_config config;
    const struct settings *settings;
    const struct handler *handler;
    struct loop loop;
    struct loop_source waker; /* eventfd: ends a wait early */
    bool is_polling;          /* somebody is in loop_wait(), without the lock */
    unsigned followers;       /* threads that wait on `work` */
    unsigned runners;         /* threads in server_run() */
    unsigned serving;         /* exchanges in CONN_SERVING: that many of them are busy */
    bool is_stopped;
    bool is_draining;
    bool has_looked_again;      /* accept_stragglers() was called */
    _Atomic bool answers_close; /* draining, and no sibling would take the connection: read without the lock */
    enum server_drain_mode drain_mode;
    uint64_t now_ms;    /* CLOCK_MONOTONIC of this turn, coarse */
    uint64_t turn_ms;   /* when the leader last came back from waiting */
    bool is_late;       /* nobody waited for a while: connections may have queued in the kernel, and been given up */
    bool has_newcomers; /* a listener or a sibling had something this turn */
    uint64_t wake_ms;   /* when the leader wants to wake up */
    uint64_t answered;
    uint64_t log_flushed_ms; /* the access log, by the leader */

    pthread_t courier;
    bool has_courier;
    bool courier_ends;
    bool courier_is_alert; /* it will notice if the running requests take long */
    bool courier_looks;    /* at `loop`: it wakes up for whatever comes */
    bool courier_leads;    /* every application thread is stuck: listeners are not watched */
    uint64_t courier_alert_us;
    uint64_t answered_at_alert; /* `answered` then */
    uint64_t courier_nap_us;    /* what its timer is armed with where requests come thick and fast */
    uint64_t courier_due_us;    /* when the timer fires; 0: it is not armed */
    struct loop courier_loop;   /* where the courier waits: for its timer and for `loop` */
    struct loop_source courier_timer;
    struct loop_source courier_view; /* `loop` as seen from courier_loop */
    struct loop_source taker;        /* config.handover_take_fd */
    bool taker_is_watched;
    bool prefers_taker;         /* it joined the loop in front of the listeners last */
    uint64_t handover_again_ms; /* idle connections wait for room in the hand-over socket; 0: none */
    struct buf handover_buffer;
    struct list foreign_locals;

    struct list ready;  /* conns with a complete request, oldest first */
    struct list served; /* conns in CONN_SERVING, oldest first */
    unsigned ready_count;

    struct timer_queue queues[QUEUE_COUNT];

    struct acceptor *acceptors; /* config.listener_count of them */
    uint64_t accept_again_ms;   /* out of descriptors until then; 0: accepting */
    bool is_short_of_room;      /* said so in the log; until the next connection is accepted */
    size_t conn_count;
    size_t conn_limit;

    struct buf scratch; /* what recv(2) fills */
    struct head_cache *head_cache;
    struct http_date date; /* for the engine's own answers */
    struct exchange *free_exchanges;
    unsigned free_exchange_count;
    struct list free_conns; /* kept as long as the server lives: io/loop.h says why */
};

/* http/exchange.c */
struct exchange *exchange_take(struct server *s, struct conn *c);
void exchange_give_back(struct server *s, struct exchange *x);
void exchange_free_all(struct server *s);

/* http/response.c */
void response_reset(struct response *r);

/* http/accept.c */
void accept_start(struct server *s);
void accept_stop(struct server *s);
/* Watches listeners and hand-over socket, or not, as the moment demands. */
void accept_update(struct server *s);
/* Takes everything that the kernel has queued. */
void accept_all(struct server *s);
/* The last look before a full stop: connections that were half made at its beginning. True if one came. */
bool accept_stragglers(struct server *s);

/* http/courier.c */
int courier_start(struct server *s);
/* The last free application thread goes to work, and the courier is not alert. */
void courier_alert(struct server *s);
/* An application thread is about to wait in the loop. */
void courier_rest(struct server *s);
/* An application thread has come, or come back, and the courier leads. */
void courier_recall(struct server *s);
/* After the last server_run() has returned. */
void courier_stop(struct server *s);

/* http/request_timeout.c */
/* When the setting `timeout` ends the next running request; CLOCK_NEVER if none runs. */
uint64_t request_timeout_deadline(const struct server *s);
/* The running requests that are past it: their clients are answered, the other connections go to siblings. */
void request_timeout_enforce(struct server *s);

/* http/handover.c. Anything but HANDOVER_DONE leaves the connection as it was. */
enum handover_result {
    HANDOVER_DONE,
    HANDOVER_LATER, /* the socket is full */
    HANDOVER_UNFIT  /* too large, or refused by the kernel: it stays here */
};
/* Are there siblings, and is it wanted? */
bool handover_is_possible(const struct server *s);
/* In CONN_IDLE, in CONN_READY, or in CONN_READING while the head is arriving. */
enum handover_result handover_give(struct conn *c);
/* Every complete request that waits. */
void handover_ready(struct server *s);
/* Every connection that is idle or whose next head is still arriving. */
void handover_unready(struct server *s);
/* Takes one connection from the socket; false if there was none. */
bool handover_take(struct server *s);

/* http/server.c */
/* Somebody has to be awake at `deadline_ms`: ends the leader's wait if it would sleep longer. */
void server_expect_deadline(struct server *s, uint64_t deadline_ms);
/* Ends the wait of one thread. */
void server_poke(struct server *s);
void server_expire_timers(struct server *s);
uint64_t server_next_deadline(const struct server *s);
/* From now to `wake_ms`, for epoll_wait(2). */
int server_wait_milliseconds(const struct server *s, uint64_t wake_ms);
void server_flush_log(struct server *s);
/* The worker hears nothing any more, not even of its end, and its descriptors may be others by now, the log's too: ends
 * the process, which is supervised, by a status that tells the arbiter why. */
noreturn void server_lose_loop(void);
/* After some other descriptor was found closed: does so if the loop is lost as well. */
void server_check_loop(struct server *s);

static inline bool server_has_siblings(const struct server *s) {
    return s->config.has_siblings && atomic_load_explicit(s->config.has_siblings, memory_order_relaxed);
}

static inline struct output_release server_release(const struct server *s) {
    return (struct output_release){s->handler->release, s->handler->ctx};
}

#endif
