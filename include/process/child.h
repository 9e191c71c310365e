/* What every child of the arbiter does first, whichever kind of process it becomes. */
#ifndef CSERVE_PROCESS_CHILD_H
#define CSERVE_PROCESS_CHILD_H

#include "config/settings.h"
#include "process/links.h"

#include <signal.h>

/* Own signal handling, then the mask from before the fork. SIGUSR1 waits in the pipe of io/signals.h, other signals
 * that only mean something to the arbiter do nothing; those that end a process end this one. They are handlers, not
 * SIG_IGN, which programs that the application starts would inherit. */
void child_take_signals(const sigset_t *mask_before_fork);
/* As that, but SIGTERM, SIGINT and SIGQUIT wait in the pipe too: for a child that now looks there. */
void child_take_all_signals(void);
/* From the arbiter's settings, descriptors and rights to those of the application: logs, environment, standard
 * descriptors, user. Exits with EXIT_BOOT after logging why. */
void child_become_application(const struct settings *s, const char *open_errorlog);
/* Dies with the arbiter from here on, and at once if that is gone already. After the last change of user, which would
 * undo it. */
void child_follow_arbiter(const struct links *l);
/* SIGUSR1: new log files. `access_log` may be NULL. */
struct access_log;
void child_reopen_logs(const struct settings *s, struct access_log *access_log);
/* Daemon mode: lets go of the terminal. */
void child_leave_terminal(const struct settings *s, struct access_log *access_log);

#endif
