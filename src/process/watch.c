/* Deadlines: of slots, of templates, and of every request in the application.
 *
 * The loop sleeps until the first of them. A request that has not begun cannot be late before now + timeout, so with
 * nothing running one look each `timeout` is enough. When the loop itself was held up (the whole group stopped, the
 * machine asleep), time that nobody had counts for nobody. */
#include "process/arbiter.h"

#include <signal.h>

#define LATE_MS 1000
/* The worker itself answers 504 at the deadline; the arbiter acts if it did not. */
#define HUNG_GRACE_MS  250
#define ABORT_EVERY_MS 10

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Does the timeout of requests apply? A worker with several threads that is leaving already has graceful_timeout
 * instead. */
static bool is_watched(const struct slot *s) {
    if ((s->state != SLOT_READY && s->state != SLOT_RETIRING) || !s->settings->timeout)
        return false; /* an empty one has no settings */
    return s->settings->threads == 1 || (s->state == SLOT_READY && !s->recycling);
}

/* When the task is to be judged; CLOCK_NEVER while idle. */
static uint64_t task_deadline(const struct arbiter *a, const struct slot *s, const struct task *t) {
    uint64_t started_ms = atomic_load_explicit(&t->started_ms, memory_order_relaxed);
    if (!started_ms) return CLOCK_NEVER;
    if (started_ms < a->resumed_ms) started_ms = a->resumed_ms;
    return started_ms + s->settings->timeout + HUNG_GRACE_MS;
}

/* A worker that somebody stopped and forgot is as good as hung, whether it runs a request or holds up those who
 * connect. */
static uint64_t stop_deadline(const struct arbiter *a, const struct slot *s) {
    if (!s->stopped_ms) return CLOCK_NEVER;
    uint64_t since_ms = s->stopped_ms < a->resumed_ms ? a->resumed_ms : s->stopped_ms;
    return since_ms + s->settings->timeout + HUNG_GRACE_MS;
}

static uint64_t slot_task_deadline(const struct arbiter *a, const struct slot *s) {
    const struct task *tasks = a->board->rows[s->index].activity.tasks;
    uint64_t first = stop_deadline(a, s);
    for (int i = 0; i < s->settings->threads && i < ACTIVITY_TASKS; i++)
        first = earlier(first, task_deadline(a, s, &tasks[i]));
    return first;
}

void watch_note_resumption(struct arbiter *a) {
    a->resumed_ms = a->now_ms;
}

void watch_note_lateness(struct arbiter *a) {
    if (a->planned_ms == CLOCK_NEVER || a->now_ms < a->planned_ms + LATE_MS) return;
    log_warning("the arbiter was held up for %.1f s; running requests get their full timeout again",
                (double)(a->now_ms - a->planned_ms) / 1000);
    watch_note_resumption(a);
}

static void abort_hung(struct arbiter *a, struct slot *s) {
    char tasks[512];
    death_describe_tasks(&a->board->rows[s->index], (unsigned)s->settings->threads, a->now_ms, tasks, sizeof(tasks));
    log_error("worker %u (pid %d) exceeds timeout, %.0f s,%s; aborting it", s->seat, s->pid,
              (double)s->settings->timeout / 1000, tasks[0] ? tasks : " while it is stopped");
    slot_handle(s, SLOT_ON_HUNG, a->now_ms);
}

/* With several threads a hung one does not hold the others: RequestTimeout was raised in it, and the worker leaves when
 * the others are done, at the latest after graceful_timeout. */
static void retire_hung(struct arbiter *a, struct slot *s) {
    char tasks[512];
    death_describe_tasks(&a->board->rows[s->index], (unsigned)s->settings->threads, a->now_ms, tasks, sizeof(tasks));
    log_error("worker %u (pid %d) exceeds timeout, %.0f s,%s; retiring it, its other requests finish", s->seat, s->pid,
              (double)s->settings->timeout / 1000, tasks);
    s->recycling = SLOT_RECYCLE_HUNG;
}

/* One that everybody waits for: its end frees those whom it owes a process. */
static void abort_hung_template(struct arbiter *a, const struct slot *s) {
    struct template *t = &s->generation->template;
    if (t->pid <= 0 || !t->is_ready) return;
    log_error("template (pid %d) has not forked worker %u within boot_timeout, %.0f s; aborting it", t->pid, s->seat,
              (double)s->settings->boot_timeout / 1000);
    template_abort(t, SLOT_KILLED_TIMEOUT, a->now_ms);
}

static void act_on_due(struct arbiter *a, struct slot *s) {
    char tasks[512];
    switch (s->state) {
    case SLOT_FORKING:
    case SLOT_CANCELLED: abort_hung_template(a, s); break;
    case SLOT_STARTING:
        log_error("worker %u (pid %d) is not ready within boot_timeout, %.0f s; aborting it", s->seat, s->pid,
                  (double)s->settings->boot_timeout / 1000);
        break;
    case SLOT_RETIRING:
        death_describe_tasks(&a->board->rows[s->index], (unsigned)s->settings->threads, a->now_ms, tasks,
                             sizeof(tasks));
        log_error("worker %u (pid %d) is not done within graceful_timeout, %.0f s%s%s; killing it", s->seat, s->pid,
                  (double)s->settings->graceful_timeout / 1000, tasks[0] ? "," : "", tasks);
        break;
    default: break;
    }
    slot_handle(s, SLOT_ON_DUE, a->now_ms);
}

/* Whoever is told to dump its stacks has the log to itself for a moment. */
static bool is_turn_to_abort(struct arbiter *a) {
    if (a->now_ms < a->abort_after_ms) return false;
    a->abort_after_ms = a->now_ms + ABORT_EVERY_MS;
    return true;
}

static bool is_hung(const struct arbiter *a, const struct slot *s) {
    return is_watched(s) && slot_task_deadline(a, s) <= a->now_ms;
}

static void watch_template(struct arbiter *a, struct generation *g) {
    struct template *t = &g->template;
    if (t->pid <= 0 || t->is_ready || t->due_ms > a->now_ms) return;
    if (t->verdict) {
        t->due_ms = CLOCK_NEVER;
        kill(t->pid, SIGKILL);
        return;
    }
    log_error("template (pid %d) is not ready within boot_timeout, %.0f s; aborting it", t->pid,
              (double)g->settings->boot_timeout / 1000);
    template_abort(t, SLOT_KILLED_BOOT_TIMEOUT, a->now_ms);
}

void watch_deadlines(struct arbiter *a) {
    for (unsigned i = 0; i < a->slots_used; i++) {
        struct slot *s = &a->slots[i];
        bool is_due = s->due_ms <= a->now_ms && slot_is_alive(s); /* SLOT_WAITING is seating.c's: it spawns */
        if (is_hung(a, s)) {
            if (s->settings->threads > 1) retire_hung(a, s);
            else if (is_turn_to_abort(a)) abort_hung(a, s);
        } else if (is_due && (s->state != SLOT_STARTING || is_turn_to_abort(a))) {
            act_on_due(a, s);
        }
    }
    if (a->current) watch_template(a, a->current);
    if (a->candidate) watch_template(a, a->candidate);
}

static uint64_t slot_next(const struct arbiter *a, const struct slot *s) {
    uint64_t next = s->due_ms;
    if (!is_watched(s)) return next;
    next = earlier(next, slot_task_deadline(a, s));
    return earlier(next, a->now_ms + s->settings->timeout);
}

static uint64_t generation_next(const struct generation *g) {
    bool is_awaited = g->settings->preload_app && !g->template.is_ready && g->phase != GENERATION_DORMANT;
    return is_awaited ? g->template.due_ms : CLOCK_NEVER;
}

uint64_t watch_next(const struct arbiter *a) {
    uint64_t next = earlier(recycle_next(a), a->watchdog_ms);
    for (unsigned i = 0; i < a->slots_used; i++) {
        const struct slot *s = &a->slots[i];
        bool needs_template = s->state == SLOT_WAITING && s->settings->preload_app && !s->generation->template.is_ready;
        if (s->state != SLOT_EMPTY && !needs_template) next = earlier(next, slot_next(a, s));
    }
    if (a->current) next = earlier(next, generation_next(a->current));
    if (a->candidate) next = earlier(next, generation_next(a->candidate));
    if (a->upgrade_pid) next = earlier(next, a->upgrade_due_ms);
    next = earlier(next, a->sources.due_ms);
    next = earlier(next, a->patience_ms);
    return next <= a->now_ms && a->abort_after_ms > a->now_ms ? a->abort_after_ms : next;
}
