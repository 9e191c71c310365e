/* The courier: a thread without Python that takes care of the connections while every application thread is busy.
 *
 * It sleeps in epoll_wait(2) on the worker's own set. The kernel gives an event to the thread that went to sleep last, so as long as an application
 * thread comes back to the loop for each event, the courier is never woken: a quick worker pays nothing for it, and an idle one makes no system
 * call. It wakes when something has come and nobody was there to take it.
 *
 * Then it gives the application threads handover_delay to come back. If none has finished a request by then they are stuck, and the courier leads:
 * it reads, parses, flushes, keeps deadlines; what becomes a complete request is handed over to a sibling. Listeners and the hand-over
 * socket leave the set meanwhile, because a busy worker must not take what an idle one could. The first application thread that returns puts them
 * back. The courier must never call into the application or wait for it. */
#include "http/engine.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#define COURIER_BATCH 16
#define LEADER_WAKES_US 100
#define FALSE_ALARMS_MAX 4
#define CALM_MS 1000 /* asleep for that long: what wakes it now is no steady load */
#define COARSE_MS 10 /* more than the coarse clock may be behind */

static bool all_are_busy(const struct server *s) {
    return s->runners && s->serving == s->runners;
}

static void nap(uint64_t microseconds) {
    struct timespec t = {(time_t)(microseconds / 1000000), (long)(microseconds % 1000000) * 1000};
    nanosleep(&t, NULL);
}

/* Every task has been running for so long that no nap is needed to know it. */
static bool have_long_been_busy(const struct server *s) {
    uint64_t long_ago = s->now_ms - s->settings->handover_delay / 1000 - COARSE_MS;
    for (int i = 0; i < s->settings->threads; i++)
        if (atomic_load_explicit(&s->config.activity->tasks[i].started_ms, memory_order_relaxed) - 1 >= long_ago) return false;
    return true;
}

/* True if no application thread has come back within handover_delay. Lock held, let go meanwhile. A courier that is often woken for nothing, under
 * steady load, naps longer: up to sixteen times. */
static bool are_stuck(struct server *s) {
    if (s->courier_leads || (all_are_busy(s) && have_long_been_busy(s))) return all_are_busy(s);
    uint64_t answered = s->answered;
    pthread_mutex_unlock(&s->lock);
    nap(s->settings->handover_delay << s->false_alarms);
    pthread_mutex_lock(&s->lock);
    s->now_ms = clock_mono_coarse_ms();
    bool are = all_are_busy(s) && s->answered == answered;
    if (are) s->false_alarms = 0;
    else if (s->false_alarms < FALSE_ALARMS_MAX) s->false_alarms++;
    return are;
}

static void lead(struct server *s) {
    while (all_are_busy(s) && loop_dispatch(&s->courier_loop)) {}
    if (!all_are_busy(s)) return;
    if (!s->courier_leads) {
        s->courier_leads = true;
        accept_update(s);
    }
    server_expire_timers(s);
    request_timeout_enforce(s);
    handover_ready(s);
}

/* The events reached the courier although somebody is free: they are handled here, and the leader is told until it has seen it, for the
 * courier itself may swallow the event that should wake it. */
static void help_out(struct server *s) {
    while (loop_dispatch(&s->courier_loop)) {}
    server_expire_timers(s);
    while (server_leader_is_wanted(s)) {
        server_poke(s);
        pthread_mutex_unlock(&s->lock);
        nap(LEADER_WAKES_US);
        pthread_mutex_lock(&s->lock);
    }
}

/* When a request that begins only later could run into the timeout: so that not every request has to wake the courier to tell it. A worker in which
 * nothing happens is not looked at again. */
static uint64_t timeout_to_come(struct server *s) {
    bool was_active = s->serving || s->answered != s->answered_at_plan;
    s->answered_at_plan = s->answered;
    return was_active && s->settings->timeout ? s->now_ms + s->settings->timeout : CLOCK_NEVER;
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static int plan(struct server *s) {
    uint64_t wake = earlier(server_next_deadline(s), request_timeout_deadline(s));
    wake = earlier(wake, timeout_to_come(s));
    if (s->courier_leads && s->ready_count) wake = earlier(wake, s->now_ms + HANDOVER_RETRY_MS);
    s->courier_wake_ms = wake;
    return server_wait_milliseconds(s, wake);
}

static void *courier_main(void *arg) {
    struct server *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->courier_ends) {
        if (loop_is_drained(&s->courier_loop)) {
            int timeout_ms = plan(s);
            uint64_t asleep_ms = s->now_ms;
            s->courier_waits = true;
            pthread_mutex_unlock(&s->lock);
            loop_wait(&s->courier_loop, COURIER_BATCH, timeout_ms);
            pthread_mutex_lock(&s->lock);
            s->courier_waits = false;
            s->now_ms = clock_mono_coarse_ms();
            if (s->now_ms - asleep_ms > CALM_MS) s->false_alarms = 0;
        }
        if (s->is_polling) help_out(s);
        else if (are_stuck(s)) lead(s);
        /* else they are busy, but quick: whoever comes back to the loop handles the courier's events first */
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int courier_start(struct server *s) {
    loop_share(&s->courier_loop, &s->loop);
    s->courier_wake_ms = CLOCK_NEVER;
    if (!s->settings->handover_delay) return 0;
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    int error = pthread_create(&s->courier, NULL, courier_main, s);
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    s->has_courier = error == 0;
    errno = error;
    return error ? -1 : 0;
}

void courier_stop(struct server *s) {
    if (!s->has_courier) return;
    pthread_mutex_lock(&s->lock);
    s->courier_ends = true;
    server_poke(s);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->courier, NULL);
    s->has_courier = false;
}
