/* Takes the pidfile: a locked temporary file is linked or renamed into place, so readers see a whole number or no file.
 *
 * Who finds a file there must hold its lock before replacing it. Must never remove a file that another process put
 * there. */
#include "process/pidfile.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct flock whole_file(void) {
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

static bool lock(int fd) {
    struct flock region = whole_file();
    return !fcntl(fd, F_SETLK, &region);
}

static pid_t holder(int fd) {
    struct flock region = whole_file();
    return fcntl(fd, F_GETLK, &region) || region.l_type == F_UNLCK ? 0 : region.l_pid;
}

static bool is_same_file(int fd, const char *path) {
    struct stat ours, there;
    return !fstat(fd, &ours) && !lstat(path, &there) && ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

static int make_temporary(const char *path) {
    char text[24];
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) return -1;
    int length = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (lock(fd) && !fd_write_all(fd, text, (size_t)length)) return fd;
    int fault = errno;
    unlink(path);
    close(fd);
    errno = fault;
    return -1;
}

/* Puts `temporary` in the place of a file whose writer is gone. 0 done, 1 try again, -1 somebody lives. */
static int replace_stale(const char *path, const char *temporary, char *error, size_t size) {
    int old = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (old < 0) {
        if (errno == ENOENT) return 1;
        snprintf(error, size, "cannot open the pidfile '%s': %s; remove it or choose another", path, strerror(errno));
        return -1;
    }
    int result = 1;
    if (!lock(old)) {
        snprintf(error, size, "the pidfile '%s' is held by process %ld; stop that one first or choose another pidfile",
                 path, (long)holder(old));
        result = -1;
    } else if (is_same_file(old, path) && !rename(temporary, path)) {
        result = 0;
    }
    close(old);
    return result;
}

int pidfile_take(struct pidfile *p, const char *path, char *error, size_t size) {
    char *temporary = mem_printf("%s.%ld", path, (long)getpid());
    int result = -1;
    unlink(temporary);
    int fd = make_temporary(temporary);
    if (fd < 0) {
        snprintf(error, size, "cannot write the pidfile '%s': %s; create its directory or choose another", path,
                 strerror(errno));
        mem_free(temporary);
        return -1;
    }
    for (int attempt = 0; attempt < 10; attempt++) {
        if (!link(temporary, path)) {
            result = 0;
            break;
        }
        if (errno != EEXIST) {
            snprintf(error, size, "cannot write the pidfile '%s': %s", path, strerror(errno));
            break;
        }
        result = replace_stale(path, temporary, error, size);
        if (result <= 0) break;
    }
    unlink(temporary);
    mem_free(temporary);
    if (result) {
        close(fd);
        return -1;
    }
    pidfile_adopt(p, path, fd);
    return 0;
}

void pidfile_adopt(struct pidfile *p, const char *path, int fd) {
    *p = (struct pidfile){.fd = fd, .path = mem_strdup(path)};
}

void pidfile_drop(struct pidfile *p) {
    if (p->fd >= 0 && is_same_file(p->fd, p->path)) unlink(p->path);
    pidfile_forget(p);
}

void pidfile_forget(struct pidfile *p) {
    fd_close(&p->fd);
    mem_free(p->path);
    p->path = NULL;
}
