/* Descriptors in few words. Must never set a flag of an open file description that others share: only the caller
 * knows. */
#include "base/fd.h"

#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

void fd_close(int *fd) {
    if (*fd < 0) return;
    int saved = errno;
    /* Not again on EINTR: Linux has closed it by then, and the number may belong to another thread. */
    close(*fd);
    errno = saved;
    *fd = -1;
}

int fd_set_cloexec(int fd, bool on) {
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0) return -1;
    int wanted = on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC;
    return wanted == flags ? 0 : fcntl(fd, F_SETFD, wanted);
}

int fd_set_nonblock(int fd, bool on) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -1;
    int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return wanted == flags ? 0 : fcntl(fd, F_SETFL, wanted);
}

int fd_pipe(int ends[2]) {
    return pipe2(ends, O_CLOEXEC | O_NONBLOCK);
}

int fd_write_all(int fd, const void *data, size_t len) {
    const char *next = data;
    while (len) {
        ssize_t written = write(fd, next, len);
        if (written < 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        next += written;
        len -= (size_t)written;
    }
    return 0;
}

static int open_unlinked(const char *dir) {
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s/cserve-XXXXXX", dir);
    int fd = mkostemp(buf_cstr(&path), O_CLOEXEC);
    if (fd >= 0) unlink(path.data);
    int saved = errno;
    buf_release(&path);
    errno = saved;
    return fd;
}

int fd_open_temporary(const char *dir) {
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    /* EISDIR and EINVAL: what file systems say that know nothing of O_TMPFILE (open(2)). */
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) fd = open_unlinked(dir);
    return fd_above_standard(fd);
}

int fd_ensure_standard(void) {
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0) return -1;
    fd_close(&fd);
    return 0;
}

int fd_above_standard(int fd) {
    if (fd < 0 || fd > STDERR_FILENO) return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), saved = errno;
    fd_close(&fd);
    fd_ensure_standard();
    errno = saved;
    return moved;
}

size_t fd_limit(bool raise_soft) {
    /* Beyond a million, programs that the application starts and that close "all" descriptors one by one would take
     * seconds. */
    enum { ENOUGH = 1 << 20 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 1024;
    rlim_t best = limit.rlim_max < ENOUGH ? limit.rlim_max : ENOUGH;
    if (raise_soft && limit.rlim_cur < best) {
        struct rlimit raised = {.rlim_cur = best, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    return limit.rlim_cur > SIZE_MAX ? SIZE_MAX : (size_t)limit.rlim_cur;
}

size_t fd_unacknowledged(int fd) {
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}
