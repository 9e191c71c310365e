/* What children report: workers by their rows, templates by messages.
 *
 * Rows are read whole each time; a byte in the pipe only says that there may be something new. */
#include "process/arbiter.h"

#include <errno.h>
#include <signal.h>

void news_read_row(struct arbiter *a, struct slot *s) {
    const struct row *r = &a->board->rows[s->index];
    if (s->state == SLOT_STARTING && atomic_load(&r->stage) != WORKER_BOOTING) {
        slot_handle(s, SLOT_ON_READY, a->now_ms);
        log_info("worker %u (pid %d) is ready after %.2f s", s->seat, s->pid,
                 (double)(s->ready_ms - s->spawned_ms) / 1000);
    }
    enum slot_recycling wish = (enum slot_recycling)atomic_load(&r->wants_recycling);
    if (s->state == SLOT_READY && !s->recycling && wish <= SLOT_RECYCLE_HUNG) s->recycling = wish;
}

void news_read_rows(struct arbiter *a) {
    links_drain_news(&a->links);
    for (unsigned i = 0; i < a->slots_used; i++) news_read_row(a, &a->slots[i]);
}

static void note_fork(struct arbiter *a, struct generation *g, const struct template_reply *r) {
    struct slot *s = &a->slots[r->row % SCOREBOARD_ROWS];
    if (s->generation != g || (s->state != SLOT_FORKING && s->state != SLOT_CANCELLED)) {
        if (r->pid > 0) kill(r->pid, SIGKILL);
        return;
    }
    s->pid = r->pid;
    atomic_store(&a->board->rows[s->index].pid, r->pid);
    slot_handle(s, SLOT_ON_FORKED, a->now_ms);
}

/* It may fail a generation that does not serve yet, as a failed fork of our own does. */
static void note_failed_fork(struct arbiter *a, struct generation *g, const struct template_reply *r) {
    struct slot *s = &a->slots[r->row % SCOREBOARD_ROWS];
    if (s->generation != g) return;
    log_error("the template cannot fork worker %u: %s; trying again", s->seat, strerror(r->fault));
    slot_handle(s, SLOT_ON_FORK_FAILED, a->now_ms);
    if (s->state == SLOT_WAITING) reload_note_failed_fork(a, g, s, s->failures);
}

/* Waiting slots are not touched: a failed fork is news to those alone that were promised a process. */
static void cancel_promises(struct arbiter *a, const struct generation *g) {
    for (unsigned i = 0; i < a->slots_used; i++) {
        struct slot *s = &a->slots[i];
        if (s->generation == g && s->state != SLOT_WAITING) slot_handle(s, SLOT_ON_FORK_FAILED, a->now_ms);
    }
}

/* It forks one after the other: from its last answer on it has boot_timeout for the next. */
static void renew_promises(struct arbiter *a, const struct generation *g) {
    for (unsigned i = 0; i < a->slots_used; i++) {
        struct slot *s = &a->slots[i];
        if (s->generation == g && s->state != SLOT_WAITING) slot_handle(s, SLOT_ON_ASKED, a->now_ms);
    }
}

void news_hear_template(struct arbiter *a, struct generation *g) {
    struct template_reply r;
    int heard;
    while ((heard = template_hear(&g->template, &r)) > 0) {
        switch ((enum template_news)r.news) {
        case TEMPLATE_READY:
            g->template.is_ready = true;
            g->template.failures = 0;
            g->template.due_ms = CLOCK_NEVER;
            log_info("template (pid %d) is ready", g->template.pid);
            break;
        case TEMPLATE_FORKED: note_fork(a, g, &r); break;
        case TEMPLATE_FORK_FAILED: note_failed_fork(a, g, &r); break;
        }
        if (r.news != TEMPLATE_READY) renew_promises(a, g);
    }
    if (heard < 0) cancel_promises(a, g);
}

void news_hear_templates(struct arbiter *a) {
    if (a->current) news_hear_template(a, a->current);
    if (a->candidate) news_hear_template(a, a->candidate);
    for (struct list *l = a->leaving.next; l != &a->leaving; l = l->next)
        news_hear_template(a, CONTAINER_OF(l, struct generation, link));
}
