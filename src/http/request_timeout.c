/* The setting `timeout`, as far as the worker itself can keep it: whoever leads, the courier or another application
 * thread, answers the client of a request that has run too long with 504, and gives the other connections to siblings.
 * What happens to the worker is the arbiter's business, a moment later.
 *
 * Application thread and leader may want to answer at the same time: whoever claims the response first may
 * (response_claim). Must never write into a response that has begun. */
#include "http/engine.h"
#include "http/status_codes.h"

static bool is_over(const struct server *s, const struct conn *c) {
    return c->exchange->served_ms + s->settings->timeout <= s->now_ms;
}

uint64_t request_timeout_deadline(const struct server *s) {
    uint64_t next = CLOCK_NEVER;
    if (!s->settings->timeout) return next;
    for (struct list *node = s->served.next; node != &s->served; node = node->next) {
        const struct conn *c = CONTAINER_OF(node, struct conn, link);
        uint64_t deadline = c->exchange->served_ms + s->settings->timeout;
        if (!c->is_timed_out && deadline < next) next = deadline;
    }
    return next;
}

static void answer(struct conn *c) {
    c->is_timed_out = true;
    struct server *s = c->server;
    char target[160];
    const struct request *r = &c->exchange->request;
    log_escape(target, sizeof target, request_span(r, r->target));
    bool is_ours = response_claim(&c->exchange->response) && output_is_empty(&c->output);
    log_warning("%.*s %s exceeds timeout, %.0f s: %s", SLICE_ARG(request_span(r, r->method)), target,
                (double)s->settings->timeout / 1000,
                is_ours ? "its client is answered with 504" : "its response, which has begun, is cut");
    if (is_ours) conn_send_text(c, 504);
    if (s->config.on_timeout) s->config.on_timeout(s->config.on_timeout_ctx, c->exchange->thread, c->exchange->number);
}

void request_timeout_enforce(struct server *s) {
    if (!s->settings->timeout) return;
    bool any = false;
    for (struct list *node = s->served.next; node != &s->served; node = node->next) {
        struct conn *c = CONTAINER_OF(node, struct conn, link);
        if (c->is_timed_out || !is_over(s, c)) continue;
        answer(c);
        any = true;
    }
    bool is_doomed = s->settings->threads == 1; /* the arbiter is about to kill it */
    if (any && is_doomed) handover_unready(s);
}
