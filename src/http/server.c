/* One loop, one lock; whoever is idle leads.
 *
 * An application thread without work takes the lock and leads: it handles events one by one until a request is
 * complete, then lets the lock go and serves that request. With several threads the others wait as followers; a leader
 * that leaves with a request wakes one of them to go on with the batch where it stopped. The lock is never held while
 * waiting in epoll_wait(2) nor while the application runs, so a thread that comes back with its answer never waits for
 * a sleeping leader. */
#include "http/engine.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "http/access_log.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LATE_MS       20
#define LOG_GATHER_MS 100

static void response_prepare(struct server *s, struct exchange *x, unsigned thread) {
    x->thread = thread;
    x->started_us = s->config.access_log ? clock_mono_us() : 0;
    response_reset(&x->response);
    atomic_store_explicit(&x->response.is_claimed, false, memory_order_relaxed);
}

static void serve(struct server *s, struct conn *c, unsigned thread) {
    struct exchange *x = c->exchange;
    struct task *task = &s->config.activity->tasks[thread];
    c->state = CONN_SERVING;
    list_append(&s->served, &c->link);
    x->served_ms = s->now_ms;
    s->serving++;
    x->number = s->answered + s->serving;
    response_prepare(s, x, thread);
    if (s->settings->timeout) server_expect_deadline(s, s->now_ms + s->settings->timeout);
    if (s->has_courier && !s->courier_is_alert && s->serving == s->runners) courier_alert(s);
    pthread_mutex_unlock(&s->lock);

    task_begin(task, clock_mono_coarse_ms(), request_span(&x->request, x->request.method),
               request_span(&x->request, x->request.target), request_protocol(&x->request),
               slice_make(c->client.text, c->client.text_len));
    s->handler->serve(s->handler->ctx, x);
    if (!x->response.is_finished) response_abort(x);
    task_end(task);

    pthread_mutex_lock(&s->lock);
    s->now_ms = clock_mono_coarse_ms();
    list_unlink(&c->link);
    s->serving--;
    s->answered++;
    if (UNLIKELY(s->courier_leads)) courier_recall(s);
    atomic_store_explicit(&s->config.activity->requests, s->answered, memory_order_relaxed);
    conn_answered(c);
    if (s->answered == s->config.max_requests && s->config.on_recycle) s->config.on_recycle(s->config.on_recycle_ctx);
}

static struct conn *take_ready(struct server *s) {
    struct list *first;
    while ((first = list_first(&s->ready))) {
        struct conn *c = CONTAINER_OF(first, struct conn, link);
        list_unlink(first);
        s->ready_count--;
        /* What is not watched yet is new here, and was read without a look at its end. */
        if (UNLIKELY(s->is_late) && !c->watched && !c->is_gone) c->is_gone = conn_is_cut(c);
        if (!c->is_gone) return c;
        log_debug("request from '%.*s' not served: its client has gone", (int)c->peer.text_len, c->peer.text);
        conn_close(c, CLOSE_CLIENT);
    }
    return NULL;
}

void server_expire_timers(struct server *s) {
    for (int i = 0; i < QUEUE_COUNT; i++)
        for (struct timer *t; (t = timer_queue_expire(&s->queues[i], s->now_ms));)
            conn_expire(CONTAINER_OF(t, struct conn, timer));
    if (s->serving) request_timeout_enforce(s);
    if (s->accept_again_ms && s->now_ms >= s->accept_again_ms) {
        s->accept_again_ms = 0;
        accept_update(s);
    }
    if (s->handover_again_ms && s->now_ms >= s->handover_again_ms) handover_unready(s);
}

void server_flush_log(struct server *s) {
    if (s->config.access_log) access_log_flush(s->config.access_log);
}

uint64_t server_next_deadline(const struct server *s) {
    const uint64_t others[] = {s->accept_again_ms, s->handover_again_ms};
    uint64_t next = s->serving ? request_timeout_deadline(s) : CLOCK_NEVER;
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++)
        if (others[i] && others[i] < next) next = others[i];
    for (int i = 0; i < QUEUE_COUNT; i++) {
        uint64_t deadline = timer_queue_deadline(&s->queues[i]);
        if (deadline < next) next = deadline;
    }
    return next;
}

void server_poke(struct server *s) {
    uint64_t one = 1;
    if (write(s->waker.fd, &one, sizeof one) < 0 && errno != EAGAIN)
        log_error("cannot wake the loop: %s", strerror(errno));
}

void server_expect_deadline(struct server *s, uint64_t deadline_ms) {
    /* 0 is always told: the courier may have swallowed the last waking, and the leader still be asleep. */
    if (!s->is_polling || (deadline_ms && deadline_ms >= s->wake_ms)) return;
    s->wake_ms = deadline_ms;
    server_poke(s);
}

/* Edge-triggered: each write is an edge, nobody reads. */
static void on_waker(struct loop_source *source, uint32_t events) {
    (void)source;
    (void)events;
}

int server_wait_milliseconds(const struct server *s, uint64_t wake_ms) {
    if (wake_ms == CLOCK_NEVER) return -1;
    uint64_t wait = wake_ms > s->now_ms ? wake_ms - s->now_ms + 1 : 0;
    return wait > 3600000 ? 3600000 : (int)wait;
}

/* Only events show it to a thread that was asleep in the loop when another one lost it: they come on, because other
 * processes hold the listeners, too. */
void server_check_loop(struct server *s) {
    if (loop_modify(&s->loop, &s->waker, EPOLLIN | EPOLLET)) server_lose_loop();
}

void server_lose_loop(void) {
    log_error("cannot wait for events: %s: the application has closed a descriptor of the server; this worker ends",
              strerror(errno));
    _exit(EXIT_DEAF);
}

/* Also after a last look at the listeners. */
static bool is_drained(struct server *s) {
    return s->is_draining && s->conn_count == 0 && !accept_stragglers(s);
}

/* Lines gather for a moment, so that not every request pays for a write(2); after a pause they leave at once. */
static uint64_t log_deadline(const struct server *s) {
    if (!s->config.access_log || access_log_is_empty(s->config.access_log)) return CLOCK_NEVER;
    return s->log_flushed_ms + LOG_GATHER_MS;
}

/* Waits for the next batch, without the lock. The batch is drained and nobody else waits. */
static void lead(struct server *s) {
    server_expire_timers(s);
    if (!list_is_empty(&s->ready) || s->is_stopped || is_drained(s)) return; /* a timer may have closed the last one */
    courier_rest(s);
    uint64_t log_ms = log_deadline(s);
    bool flushes = s->now_ms >= log_ms;
    s->wake_ms = server_next_deadline(s);
    if (flushes) s->log_flushed_ms = s->now_ms;
    else if (log_ms < s->wake_ms) s->wake_ms = log_ms;
    int timeout_ms = server_wait_milliseconds(s, s->wake_ms);
    if (!s->has_newcomers) s->is_late = false; /* nobody had queued when this turn began */
    if (s->now_ms >= s->turn_ms + LATE_MS) s->is_late = true;
    s->has_newcomers = false;
    s->is_polling = true;
    pthread_mutex_unlock(&s->lock);
    if (s->handler->idle) s->handler->idle(s->handler->ctx);
    if (flushes) server_flush_log(s);
    if (UNLIKELY(loop_wait(&s->loop, timeout_ms))) server_lose_loop();
    pthread_mutex_lock(&s->lock);
    s->is_polling = false;
    s->turn_ms = s->now_ms = clock_mono_coarse_ms();
    atomic_store_explicit(&s->config.activity->loop_ms, s->now_ms, memory_order_relaxed);
}

static void follow(struct server *s) {
    s->followers++;
    if (s->handler->idle) s->handler->idle(s->handler->ctx);
    pthread_cond_wait(&s->work, &s->lock);
    s->followers--;
}

/* Somebody must lead while the others are busy. */
static void pass_on(struct server *s) {
    if (s->followers && !s->is_polling) pthread_cond_signal(&s->work);
}

void server_run(struct server *s, unsigned thread) {
    pthread_mutex_lock(&s->lock);
    s->now_ms = clock_mono_coarse_ms();
    s->runners++;
    if (UNLIKELY(s->courier_leads)) courier_recall(s);
    while (!s->is_stopped && !is_drained(s)) {
        struct conn *c = take_ready(s);
        if (c) {
            pass_on(s);
            serve(s, c, thread);
        } else if (s->is_polling) follow(s);
        else if (!loop_dispatch(&s->loop)) lead(s);
    }
    s->runners--;
    pthread_cond_broadcast(&s->work);
    server_expect_deadline(s, 0);
    pthread_mutex_unlock(&s->lock);
    if (s->handler->idle) s->handler->idle(s->handler->ctx);
    server_flush_log(s);
}

void server_drain(struct server *s, enum server_drain_mode mode) {
    bool is_news = !s->is_draining || (mode == SERVER_DRAIN_STOP && s->drain_mode == SERVER_DRAIN_RETIRE);
    if (!is_news) return;
    s->drain_mode = mode;
    s->is_draining = true;
    s->answers_close = !handover_is_possible(s);
    if (mode == SERVER_DRAIN_STOP) accept_all(s);
    accept_update(s);
    struct list *node = s->queues[QUEUE_IDLE].timers.next;
    while (node != &s->queues[QUEUE_IDLE].timers) {
        struct list *next = node->next;
        conn_retire(CONTAINER_OF(node, struct conn, timer.link));
        node = next;
    }
    server_expect_deadline(s, 0);
}

void server_stop(struct server *s) {
    s->is_stopped = true;
    accept_update(s);
    server_expect_deadline(s, 0);
}

bool server_is_draining(const struct server *s) {
    return s->is_draining;
}

unsigned server_busy_count(const struct server *s) {
    return s->serving + s->ready_count;
}

int server_watch(struct server *s, struct loop_source *source, uint32_t events) {
    return loop_add(&s->loop, source, events);
}

int server_unwatch(struct server *s, struct loop_source *source) {
    return loop_remove(&s->loop, source);
}

static void init_queues(struct server *s) {
    timer_queue_init(&s->queues[QUEUE_IDLE], s->settings->keepalive);
    timer_queue_init(&s->queues[QUEUE_FRESH], FRESH_TIMEOUT_MS);
    timer_queue_init(&s->queues[QUEUE_HEADER], s->settings->header_timeout);
    timer_queue_init(&s->queues[QUEUE_BODY], s->settings->body_timeout);
    timer_queue_init(&s->queues[QUEUE_SEND], s->settings->send_timeout);
    timer_queue_init(&s->queues[QUEUE_LINGER], LINGER_TIMEOUT_MS);
    list_init(&s->ready);
    list_init(&s->served);
    list_init(&s->foreign_locals);
    list_init(&s->free_conns);
}

/* Some descriptors are the application's. */
static size_t connection_limit(const struct settings *st) {
    size_t limit = fd_limit(false), reserve = limit / 4 < 64 ? limit / 4 : 64;
    size_t bound = limit - reserve, wanted = (size_t)st->worker_connections;
    return wanted < bound ? wanted : bound;
}

struct server *server_new(const struct server_config *config) {
    struct server *s = MEM_NEW(struct server);
    s->config = *config;
    s->settings = config->settings;
    s->handler = config->handler;
    s->now_ms = clock_mono_coarse_ms();
    s->head_cache = head_cache_new();
    s->conn_limit = connection_limit(config->settings);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    init_queues(s);
    s->waker = (struct loop_source){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .on_event = on_waker};
    if (loop_init(&s->loop) || s->waker.fd < 0 || loop_add(&s->loop, &s->waker, EPOLLIN | EPOLLET)) {
        server_free(s);
        return NULL;
    }
    accept_start(s);
    if (courier_start(s))
        log_error("cannot start the courier thread: %s; requests will wait for a busy worker", strerror(errno));
    return s;
}

static void close_all(struct server *s) {
    for (int i = 0; i < QUEUE_COUNT; i++)
        for (struct timer *t; (t = timer_queue_oldest(&s->queues[i]));)
            conn_close(CONTAINER_OF(t, struct conn, timer), CLOSE_SHUTDOWN);
    for (struct list *node; (node = list_first(&s->ready));)
        conn_close(CONTAINER_OF(node, struct conn, link), CLOSE_SHUTDOWN);
}

void server_free(struct server *s) {
    courier_stop(s);
    close_all(s);
    for (struct list *node; (node = list_first(&s->foreign_locals));) {
        list_unlink(node);
        mem_free(CONTAINER_OF(node, struct foreign_local, link));
    }
    for (struct list *node; (node = list_first(&s->free_conns));) {
        list_unlink(node);
        mem_free(CONTAINER_OF(node, struct conn, link));
    }
    exchange_free_all(s);
    accept_stop(s);
    buf_release(&s->scratch);
    head_cache_free(s->head_cache);
    buf_release(&s->handover_buffer);
    fd_close(&s->waker.fd);
    loop_release(&s->loop);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}
