/* The life of a connection: idle, reading, ready, serving, flushing, and again; or lingering and closed.
 *
 * Edge-triggered: a connection is registered once and costs no epoll_ctl(2) per request. An edge that comes while
 * nobody reads is remembered in may_read. A short read means that the socket was drained (epoll(7)), so a request costs
 * one recv(2). Must never block, and must never touch a connection in CONN_SERVING beyond its output. */
#include "http/engine.h"
#include "http/parser.h"
#include "http/proxy_protocol.h"
#include "http/status_codes.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define MOVE_ON_EVERY 64 /* requests */
#define MOVE_ON_FIRST 1  /* soon: whoever woke up first has accepted a whole burst */
#define READS_A_TURN  8  /* so that one uploader does not starve the others */
#define INPUT         (EPOLLIN | EPOLLRDHUP | EPOLLET)

static void conn_feed(struct conn *c, struct buf *from);
static void conn_read(struct conn *c);

static void conn_expect(struct conn *c, struct timer_queue *queue) {
    timer_start(queue, &c->timer, c->server->now_ms);
    server_expect_deadline(c->server, c->timer.deadline_ms);
}

static void watch(struct conn *c, uint32_t events) {
    struct loop *l = &c->server->loop;
    events |= c->watched;
    if (events == c->watched) return;
    if ((c->watched ? loop_modify : loop_add)(l, &c->source, events)) {
        log_error("cannot watch a connection: %s", strerror(errno));
        return;
    }
    c->watched = events;
}

/* Without EPOLLOUT, which nearly every socket would report at once, and nearly no connection waits for. */
void conn_watch(struct conn *c) {
    watch(c, INPUT);
}

void conn_watch_output(struct conn *c) {
    watch(c, INPUT | EPOLLOUT);
}

/* An edge is not repeated; registering anew brings one if there is more to read. */
static void conn_rewatch(struct conn *c) {
    if (c->watched) loop_modify(&c->server->loop, &c->source, c->watched);
}

void conn_close(struct conn *c, enum close_reason reason) {
    struct server *s = c->server;
    timer_stop(&c->timer);
    list_unlink(&c->link);
    /* Whoever took it holds it open, so that it would stay in the set. */
    if (reason != CLOSE_HANDED_OVER) loop_forget(&c->source);
    else if (c->watched) loop_remove(&s->loop, &c->source);
    fd_close(&c->source.fd);
    output_clear(&c->output, server_release(s));
    buf_release(&c->pending);
    if (c->exchange) exchange_give_back(s, c->exchange);
    c->exchange = NULL;
    c->state = CONN_CLOSED;
    list_prepend(&s->free_conns, &c->link);
    s->conn_count--;
    atomic_store_explicit(&s->config.activity->connections, s->conn_count, memory_order_relaxed);
}

static void conn_linger_read(struct conn *c) {
    struct server *s = c->server;
    buf_reserve(&s->scratch, READ_BYTES);
    ssize_t n = 1;
    for (int i = 0; i < READS_A_TURN && n > 0; i++) n = recv(c->source.fd, s->scratch.data, READ_BYTES, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN) || s->now_ms > c->linger_until_ms) {
        conn_close(c, CLOSE_DONE);
        return;
    }
    if (n > 0) conn_rewatch(c);
    conn_expect(c, &s->queues[QUEUE_LINGER]);
}

/* Our side is done, but bytes of the client may be under way: closing now would answer them with a reset, which would
 * destroy the answer in the client's receive buffer. */
static void conn_linger(struct conn *c) {
    c->state = CONN_LINGERING;
    shutdown(c->source.fd, SHUT_WR);
    conn_watch(c);
    c->linger_until_ms = c->server->now_ms + LINGER_MAX_MS;
    conn_linger_read(c);
}

/* A busy connection would tie its load to one worker for ever. Now and then it goes to whoever is free. */
static void conn_move_on(struct conn *c) {
    c->requests++;
    handover_give(c);
}

void conn_await_request(struct conn *c) {
    struct server *s = c->server;
    c->state = CONN_IDLE;
    if (c->pending.len) {
        struct buf arrived = c->pending;
        buf_init(&c->pending);
        conn_feed(c, &arrived);
        buf_release(&arrived);
        if (c->state != CONN_IDLE && c->state != CONN_READING) return;
    }
    if (c->state == CONN_IDLE) conn_expect(c, &s->queues[QUEUE_IDLE]);
    conn_watch(c);
    if (c->may_read) conn_read(c);
    if (c->state != CONN_IDLE) return;
    if (s->is_draining) conn_retire(c);
    else if (UNLIKELY(c->requests % MOVE_ON_EVERY == MOVE_ON_FIRST) && handover_is_possible(s)) conn_move_on(c);
}

static void conn_after_output(struct conn *c) {
    if (!c->closes) conn_await_request(c);
    else if (c->lingers || c->may_read || c->pending.len) conn_linger(c);
    else conn_close(c, CLOSE_DONE);
}

static void conn_flush(struct conn *c) {
    switch (output_flush(&c->output, c->source.fd, server_release(c->server))) {
    case OUTPUT_DONE: conn_after_output(c); return;
    case OUTPUT_BLOCKED:
        c->state = CONN_FLUSHING;
        c->unacknowledged = fd_unacknowledged(c->source.fd);
        conn_watch_output(c);
        conn_expect(c, &c->server->queues[QUEUE_SEND]);
        return;
    case OUTPUT_BROKEN: conn_close(c, CLOSE_BROKEN);
    }
}

static struct buf text_of_status(const struct conn *c, unsigned status) {
    struct slice line = status_line(status);
    struct buf text = BUF_INIT;
    const char *server = c->server->settings->server_header;
    struct slice date = http_date_now(&c->server->date);
    buf_printf(&text, "HTTP/1.1 %.*s\r\nDate: %.*s\r\n", SLICE_ARG(line), SLICE_ARG(date));
    if (*server) buf_printf(&text, "Server: %s\r\n", server);
    buf_printf(&text, "Content-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", line.len + 1);
    bool is_head = c->exchange && c->exchange->request.is_head; /* RFC 9110, 9.3.2 */
    if (!is_head) buf_printf(&text, "%.*s\n", SLICE_ARG(line));
    return text;
}

void conn_send_text(struct conn *c, unsigned status) {
    struct buf text = text_of_status(c, status);
    if (send(c->source.fd, text.data, text.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) c->is_gone = true;
    shutdown(c->source.fd, SHUT_WR);
    buf_release(&text);
}

/* An answer of the engine's own, after which the connection is closed; the client may still be sending. */
static void conn_answer_and_close(struct conn *c, unsigned status) {
    struct buf text = text_of_status(c, status);
    if (c->exchange) exchange_give_back(c->server, c->exchange);
    c->exchange = NULL;
    c->closes = c->lingers = true;
    output_copy(&c->output, c->server->settings, text.data, text.len);
    buf_release(&text);
    conn_flush(c);
}

static void conn_refuse(struct conn *c) {
    const struct refusal *refusal = &c->exchange->parser->refusal;
    char subject[96];
    log_escape(subject, sizeof subject, request_span(&c->exchange->request, refusal->subject));
    log_info("request from '%.*s' refused with %u: %s%s%s%s", (int)c->client.text_len, c->client.text, refusal->status,
             refusal->reason, refusal->subject.length ? " '" : "", refusal->subject.length ? subject : "",
             refusal->subject.length ? "'" : "");
    conn_answer_and_close(c, refusal->status);
}

void conn_complete(struct conn *c) {
    struct server *s = c->server;
    if (c->exchange->parser->state == PARSER_REFUSED) {
        conn_refuse(c);
        return;
    }
    timer_stop(&c->timer);
    c->state = CONN_READY;
    c->exchange->accepted_ms = s->now_ms;
    list_append(&s->ready, &c->link);
    s->ready_count++;
}

/* Has more arrived than was read? */
static bool conn_has_input(const struct conn *c) {
    char byte;
    return recv(c->source.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Only if the body is wanted and none of it has come (RFC 9110, 10.1.1). */
static void conn_send_continue(struct conn *c) {
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    output_copy(&c->output, c->server->settings, text, sizeof text - 1);
    enum output_result result = output_flush(&c->output, c->source.fd, server_release(c->server));
    if (result == OUTPUT_BROKEN) c->is_gone = true;
    c->has_queued = result == OUTPUT_BLOCKED; /* the answer must not overtake it */
}

/* The head must outlive the buffer it arrived in. */
static void keep_head(struct exchange *x, struct buf *base) {
    if (base != &x->input) buf_append(&x->input, base->data, x->parser->head_length);
    x->input.len = x->parser->head_length;
    x->request.head = x->input.data;
}

static void feed_head(struct conn *c, struct buf *from, bool is_first) {
    struct exchange *x = c->exchange;
    struct parser *p = x->parser;
    struct buf *base = from;
    if (x->input.len) {
        buf_append(&x->input, from->data, from->len);
        base = &x->input;
    }
    size_t used = parser_feed(p, base->data, base->len);
    switch (p->state) {
    case PARSER_METHOD:
    case PARSER_HEAD:
        if (base == from) buf_append(&x->input, from->data, from->len);
        if (is_first) conn_expect(c, &c->server->queues[QUEUE_HEADER]);
        break;
    case PARSER_BODY:
        if (x->request.wants_continue && base->len == p->head_length && !conn_has_input(c)) conn_send_continue(c);
        keep_head(x, base);
        conn_expect(c, &c->server->queues[QUEUE_BODY]);
        break;
    case PARSER_COMPLETE:
        if (used < base->len) buf_append(&c->pending, base->data + used, base->len - used);
        if (base == from) {
            struct buf arrived = *from;
            *from = x->input;
            x->input = arrived;
        }
        conn_complete(c);
        break;
    case PARSER_REFUSED: conn_complete(c);
    }
}

static void feed_body(struct conn *c, struct buf *from) {
    struct parser *p = c->exchange->parser;
    size_t used = parser_feed(p, from->data, from->len);
    if (p->state == PARSER_BODY) {
        conn_expect(c, &c->server->queues[QUEUE_BODY]);
        return;
    }
    if (used < from->len) buf_append(&c->pending, from->data + used, from->len - used);
    conn_complete(c);
}

/* Nothing of its first request has arrived. */
static void conn_expect_first(struct conn *c) {
    struct server *s = c->server;
    conn_expect(c, &s->queues[s->is_draining ? QUEUE_FRESH : QUEUE_IDLE]);
}

/* The PROXY header comes first and once; what follows it is HTTP. One that is still arriving waits where a head does,
 * and no longer. False when there is nothing more to do. */
static bool feed_proxy(struct conn *c, struct buf *from, bool is_first) {
    struct server *s = c->server;
    struct buf *begun = &c->exchange->input;
    if (begun->len) {
        buf_append(begun, from->data, from->len);
        buf_reset(from);
        buf_append(from, begun->data, begun->len);
        buf_reset(begun);
    }
    ssize_t used = proxy_protocol_parse(buf_slice(from), s->settings->proxy_protocol, &c->client);
    if (used < 0) {
        log_warning("connection from '%.*s' closed: no valid PROXY header in front, although proxy_protocol is set",
                    (int)c->peer.text_len, c->peer.text);
        conn_close(c, CLOSE_BROKEN);
        return false;
    }
    if (used == 0) {
        buf_append(begun, from->data, from->len);
        if (is_first) conn_expect(c, &s->queues[QUEUE_HEADER]);
        return false;
    }
    c->wants_proxy = false;
    buf_consume(from, (size_t)used);
    if (from->len) return true;
    exchange_give_back(s, c->exchange);
    c->exchange = NULL;
    c->state = CONN_IDLE;
    conn_expect_first(c);
    return false;
}

/* `from` may come back with another buffer in it. */
static void conn_feed(struct conn *c, struct buf *from) {
    bool is_first = !c->exchange;
    if (is_first) c->exchange = exchange_take(c->server, c);
    c->state = CONN_READING;
    if (UNLIKELY(c->wants_proxy) && !feed_proxy(c, from, is_first)) return;
    if (c->exchange->parser->state < PARSER_BODY) feed_head(c, from, is_first);
    else feed_body(c, from);
}

/* The client will send no more. What it was sending is lost; an answer that is leaving is not (half-close). */
static void conn_end_of_input(struct conn *c) {
    if (c->state == CONN_READING && c->exchange && c->exchange->parser->state != PARSER_METHOD)
        log_debug("connection from '%.*s' ended within a request", (int)c->peer.text_len, c->peer.text);
    conn_close(c, CLOSE_CLIENT);
}

static void conn_read(struct conn *c) {
    struct server *s = c->server;
    for (int i = 0; c->state == CONN_IDLE || c->state == CONN_READING; i++) {
        if (i == READS_A_TURN) {
            conn_rewatch(c);
            return;
        }
        buf_reserve(&s->scratch, READ_BYTES);
        ssize_t n = recv(c->source.fd, s->scratch.data, READ_BYTES, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            c->may_read = false;
            return;
        }
        if (n <= 0) {
            conn_end_of_input(c);
            return;
        }
        if (n < READ_BYTES) c->may_read = false;
        s->scratch.len = (size_t)n;
        conn_feed(c, &s->scratch);
        buf_reset(&s->scratch);
        if (!c->may_read) return;
    }
}

static void on_event(struct loop_source *source, uint32_t events) {
    struct conn *c = CONTAINER_OF(source, struct conn, source);
    const struct server *s = c->server;
    if (events & (EPOLLERR | EPOLLHUP)) c->is_gone = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) c->may_read = true;
    /* Whoever takes it reads it. */
    if (UNLIKELY(s->courier_leads) && c->state == CONN_IDLE && events == EPOLLIN && handover_is_possible(s) &&
        handover_give(c) == HANDOVER_DONE)
        return;
    switch (c->state) {
    case CONN_IDLE:
    case CONN_READING:
        if (c->may_read) conn_read(c);
        /* The end of input may have come together with the last bytes. */
        if ((events & EPOLLRDHUP) && (c->state == CONN_IDLE || c->state == CONN_READING)) conn_read(c);
        else if (events & EPOLLRDHUP) c->may_read = true;
        break;
    case CONN_SERVING:
        if (!output_is_empty(&c->output)) output_flush(&c->output, c->source.fd, server_release(s));
        break;
    case CONN_FLUSHING: conn_flush(c); break;
    case CONN_LINGERING: conn_linger_read(c); break;
    case CONN_READY:
    case CONN_CLOSED: break;
    }
}

struct conn *conn_new(struct server *s, int fd, const struct peer *local, const struct peer *peer) {
    struct list *free = list_first(&s->free_conns);
    struct conn *c = free ? CONTAINER_OF(free, struct conn, link) : MEM_NEW(struct conn);
    if (free) list_unlink(free);
    uint16_t generation = c->source.generation;
    *c = (struct conn){
        .source = {.fd = fd, .generation = generation, .on_event = on_event}, .server = s, .local = local};
    c->peer = c->client = *peer;
    list_init(&c->link);
    timer_init(&c->timer);
    output_init(&c->output);
    s->conn_count++;
    atomic_store_explicit(&s->config.activity->connections, s->conn_count, memory_order_relaxed);
    return c;
}

void conn_start(struct server *s, int fd, const struct peer *local, const struct peer *peer) {
    struct conn *c = conn_new(s, fd, local, peer);
    c->wants_proxy = s->settings->proxy_protocol != PROXY_OFF &&
                     address_set_has(&s->settings->proxy_allow_ips, peer->is_unix ? NULL : peer->ip);
    c->may_read = true;
    conn_read(c);
    if (c->state == CONN_IDLE) conn_expect_first(c);
    if (c->state == CONN_IDLE || c->state == CONN_READING) conn_watch(c);
}

void conn_answered(struct conn *c) {
    struct server *s = c->server;
    const struct response *r = &c->exchange->response;
    c->requests++;
    c->closes = r->must_close || r->is_aborted || c->is_timed_out;
    c->lingers = c->exchange->request.keep_alive; /* the client does not expect it, and may be sending */
    bool is_broken = c->is_gone && !output_is_empty(&c->output);
    exchange_give_back(s, c->exchange);
    c->exchange = NULL;
    c->has_queued = false;
    if (is_broken) conn_close(c, CLOSE_BROKEN);
    else if (output_is_empty(&c->output)) conn_after_output(c);
    else conn_flush(c);
}

void conn_retire(struct conn *c) {
    if (!c->requests) listener_let_through(c->source.fd);
    c->may_read = true;
    conn_read(c);
    if (c->state != CONN_IDLE) return;
    if (handover_is_possible(c->server)) {
        enum handover_result result = handover_give(c);
        if (result == HANDOVER_LATER && !c->server->handover_again_ms)
            c->server->handover_again_ms = c->server->now_ms + HANDOVER_RETRY_MS;
        if (result != HANDOVER_UNFIT) return;
    }
    if (c->requests) conn_close(c, CLOSE_SHUTDOWN);
    else conn_expect(c, &c->server->queues[QUEUE_FRESH]);
}

bool conn_is_cut(const struct conn *c) {
    struct pollfd p = {.fd = c->source.fd, .events = 0};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

bool conn_has_progress(struct conn *c) {
    size_t before = c->unacknowledged;
    c->unacknowledged = fd_unacknowledged(c->source.fd);
    return c->unacknowledged < before;
}

void conn_expire(struct conn *c) {
    bool in_request = c->state == CONN_READING;
    if (c->state == CONN_FLUSHING && conn_has_progress(c)) {
        conn_expect(c, &c->server->queues[QUEUE_SEND]);
        return;
    }
    if (c->state == CONN_FLUSHING)
        log_info("connection from '%.*s' closed: no progress in its response for send_timeout", (int)c->peer.text_len,
                 c->peer.text);
    if (!in_request) {
        conn_close(c, CLOSE_TIMEOUT);
        return;
    }
    bool in_body = c->exchange && c->exchange->parser->state == PARSER_BODY;
    log_info("request from '%.*s' refused with 408: %s", (int)c->client.text_len, c->client.text,
             in_body          ? "no progress in its body for body_timeout"
             : c->wants_proxy ? "its PROXY header was not complete within header_timeout"
                              : "its head was not complete within header_timeout");
    conn_answer_and_close(c, 408);
}
