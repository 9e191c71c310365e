/* File descriptors: the few things libc makes long-winded. All return -1 with errno unless said otherwise. */
#ifndef CSERVE_BASE_FD_H
#define CSERVE_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Closes *fd unless it is -1, and makes it -1. errno is kept. */
void fd_close(int *fd);
int fd_set_cloexec(int fd, bool on);
int fd_set_nonblock(int fd, bool on);
/* Non-blocking, close-on-exec pipe (pipe2(2)): ends[0] reads, ends[1] writes. */
int fd_pipe(int ends[2]);
/* Writes all of it, over EINTR and short writes; for files and blocking descriptors. */
int fd_write_all(int fd, const void *data, size_t len);
/* An unlinked, close-on-exec temporary file in `dir` (O_TMPFILE, or mkostemp and unlink where the file system has
 * none). */
int fd_open_temporary(const char *dir);
/* Makes descriptors 0, 1 and 2 exist (as /dev/null) so that no later open() lands there. */
int fd_ensure_standard(void);
/* For a descriptor that was just opened: if an application has closed 0, 1 or 2 and it landed there, moves it up, out
 * of reach of who writes to "stdout", and fills the gap. Returns where it is now; -1 for -1, and with errno when it
 * could not be moved: it is closed then. */
int fd_above_standard(int fd);
/* Bytes that were sent on a stream socket and that its peer has not acknowledged (SIOCOUTQ, tcp(7), unix(7)); 0 if that
 * cannot be told. */
size_t fd_unacknowledged(int fd);
/* The descriptor limit of this process (RLIMIT_NOFILE, soft), raised to the hard one first if `raise_soft`. */
size_t fd_limit(bool raise_soft);

#endif
