/* First steps of workers and templates.
 *
 * While the application is imported nobody reads the signal pipe, so the signals that ask a process to go keep their
 * default action until child_take_all_signals(). Must never leave a handler of the arbiter's in place. */
#include "process/child.h"

#include "http/access_log.h"
#include "io/signals.h"
#include "process/daemon.h"
#include "process/privileges.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static const int numbers[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU, SIGWINCH};
#define ENDING_SIGNALS 3

static void take(const int *from, size_t count) {
    if (!signals_start(from, (int)count)) return;
    log_error("cannot take signals: %s; the process gives up", strerror(errno));
    _exit(EXIT_BOOT);
}

void child_take_signals(const sigset_t *mask) {
    signals_stop();
    take(numbers + ENDING_SIGNALS, ARRAY_LENGTH(numbers) - ENDING_SIGNALS);
    signals_restore(mask);
}

void child_take_all_signals(void) {
    sigset_t mask;
    signals_block(&mask);
    take(numbers, ARRAY_LENGTH(numbers));
    signals_restore(&mask);
}

static void capture_output(const struct settings *s) {
    if (!s->capture_output) return;
    dup2(log_fd(), STDOUT_FILENO);
    dup2(log_fd(), STDERR_FILENO);
}

static void set_environment(const struct settings *s) {
    for (size_t i = 0; i < s->raw_env.count; i++) {
        struct slice pair = slice_of(s->raw_env.items[i]);
        size_t length = slice_find(pair, '=');
        char name[256];
        if (length == pair.len || length >= sizeof(name)) continue;
        memcpy(name, pair.data, length);
        name[length] = '\0';
        setenv(name, pair.data + length + 1, 1);
    }
}

void child_become_application(const struct settings *s, const char *open_errorlog) {
    if (s->errorlog && (!open_errorlog || strcmp(s->errorlog, open_errorlog)) && log_open(s->errorlog))
        log_error("cannot open the error log '%s': %s; the old one stays", s->errorlog, strerror(errno));
    log_set_level(s->loglevel);
    umask(s->umask);
    set_environment(s);
    capture_output(s);
    if (privileges_drop(s)) _exit(EXIT_BOOT);
}

void child_follow_arbiter(const struct links *l) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* It may have died before the line above: then nobody will send that signal. */
    if (getppid() != l->arbiter_pid) _exit(EXIT_BOOT);
}

void child_reopen_logs(const struct settings *s, struct access_log *access_log) {
    if (log_reopen())
        log_error("cannot reopen the error log '%s': %s; the old file stays in use", s->errorlog, strerror(errno));
    if (access_log && access_log_reopen(access_log))
        log_error("cannot reopen the access log '%s': %s; the old file stays in use", s->accesslog, strerror(errno));
    capture_output(s);
}

void child_leave_terminal(const struct settings *s, struct access_log *access_log) {
    if (!s->daemon) return;
    daemon_detach();
    if (s->errorlog && !strcmp(s->errorlog, "-")) log_open("-");
    if (access_log && !strcmp(s->accesslog, "-")) access_log_reopen(access_log);
    capture_output(s);
}
