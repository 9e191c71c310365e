/* The service manager's protocol, sd_notify(3), without its library: datagrams of VARIABLE=value lines to
 * $NOTIFY_SOCKET. */
#ifndef CSERVE_PROCESS_NOTIFY_H
#define CSERVE_PROCESS_NOTIFY_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    int fd;               /* -1: nobody listens, every call does nothing */
    uint64_t watchdog_ms; /* how often WATCHDOG=1 is due; 0: never */
    bool stores_fds;      /* the manager has room for descriptors: FDSTORE */
    socklen_t length;
    struct sockaddr_un name;
};

/* Reads NOTIFY_SOCKET, FDSTORE, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the environment: the application
 * is not the service. */
void notify_start(struct notify *n);
/* Puts NOTIFY_SOCKET and the watchdog back, for an image that replaces this one. */
void notify_restore_environment(const struct notify *n);
/* And away again: they are nothing for the application. */
void notify_clear_environment(void);
/* One datagram; lines are separated by \n. Never blocks; failure is ignored, as the protocol wants it. */
void notify_send(const struct notify *n, const char *format, ...) PRINTF_LIKE(2, 3);
/* FDSTORE=1 with a descriptor: the manager keeps it over a restart of the service, until it is told to forget the
 * name. */
void notify_store_fd(const struct notify *n, int fd, const char *name);
void notify_stop(struct notify *n);

#endif
