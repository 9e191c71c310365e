/* The courier: a thread without Python that takes care of the connections while every application thread is busy.
 *
 * It waits in an epoll set of its own, for a one-shot timer. The application thread that leaves nobody behind in the
 * loop arms it, unless it is armed. When the timer fires and no request has been finished since it was armed, all
 * application threads are stuck, and the courier leads: its set then has the loop's epoll descriptor in it, too, and it
 * reads, parses, flushes, keeps deadlines; what becomes a complete request is handed over to a sibling. Listeners and
 * the hand-over socket leave the loop meanwhile, because a busy worker must not take what an idle one could. The first
 * application thread that comes back puts them in again and takes the loop out of the courier's set: it need not wake
 * it for that.
 *
 * A courier that wakes up for nothing costs more than the request it was armed for. Where requests come thick and fast
 * the timer therefore runs on from one to the next, and longer in proportion to what was finished while it ran: one
 * system call for many requests. Where they come one by one, whoever goes to wait in the loop disarms it. An idle
 * worker makes no system call. The courier must never call into the application or wait for it. */
#include "http/engine.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NAP_MAX_US   32000
#define SUSPENDED_MS 500 /* later than that is more than a busy machine explains */

static bool all_are_busy(const struct server *s) {
    return s->runners && s->serving == s->runners;
}

/* A machine or a process group that was suspended makes everybody late, which is not the running requests' fault: they
 * get their full timeout again, as from the arbiter. */
static void forgive_suspension(struct server *s, uint64_t planned_ms) {
    if (s->now_ms < planned_ms + SUSPENDED_MS) return;
    for (struct list *node = s->served.next; node != &s->served; node = node->next)
        CONTAINER_OF(node, struct conn, link)->exchange->served_ms = s->now_ms;
}

/* ---- the timer ---- */

static void set_timer(struct server *s, uint64_t microseconds) {
    struct itimerspec t = {.it_value = {(time_t)(microseconds / 1000000), (long)(microseconds % 1000000) * 1000}};
    timerfd_settime(s->courier_timer.fd, 0, &t, NULL);
}

/* Since the timer was armed last, has there been more than its shortest time between two requests? */
static bool requests_are_sparse(const struct server *s, uint64_t now_us) {
    uint64_t requests = s->answered - s->answered_at_arming;
    return now_us - s->courier_armed_us > requests * s->settings->handover_delay;
}

void courier_arm(struct server *s) {
    uint64_t now_us = clock_mono_us();
    s->courier_is_armed = true;
    s->courier_is_for_one = requests_are_sparse(s, now_us);
    s->courier_armed_us = now_us;
    s->courier_due_ms = s->now_ms + s->courier_nap_us / 1000 + 1;
    s->answered_at_arming = s->answered;
    set_timer(s, s->courier_nap_us);
}

void courier_rest(struct server *s) {
    if (!s->courier_is_armed || !s->courier_is_for_one) return;
    s->courier_is_armed = false;
    set_timer(s, 0);
}

static void choose_nap(struct server *s) {
    uint64_t progress = s->answered - s->answered_at_arming, delay = s->settings->handover_delay;
    uint64_t nap = progress > 1 ? progress * delay : delay;
    uint64_t longest = delay > NAP_MAX_US ? delay : NAP_MAX_US;
    s->courier_nap_us = nap < longest ? nap : longest;
}

/* ---- the lead ---- */

/* The loop has something: lead() is next. */
static void on_loop(struct loop_source *source, uint32_t events) {
    (void)source;
    (void)events;
}

/* The busy threads' own batch comes first: a listener's event in it was told to nobody else. */
static void take_the_lead(struct server *s) {
    if (loop_add(&s->courier_loop, &s->courier_view, EPOLLIN)) {
        log_error("the courier cannot watch the loop: %s; requests wait for a busy worker", strerror(errno));
        return;
    }
    while (loop_dispatch(&s->loop)) {
    }
    s->courier_leads = true;
    s->courier_nap_us = s->settings->handover_delay;
    accept_update(s);
    server_flush_log(s);
}

void courier_recall(struct server *s) {
    s->courier_leads = false;
    loop_remove(&s->courier_loop, &s->courier_view);
    accept_update(s);
}

/* Edge-triggered: nobody reads it. */
static void on_timer(struct loop_source *source, uint32_t events) {
    (void)events;
    struct server *s = CONTAINER_OF(source, struct server, courier_timer);
    if (!s->courier_is_armed) return;
    forgive_suspension(s, s->courier_due_ms);
    s->courier_is_armed = false;
    if (!all_are_busy(s)) choose_nap(s);
    else if (s->answered == s->answered_at_arming) take_the_lead(s);
    else {
        choose_nap(s);
        courier_arm(s);
    }
}

/* Nobody waits in the loop. */
static void lead(struct server *s) {
    if (loop_wait(&s->loop, 0)) server_lose_loop();
    while (loop_dispatch(&s->loop)) {
    }
    server_expire_timers(s);
    handover_ready(s);
}

static int plan(const struct server *s) {
    if (!s->courier_leads) return -1;
    uint64_t wake = server_next_deadline(s);
    if (s->ready_count && wake > s->now_ms + HANDOVER_RETRY_MS) wake = s->now_ms + HANDOVER_RETRY_MS;
    return server_wait_milliseconds(s, wake);
}

static void wait_for_events(struct server *s) {
    int timeout_ms = plan(s);
    uint64_t planned_ms = timeout_ms < 0 ? CLOCK_NEVER - SUSPENDED_MS : s->now_ms + (uint64_t)timeout_ms;
    pthread_mutex_unlock(&s->lock);
    if (loop_wait(&s->courier_loop, timeout_ms)) server_lose_loop();
    pthread_mutex_lock(&s->lock);
    s->now_ms = clock_mono_coarse_ms();
    if (s->courier_leads) forgive_suspension(s, planned_ms);
}

static void *courier_main(void *arg) {
    struct server *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->courier_ends) {
        wait_for_events(s);
        while (loop_dispatch(&s->courier_loop)) {
        }
        if (s->courier_leads) lead(s);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- the thread ---- */

static int start_thread(struct server *s) {
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    int error = pthread_create(&s->courier, NULL, courier_main, s);
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    errno = error;
    return error ? -1 : 0;
}

int courier_start(struct server *s) {
    s->courier_loop.epoll_fd = s->courier_timer.fd = -1;
    if (!s->settings->handover_delay) return 0;
    s->courier_nap_us = s->settings->handover_delay;
    s->courier_view = (struct loop_source){.fd = s->loop.epoll_fd, .on_event = on_loop};
    s->courier_timer = (struct loop_source){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), .on_event = on_timer};
    if (s->courier_timer.fd < 0 || loop_init(&s->courier_loop) ||
        loop_add(&s->courier_loop, &s->courier_timer, EPOLLIN | EPOLLET))
        return -1;
    s->has_courier = start_thread(s) == 0;
    return s->has_courier ? 0 : -1;
}

void courier_stop(struct server *s) {
    if (s->has_courier) {
        pthread_mutex_lock(&s->lock);
        s->courier_ends = true;
        set_timer(s, 1);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->courier, NULL);
        s->has_courier = false;
    }
    fd_close(&s->courier_timer.fd);
    loop_release(&s->courier_loop);
}
