/* The courier: a thread without Python that takes care of the connections while every application thread is busy.
 *
 * It sleeps on a one-shot timer. The application thread that leaves nobody behind in the loop arms it, unless it is
 * armed: a quick worker pays one system call for many requests, an idle one makes none. When the timer fires and no
 * request has been finished since it was armed, all application threads are stuck, and the courier leads: it reads,
 * parses, flushes, keeps deadlines; what becomes a complete request is handed over to a sibling. Listeners and the
 * hand-over socket leave the set meanwhile, because a busy worker must not take what an idle one could. The first
 * application thread that comes back puts them in again and sends the courier to sleep.
 *
 * Under steady quick load the timer runs longer, in proportion to the requests that were finished while it ran. The
 * courier must never call into the application or wait for it. */
#include "http/engine.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define COURIER_BATCH 16
#define NAP_MAX_US    32000
#define SUSPENDED_MS  500 /* later than that is more than a busy machine explains */

static bool all_are_busy(const struct server *s) {
    return s->runners && s->serving == s->runners;
}

static void set_timer(struct server *s, uint64_t microseconds) {
    struct itimerspec t = {.it_value = {(time_t)(microseconds / 1000000), (long)(microseconds % 1000000) * 1000}};
    timerfd_settime(s->courier_timer_fd, 0, &t, NULL);
}

/* A machine or a process group that was suspended makes everybody late, which is not the running requests' fault: they
 * get their full timeout again, as from the arbiter. */
static void forgive_suspension(struct server *s, uint64_t planned_ms) {
    if (s->now_ms < planned_ms + SUSPENDED_MS) return;
    for (struct list *node = s->served.next; node != &s->served; node = node->next)
        CONTAINER_OF(node, struct conn, link)->exchange->served_ms = s->now_ms;
}

void courier_arm(struct server *s) {
    s->courier_is_armed = true;
    s->courier_due_ms = s->now_ms + s->courier_nap_us / 1000 + 1;
    s->answered_at_arming = s->answered;
    set_timer(s, s->courier_nap_us);
}

void courier_recall(struct server *s) {
    uint64_t one = 1;
    s->courier_leads = false;
    accept_update(s);
    if (write(s->courier_waker.fd, &one, sizeof one) < 0)
        log_error("cannot call the courier back: %s", strerror(errno));
}

/* Meant for the courier, who reads it when it is awake (lead()); whoever else sees it lets it come to that. */
static void on_courier_waker(struct loop_source *source, uint32_t events) {
    (void)source;
    (void)events;
    sched_yield();
}

static void heed_recall(struct server *s) {
    uint64_t count;
    if (read(s->courier_waker.fd, &count, sizeof count) < 0 && errno != EAGAIN)
        log_error("cannot read the courier's waker: %s", strerror(errno));
}

static void choose_nap(struct server *s) {
    uint64_t progress = s->answered - s->answered_at_arming, delay = s->settings->handover_delay;
    uint64_t nap = progress > 1 ? progress * delay : delay;
    uint64_t longest = delay > NAP_MAX_US ? delay : NAP_MAX_US;
    s->courier_nap_us = nap < longest ? nap : longest;
}

static void on_timer(struct server *s) {
    uint64_t expirations;
    if (read(s->courier_timer_fd, &expirations, sizeof expirations) < 0) return;
}

static void take_the_lead(struct server *s) {
    s->courier_leads = true;
    s->courier_is_armed = false;
    s->courier_nap_us = s->settings->handover_delay;
    accept_update(s);
    server_flush_log(s);
}

/* The timer has fired. */
static void look_around(struct server *s) {
    if (all_are_busy(s) && s->answered == s->answered_at_arming) {
        take_the_lead(s);
        return;
    }
    choose_nap(s);
    s->courier_is_armed = false;
    if (all_are_busy(s)) courier_arm(s);
}

static int plan(const struct server *s) {
    uint64_t wake = server_next_deadline(s);
    if (s->ready_count && wake > s->now_ms + HANDOVER_RETRY_MS) wake = s->now_ms + HANDOVER_RETRY_MS;
    return server_wait_milliseconds(s, wake);
}

static void wait_for_events(struct server *s) {
    int timeout_ms = plan(s);
    uint64_t planned_ms = timeout_ms < 0 ? CLOCK_NEVER - SUSPENDED_MS : s->now_ms + (uint64_t)timeout_ms;
    s->courier_waits = true;
    pthread_mutex_unlock(&s->lock);
    loop_wait(&s->courier_loop, COURIER_BATCH, timeout_ms);
    pthread_mutex_lock(&s->lock);
    s->courier_waits = false;
    s->now_ms = clock_mono_coarse_ms();
    forgive_suspension(s, planned_ms);
}

static void lead(struct server *s) {
    while (server_dispatch(s)) {
    }
    server_expire_timers(s);
    handover_ready(s);
    wait_for_events(s);
    if (s->courier_leads) return;
    /* Called back. What came last is for whoever leads now: it looks here before it waits, but not if it waits
     * already. */
    heed_recall(s);
    if (!s->is_polling) return;
    while (loop_dispatch(&s->courier_loop)) {
    }
    if (server_leader_is_wanted(s)) server_poke(s);
}

static void *courier_main(void *arg) {
    struct server *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->courier_ends) {
        if (s->courier_leads) {
            lead(s);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        on_timer(s);
        pthread_mutex_lock(&s->lock);
        s->now_ms = clock_mono_coarse_ms();
        if (s->courier_is_armed) forgive_suspension(s, s->courier_due_ms);
        look_around(s);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

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
    loop_share(&s->courier_loop, &s->loop);
    s->courier_timer_fd = s->courier_waker.fd = -1;
    if (!s->settings->handover_delay) return 0;
    s->courier_nap_us = s->settings->handover_delay;
    s->courier_timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    s->courier_waker = (struct loop_source){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .on_event = on_courier_waker};
    if (s->courier_timer_fd < 0 || s->courier_waker.fd < 0 || loop_add(&s->loop, &s->courier_waker, EPOLLIN)) return -1;
    s->has_courier = start_thread(s) == 0;
    return s->has_courier ? 0 : -1;
}

void courier_stop(struct server *s) {
    if (s->has_courier) {
        pthread_mutex_lock(&s->lock);
        s->courier_ends = true;
        courier_recall(s);
        set_timer(s, 1);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->courier, NULL);
        s->has_courier = false;
    }
    fd_close(&s->courier_timer_fd);
    fd_close(&s->courier_waker.fd);
}
