/* Pipes between the arbiter and its children. None of them carries a payload but hand-over, which is the engine's. */
#include "process/links.h"

#include "base/fd.h"

#include <sys/socket.h>
#include <unistd.h>

int links_open(struct links *l) {
    *l = (struct links){.arbiter_pid = getpid(), .news = {-1, -1}, .lifeline = {-1, -1}, .handover = {-1, -1}};
    if (fd_pipe(l->news) || fd_pipe(l->lifeline)) return -1;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, l->handover);
}

void links_keep_child_ends(struct links *l) {
    fd_close(&l->news[0]);
    fd_close(&l->lifeline[1]);
}

void links_tell_arbiter(const struct links *l) {
    ssize_t ignored = write(l->news[1], "!", 1);
    (void)ignored;
}

void links_drain_news(const struct links *l) {
    char bytes[256];
    while (read(l->news[0], bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes)) continue;
}
