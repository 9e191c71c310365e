/* What the two floors share: the listening socket, writing until everything is out, worker processes. */
#ifndef FLOOR_NET_H
#define FLOOR_NET_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static inline int net_listen(int port) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* inherited by accepted sockets */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) {
        perror("bind or listen");
        exit(1);
    }
    return fd;
}

static inline int net_wait_for_room(int fd) {
    struct pollfd wanted = {fd, POLLOUT, 0};
    return errno == EAGAIN && poll(&wanted, 1, 5000) > 0 ? 0 : -1;
}

/* Writes all of iov, which it changes; -1 when the peer is gone. */
static inline int net_write_all(int fd, struct iovec *iov, int n) {
    while (n) {
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = n};
        ssize_t written =
            n == 1 ? send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL) : sendmsg(fd, &message, MSG_NOSIGNAL);
        if (written < 0) {
            if (net_wait_for_room(fd)) return -1;
            continue;
        }
        while (n && (size_t)written >= iov->iov_len) {
            written -= (ssize_t)iov->iov_len;
            iov++, n--;
        }
        if (n) {
            iov->iov_base = (char *)iov->iov_base + written;
            iov->iov_len -= written;
        }
    }
    return 0;
}

/* Sends the file from its beginning, `size` bytes at most. */
static inline int net_send_file(int fd, int file, size_t size) {
    off_t offset = 0;
    while (size) {
        ssize_t sent = sendfile(fd, file, &offset, size);
        if (sent == 0) return 0;
        if (sent < 0) {
            if (net_wait_for_room(fd)) return -1;
            continue;
        }
        size -= sent;
    }
    return 0;
}

/* Forks n - 1 children, which die with their parent; all n processes go on. */
static inline void net_fork_workers(int n) {
    for (int i = 1; i < n; i++) {
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            return;
        }
    }
}

/* The set in which `listener` is watched: by every worker, but a connection wakes only some. */
static inline int net_watch(int listener, int workers) {
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | (workers > 1 ? EPOLLEXCLUSIVE : 0), .data.fd = listener};
    epoll_ctl(set, EPOLL_CTL_ADD, listener, &event);
    return set;
}

/* The loop: `serve` gets the descriptor and what one recv() gave; a connection whose serve() is not 0 is closed. Never
 * returns. */
static inline void net_loop(int set, int listener, int (*serve)(int fd, char *request, size_t size)) {
    static char buffer[65536];
    struct epoll_event events[256];
    for (;;) {
        int n = epoll_wait(set, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd, is_new = fd == listener;
            if (is_new && (fd = accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0) continue;
            ssize_t size = recv(fd, buffer, sizeof buffer, 0);
            if (size < 0 && errno == EAGAIN) {
                if (!is_new) continue;
            } else if (size <= 0 || serve(fd, buffer, size)) {
                close(fd);
                continue;
            }
            if (is_new) {
                struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
                epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}

#endif
