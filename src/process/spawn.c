/* Makes processes. Between the two calls of io/signals.h around a fork no handler runs in either process.
 *
 * A failed fork is an event of the slot like any other. In the child nothing here returns. */
#include "base/fd.h"
#include "io/signals.h"
#include "process/arbiter.h"
#include "process/nursery.h"

#include <errno.h>
#include <unistd.h>

/* What belongs to the arbiter alone. */
static void close_in_child(struct arbiter *a, const struct generation *g) {
    links_keep_child_ends(&a->links);
    pidfile_forget(&a->pidfile);
    notify_stop(&a->notify);
    oom_watch_stop(&a->oom);
    if (!g->settings->reload) source_watch_stop(&a->sources);
    fd_close(&a->report_fd);
    fd_close(&a->board_fd);
    fd_close(&a->start_directory_fd);
    if (a->current) fd_close(&a->current->template.fd);
    if (a->candidate) fd_close(&a->candidate->template.fd);
    for (struct list *l = a->leaving.next; l != &a->leaving; l = l->next)
        fd_close(&CONTAINER_OF(l, struct generation, link)->template.fd);
    sockets_close_others(&a->sockets, &g->sockets);
}

static struct worker prototype(struct arbiter *a, const struct generation *g) {
    return (struct worker){.settings = g->settings,
                           .listeners = g->sockets.items,
                           .listener_count = g->sockets.count,
                           .access_log = g->access_log,
                           .links = &a->links,
                           .sources = &a->sources,
                           .open_errorlog = a->open_errorlog};
}

/* While the first generation starts as a whole, one worker alone tells why the application cannot be loaded. */
static bool is_silent(const struct arbiter *a, struct slot *s) {
    struct generation *g = s->generation;
    if (!g->spokesman) g->spokesman = s->index + 1;
    return !a->is_up && g == a->current && g->spokesman != s->index + 1 && !s->failures;
}

static void ask_template(struct arbiter *a, struct slot *s) {
    const struct template_request request = {.row = s->index, .seat = s->seat, .age = ++a->spawned};
    if (!template_ask(&s->generation->template, &request)) {
        slot_handle(s, SLOT_ON_ASKED, a->now_ms);
        return;
    }
    log_error("cannot ask the template for worker %u: %s; trying again", s->seat, strerror(errno));
    slot_handle(s, SLOT_ON_FORK_FAILED, a->now_ms);
}

static void fork_worker(struct arbiter *a, struct slot *s) {
    struct worker w = prototype(a, s->generation);
    sigset_t mask;
    w.row = &a->board->rows[s->index];
    w.seat = s->seat;
    w.age = ++a->spawned;
    w.is_silent = is_silent(a, s);
    signals_block(&mask);
    pid_t pid = fork();
    if (pid == 0) {
        close_in_child(a, s->generation);
        worker_main(&w, &mask);
    }
    int fault = errno;
    signals_restore(&mask);
    if (pid < 0) {
        slot_handle(s, SLOT_ON_FORK_FAILED, a->now_ms);
        log_error("cannot fork worker %u: %s; trying again in %.1f s", s->seat, strerror(fault),
                  (double)(s->due_ms - a->now_ms) / 1000);
        return;
    }
    s->pid = pid;
    atomic_store(&w.row->pid, pid);
    slot_handle(s, SLOT_ON_FORKED, a->now_ms);
}

void spawn_worker(struct arbiter *a, struct slot *s) {
    struct row *row = &a->board->rows[s->index];
    row_reset(row, s->seat, s->generation->id, a->now_ms);
    atomic_store(&row->has_siblings, s->generation->seats > 1);
    if (s->generation->template.is_ready) ask_template(a, s);
    else fork_worker(a, s);
}

void spawn_template(struct arbiter *a, struct generation *g) {
    struct template *t = &g->template;
    struct worker w = prototype(a, g);
    sigset_t mask;
    int ends[2];
    t->due_ms = a->now_ms + slot_back_off_ms(++t->failures);
    if (template_open(ends)) {
        log_error("cannot open a socket for the template: %s; trying again", strerror(errno));
        return;
    }
    signals_block(&mask);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        close_in_child(a, g);
        nursery_main(&w, a->board->rows, ends[1], &mask);
    }
    int fault = errno;
    signals_restore(&mask);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        log_error("cannot fork the template: %s; trying again", strerror(fault));
        return;
    }
    t->pid = pid;
    t->fd = ends[0];
    t->due_ms = g->settings->boot_timeout ? a->now_ms + g->settings->boot_timeout : CLOCK_NEVER;
}
