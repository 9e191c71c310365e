/* Datagrams to the service manager. Everything fits into one of them; the socket never blocks. */
#include "process/notify.h"

#include "base/fd.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t read_number(const char *name) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : 0;
}

static void read_watchdog(struct notify *n) {
    uint64_t period_us = read_number("WATCHDOG_USEC");
    uint64_t pid = read_number("WATCHDOG_PID");
    /* Twice as often as asked for, as sd_watchdog_enabled(3) advises. */
    if (period_us && (!pid || pid == (uint64_t)getpid())) n->watchdog_ms = period_us / 2000 ? period_us / 2000 : 1;
}

void notify_clear_environment(void) {
    unsetenv("FDSTORE");
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_start(struct notify *n) {
    *n = (struct notify){.fd = -1};
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path ? strlen(path) : 0;
    if (length > 1 && length < sizeof(n->name.sun_path) && (path[0] == '/' || path[0] == '@')) {
        n->name.sun_family = AF_UNIX;
        memcpy(n->name.sun_path, path, length);
        if (path[0] == '@') n->name.sun_path[0] = '\0';
        n->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
        n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        read_watchdog(n);
        n->stores_fds = read_number("FDSTORE") > 0;
    }
    notify_clear_environment();
}

void notify_restore_environment(const struct notify *n) {
    char path[sizeof(n->name.sun_path) + 1] = "", period[24];
    if (n->fd < 0) return;
    memcpy(path, n->name.sun_path, n->length - offsetof(struct sockaddr_un, sun_path));
    if (!path[0]) path[0] = '@';
    setenv("NOTIFY_SOCKET", path, 1);
    if (n->stores_fds) setenv("FDSTORE", "1", 1);
    if (!n->watchdog_ms) return;
    snprintf(period, sizeof(period), "%llu", (unsigned long long)n->watchdog_ms * 2000);
    setenv("WATCHDOG_USEC", period, 1);
}

void notify_send(const struct notify *n, const char *format, ...) {
    char text[512];
    va_list args;
    if (n->fd < 0) return;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (length < 0) return;
    size_t size = (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1;
    ssize_t ignored = sendto(n->fd, text, size, MSG_NOSIGNAL, (const struct sockaddr *)&n->name, n->length);
    (void)ignored;
}

void notify_store_fd(const struct notify *n, int fd, const char *name) {
    char text[128];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    if (n->fd < 0) return;
    int length = snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", name);
    struct iovec part = {.iov_base = text, .iov_len = (size_t)length};
    struct msghdr message = {.msg_name = (void *)&n->name,
                             .msg_namelen = n->length,
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    ssize_t ignored = sendmsg(n->fd, &message, MSG_NOSIGNAL);
    (void)ignored;
}

void notify_stop(struct notify *n) {
    fd_close(&n->fd);
}
