/* Leaves the terminal the way a shell expects it: the command returns when the answer is known, and nothing keeps the terminal open.
 *
 * Errors of the start still go to the terminal, so descriptors 0 to 2 change only in daemon_detach(). */
#include "process/daemon.h"

#include "base/compiler.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static noreturn void wait_for_report(int fd) {
    unsigned char status;
    ssize_t got;
    do got = read(fd, &status, 1);
    while (got < 0 && errno == EINTR);
    _exit(got == 1 ? status : EXIT_BOOT);
}

int daemon_start(void) {
    int ends[2];
    if (fd_pipe(ends) || fd_set_nonblock(ends[0], false)) return -1;
    pid_t pid = fork();
    if (pid < 0) return -1;
    if (pid > 0) {
        close(ends[1]);
        wait_for_report(ends[0]);
    }
    close(ends[0]);
    setsid();
    /* The second fork: no session leader, so no terminal is ever acquired by opening one. */
    pid = fork();
    if (pid) _exit(0);
    return ends[1];
}

void daemon_report(int *fd, int status) {
    if (*fd < 0) return;
    unsigned char byte = (unsigned char)status;
    ssize_t ignored = write(*fd, &byte, 1);
    (void)ignored;
    fd_close(fd);
}

void daemon_detach(void) {
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    for (int standard = 0; standard <= 2; standard++) dup2(fd, standard);
    if (fd > 2) close(fd);
}
