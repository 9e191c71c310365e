/* Collects dead children and says why they died.
 *
 * Children that nobody here started (orphans of the application, whose subreaper we are; everything, as pid 1 of a
 * container) are collected without a word. Must hear templates before it collects: a worker may die before its pid was
 * read. */
#include "process/arbiter.h"
#include "process/obituary.h"
#include "process/reexec.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

static bool is_good_leave(const struct slot *s, int status) {
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 && (s->state == SLOT_RETIRING || s->state == SLOT_STOPPING);
}

static enum log_level level_of(const struct arbiter *a, const struct slot *s, const struct death *d) {
    bool was_told = WIFEXITED(d->status) && WEXITSTATUS(d->status) == 0;
    if (was_told && atomic_load(&a->board->rows[s->index].stage) == WORKER_LEAVING) return LOG_LEVEL_INFO;
    if (s->was_asked_to_leave && !s->ready_ms) return LOG_LEVEL_INFO; /* never served: nothing is lost */
    if (!a->is_up && s->generation->spokesman != s->index + 1) return LOG_LEVEL_INFO; /* another one says why */
    return LOG_LEVEL_ERROR;
}

/* `before` is the slot as it died, `after` what became of it. */
static void log_death(struct arbiter *a, const struct slot *before, const struct slot *after, const struct death *d) {
    char cause[128], tasks[768], next[48] = "";
    death_describe(d, cause, sizeof(cause));
    death_describe_tasks(&a->board->rows[before->index], (unsigned)before->settings->threads, a->now_ms, tasks,
                         sizeof(tasks));
    if (after->state == SLOT_WAITING && before->generation->phase == GENERATION_SERVING) {
        if (after->due_ms > a->now_ms)
            snprintf(next, sizeof(next), "; starting another in %.1f s", (double)(after->due_ms - a->now_ms) / 1000);
        else snprintf(next, sizeof(next), "; starting another");
    }
    log_write(level_of(a, before, d), "worker %u (pid %d) %s%s%s", before->seat, before->pid, cause, tasks, next);
}

static void tell_command(struct arbiter *a, const struct slot *s, const char *cause) {
    char pid[16], seat[16];
    if (!s->settings->exec_on_worker_exit) return;
    snprintf(pid, sizeof(pid), "%d", s->pid);
    snprintf(seat, sizeof(seat), "%u", s->seat);
    const struct command_detail details[] = {{"WORKER_PID", pid}, {"WORKER", seat}, {"CAUSE", cause}};
    command_run(a, s->settings->exec_on_worker_exit, "worker_exit", details, ARRAY_LENGTH(details));
}

static int failure_of(int status) {
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_APP ? EXIT_APP : EXIT_BOOT;
}

static bool is_unexplained_kill(int status, enum slot_verdict verdict) {
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !verdict;
}

static void bury_worker(struct arbiter *a, struct slot *s, int status) {
    news_read_row(a, s);
    const struct slot before = *s;
    struct generation *g = s->generation;
    struct row *row = &a->board->rows[s->index];
    const struct death d = {.status = status,
                            .verdict = s->verdict,
                            .settings = s->settings,
                            .was_ready = s->ready_ms != 0,
                            .was_oom = is_unexplained_kill(status, s->verdict) && oom_watch_claim(&a->oom, a->now_ms)};
    char cause[128];
    death_describe(&d, cause, sizeof(cause));
    slot_handle(s, SLOT_ON_EXITED, a->now_ms);
    if (is_good_leave(&before, status)) log_info("worker %u (pid %d) is gone", before.seat, before.pid);
    else log_death(a, &before, s, &d);
    if (g->access_log)
        obituary_write(g->access_log, row, (unsigned)before.settings->threads,
                       before.verdict == SLOT_KILLED_TIMEOUT ? 504 : 502);
    tell_command(a, &before, cause);
    atomic_store(&a->board->rows[s->index].pid, 0);
    if (!before.ready_ms && !before.was_asked_to_leave) reload_note_failure(a, g, s, failure_of(status));
}

static void bury_template(struct arbiter *a, struct generation *g, int status) {
    struct template *t = &g->template;
    const struct death d = {.status = status,
                            .verdict = t->verdict,
                            .settings = g->settings,
                            .was_ready = t->is_ready,
                            .was_oom = is_unexplained_kill(status, t->verdict) && oom_watch_claim(&a->oom, a->now_ms)};
    bool is_wanted = t->due_ms != CLOCK_NEVER || t->is_ready || t->verdict;
    bool was_ready = t->is_ready;
    char cause[128];
    death_describe(&d, cause, sizeof(cause));
    if (g->phase != GENERATION_LEAVING && !a->ending && is_wanted) log_error("template (pid %d) %s", t->pid, cause);
    template_bury(t);
    t->due_ms = a->now_ms + slot_back_off_ms(was_ready ? 1 : t->failures);
    if (!was_ready) reload_note_failure(a, g, NULL, failure_of(status));
}

static struct slot *find_slot(struct arbiter *a, pid_t pid) {
    for (unsigned i = 0; i < a->slots_used; i++)
        if (a->slots[i].pid == pid) return &a->slots[i];
    return NULL;
}

static struct generation *find_template(struct arbiter *a, pid_t pid) {
    if (a->current && a->current->template.pid == pid) return a->current;
    if (a->candidate && a->candidate->template.pid == pid) return a->candidate;
    for (struct list *l = a->leaving.next; l != &a->leaving; l = l->next) {
        struct generation *g = CONTAINER_OF(l, struct generation, link);
        if (g->template.pid == pid) return g;
    }
    return NULL;
}

/* A kill for memory that it explains explains no worker's. */
static void bury_stranger(struct arbiter *a, pid_t pid, int status) {
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) oom_watch_claim(&a->oom, a->now_ms);
    log_debug("collected process %d, which was none of ours", pid);
}

/* Somebody stopped a child, or let it go on. */
static void note_stop(struct arbiter *a, struct slot *s, pid_t pid, int status) {
    if (!s) {
        if (!find_template(a, pid)) return;
        if (WIFSTOPPED(status))
            log_warning("template (pid %d) was stopped by SIG%s", pid, sigabbrev_np(WSTOPSIG(status)));
        else log_info("template (pid %d) goes on", pid);
        return;
    }
    s->stopped_ms = WIFSTOPPED(status) ? a->now_ms : 0;
    if (s->stopped_ms)
        log_warning("worker %u (pid %d) was stopped by SIG%s", s->seat, s->pid, sigabbrev_np(WSTOPSIG(status)));
    else log_info("worker %u (pid %d) goes on", s->seat, s->pid);
}

void reaper_run(struct arbiter *a) {
    int status;
    pid_t pid;
    struct generation *g;
    news_hear_templates(a);
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
        struct slot *s = find_slot(a, pid);
        if (WIFSTOPPED(status) || WIFCONTINUED(status)) note_stop(a, s, pid, status);
        else if (s) bury_worker(a, s, status);
        else if ((g = find_template(a, pid))) bury_template(a, g, status);
        else if (pid == a->upgrade_pid) reexec_note_check(a, status);
        else bury_stranger(a, pid, status);
    }
}
