/* Opens listening sockets, or takes over those that somebody else opened.
 *
 * A unix socket's file is bound with no permission at all, then gets owner and mode, and only then listens: nobody
 * connects before. Must never remove a file that it did not make, nor a socket that somebody answers on. */
#include "io/listener.h"

#include "base/compiler.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY_EVERY_MS 100
#define MOST_HOPS      255

static const char *way_out(int fault, const struct address *a) {
    switch (fault) {
    case EACCES:
        if (a->kind == ADDRESS_TCP) return "; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE";
        return "; this user may not make a file there";
    case EADDRINUSE: return "; another process listens there: stop it or choose another address";
    case EADDRNOTAVAIL: return "; no interface of this machine has that address";
    case ENOENT: return "; the directory of the socket is missing: create it first";
    case EROFS: return "; the file system is read-only: choose another directory";
    case EAFNOSUPPORT: return "; this machine has no such protocol, IPv6 may be switched off";
    case EMFILE:
    case ENFILE: return "; raise the limit of open files";
    }
    return "";
}

static void explain(char *error, size_t size, const struct address *a, const char *what, int fault) {
    char words[96];
    snprintf(words, sizeof(words), "%s", strerror(fault));
    words[0] = ascii_lower(words[0]);
    snprintf(error, size, "cannot %s '%s': %s%s", what, a->text, words, way_out(fault, a));
}

/* Is somebody accepting on this socket file? A full queue (EAGAIN) is life too. */
static bool is_unix_socket_alive(const struct address *a) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return true;
    bool is_dead = connect(fd, &a->name.any, a->length) && (errno == ECONNREFUSED || errno == ENOENT);
    close(fd);
    return !is_dead;
}

/* Clears the way for bind(2). -1 with a message, or with errno EADDRINUSE for a live socket. */
static int remove_dead_socket(const struct address *a, char *error, size_t size) {
    struct stat file;
    if (lstat(a->name.un.sun_path, &file)) return 0;
    if (!S_ISSOCK(file.st_mode)) {
        snprintf(
            error, size,
            "cannot bind '%s': a file that is no socket is in the way and was left alone; move it or choose another path",
            a->text);
        errno = EEXIST;
        return -1;
    }
    if (is_unix_socket_alive(a)) {
        explain(error, size, a, "bind", EADDRINUSE);
        errno = EADDRINUSE;
        return -1;
    }
    unlink(a->name.un.sun_path);
    return 0;
}

static int bind_unix(struct listener *l, const struct listener_options *o, char *error, size_t size) {
    const char *path = l->address.name.un.sun_path;
    struct stat file;
    if (remove_dead_socket(&l->address, error, size)) return -1;
    mode_t previous = umask(0777);
    int failed = bind(l->fd, &l->address.name.any, l->address.length);
    int fault = errno;
    umask(previous);
    errno = fault;
    if (failed) {
        explain(error, size, &l->address, "bind", fault);
        return -1;
    }
    if (!lstat(path, &file)) {
        l->socket_dev = file.st_dev;
        l->socket_ino = file.st_ino;
    }
    const char *step = "change the owner of";
    if (!lchown(path, o->socket_owner, o->socket_group)) {
        step = "change the mode of";
        if (!chmod(path, o->socket_mode)) return 0;
    }
    explain(error, size, &l->address, step, errno);
    return -1;
}

static int bind_socket(struct listener *l, const struct listener_options *o, char *error, size_t size) {
    int on = 1;
    if (l->address.kind == ADDRESS_UNIX) return bind_unix(l, o, error, size);
    if (l->address.kind == ADDRESS_TCP) setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (!bind(l->fd, &l->address.name.any, l->address.length)) return 0;
    int fault = errno;
    explain(error, size, &l->address, "bind", fault);
    errno = fault;
    return -1;
}

static int finish(struct listener *l, char *error, size_t size) {
    struct sockaddr_storage name = {0};
    socklen_t length = sizeof(name);
    int on = 1;
    if (fd_set_nonblock(l->fd, true) || fd_set_cloexec(l->fd, true) ||
        getsockname(l->fd, (struct sockaddr *)&name, &length)) {
        explain(error, size, &l->address, "use", errno);
        return -1;
    }
    if (name.ss_family != AF_UNIX) setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    peer_from_sockaddr(&l->local, (struct sockaddr *)&name, length);
    return 0;
}

/* NULL with errno, so that the caller can tell an address in use from the rest. */
static struct listener *open_once(const struct address *address, const struct listener_options *o, char *error,
                                  size_t size) {
    struct listener *l = MEM_NEW(struct listener);
    l->address = *address;
    l->fd = socket(address->name.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0) {
        explain(error, size, address, "open", errno);
    } else if (!bind_socket(l, o, error, size)) {
        if (listen(l->fd, o->backlog)) {
            int fault = errno;
            explain(error, size, address, "listen on", fault);
            errno = fault;
        } else if (!finish(l, error, size)) {
            return l;
        }
    }
    int fault = errno;
    listener_free(l, true);
    errno = fault;
    return NULL;
}

struct listener *listener_open(const struct address *address, const struct listener_options *o, char *error,
                               size_t size) {
    if (address->kind == ADDRESS_FD) return listener_adopt(address->fd, address, error, size);
    const struct timespec pause = {.tv_nsec = RETRY_EVERY_MS * 1000000};
    for (unsigned waited_ms = 0;; waited_ms += RETRY_EVERY_MS) {
        struct listener *l = open_once(address, o, error, size);
        if (l || errno != EADDRINUSE || waited_ms >= o->patience_ms) return l;
        nanosleep(&pause, NULL);
    }
}

struct listener *listener_adopt(int fd, const struct address *address, char *error, size_t size) {
    int is_listening = 0, type = 0;
    socklen_t length = sizeof(int);
    const char *fault = NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length)) {
        fault = errno == EBADF ? "no such descriptor was inherited" : "the descriptor is no socket";
    } else {
        length = sizeof(int);
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &length);
        if (type != SOCK_STREAM) fault = "the socket is not a stream socket";
        else if (!is_listening) fault = "the socket does not listen";
    }
    if (fault) {
        snprintf(error, size, "cannot use '%s': %s; pass a listening stream socket, as systemd does", address->text,
                 fault);
        return NULL;
    }
    struct listener *l = MEM_NEW(struct listener);
    l->fd = fd;
    l->address = *address;
    l->is_foreign = true;
    if (!finish(l, error, size)) return l;
    mem_free(l);
    return NULL;
}

bool listener_is_bound_to(int fd, const struct address *address) {
    struct sockaddr_storage name = {0};
    socklen_t length = sizeof(name);
    if (getsockname(fd, (struct sockaddr *)&name, &length)) return false;
    if (name.ss_family != address->name.any.sa_family) return false;
    if (name.ss_family != AF_UNIX) {
        struct peer ours, wanted;
        peer_from_sockaddr(&ours, (struct sockaddr *)&name, length);
        peer_from_sockaddr(&wanted, &address->name.any, address->length);
        return ours.port == wanted.port && !memcmp(ours.ip, wanted.ip, sizeof(ours.ip));
    }
    size_t head = offsetof(struct sockaddr_un, sun_path);
    const char *path = ((struct sockaddr_un *)&name)->sun_path;
    if (address->kind == ADDRESS_UNIX) return length > head && !strncmp(path, address->name.un.sun_path, length - head);
    return length == address->length && !memcmp(path, address->name.un.sun_path, length - head);
}

static void remove_file(struct listener *l) {
    const char *path = l->address.name.un.sun_path;
    struct stat file;
    if (!l->socket_ino || lstat(path, &file)) return;
    if (file.st_dev == l->socket_dev && file.st_ino == l->socket_ino) unlink(path);
    l->socket_ino = 0;
}

/* Nearly every packet has been sent with fewer hops to live than the most there can be: the kernel drops it as if it
 * had never come (RFC 5082), and who tries to connect tries again until the socket is closed and the kernel refuses. A
 * filter would do the same, but kernels exist that let root alone attach one. */
static void demand_hops(int fd, int least) {
    setsockopt(fd, IPPROTO_IP, IP_MINTTL, &least, sizeof(least));
    setsockopt(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, &least, sizeof(least)); /* an IPv4 socket knows no such option */
}

void listener_refuse_more(struct listener *l) {
    if (l->is_foreign) return;
    l->is_refusing = true;
    remove_file(l);
    if (l->address.kind == ADDRESS_TCP) demand_hops(l->fd, MOST_HOPS);
}

bool listener_admit_again(struct listener *l) {
    if (!l->is_refusing) return true;
    if (l->address.kind == ADDRESS_UNIX) return false;
    if (l->address.kind == ADDRESS_TCP) demand_hops(l->fd, 0);
    l->is_refusing = false;
    return true;
}

void listener_let_through(int fd) {
    demand_hops(fd, 0);
}

void listener_free(struct listener *l, bool unlink_file) {
    if (!l) return;
    if (unlink_file) remove_file(l);
    fd_close(&l->fd);
    mem_free(l);
}
