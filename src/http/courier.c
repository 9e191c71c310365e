/* The courier: a thread without Python that takes care of the connections while every application thread is busy.
 *
 * It waits in an epoll set of its own, for the loop's epoll descriptor and for a timer. The application thread that
 * leaves nobody behind in the loop puts it on the alert, unless it is. What may come then, and finds all application
 * threads at the same requests for handover_delay, makes the courier lead: it reads, parses, flushes, keeps deadlines;
 * what becomes a complete request is handed over to a sibling. The hand-over socket and the listeners leave the loop
 * meanwhile, because a busy worker must not take what an idle one could. The first application thread that comes back
 * puts them in again and has the courier look away from the loop: it need not wake it for that.
 *
 * A courier that wakes up for nothing costs more than the request it is there for, and so does a timer that is due
 * soon, armed and disarmed. Where requests come one by one the alert is therefore a look at the loop, until somebody
 * waits in it again: only what arrives, and would have to wait, wakes the courier and starts its timer. A tick that
 * nobody disarms sees to the deadlines when nothing arrives. Where requests come thick and fast, something always
 * arrives: the alert is the timer, which runs on from one to the next, and longer in proportion to what was finished
 * while it ran: one system call for many requests. An idle worker makes no system call. The courier must never call
 * into the application or wait for it. */
#include "http/engine.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NAP_MAX_US   32000
#define TICK_US      250000
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

/* ---- the alert ---- */

/* The timer fires then, or before. */
static void fire_by(struct server *s, uint64_t now_us, uint64_t nap_us) {
    if (s->courier_due_us && s->courier_due_us <= now_us + nap_us) return;
    s->courier_due_us = now_us + nap_us;
    struct itimerspec t = {.it_value = {(time_t)(nap_us / 1000000), (long)(nap_us % 1000000) * 1000}};
    timerfd_settime(s->courier_timer.fd, 0, &t, NULL);
}

static int look(struct server *s, uint32_t events) {
    s->courier_looks = events != 0;
    return loop_modify(&s->courier_loop, &s->courier_view, events);
}

/* Since the last alert: too few to pay for a timer that runs on. */
static bool requests_are_sparse(const struct server *s, uint64_t now_us) {
    uint64_t requests = s->answered - s->answered_at_alert;
    return now_us - s->courier_alert_us > requests * s->settings->handover_delay / 4;
}

static void choose_nap(struct server *s) {
    uint64_t progress = s->answered - s->answered_at_alert, delay = s->settings->handover_delay;
    uint64_t nap = progress > 1 ? progress * delay : delay;
    uint64_t longest = delay > NAP_MAX_US ? delay : NAP_MAX_US;
    s->courier_nap_us = nap < longest ? nap : longest;
}

static void be_alert(struct server *s, uint64_t now_us) {
    s->courier_is_alert = true;
    s->courier_alert_us = now_us;
    s->answered_at_alert = s->answered;
}

void courier_alert(struct server *s) {
    uint64_t now_us = clock_mono_us();
    bool would_see = loop_is_drained(&s->loop) && list_is_empty(&s->ready); /* what waits already comes no more */
    bool looks = would_see && requests_are_sparse(s, now_us) && look(s, EPOLLIN | EPOLLONESHOT) == 0;
    be_alert(s, now_us);
    fire_by(s, now_us, looks ? TICK_US : s->courier_nap_us);
}

void courier_rest(struct server *s) {
    if (!s->courier_looks) return;
    s->courier_is_alert = false;
    look(s, 0);
}

/* ---- the lead ---- */

/* The busy threads' own batch comes first: a listener's event in it was told to nobody else. */
static void take_the_lead(struct server *s) {
    if (look(s, EPOLLIN)) {
        log_error("the courier cannot watch the loop: %s; requests wait for a busy worker", strerror(errno));
        return;
    }
    while (loop_dispatch(&s->loop)) {
    }
    s->courier_leads = true;
    s->courier_is_alert = false;
    s->courier_nap_us = s->settings->handover_delay;
    accept_update(s);
    server_flush_log(s);
}

void courier_recall(struct server *s) {
    s->courier_leads = false;
    look(s, 0);
    accept_update(s);
}

/* Something has come, or it is time. */
static void judge(struct server *s) {
    uint64_t now_us = clock_mono_us(), waited_us = now_us - s->courier_alert_us, delay = s->settings->handover_delay;
    if (all_are_busy(s) && s->answered == s->answered_at_alert) {
        if (waited_us < delay) fire_by(s, now_us, delay - waited_us);
        else take_the_lead(s);
        return;
    }
    choose_nap(s);
    s->courier_is_alert = false;
    if (!all_are_busy(s)) return;
    be_alert(s, now_us);
    fire_by(s, now_us, s->courier_nap_us);
}

/* Once it leads, lead() is next. */
static void on_loop(struct loop_source *source, uint32_t events UNUSED) {
    struct server *s = CONTAINER_OF(source, struct server, courier_view);
    if (s->courier_leads || !s->courier_looks) return;
    s->courier_looks = false;
    judge(s);
}

/* Edge-triggered: nobody reads it. */
static void on_timer(struct loop_source *source, uint32_t events UNUSED) {
    struct server *s = CONTAINER_OF(source, struct server, courier_timer);
    s->courier_due_us = 0;
    if (!s->courier_leads) judge(s);
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
    uint64_t due_ms = s->courier_due_us / 1000; /* armed meanwhile, perhaps */
    forgive_suspension(s, due_ms && due_ms < planned_ms ? due_ms : planned_ms);
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
        loop_add(&s->courier_loop, &s->courier_timer, EPOLLIN | EPOLLET) ||
        loop_add(&s->courier_loop, &s->courier_view, 0))
        return -1;
    s->has_courier = start_thread(s) == 0;
    return s->has_courier ? 0 : -1;
}

void courier_stop(struct server *s) {
    if (s->has_courier) {
        pthread_mutex_lock(&s->lock);
        s->courier_ends = true;
        fire_by(s, 0, 1);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->courier, NULL);
        s->has_courier = false;
    }
    fd_close(&s->courier_timer.fd);
    loop_release(&s->courier_loop);
}
