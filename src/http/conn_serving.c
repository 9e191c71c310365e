/* Sending by the application thread that serves a connection: straight to the socket as long as nothing is queued,
 * without the engine's lock. What the socket does not take is queued under the lock, and the loop sends it from then
 * on.
 *
 * Only when the queue is full does the thread wait for the client, at most send_timeout without progress. */
#include "http/engine.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/sendfile.h>

#define KEEP_BYTES   (32 * 1024) /* smaller pieces are cheaper copied than kept */
#define SENDFILE_MAX 0x7ffff000

/* Drops the first `sent` bytes; how many vectors are used up. */
static int advance(struct iovec *vectors, int count, size_t sent) {
    int i = 0;
    while (i < count && sent >= vectors[i].iov_len) sent -= vectors[i++].iov_len;
    if (i < count) {
        vectors[i].iov_base = (char *)vectors[i].iov_base + sent;
        vectors[i].iov_len -= sent;
    }
    return i;
}

static ssize_t send_vectors(int fd, struct iovec *vectors, int count, int flags) {
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = (size_t)count};
    ssize_t n;
    do
        n = count == 1 ? send(fd, vectors->iov_base, vectors->iov_len, MSG_NOSIGNAL | flags)
                       : sendmsg(fd, &message, MSG_NOSIGNAL | flags);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) return 0;
    return n;
}

/* Sends on until more fits into the queue, or until it is empty. False: the client is gone, or took nothing for
 * send_timeout. */
static bool wait_for_client(struct conn *c, bool until_empty) {
    struct server *s = c->server;
    uint64_t timeout = s->settings->send_timeout;
    if (s->handler->idle) s->handler->idle(s->handler->ctx);
    enum output_result result = OUTPUT_BLOCKED;
    for (bool done = false; !done && result != OUTPUT_BROKEN;) {
        struct pollfd p = {.fd = c->source.fd, .events = POLLOUT};
        c->unacknowledged = fd_unacknowledged(c->source.fd);
        int n = poll(&p, 1, timeout ? (int)timeout : -1);
        if ((n < 0 && errno == EINTR) || (n == 0 && conn_has_progress(c))) continue;
        if (n <= 0 || (p.revents & (POLLERR | POLLHUP))) {
            if (n == 0)
                log_info("response to '%.*s' cut: no progress for send_timeout", (int)c->peer.text_len, c->peer.text);
            result = OUTPUT_BROKEN;
            break;
        }
        pthread_mutex_lock(&s->lock);
        result = output_flush(&c->output, c->source.fd, server_release(s));
        done = until_empty ? output_is_empty(&c->output) : output_has_room(&c->output, s->settings);
        pthread_mutex_unlock(&s->lock);
    }
    if (s->handler->wake) s->handler->wake(s->handler->ctx);
    return result != OUTPUT_BROKEN;
}

/* Copies into the queue. When the spool file takes no more, the client has to take what is queued first. Lock held, let
 * go meanwhile. */
static bool queue_copy(struct conn *c, const char *data, size_t len) {
    struct server *s = c->server;
    while (len && output_copy(&c->output, s->settings, data, len)) {
        log_error("cannot keep a response in '%s': %s; waiting for its client instead", s->settings->spool_dir,
                  strerror(errno));
        if (output_is_empty(&c->output)) return false;
        pthread_mutex_unlock(&s->lock);
        bool is_there = wait_for_client(c, true);
        pthread_mutex_lock(&s->lock);
        if (!is_there) return false;
    }
    return true;
}

/* After something was queued: the loop learns of it, and a full queue holds the producer back. Lock held; returns
 * without it. */
static bool queue_settle(struct conn *c) {
    struct server *s = c->server;
    c->has_queued = true;
    enum output_result result = output_flush(&c->output, c->source.fd, server_release(s));
    if (result == OUTPUT_BLOCKED) conn_watch_output(c);
    if (result == OUTPUT_DONE) c->has_queued = false;
    bool has_room = output_has_room(&c->output, s->settings);
    pthread_mutex_unlock(&s->lock);
    if (result == OUTPUT_BROKEN) return false;
    return has_room || wait_for_client(c, false);
}

enum response_result conn_send(struct conn *c, struct iovec *vectors, int count, int owned, void *owner) {
    int first = 0;
    if (!c->has_queued) {
        ssize_t sent = send_vectors(c->source.fd, vectors, count, 0);
        if (sent < 0) return RESPONSE_GONE;
        first = advance(vectors, count, (size_t)sent);
        if (first == count) return RESPONSE_TAKEN;
    }
    struct server *s = c->server;
    enum response_result result = RESPONSE_TAKEN;
    pthread_mutex_lock(&s->lock);
    if (c->is_gone) {
        /* Found out after a piece that was kept: without this the producer of an endless body would never learn of
         * it. */
        pthread_mutex_unlock(&s->lock);
        return RESPONSE_GONE;
    }
    for (int i = first; i < count; i++) {
        if (i == owned && owner && vectors[i].iov_len >= KEEP_BYTES &&
            output_may_keep(&c->output, s->settings, vectors[i].iov_len)) {
            output_keep(&c->output, vectors[i].iov_base, vectors[i].iov_len, owner);
            result = RESPONSE_KEPT;
        } else if (!queue_copy(c, vectors[i].iov_base, vectors[i].iov_len)) {
            pthread_mutex_unlock(&s->lock);
            return result == RESPONSE_KEPT ? RESPONSE_KEPT : RESPONSE_GONE;
        }
    }
    if (queue_settle(c)) return result;
    pthread_mutex_lock(&s->lock);
    c->is_gone = true;
    pthread_mutex_unlock(&s->lock);
    return result == RESPONSE_KEPT ? RESPONSE_KEPT : RESPONSE_GONE;
}

enum response_result conn_send_file(struct conn *c, int fd, uint64_t offset, uint64_t length) {
    while (!c->has_queued && length) {
        off_t at = (off_t)offset;
        size_t want = length > SENDFILE_MAX ? SENDFILE_MAX : (size_t)length;
        ssize_t n = sendfile(c->source.fd, fd, &at, want);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) return RESPONSE_GONE;
        if (n == 0) return RESPONSE_GONE; /* shorter than it was said to be */
        if (n > 0) offset += (uint64_t)n, length -= (uint64_t)n;
        if (n < (ssize_t)want) break;
    }
    if (!length) return RESPONSE_TAKEN;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return RESPONSE_GONE;
    pthread_mutex_lock(&c->server->lock);
    output_file(&c->output, copy, offset, length);
    return queue_settle(c) ? RESPONSE_TAKEN : RESPONSE_GONE;
}
