/* Listening sockets: opened by the arbiter before it forks, shared by all workers of all generations that bind the same
 * address. */
#ifndef CSERVE_IO_LISTENER_H
#define CSERVE_IO_LISTENER_H

#include "io/address.h"

#include <sys/types.h>

struct listener {
    int fd; /* non-blocking, close-on-exec; TCP_NODELAY set, which accepted sockets inherit */
    struct address address;
    struct peer local; /* SERVER_NAME and SERVER_PORT: the bound address (the real port after binding port 0) */
    /* unix: the socket file that we made, to remove it only while it is still ours */
    dev_t socket_dev;
    ino_t socket_ino;
    bool is_refusing; /* listener_refuse_more() was called */
    bool is_foreign;  /* others hold it too and go on with it: the service manager */
};

struct listener_options {
    int backlog;
    mode_t socket_mode;
    uid_t socket_owner; /* (uid_t)-1: leave */
    gid_t socket_group;
    unsigned patience_ms; /* how long an address in use is tried again; 0: not at all */
};

/* Binds and listens. Only an address in use is worth a retry, within patience_ms. A unix socket gets its mode and owner
 * without a moment of wider access; a dead socket file is replaced, a live one or a file that is no socket is refused.
 * ADDRESS_FD adopts the descriptor after checking that it is a listening stream socket. NULL with a message in `error`
 * that names the address and the way out. */
struct listener *listener_open(const struct address *address, const struct listener_options *options, char *error,
                               size_t error_size);
/* Takes over `fd`, which some other process opened: must be a listening stream socket. `address` is the setting that it
 * stands for. As listener_open() otherwise; the socket file, if there is one, is not ours to remove. */
struct listener *listener_adopt(int fd, const struct address *address, char *error, size_t error_size);
/* Is `fd` bound to `address`? For finding the inherited descriptor that a setting means. */
bool listener_is_bound_to(int fd, const struct address *address);
/* Nobody connects any more, while those who did and wait to be accepted still can be: a unix socket's file goes if it
 * is ours, a TCP socket drops what arrives. Does nothing to a foreign one. */
void listener_refuse_more(struct listener *l);
/* Takes that back. False for a unix socket: its file is gone, only a new socket can be reached. */
bool listener_admit_again(struct listener *l);
/* For a connection that has been accepted since its listener may have begun to refuse: if it was half made then, it
 * refuses, too. */
void listener_let_through(int fd);
/* Closes it; removes the socket file if `unlink_file` and if it is still the one that was made. */
void listener_free(struct listener *l, bool unlink_file);

#endif
