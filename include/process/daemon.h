/* Daemon mode: the process that the user started waits until the service answers, then exits with the start's
 * status. */
#ifndef CSERVE_PROCESS_DAEMON_H
#define CSERVE_PROCESS_DAEMON_H

/* Forks twice, with a session of its own in between. Returns in the daemon: the descriptor for daemon_report(); -1 with
 * errno. The process that called does not come back: it exits with the reported status, or 3 if the daemon dies without
 * one. If the start failed, it first copies to stderr what was added to the error log meanwhile; `errorlog` is a path,
 * "-" or NULL. */
int daemon_start(const char *errorlog);
/* Tells the waiting process its exit status and closes *fd. Does nothing for -1. */
void daemon_report(int *fd, int status);
/* Makes descriptors 0, 1 and 2 /dev/null: the terminal is no longer ours. */
void daemon_detach(void);

#endif
