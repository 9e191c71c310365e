/* Leaves the terminal the way a shell expects it: the command returns when the answer is known, and nothing keeps the
 * terminal open.
 *
 * Errors of the start still go to the terminal, so descriptors 0 to 2 change only in daemon_detach(). */
#include "process/daemon.h"

#include "base/compiler.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The error log at its present end, if it is a file; else -1. */
static int open_log_end(const char *path) {
    struct stat file;
    int fd = path && strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
    if (fd >= 0 && (fstat(fd, &file) || !S_ISREG(file.st_mode) || lseek(fd, 0, SEEK_END) < 0)) fd_close(&fd);
    return fd;
}

static void copy_to_terminal(int log_fd) {
    char text[4096];
    ssize_t got;
    while (log_fd >= 0 && (got = read(log_fd, text, sizeof(text))) > 0)
        if (fd_write_all(STDERR_FILENO, text, (size_t)got)) return;
}

static noreturn void wait_for_report(int fd, int log_fd) {
    unsigned char status = EXIT_BOOT;
    while (read(fd, &status, 1) < 0 && errno == EINTR) continue;
    if (status) copy_to_terminal(log_fd);
    _exit(status);
}

int daemon_start(const char *errorlog) {
    int ends[2], log_end = open_log_end(errorlog);
    if (fd_pipe(ends) || fd_set_nonblock(ends[0], false)) return -1;
    pid_t pid = fork();
    if (pid < 0) return -1;
    if (pid > 0) {
        close(ends[1]);
        wait_for_report(ends[0], log_end);
    }
    close(ends[0]);
    fd_close(&log_end);
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
