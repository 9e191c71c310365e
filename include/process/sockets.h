/* The arbiter's listening sockets: opened once an address, shared by the generations that bind it, closed when the last
 * one is gone. */
#ifndef CSERVE_PROCESS_SOCKETS_H
#define CSERVE_PROCESS_SOCKETS_H

#include "config/settings.h"
#include "io/listener.h"
#include "process/notify.h"

struct shared_socket {
    struct listener *listener;
    unsigned users; /* generations */
    bool is_stored; /* the service manager has a copy */
};

/* A descriptor from the service manager (sd_listen_fds(3)) or the command line that no address has taken yet. */
struct inherited_socket {
    int fd;            /* -1: taken */
    char *stored_name; /* under which it came from the manager's store, where we had put it; else NULL */
};

struct sockets {
    struct shared_socket *items;
    size_t count;
    struct inherited_socket *inherited;
    size_t inherited_count;
    const struct notify *keeper; /* a service manager that stores descriptors, or NULL */
};

/* The listeners of one generation, in the order of `bind`. */
struct socket_set {
    struct listener **items;
    size_t count;
};

void sockets_init(struct sockets *s);
/* When no generation is left. */
void sockets_forget(struct sockets *s);
/* Takes LISTEN_FDS if they are meant for this process, and removes the variables from the environment. */
void sockets_inherit(struct sockets *s);
/* One more descriptor that an address may turn out to mean; `name` as in LISTEN_FDNAMES, or NULL. */
void sockets_add_inherited(struct sockets *s, int fd, const char *name);
/* After the first generation took its sockets: those from the store that nobody wants any more are closed and removed
 * from it, so that nobody waits there for ever; others are only named in the log, a reload may want them. */
void sockets_give_back(struct sockets *s);
/* Every address of settings->bind: the one that is open already, an inherited descriptor bound to it, or a new one.
 * With inherited descriptors and no address but the default one, all inherited descriptors. Nothing stays open for it
 * on failure: -1 with a message. */
int sockets_open(struct sockets *s, const struct settings *settings, unsigned patience_ms, struct socket_set *set,
                 char *error, size_t error_size);
/* One that is open already, for a set that is made by hand. */
void sockets_add(struct sockets *s, struct listener *l, bool is_stored, struct socket_set *set);
/* The generation no longer needs its set. Sockets without a user close; their files go if `unlink_files`. */
void sockets_release(struct sockets *s, struct socket_set *set, bool unlink_files);
/* Gives the service manager a copy of each socket that we opened ourselves; their files stay from then on, as the
 * manager's socket does. */
void sockets_store(struct sockets *s);
/* Nobody connects any more to those of `set` that `kept` (may be NULL) has not; what waits in their queues can still be
 * accepted. */
void socket_set_refuse_more(const struct socket_set *set, const struct socket_set *kept);
/* Logs where the set listens, but for what `known` (may be NULL) has too. */
void socket_set_announce(const struct socket_set *set, const struct socket_set *known);
/* Is every listener of `a` in `b` too? */
bool socket_set_is_within(const struct socket_set *a, const struct socket_set *b);
/* In a child: closes all but those of `set`; the files stay. */
void sockets_close_others(struct sockets *s, const struct socket_set *set);

#endif
