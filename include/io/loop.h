/* An epoll(7) loop that hands out one event at a time, so that any thread may go on with a batch another one fetched.
 *
 * The caller guards it with its own lock; only loop_wait() may run without, by one thread at a time.
 *
 * A batch may hold an event for a source that was removed since. loop_remove() therefore moves the source on to its
 * next generation, and loop_dispatch() drops events of an earlier one; for that the source's memory must remain a
 * struct loop_source (of any object) as long as the loop lives. */
#ifndef CSERVE_IO_LOOP_H
#define CSERVE_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* Something with a descriptor; embedded in the object that owns both. */
struct loop_source {
    int fd;
    uint16_t generation;
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
/* The descriptor is about to be closed, which takes it out of the set without another call. Only for edge-triggered
 * sources: where a child process of the application still holds the descriptor, the set goes on to report it, and the
 * events are dropped. */
static inline void loop_forget(struct loop_source *source) {
    source->generation++;
}
/* Waits for the next batch; only when the last one is drained. -1 waits for ever; a signal ends it with an empty
 * batch. -1 with errno if there is no epoll set any more: its descriptor was closed. */
int loop_wait(struct loop *l, int timeout_ms);
/* Handles the next event of the batch; false if there is none. */
bool loop_dispatch(struct loop *l);

static inline bool loop_is_drained(const struct loop *l) {
    return l->next == l->count;
}

#endif
