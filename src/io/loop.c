/* epoll(7), one batch at a time. The batch belongs to the loop, not to a stack frame, so whoever holds the caller's
 * lock can handle the next event, no matter which thread waited for it. Must never wait while events are left.
 *
 * The kernel hands back 64 bits per event: the source's address in the lower 48, which is all that user space has, and
 * its generation above. */
#include "io/loop.h"

#include "base/fd.h"

#include <errno.h>

#define ADDRESS_BITS 48

static uint64_t tag_of(const struct loop_source *source) {
    return (uint64_t)(uintptr_t)source | (uint64_t)source->generation << ADDRESS_BITS;
}

int loop_init(struct loop *l) {
    l->count = l->next = 0;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return l->epoll_fd < 0 ? -1 : 0;
}

void loop_release(struct loop *l) {
    fd_close(&l->epoll_fd);
}

static int control(struct loop *l, int operation, struct loop_source *source, uint32_t events) {
    struct epoll_event event = {.events = events, .data.u64 = tag_of(source)};
    return epoll_ctl(l->epoll_fd, operation, source->fd, &event);
}

int loop_add(struct loop *l, struct loop_source *source, uint32_t events) {
    return control(l, EPOLL_CTL_ADD, source, events);
}

int loop_modify(struct loop *l, struct loop_source *source, uint32_t events) {
    return control(l, EPOLL_CTL_MOD, source, events);
}

int loop_remove(struct loop *l, struct loop_source *source) {
    source->generation++;
    return control(l, EPOLL_CTL_DEL, source, 0);
}

int loop_wait(struct loop *l, int timeout_ms) {
    int n = epoll_wait(l->epoll_fd, l->batch, LOOP_BATCH, timeout_ms);
    l->next = 0;
    l->count = n > 0 ? n : 0;
    return n < 0 && errno != EINTR ? -1 : 0;
}

bool loop_dispatch(struct loop *l) {
    if (l->next == l->count) return false;
    struct epoll_event event = l->batch[l->next++];
    struct loop_source *source =
        (struct loop_source *)(uintptr_t)(event.data.u64 & ((UINT64_C(1) << ADDRESS_BITS) - 1));
    if (source->generation == (uint16_t)(event.data.u64 >> ADDRESS_BITS)) source->on_event(source, event.events);
    return true;
}
