/* Reload as a transaction: a candidate generation beside the current one, until it serves or fails.
 *
 * The first generation takes the same steps without a canary, and its failure ends the server. Must never touch the
 * current generation before the candidate's workers are all ready. */
#include "process/arbiter.h"

#include "base/mem.h"
#include "http/server.h"
#include "process/privileges.h"

#include <errno.h>

#define FORKS_TRIED 5 /* at the first start, which takes some three seconds: a shortage may pass */

/* ---- begin ---- */

static void end_reload(struct arbiter *a) {
    notify_send(&a->notify, "READY=1");
    arbiter_tell_status(a);
}

static void refuse(struct arbiter *a, struct settings *s, const char *why) {
    settings_free(s);
    candidate_leave_directory(a);
    log_error("reload failed: %s; the old generation goes on", why);
    end_reload(a);
}

/* The first generation has another try; later ones are reloads. */
static void wake_up(struct arbiter *a) {
    struct generation *g = a->current;
    log_info("starting again");
    g->failure = 0;
    g->spokesman = 0;
    g->template.due_ms = a->now_ms;
    g->template.failures = 0;
    g->phase = g->settings->preload_app ? GENERATION_LOADING : GENERATION_FILLING;
}

void reload_begin(struct arbiter *a) {
    char error[512];
    if (a->ending || !a->current) return;
    if (a->current->phase == GENERATION_DORMANT) {
        wake_up(a);
        return;
    }
    if (a->candidate || !a->is_up || a->upgrade_pid) {
        a->is_reload_wanted = true;
        log_info("another reload follows the one that goes on");
        return;
    }
    a->is_reload_wanted = false;
    log_info("reloading");
    notify_send(&a->notify, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reloading", (unsigned long long)clock_mono_us());
    struct settings *s = candidate_read(a);
    if (!s) {
        refuse(a, NULL, "the settings have errors");
        return;
    }
    struct generation *g = generation_new(a->generations + 1, s, &a->sockets, 0, error, sizeof(error));
    if (!g) {
        refuse(a, s, error);
        return;
    }
    a->generations++;
    privileges_give_logs(s);
    g->phase = s->preload_app ? GENERATION_LOADING : GENERATION_CANARY;
    /* What SIGTTIN and SIGTTOU made of the number holds until the setting itself changes. */
    if (s->workers == a->current->settings->workers) g->seats = a->current->seats;
    a->candidate = g;
}

void reload_because_of_sources(struct arbiter *a) {
    if (a->sources.due_ms > a->now_ms) return;
    a->sources.due_ms = CLOCK_NEVER;
    source_watch_follow(&a->sources, a->sources.settings);
    reload_begin(a);
}

/* ---- ends ---- */

static void set_drain_mode(struct arbiter *a, const struct generation *g, enum server_drain_mode mode) {
    for (unsigned i = 0; i < a->slots_used; i++)
        if (a->slots[i].generation == g) atomic_store(&a->board->rows[i].drain_mode, mode);
}

void reload_hurry_leaving(struct arbiter *a) {
    for (struct list *l = a->leaving.next; l != &a->leaving; l = l->next) {
        struct generation *g = CONTAINER_OF(l, struct generation, link);
        set_drain_mode(a, g, SERVER_DRAIN_STOP);
        seating_clear(a, g, SLOT_ON_RETIRE);
    }
}

void reload_retire(struct arbiter *a, struct generation *g) {
    /* Connections that wait at a socket which nobody will serve any more are the old workers' to answer. */
    const struct socket_set *kept = !a->ending && a->current != g ? &a->current->sockets : NULL;
    enum server_drain_mode mode =
        kept && socket_set_is_within(&g->sockets, kept) ? SERVER_DRAIN_RETIRE : SERVER_DRAIN_STOP;
    socket_set_refuse_more(&g->sockets, kept);
    set_drain_mode(a, g, mode);
    g->phase = GENERATION_LEAVING;
    template_kill(&g->template);
    seating_clear(a, g, a->ending == ARBITER_STOPS_QUICKLY ? SLOT_ON_STOP : SLOT_ON_RETIRE);
    list_unlink(&g->link);
    list_append(&a->leaving, &g->link);
}

void reload_roll_back(struct arbiter *a, const char *why) {
    struct generation *g = a->candidate;
    a->candidate = NULL;
    g->phase = GENERATION_LEAVING;
    template_kill(&g->template);
    for (unsigned i = 0; i < a->slots_used; i++) {
        struct slot *s = &a->slots[i];
        if (s->generation == g) slot_handle(s, s->state == SLOT_READY ? SLOT_ON_RETIRE : SLOT_ON_STOP, a->now_ms);
    }
    list_append(&a->leaving, &g->link);
    candidate_leave_directory(a);
    log_error("reload failed: %s; the old generation goes on", why);
    end_reload(a);
}

static void note_exit_command(struct arbiter *a, const struct settings *s) {
    mem_free(a->exit_command);
    a->exit_command = s->exec_on_exit ? mem_strdup(s->exec_on_exit) : NULL;
}

static void switch_log(struct arbiter *a, const struct settings *s) {
    log_set_level(s->loglevel);
    if (!s->errorlog || !strcmp(s->errorlog, a->open_errorlog)) return;
    if (log_open(s->errorlog)) {
        log_error("cannot open the error log '%s': %s; the old one stays", s->errorlog, strerror(errno));
        return;
    }
    mem_free(a->open_errorlog);
    a->open_errorlog = mem_strdup(s->errorlog);
}

static void commit(struct arbiter *a) {
    struct generation *old = a->current;
    const struct settings *s = a->candidate->settings;
    a->current = a->candidate;
    a->candidate = NULL;
    a->current->phase = GENERATION_SERVING;
    log_info("reloaded: generation %u serves, generation %u finishes what it runs", a->current->id, old->id);
    socket_set_announce(&a->current->sockets, &old->sockets);
    reload_retire(a, old);
    switch_log(a, s);
    privileges_give_logs(s);
    note_exit_command(a, s);
    source_watch_follow(&a->sources, s);
    sockets_store(&a->sockets);
    end_reload(a);
    command_run(a, s->exec_on_reload, "reload", NULL, 0);
}

void reload_collect(struct arbiter *a) {
    struct list *next;
    for (struct list *l = a->leaving.next; l != &a->leaving; l = next) {
        struct generation *g = CONTAINER_OF(l, struct generation, link);
        next = l->next;
        if (template_exists(&g->template) || seating_count_alive(a, g)) continue;
        if (!a->ending) log_info("generation %u is gone", g->id);
        if (a->sources.settings == g->settings) source_watch_stop(&a->sources);
        generation_free(g, &a->sockets, true);
        mem_drop_text();
    }
}

/* ---- steps ---- */

/* Workers of the first generation that are ready, and those that have tried and failed. */
static bool has_everybody_tried(const struct arbiter *a, const struct generation *g, unsigned *ready) {
    unsigned tried = 0;
    *ready = 0;
    for (unsigned i = 0; i < a->slots_used; i++) {
        const struct slot *s = &a->slots[i];
        if (s->generation != g) continue;
        *ready += s->state == SLOT_READY;
        tried += s->state == SLOT_READY || s->failures > 0;
    }
    return tried >= g->seats;
}

void reload_note_failure(struct arbiter *a, struct generation *g, const struct slot *s, int failure) {
    unsigned ready;
    if (g->phase == GENERATION_SERVING || g->phase == GENERATION_LEAVING || a->ending) return;
    if (g == a->candidate) {
        reload_roll_back(a, failure == EXIT_APP ? "the application cannot be loaded" : "a worker cannot start");
        return;
    }
    if (g->phase == GENERATION_DORMANT) return;
    bool is_spokesman = !s || g->spokesman == s->index + 1;
    bool has_all = has_everybody_tried(a, g, &ready);
    if (failure == EXIT_APP || !g->failure) g->failure = failure;
    if (ready) return;
    if (!has_all && s && !(failure == EXIT_APP && is_spokesman)) return;
    if (a->sources.fd < 0) {
        arbiter_give_up(a, g->failure);
        return;
    }
    log_error("the application cannot be loaded; waiting for a change of its source");
    g->phase = GENERATION_DORMANT;
    seating_clear(a, g, SLOT_ON_STOP);
}

void reload_note_failed_fork(struct arbiter *a, struct generation *g, const struct slot *s, unsigned failures) {
    if (g == a->candidate || failures >= FORKS_TRIED) reload_note_failure(a, g, s, EXIT_BOOT);
}

static void advance(struct arbiter *a, struct generation *g) {
    unsigned ready;
    if (g->phase == GENERATION_LOADING && g->template.is_ready)
        g->phase = g == a->candidate ? GENERATION_CANARY : GENERATION_FILLING;
    if (g->phase == GENERATION_CANARY && seating_count(a, g, SLOT_READY)) g->phase = GENERATION_FILLING;
    if (g->phase != GENERATION_FILLING) return;
    bool has_all = has_everybody_tried(a, g, &ready);
    if (g == a->candidate && ready >= g->seats) commit(a);
    else if (g == a->current && has_all && ready) arbiter_is_up(a);
}

void reload_advance(struct arbiter *a) {
    if (a->ending) return;
    if (a->candidate) advance(a, a->candidate);
    else if (a->current && a->current->phase != GENERATION_SERVING) advance(a, a->current);
    if (a->is_reload_wanted && !a->candidate && a->is_up && !a->upgrade_pid) reload_begin(a);
}
