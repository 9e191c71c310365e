/* Taking connections from the listeners and from siblings: only while an application thread is free, so that what a
 * busy worker cannot serve stays in the kernel, where any other worker finds it.
 *
 * Out of descriptors is a state, not an error to spin on: the listeners leave the loop for a second. */
#include "http/engine.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>

#define PAUSE_MS 1000
#define FULL     "worker_connections are open and none is idle"

static bool is_fatal(int error) {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* RFC-less wisdom of accept(2): errors of the connection that was about to be accepted, not of the listener. */
static bool is_about_one_connection(int error) {
    return error == ECONNABORTED || error == EINTR || error == EPROTO || error == EPERM || error == ENETDOWN ||
           error == EHOSTUNREACH || error == ENETUNREACH || error == EHOSTDOWN || error == ENONET ||
           error == ENOPROTOOPT || error == EOPNOTSUPP;
}

static void pause_accepting(struct server *s, const char *why) {
    if (!s->is_short_of_room)
        log_warning("cannot accept connections: %s, with %zu open; trying again every second", why, s->conn_count);
    s->is_short_of_room = true;
    s->accept_again_ms = s->now_ms + PAUSE_MS;
    accept_update(s);
}

/* At the bound the connection that has been idle longest makes room for the new one (its client may come again at
 * once). */
static bool is_full(const struct server *s) {
    return s->conn_count >= s->conn_limit && !timer_queue_oldest(&s->queues[QUEUE_IDLE]);
}

static void make_room(struct server *s) {
    struct timer *oldest = timer_queue_oldest(&s->queues[QUEUE_IDLE]);
    if (s->conn_count > s->conn_limit && oldest) conn_close(CONTAINER_OF(oldest, struct conn, timer), CLOSE_CROWDED);
}

/* The application closed our descriptor, or shut the socket down. */
static bool is_lost(int error) {
    return error == EBADF || error == ENOTSOCK || error == EINVAL;
}

static void give_up(struct server *s, int fd, int error) {
    server_check_loop(s);
    if (s->is_draining) return;
    log_error("cannot accept connections: descriptor %d: %s: the application has closed it; this worker ends", fd,
              strerror(error));
    server_drain(s, SERVER_DRAIN_RETIRE);
}

/* True if a connection came. */
static bool accept_one(struct acceptor *a) {
    struct server *s = a->server;
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    int fd =
        fd_above_standard(accept4(a->listener->fd, (struct sockaddr *)&name, &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd < 0) {
        if (is_lost(errno)) give_up(s, a->listener->fd, errno);
        if (is_fatal(errno)) pause_accepting(s, strerror(errno));
        return is_about_one_connection(errno);
    }
    s->is_short_of_room = false;
    if (UNLIKELY(s->is_draining)) listener_let_through(fd);
    atomic_fetch_add_explicit(&s->config.activity->accepted, 1, memory_order_relaxed);
    struct peer peer;
    peer_from_sockaddr(&peer, (struct sockaddr *)&name, length);
    conn_start(s, fd, &a->listener->local, &peer);
    make_room(s);
    return true;
}

static bool watch(struct server *s, struct loop_source *source, bool is_watched, bool wanted) {
    /* Level-triggered events stay in the kernel's ready list until they are handled, which would wake the courier for
     * each of them; with siblings yield_turn() arms anew anyway. */
    uint32_t events = EPOLLIN | (server_has_siblings(s) ? EPOLLEXCLUSIVE | EPOLLET : 0);
    if (wanted == is_watched) return wanted;
    if (!(wanted ? loop_add(&s->loop, source, events) : loop_remove(&s->loop, source))) return wanted;
    give_up(s, source->fd, errno);
    return false;
}

/* The kernel wakes the first idle worker in the order in which they began to watch: whoever got something goes to the
 * end, so that the workers take turns. */
static void yield_turn(struct server *s, struct loop_source *source) {
    if (!server_has_siblings(s)) return;
    watch(s, source, true, false);
    watch(s, source, false, true);
}

/* A request waits, and an application thread will take it: what else there is may go to others. An event that only the
 * courier was free to hear of is another matter: nobody else was told, so it takes what there is, and hands it over. */
static bool has_enough(const struct server *s) {
    return s->ready_count > 0 && s->serving < s->runners;
}

static void on_listener(struct loop_source *source, uint32_t events) {
    (void)events;
    struct acceptor *a = CONTAINER_OF(source, struct acceptor, source);
    struct server *s = a->server;
    s->has_newcomers = true;
    if (is_full(s)) {
        pause_accepting(s, FULL);
        return;
    }
    bool may_be_more = has_enough(s) || accept_one(a);
    if (may_be_more && a->is_watched) yield_turn(s, &a->source);
}

void accept_all(struct server *s) {
    for (size_t i = 0; i < s->config.listener_count; i++)
        while (accept_one(&s->acceptors[i])) {
        }
    if (s->taker.fd >= 0)
        while (handover_take(s)) {
        }
}

bool accept_stragglers(struct server *s) {
    if (s->drain_mode != SERVER_DRAIN_STOP || s->has_looked_again) return false;
    s->has_looked_again = true;
    for (size_t i = 0; i < s->config.listener_count; i++)
        while (!s->acceptors[i].listener->is_foreign && accept_one(&s->acceptors[i])) {
        }
    return s->conn_count > 0;
}

static void on_taker(struct loop_source *source, uint32_t events) {
    (void)events;
    struct server *s = CONTAINER_OF(source, struct server, taker);
    s->has_newcomers = true;
    if (is_full(s)) {
        pause_accepting(s, FULL);
        return;
    }
    bool may_be_more = has_enough(s) || handover_take(s);
    make_room(s);
    if (may_be_more && s->taker_is_watched) yield_turn(s, &s->taker);
}

/* Asked for each source anew: one that turns out to be lost ends the taking, also from those before it. */
static bool may_take(const struct server *s) {
    return !s->is_draining && !s->is_stopped && !s->courier_leads && s->accept_again_ms == 0;
}

static void update_taker(struct server *s) {
    if (s->taker.fd >= 0) s->taker_is_watched = watch(s, &s->taker, s->taker_is_watched, may_take(s));
}

/* What joins the loop first is heard of first. Where every request keeps its worker busy, listeners and hand-over
 * socket join anew for each: they take turns, or a stream of one would starve the other. */
void accept_update(struct server *s) {
    if (may_take(s) && !s->taker_is_watched) s->prefers_taker = !s->prefers_taker;
    if (s->prefers_taker) update_taker(s);
    for (size_t i = 0; i < s->config.listener_count; i++)
        s->acceptors[i].is_watched = watch(s, &s->acceptors[i].source, s->acceptors[i].is_watched, may_take(s));
    update_taker(s);
}

void accept_start(struct server *s) {
    s->acceptors = mem_zalloc(s->config.listener_count ? s->config.listener_count : 1, sizeof *s->acceptors);
    for (size_t i = 0; i < s->config.listener_count; i++)
        s->acceptors[i] = (struct acceptor){.source = {.fd = s->config.listeners[i]->fd, .on_event = on_listener},
                                            .server = s,
                                            .listener = s->config.listeners[i]};
    s->taker = (struct loop_source){.fd = s->config.handover_take_fd, .on_event = on_taker};
    accept_update(s);
}

void accept_stop(struct server *s) {
    mem_free(s->acceptors);
    s->acceptors = NULL;
}
