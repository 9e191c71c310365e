/* The file that holds the arbiter's pid, and a lock that says whether its writer lives.
 *
 * The lock decides, never the number: a stale, empty or garbled file, or one whose number meanwhile belongs to another
 * process, blocks no start. It is a record lock (fcntl(2)): children do not inherit it, an image that replaces this one
 * in place keeps it. */
#ifndef CSERVE_PROCESS_PIDFILE_H
#define CSERVE_PROCESS_PIDFILE_H

#include <stddef.h>
#include <sys/types.h>

struct pidfile {
    int fd; /* -1: none */
    char *path;
};

// clang-format off
#define PIDFILE_INIT {-1, NULL}
// clang-format on

/* Writes the file whole or not at all. -1 with a message that names the process which holds it, if one does. */
int pidfile_take(struct pidfile *p, const char *path, char *error, size_t error_size);
/* Continues with the descriptor of an earlier image of this process. */
void pidfile_adopt(struct pidfile *p, const char *path, int fd);
/* Removes the file if it is still ours, and lets the lock go. */
void pidfile_drop(struct pidfile *p);
/* In a child: forgets it, the file stays. */
void pidfile_forget(struct pidfile *p);

#endif
