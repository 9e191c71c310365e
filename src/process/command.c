/* Runs the commands of the exec_* settings. They are children like any other: collected when they end, never waited
 * for. */
#include "io/signals.h"
#include "process/arbiter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static noreturn void become_command(const struct arbiter *a, const char *command, const char *event,
                                    const struct command_detail *details, size_t count, const sigset_t *mask) {
    char arbiter[16];
    snprintf(arbiter, sizeof(arbiter), "%d", a->links.arbiter_pid);
    signals_stop();
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    signals_restore(mask);
    setenv("EVENT", event, 1);
    setenv("MASTER_PID", arbiter, 1);
    for (size_t i = 0; i < count; i++) setenv(details[i].name, details[i].value, 1);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0) dup2(null, STDIN_FILENO);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

void command_run(struct arbiter *a, const char *command, const char *event, const struct command_detail *details,
                 size_t count) {
    sigset_t mask;
    if (!command || !*command) return;
    signals_block(&mask);
    pid_t pid = fork();
    if (pid == 0) become_command(a, command, event, details, count, &mask);
    int fault = errno;
    signals_restore(&mask);
    if (pid < 0) log_error("cannot run the command of the event %s: %s; it is skipped", event, strerror(fault));
}
