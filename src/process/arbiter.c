/* The loop. Each turn: wait, hear what there is to hear, act on deadlines, take the next step of a reload, fill seats.
 *
 * Signals are read from a pipe, so everything happens here, one thing after the other. Must never wait but in
 * poll(2). */
#include "process/arbiter.h"

#include "base/mem.h"
#include "io/signals.h"
#include "process/daemon.h"
#include "process/privileges.h"
#include "process/reexec.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#define WATCHED_MOST    64
#define EXTEND_EVERY_MS 5000
#define EXTEND_BY_US    20000000

/* ---- what is going on ---- */

void arbiter_tell_status(struct arbiter *a) {
    if (!a->current || a->notify.fd < 0) return;
    a->told_ready = seating_count(a, a->current, SLOT_READY);
    a->told_seats = a->current->seats;
    notify_send(&a->notify, "STATUS=%u of %u workers ready, generation %u", a->told_ready, a->told_seats,
                a->current->id);
}

static void tell_news(struct arbiter *a) {
    if (a->notify.fd < 0 || !a->is_up || a->ending || !a->current || a->candidate) return;
    if (a->told_seats != a->current->seats || a->told_ready != seating_count(a, a->current, SLOT_READY))
        arbiter_tell_status(a);
}

void arbiter_is_up(struct arbiter *a) {
    a->current->phase = GENERATION_SERVING;
    log_info("ready: %u workers serve %s", seating_count(a, a->current, SLOT_READY), generation_name(a->current));
    if (a->is_up) return;
    a->is_up = true;
    notify_send(&a->notify, "READY=1\nMAINPID=%d", getpid());
    arbiter_tell_status(a);
    sockets_store(&a->sockets);
    if (a->report_fd >= 0) {
        daemon_report(&a->report_fd, 0);
        daemon_detach();
        if (!strcmp(a->open_errorlog, "-")) log_open("-");
    }
    command_run(a, a->current->settings->exec_when_ready, "when_ready", NULL, 0);
    mem_drop_text();
}

/* ---- ending ---- */

/* Our own copies of the sockets: from now on a connection is accepted by a worker that drains, or refused. */
static void close_sockets(struct arbiter *a) {
    a->sockets.keeper = NULL; /* what the service manager has stays for the next start */
    for (struct list *l = a->leaving.next; l != &a->leaving; l = l->next)
        sockets_release(&a->sockets, &CONTAINER_OF(l, struct generation, link)->sockets, true);
}

static void stop_quickly(struct arbiter *a) {
    for (struct list *l = a->leaving.next; l != &a->leaving; l = l->next)
        seating_clear(a, CONTAINER_OF(l, struct generation, link), SLOT_ON_STOP);
}

static void end(struct arbiter *a, enum arbiter_ending how) {
    if (a->ending >= how) how = ARBITER_STOPS_QUICKLY;
    bool is_first = !a->ending;
    a->ending = how;
    if (is_first) {
        struct generation *candidate = a->candidate, *current = a->current;
        notify_send(&a->notify, "STOPPING=1\nSTATUS=finishing running requests");
        a->candidate = a->current = NULL;
        reload_hurry_leaving(a);
        if (candidate) reload_retire(a, candidate);
        if (current) reload_retire(a, current);
        close_sockets(a);
        if (a->upgrade_pid) kill(a->upgrade_pid, SIGKILL);
    }
    if (how == ARBITER_STOPS_QUICKLY) stop_quickly(a);
}

static void end_by_signal(struct arbiter *a, enum arbiter_ending how, const char *name) {
    if (how == ARBITER_STOPS && !a->ending) log_info("SIG%s: stopping; running requests get graceful_timeout", name);
    else if (a->ending != ARBITER_STOPS_QUICKLY) log_info("SIG%s: stopping at once", name);
    end(a, how);
}

void arbiter_give_up(struct arbiter *a, int status) {
    a->exit_status = status;
    if (status == EXIT_APP) log_error("the application cannot be loaded; giving up");
    else log_error("no worker can start; giving up");
    end(a, ARBITER_STOPS_QUICKLY);
}

/* ---- signals ---- */

static void introduce_siblings(struct arbiter *a, const struct generation *g) {
    for (unsigned i = 0; i < a->slots_used; i++)
        if (a->slots[i].generation == g) atomic_store(&a->board->rows[i].has_siblings, true);
}

static void change_seats(struct arbiter *a, int by) {
    struct generation *g = a->candidate ? a->candidate : a->current;
    if (a->ending || !g) return;
    if ((by < 0 && g->seats <= 1) || (by > 0 && g->seats >= SCOREBOARD_SEATS)) {
        log_warning("the number of workers stays %u", g->seats);
        return;
    }
    g->seats = by > 0 ? g->seats + 1 : g->seats - 1;
    if (g != a->current) a->current->seats = g->seats;
    if (by > 0) {
        introduce_siblings(a, g);
        introduce_siblings(a, a->current);
    }
    log_info("%u workers from now on", g->seats);
}

static void reopen_logs(struct arbiter *a) {
    if (log_reopen())
        log_error("cannot reopen the error log '%s': %s; the old file stays in use", a->open_errorlog, strerror(errno));
    if (a->current) {
        if (a->current->access_log && access_log_reopen(a->current->access_log))
            log_error("cannot reopen the access log '%s': %s; the old file stays in use",
                      a->current->settings->accesslog, strerror(errno));
        privileges_give_logs(a->current->settings);
        if (a->current->template.pid > 0) kill(a->current->template.pid, SIGUSR1);
    }
    for (unsigned i = 0; i < a->slots_used; i++)
        if (a->slots[i].pid > 0) kill(a->slots[i].pid, SIGUSR1);
    log_info("log files reopened");
}

static void handle_signal(struct arbiter *a, int number) {
    switch (number) {
    case SIGTERM: end_by_signal(a, ARBITER_STOPS, "TERM"); break;
    case SIGINT: end_by_signal(a, ARBITER_STOPS_QUICKLY, "INT"); break;
    case SIGQUIT: end_by_signal(a, ARBITER_STOPS_QUICKLY, "QUIT"); break;
    case SIGHUP: reload_begin(a); break;
    case SIGTTIN: change_seats(a, 1); break;
    case SIGTTOU: change_seats(a, -1); break;
    case SIGUSR1: reopen_logs(a); break;
    case SIGUSR2: reexec_begin(a); break;
    case SIGCONT: watch_note_resumption(a); break;
    case SIGCHLD: reaper_run(a); break;
    default: break;
    }
}

static void handle_signals(struct arbiter *a) {
    for (int number; (number = signals_next());) handle_signal(a, number);
}

/* ---- the loop ---- */

static int add_watched(struct pollfd *watched, int count, int fd, short events) {
    if (fd < 0 || count >= WATCHED_MOST) return count;
    watched[count] = (struct pollfd){.fd = fd, .events = events};
    return count + 1;
}

static void wait_for_events(struct arbiter *a) {
    struct pollfd watched[WATCHED_MOST];
    int count = add_watched(watched, 0, signals_fd(), POLLIN);
    count = add_watched(watched, count, a->links.news[0], POLLIN);
    count = add_watched(watched, count, a->sources.fd, POLLIN);
    count = add_watched(watched, count, a->oom.fd, POLLPRI);
    if (a->current) count = add_watched(watched, count, a->current->template.fd, POLLIN);
    if (a->candidate) count = add_watched(watched, count, a->candidate->template.fd, POLLIN);
    for (struct list *l = a->leaving.next; l != &a->leaving; l = l->next)
        count = add_watched(watched, count, CONTAINER_OF(l, struct generation, link)->template.fd, POLLIN);

    uint64_t now = clock_mono_ms(), wait_ms;
    a->now_ms = now;
    a->planned_ms = watch_next(a);
    wait_ms = a->planned_ms > now ? a->planned_ms - now : 0;
    if (wait_ms > INT_MAX) wait_ms = INT_MAX;
    poll(watched, (nfds_t)count, a->planned_ms == CLOCK_NEVER ? -1 : (int)wait_ms);
    a->now_ms = clock_mono_ms();
}

static bool is_slow_phase(const struct arbiter *a) {
    return a->ending || a->candidate || !a->is_up;
}

/* What the service manager wants to hear from time to time. */
static void reassure(struct arbiter *a) {
    if (a->now_ms >= a->watchdog_ms) {
        notify_send(&a->notify, "WATCHDOG=1");
        a->watchdog_ms = a->now_ms + a->notify.watchdog_ms;
    }
    if (a->notify.fd < 0 || !is_slow_phase(a)) {
        a->patience_ms = CLOCK_NEVER;
    } else if (a->patience_ms == CLOCK_NEVER || a->now_ms >= a->patience_ms) {
        notify_send(&a->notify, "EXTEND_TIMEOUT_USEC=%d", EXTEND_BY_US);
        a->patience_ms = a->now_ms + EXTEND_EVERY_MS;
    }
}

/* What follows from all that was heard. */
static void settle(struct arbiter *a) {
    reload_advance(a);
    seating_settle(a);
    reload_collect(a);
    tell_news(a);
    reassure(a);
}

static void turn(struct arbiter *a) {
    wait_for_events(a);
    watch_note_lateness(a);
    oom_watch_look(&a->oom, a->now_ms);
    news_hear_templates(a);
    news_read_rows(a);
    handle_signals(a);
    source_watch_hear(&a->sources, a->now_ms);
    watch_deadlines(a);
    reload_because_of_sources(a);
    reexec_watch(a);
    recycle_check(a);
    settle(a);
}

static bool is_over(const struct arbiter *a) {
    return a->ending && list_is_empty(&a->leaving);
}

int arbiter_loop(struct arbiter *a) {
    a->now_ms = clock_mono_ms();
    a->watchdog_ms = a->notify.watchdog_ms ? a->now_ms : CLOCK_NEVER;
    a->patience_ms = CLOCK_NEVER;
    settle(a);
    while (!is_over(a)) turn(a);
    daemon_report(&a->report_fd, a->exit_status);
    return a->exit_status;
}
