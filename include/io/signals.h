/* Signals as readable bytes: each handler writes its number to a non-blocking self-pipe and returns. Not signalfd(2): a
 * blocked mask would leak into programs that the application starts.
 *
 * One pipe a process: signals_start() in a child makes a new one, so parent and child never read each other's. */
#ifndef CSERVE_IO_SIGNALS_H
#define CSERVE_IO_SIGNALS_H

#include <signal.h>

/* Opens the pipe and installs the handler for each of the `count` numbers (SA_RESTART). -1 with errno. */
int signals_start(const int *numbers, int count);
/* The readable end, non-blocking, close-on-exec. -1 before signals_start(). */
int signals_fd(void);
/* The next signal number, 0 if there is none. */
int signals_next(void);
/* Puts the default action back for every signal that signals_start() took, and closes the pipe: for a child before it
 * takes its own. */
void signals_stop(void);
/* Blocks every signal, and puts back what was: the bracket around fork(), so that a signal that comes early in the
 * child is delivered to the child's own handlers, neither lost nor run by the parent's. */
void signals_block(sigset_t *previous);
void signals_restore(const sigset_t *previous);

#endif
