/* An arbiter without processes: spawning only notes what it was asked for, and signals go into a ledger. The tests move
 * time and play the workers. Include once a test program: it defines what process/spawn.c does otherwise. */
#ifndef CSERVE_TESTS_ARBITER_FIXTURE_H
#define CSERVE_TESTS_ARBITER_FIXTURE_H

#include "base/mem.h"
#include "http/server.h"
#include "process/arbiter.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define FIRST_PID 1000000

static char fixture_directory[64];
static char fixture_ini[96];
static char *fixture_argv[] = {"cserve", "-c", fixture_ini, NULL};
static pid_t next_pid;
static int fail_forks; /* so many forks fail from now on */
static int signals_sent[SCOREBOARD_ROWS + 1];

static int note_signal(pid_t pid, int number) {
    if (pid >= FIRST_PID && pid <= FIRST_PID + SCOREBOARD_ROWS) signals_sent[pid - FIRST_PID] = number;
    return 0;
}

void spawn_worker(struct arbiter *a, struct slot *s) {
    struct row *r = &a->board->rows[s->index];
    row_reset(r, s->seat, s->generation->id, a->now_ms);
    if (fail_forks > 0) {
        fail_forks--;
        slot_handle(s, SLOT_ON_FORK_FAILED, a->now_ms);
        return;
    }
    s->pid = next_pid++;
    signals_sent[s->pid - FIRST_PID] = 0;
    atomic_store(&r->pid, s->pid);
    slot_handle(s, SLOT_ON_FORKED, a->now_ms);
}

void spawn_template(struct arbiter *a, struct generation *g) {
    (void)a;
    g->template.pid = next_pid++;
    g->template.due_ms = CLOCK_NEVER;
}

static void write_ini(const char *text) {
    FILE *out = fopen(fixture_ini, "w");
    assert_non_null(out);
    fprintf(out, "[cserve]\nwsgi_app = app\nloglevel = critical\n%s\n", text);
    fclose(out);
}

static struct settings *read_ini(void) {
    struct buf errors = BUF_INIT, notes = BUF_INIT;
    struct settings *s = settings_load(3, fixture_argv, &errors, &notes);
    if (!s) fail_msg("%s", buf_cstr(&errors));
    buf_release(&errors);
    buf_release(&notes);
    return s;
}

static struct arbiter *arbiter_with(const char *ini) {
    char error[512];
    snprintf(fixture_directory, sizeof(fixture_directory), "/tmp/cserve-arbiter-XXXXXX");
    assert_non_null(mkdtemp(fixture_directory));
    snprintf(fixture_ini, sizeof(fixture_ini), "%s/c.ini", fixture_directory);
    write_ini(ini);
    next_pid = FIRST_PID;
    fail_forks = 0;
    log_set_level((enum log_level)(LOG_LEVEL_CRITICAL + 1));

    struct arbiter *a = MEM_NEW(struct arbiter);
    a->argc = 3;
    a->argv = fixture_argv;
    a->report_fd = a->start_directory_fd = a->notify.fd = a->pidfile.fd = a->oom.fd = -1;
    a->planned_ms = a->watchdog_ms = a->patience_ms = CLOCK_NEVER;
    a->sources = (struct source_watch)SOURCE_WATCH_INIT;
    a->open_errorlog = mem_strdup("-");
    list_init(&a->leaving);
    sockets_init(&a->sockets);
    for (unsigned i = 0; i < SCOREBOARD_ROWS; i++) slot_init(&a->slots[i], i, note_signal);
    a->board = scoreboard_new(&a->board_fd);
    assert_non_null(a->board);
    a->now_ms = 1000000;
    a->current = generation_new(++a->generations, read_ini(), &a->sockets, 0, error, sizeof(error));
    if (!a->current) fail_msg("%s", error);
    a->current->phase = a->current->settings->preload_app ? GENERATION_LOADING : GENERATION_FILLING;
    return a;
}

static void forget_generation(struct arbiter *a, struct generation *g) {
    if (g) g->access_log = NULL;
    generation_free(g, &a->sockets, true);
}

static void arbiter_end(struct arbiter *a) {
    forget_generation(a, a->current);
    forget_generation(a, a->candidate);
    while (!list_is_empty(&a->leaving)) forget_generation(a, CONTAINER_OF(a->leaving.next, struct generation, link));
    scoreboard_free(a->board);
    close(a->board_fd);
    sockets_forget(&a->sockets);
    mem_free(a->exit_command);
    mem_free(a->open_errorlog);
    mem_free(a);
    unlink(fixture_ini);
    rmdir(fixture_directory);
}

/* One turn of the loop without the waiting, `later_ms` from the last. */
static void turn_after(struct arbiter *a, uint64_t later_ms) {
    a->now_ms += later_ms;
    for (unsigned i = 0; i < a->slots_used; i++) news_read_row(a, &a->slots[i]);
    watch_deadlines(a);
    recycle_check(a);
    reload_advance(a);
    seating_settle(a);
    reload_collect(a);
}

static void turn(struct arbiter *a) {
    turn_after(a, 1);
}

/* The worker in the slot reports ready. */
static void report_ready(struct arbiter *a, struct slot *s) {
    atomic_store(&a->board->rows[s->index].stage, WORKER_READY);
}

/* Everybody who is starting reports ready; then a turn. */
static void all_ready(struct arbiter *a) {
    for (unsigned i = 0; i < a->slots_used; i++)
        if (a->slots[i].state == SLOT_STARTING) report_ready(a, &a->slots[i]);
    turn(a);
}

UNUSED static void die_booting(struct arbiter *a, struct slot *s, int failure) {
    slot_handle(s, SLOT_ON_EXITED, a->now_ms);
    reload_note_failure(a, s->generation, s, failure);
}

/* The slot of generation `g` with the seat; NULL if there is none. */
static struct slot *seat_of(struct arbiter *a, const struct generation *g, unsigned seat) {
    for (unsigned i = 0; i < a->slots_used; i++)
        if (a->slots[i].generation == g && a->slots[i].seat == seat) return &a->slots[i];
    return NULL;
}

static int signal_to(const struct slot *s) {
    return signals_sent[s->pid - FIRST_PID];
}

static struct arbiter *serving_arbiter(const char *ini) {
    struct arbiter *a = arbiter_with(ini);
    turn(a);
    all_ready(a);
    turn(a);
    assert_true(a->is_up);
    return a;
}

#endif
