/* Upgrade in place: a new binary takes over under the same pid, with the sockets, the workers and what is known of
 * them. */
#ifndef CSERVE_PROCESS_REEXEC_H
#define CSERVE_PROCESS_REEXEC_H

#include "process/arbiter.h"

/* SIGUSR2: starts the check of the binary on disk. Returns at once. */
void reexec_begin(struct arbiter *a);
/* The check ended; executes the new binary if it was content. Comes back only if that fails. */
void reexec_note_check(struct arbiter *a, int status);
/* The check takes too long. */
void reexec_watch(struct arbiter *a);
/* Did an earlier image of this process leave its state? Then takes it over: scoreboard, links, sockets, workers. False
 * if there is none. Before anything else is opened. */
bool reexec_resume(struct arbiter *a, struct settings *settings);
/* For main() when the settings cannot be loaded: executes the old command again if this image is an upgrade. Else does
 * nothing. */
void reexec_go_back(char **argv);

#endif
