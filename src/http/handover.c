/* Handing connections to siblings: descriptor, peer, the bytes that have arrived, and where the connection stands
 * travel as one message through a SEQPACKET socket that all workers share; whoever is free takes it.
 *
 * A connection is given between requests, with a head that is still arriving, or with one complete request that nobody
 * here has begun. The head travels as it came and is parsed again, by the same rules; the body travels decoded, in
 * memory or as the descriptor of its file. The giver forgets the connection the moment the kernel has the message: from
 * then on it exists once, in the socket. Must never block. */
#include "http/engine.h"
#include "http/parser.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <unistd.h>

#define MESSAGE_MAX (192 * 1024) /* what the default send buffer of a unix socket holds */
#define MAGIC       0x63737631u

struct message {
    uint32_t magic;
    uint32_t requests;
    uint32_t head_length; /* 0: between requests */
    uint32_t body_in_memory;
    uint64_t body_length;
    uint32_t pending_length;
    bool has_body_file;
    bool wants_proxy;
    struct peer peer;
    struct peer client;
    struct peer local;
};

union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(2 * sizeof(int))];
};

/* What has been read and belongs to no complete request. A head that is still arriving is read again from its start. */
static const struct buf *unused_bytes(const struct conn *c) {
    return c->state == CONN_READING ? &c->exchange->input : &c->pending;
}

static void describe(const struct conn *c, struct message *m, struct iovec vectors[4]) {
    const struct exchange *x = c->state == CONN_READY ? c->exchange : NULL;
    const struct buf *rest = unused_bytes(c);
    *m = (struct message){.magic = MAGIC,
                          .requests = c->requests,
                          .pending_length = (uint32_t)rest->len,
                          .wants_proxy = c->wants_proxy,
                          .peer = c->peer,
                          .client = c->client,
                          .local = *c->local};
    vectors[0] = (struct iovec){m, sizeof *m};
    vectors[1] = vectors[2] = (struct iovec){NULL, 0};
    vectors[3] = (struct iovec){rest->data, rest->len};
    if (!x) return;
    const struct body *body = &x->request.body;
    m->head_length = x->parser->head_length;
    m->body_length = body->length;
    m->has_body_file = body->file_fd >= 0;
    m->body_in_memory = (uint32_t)body->memory.len;
    vectors[1] = (struct iovec){(void *)(uintptr_t)x->request.head, m->head_length};
    vectors[2] = (struct iovec){body->memory.data, body->memory.len};
}

/* The only worker has no siblings, but whoever comes after it is one. */
bool handover_is_possible(const struct server *s) {
    if (s->config.handover_give_fd < 0 || !s->settings->handover_delay) return false;
    return s->is_draining ? s->drain_mode == SERVER_DRAIN_RETIRE : server_has_siblings(s);
}

/* The socket is full, or holds all the descriptors that one user may have under way (unix(7)). */
static bool may_fit_later(int error) {
    return error == EAGAIN || error == ENOBUFS || error == EINTR || error == ETOOMANYREFS;
}

enum handover_result handover_give(struct conn *c) {
    struct server *s = c->server;
    struct message m;
    struct iovec vectors[4];
    if (!output_is_empty(&c->output)) return HANDOVER_UNFIT; /* a 100 Continue that the socket did not take */
    describe(c, &m, vectors);
    if (sizeof m + vectors[1].iov_len + vectors[2].iov_len + vectors[3].iov_len > MESSAGE_MAX) return HANDOVER_UNFIT;
    union control control = {0};
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 4, .msg_control = control.space};
    int fds[2] = {c->source.fd, m.has_body_file ? c->exchange->request.body.file_fd : -1};
    size_t fd_bytes = (m.has_body_file ? 2 : 1) * sizeof(int);
    message.msg_controllen = CMSG_SPACE(fd_bytes);
    control.header =
        (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(fd_bytes)};
    memcpy(CMSG_DATA(&control.header), fds, fd_bytes);
    if (sendmsg(s->config.handover_give_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return may_fit_later(errno) ? HANDOVER_LATER : HANDOVER_UNFIT;
    atomic_fetch_add_explicit(&s->config.activity->handed_over, 1, memory_order_relaxed);
    conn_close(c, CLOSE_HANDED_OVER);
    return HANDOVER_DONE;
}

void handover_ready(struct server *s) {
    if (!handover_is_possible(s)) return;
    struct list *node = s->ready.next;
    while (node != &s->ready) {
        struct conn *c = CONTAINER_OF(node, struct conn, link);
        node = node->next;
        if (handover_give(c) == HANDOVER_LATER) return;
        if (c->state != CONN_READY) s->ready_count--;
    }
}

/* False when the socket is full. */
static bool give_queue(struct list *queue) {
    struct list *node = queue->next;
    while (node != queue) {
        struct conn *c = CONTAINER_OF(node, struct conn, timer.link);
        node = node->next;
        if (handover_give(c) == HANDOVER_LATER) return false;
    }
    return true;
}

void handover_unready(struct server *s) {
    bool all = !handover_is_possible(s) ||
               (give_queue(&s->queues[QUEUE_IDLE].timers) && give_queue(&s->queues[QUEUE_HEADER].timers));
    s->handover_again_ms = all ? 0 : s->now_ms + HANDOVER_RETRY_MS;
}

/* The listener of the same address; for one that this worker does not have (a reload changed `bind`), the message's own
 * words are kept. */
static const struct peer *local_of(struct server *s, const struct peer *local) {
    for (size_t i = 0; i < s->config.listener_count; i++)
        if (memcmp(&s->config.listeners[i]->local, local, sizeof *local) == 0) return &s->config.listeners[i]->local;
    for (struct list *node = s->foreign_locals.next; node != &s->foreign_locals; node = node->next) {
        struct foreign_local *known = CONTAINER_OF(node, struct foreign_local, link);
        if (memcmp(&known->local, local, sizeof *local) == 0) return &known->local;
    }
    struct foreign_local *added = MEM_NEW(struct foreign_local);
    added->local = *local;
    list_append(&s->foreign_locals, &added->link);
    return &added->local;
}

/* The request as the giver had it: its head is parsed by our own rules, its body adopted. Where our rules refuse it
 * (only other limits after a reload can cause that) conn_complete() answers so. */
static void adopt_request(struct conn *c, const struct message *m, const char *bytes, int body_fd) {
    struct exchange *x = c->exchange = exchange_take(c->server, c);
    buf_append(&x->input, bytes, m->head_length);
    c->state = CONN_READING;
    parser_feed(x->parser, x->input.data, x->input.len);
    if (x->parser->state == PARSER_BODY) {
        struct body *body = &x->request.body;
        buf_append(&body->memory, bytes + m->head_length, m->body_in_memory);
        body->length = m->body_length;
        body->file_fd = body_fd;
        body_fd = -1;
        x->parser->state = PARSER_COMPLETE;
    }
    fd_close(&body_fd);
    conn_complete(c);
}

static void adopt(struct server *s, const struct message *m, const char *bytes, const int fds[2]) {
    struct conn *c = conn_new(s, fds[0], local_of(s, &m->local), &m->peer);
    c->client = m->client;
    c->requests = m->requests;
    c->wants_proxy = m->wants_proxy;
    buf_append(&c->pending, bytes + m->head_length + m->body_in_memory, m->pending_length);
    atomic_fetch_add_explicit(&s->config.activity->taken_over, 1, memory_order_relaxed);
    c->is_gone = conn_is_cut(c); /* it may have waited for a taker for long */
    if (m->head_length) adopt_request(c, m, bytes, fds[1]);
    else {
        c->may_read = true; /* a courier gives away what it has heard of without reading it */
        conn_await_request(c);
    }
}

static int received_fds(struct msghdr *message, int fds[2]) {
    fds[0] = fds[1] = -1;
    struct cmsghdr *h = CMSG_FIRSTHDR(message);
    if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) return -1;
    size_t bytes = h->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(h), bytes < 2 * sizeof(int) ? bytes : 2 * sizeof(int));
    for (int i = 0; i < 2; i++) fds[i] = fd_above_standard(fds[i]);
    return fds[0] < 0 ? -1 : 0;
}

bool handover_take(struct server *s) {
    union control control;
    struct message *m;
    buf_reserve(&s->handover_buffer, MESSAGE_MAX);
    struct iovec vector = {s->handover_buffer.data, MESSAGE_MAX};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(s->config.handover_take_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n <= 0) return false;
    int fds[2];
    m = (struct message *)(void *)s->handover_buffer.data;
    bool is_whole = received_fds(&message, fds) == 0 && (size_t)n >= sizeof *m && m->magic == MAGIC &&
                    (size_t)n == sizeof *m + m->head_length + m->body_in_memory + m->pending_length;
    if (!is_whole) {
        log_error("a connection that a sibling handed over was lost: %s",
                  fds[0] < 0 ? "out of descriptors" : "the message is not whole");
        fd_close(&fds[0]);
        fd_close(&fds[1]);
        return true;
    }
    adopt(s, m, s->handover_buffer.data + sizeof *m, fds);
    return true;
}
