/* How the arbiter starts and ends: everything that can fail, in an order in which a failure leaves nothing behind.
 *
 * Until the first fork every error is one line on the terminal and an exit status. */
#include "base/fd.h"
#include "base/mem.h"
#include "base/proctitle.h"
#include "base/version.h"
#include "io/signals.h"
#include "process/arbiter.h"
#include "process/daemon.h"
#include "process/privileges.h"
#include "process/reexec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIND_PATIENCE_MS 1000

static const int numbers[] = {SIGTERM, SIGINT,  SIGQUIT, SIGHUP,  SIGTTIN, SIGTTOU,
                              SIGUSR1, SIGUSR2, SIGCHLD, SIGCONT, SIGWINCH};

static struct arbiter *make_arbiter(int argc, char **argv) {
    struct arbiter *a = MEM_NEW(struct arbiter);
    a->argc = argc;
    a->argv = argv;
    a->board_fd = a->report_fd = -1;
    a->pidfile = (struct pidfile)PIDFILE_INIT;
    a->start_directory_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    a->planned_ms = a->watchdog_ms = a->patience_ms = CLOCK_NEVER;
    a->sources = (struct source_watch)SOURCE_WATCH_INIT;
    list_init(&a->leaving);
    sockets_init(&a->sockets);
    for (unsigned i = 0; i < SCOREBOARD_ROWS; i++) slot_init(&a->slots[i], i, kill);
    return a;
}

/* "cserve: message", in daemon mode with the status for the process that waits. */
static noreturn void fail(struct arbiter *a, int status, const char *message) {
    pidfile_drop(&a->pidfile);
    if (a->current) sockets_release(&a->sockets, &a->current->sockets, true);
    fprintf(stderr, "cserve: %s\n", message);
    daemon_report(&a->report_fd, status);
    exit(status);
}

static void enter(struct arbiter *a, const struct settings *s) {
    char error[512];
    if (s->chdir && chdir(s->chdir)) {
        snprintf(error, sizeof(error), "cannot change to the directory '%s': %s", s->chdir, strerror(errno));
        fail(a, EXIT_SETTINGS, error);
    }
    umask(s->umask);
    if (privileges_check(s, error, sizeof(error))) fail(a, EXIT_SETTINGS, error);
    if (log_open(s->errorlog ? s->errorlog : "-")) {
        snprintf(error, sizeof(error), "cannot open the error log '%s': %s", s->errorlog, strerror(errno));
        fail(a, EXIT_SETTINGS, error);
    }
    a->open_errorlog = mem_strdup(s->errorlog ? s->errorlog : "-");
    log_set_level(s->loglevel);
    log_set_process("master");
}

static void open_first_generation(struct arbiter *a, struct settings *s) {
    char error[512];
    a->current = generation_new(++a->generations, s, &a->sockets, BIND_PATIENCE_MS, error, sizeof(error));
    if (!a->current) fail(a, EXIT_SETTINGS, error);
    a->current->phase = s->preload_app ? GENERATION_LOADING : GENERATION_FILLING;
    privileges_give_logs(s);
}

static void go_to_background(struct arbiter *a, const struct settings *s) {
    if (!s->daemon) return;
    a->report_fd = daemon_start(a->open_errorlog);
    if (a->report_fd < 0) fail(a, EXIT_BOOT, "cannot become a daemon");
}

/* The parts that a process has once, and an earlier image of it may have left. */
static void open_process(struct arbiter *a, const struct settings *s) {
    char error[512];
    if (s->pidfile && pidfile_take(&a->pidfile, s->pidfile, error, sizeof(error))) fail(a, EXIT_SETTINGS, error);
    a->board = scoreboard_new(&a->board_fd);
    if (!a->board || links_open(&a->links)) {
        snprintf(error, sizeof(error), "cannot set up the processes' shared memory and pipes: %s", strerror(errno));
        fail(a, EXIT_BOOT, error);
    }
}

static void take_signals(struct arbiter *a) {
    sigset_t none;
    if (signals_start(numbers, ARRAY_LENGTH(numbers))) fail(a, EXIT_BOOT, "cannot take signals");
    /* An earlier image may have left them blocked, so that none is lost in between. */
    sigemptyset(&none);
    signals_restore(&none);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void warn_of_backlog(const struct settings *s) {
    char text[24];
    int fd = open("/proc/sys/net/core/somaxconn", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    fd_close(&fd);
    if (got <= 0) return;
    text[got] = '\0';
    int most = atoi(text);
    if (most < s->backlog)
        log_warning("backlog is %d, but the kernel's net.core.somaxconn allows %d; raise that to use it", s->backlog,
                    most);
}

static void announce(struct arbiter *a) {
    const struct generation *g = a->current;
    log_info("cserve " CSERVE_VERSION " starts: %u workers, %d threads each, for %s", g->seats, g->settings->threads,
             generation_name(g));
    socket_set_announce(&g->sockets, NULL);
    sockets_give_back(&a->sockets);
    warn_of_backlog(g->settings);
}

static void release(struct arbiter *a) {
    sockets_forget(&a->sockets);
    notify_stop(&a->notify);
    oom_watch_stop(&a->oom);
    source_watch_stop(&a->sources);
    scoreboard_free(a->board);
    mem_free(a->open_errorlog);
    mem_free(a->exit_command);
    mem_free(a);
}

/* A reader that is gone and a limit of file sizes are errors of the call that met them, not the end of the process. */
static void ignore_signals(void) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

int arbiter_run(int argc, char **argv, struct settings *settings) {
    ignore_signals();
    struct arbiter *a = make_arbiter(argc, argv);
    enter(a, settings);
    notify_start(&a->notify);
    if (a->notify.stores_fds) a->sockets.keeper = &a->notify;
    if (!reexec_resume(a, settings)) {
        sockets_inherit(&a->sockets);
        open_first_generation(a, settings);
        go_to_background(a, settings);
        open_process(a, settings);
    }
    if (settings->exec_on_exit) a->exit_command = mem_strdup(settings->exec_on_exit);
    oom_watch_start(&a->oom);
    take_signals(a);
    proctitle_set("cserve: master [%s]", generation_name(a->current));
    source_watch_follow(&a->sources, a->current->settings);
    if (!a->is_up) announce(a);
    int status = arbiter_loop(a);
    pidfile_drop(&a->pidfile);
    log_info("stopped");
    command_run(a, a->exit_command, "exit", NULL, 0);
    release(a);
    return status;
}
