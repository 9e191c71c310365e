/* An epoll(7) loop that hands out one event at a time, so that any thread may go on with a batch another one fetched.
 *
 * The caller guards it with its own lock; only loop_wait() may run without, by one thread at a time. A source must stay in memory until
 * loop_is_drained() is true and no thread is in loop_wait(): a batch may still hold an event for a source that was removed. Such a
 * source must tell by itself that it is dead. */
#ifndef CSERVE_IO_LOOP_H
#define CSERVE_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* Something with a descriptor; embedded in the object that owns both. */
struct loop_source {
    int fd;
    void (*on_event)(struct loop_source *source, uint32_t events);
};

#define LOOP_BATCH 128

struct loop {
    int epoll_fd;
    int count; /* events in the batch */
    int next;  /* the first one that was not handed out yet */
    struct epoll_event batch[LOOP_BATCH];
};

/* -1 with errno. */
int loop_init(struct loop *l);
void loop_release(struct loop *l);
/* `events` as in epoll_ctl(2), EPOLLET and EPOLLEXCLUSIVE included. -1 with errno. */
int loop_add(struct loop *l, struct loop_source *source, uint32_t events);
int loop_modify(struct loop *l, struct loop_source *source, uint32_t events);
int loop_remove(struct loop *l, struct loop_source *source);
/* Waits for the next batch; only when the last one is drained. -1 waits for ever; a signal ends it with an empty batch. */
void loop_wait(struct loop *l, int timeout_ms);
/* Handles the next event of the batch; false if there is none. */
bool loop_dispatch(struct loop *l);

static inline bool loop_is_drained(const struct loop *l) {
    return l->next == l->count;
}

#endif
