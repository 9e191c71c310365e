/* The arbiter's end of the conversation with a template: messages over a socket that never blocks it.
 *
 * Must never forget a template whose socket is still open: a worker that it was forking may announce itself there. */
#include "process/template.h"

#include "base/fd.h"

#include <errno.h>
#include <sys/socket.h>

void template_init(struct template *t) {
    *t = (struct template){.fd = -1, .due_ms = 0};
}

int template_open(int ends[2]) {
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) return -1;
    return fd_set_nonblock(ends[0], true);
}

int template_ask(const struct template *t, const struct template_request *request) {
    return send(t->fd, request, sizeof(*request), MSG_NOSIGNAL) == sizeof(*request) ? 0 : -1;
}

int template_hear(struct template *t, struct template_reply *reply) {
    if (t->fd < 0) return 0;
    ssize_t got = recv(t->fd, reply, sizeof(*reply), MSG_DONTWAIT);
    if (got == sizeof(*reply)) return 1;
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    fd_close(&t->fd);
    return -1;
}

void template_abort(struct template *t, enum slot_verdict verdict, uint64_t now_ms) {
    t->is_ready = false;
    t->verdict = verdict;
    t->due_ms = now_ms + SLOT_ABORT_GRACE_MS;
    if (t->pid > 0) kill(t->pid, SIGABRT);
}

void template_kill(struct template *t) {
    t->is_ready = false;
    t->due_ms = CLOCK_NEVER;
    if (t->pid > 0) kill(t->pid, SIGKILL);
}

void template_bury(struct template *t) {
    t->pid = 0;
    t->is_ready = false;
    t->verdict = SLOT_NOT_KILLED;
}

bool template_exists(const struct template *t) {
    return t->pid > 0 || t->fd >= 0;
}
