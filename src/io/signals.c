/* The self-pipe. A handler writes the signal's number and nothing more; whoever watches the readable end acts on it.
 *
 * The pipe never blocks: when it is full the same number is already waiting in it many times. Must never do work in the
 * handler. */
#include "io/signals.h"

#include "base/fd.h"

#include <errno.h>
#include <unistd.h>

static int pipe_ends[2] = {-1, -1};
static sigset_t taken;

static void on_signal(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    if (write(pipe_ends[1], &byte, 1) < 0) errno = 0;
    errno = saved;
}

int signals_start(const int *numbers, int count) {
    signals_stop();
    if (fd_pipe(pipe_ends)) return -1;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    for (int i = 0; i < count; i++) {
        if (sigaction(numbers[i], &action, NULL)) {
            int saved = errno;
            signals_stop();
            errno = saved;
            return -1;
        }
        sigaddset(&taken, numbers[i]);
    }
    return 0;
}

int signals_fd(void) {
    return pipe_ends[0];
}

int signals_next(void) {
    unsigned char byte;
    if (pipe_ends[0] < 0) return 0;
    ssize_t got;
    do got = read(pipe_ends[0], &byte, 1);
    while (got < 0 && errno == EINTR);
    return got == 1 ? byte : 0;
}

void signals_stop(void) {
    if (pipe_ends[0] < 0) {
        sigemptyset(&taken);
        return;
    }
    for (int number = 1; number < NSIG; number++)
        if (sigismember(&taken, number) == 1) signal(number, SIG_DFL);
    sigemptyset(&taken);
    fd_close(&pipe_ends[0]);
    fd_close(&pipe_ends[1]);
}

void signals_block(sigset_t *previous) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, previous);
}

void signals_restore(const sigset_t *previous) {
    pthread_sigmask(SIG_SETMASK, previous, NULL);
}
