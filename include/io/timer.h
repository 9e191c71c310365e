/* Deadlines that all lie the same time ahead: a queue per duration is sorted by itself, so starting, moving and
 * stopping one costs two pointer swaps and no search. */
#ifndef CSERVE_IO_TIMER_H
#define CSERVE_IO_TIMER_H

#include "base/clock.h"
#include "base/list.h"

struct timer {
    struct list link;
    uint64_t deadline_ms;
};

struct timer_queue {
    struct list timers;
    uint64_t duration_ms; /* 0: timers in this queue keep their order but never expire */
};

void timer_queue_init(struct timer_queue *q, uint64_t duration_ms);
void timer_init(struct timer *t);
/* Starts it, or starts it again, in `q`, whichever queue it was in before. */
void timer_start(struct timer_queue *q, struct timer *t, uint64_t now_ms);
void timer_stop(struct timer *t);
/* The timer that was started first, or NULL. */
struct timer *timer_queue_oldest(const struct timer_queue *q);
/* The oldest timer if its deadline has come, taken out of the queue; else NULL. */
struct timer *timer_queue_expire(struct timer_queue *q, uint64_t now_ms);
/* When the next timer expires, or CLOCK_NEVER. */
static inline uint64_t timer_queue_deadline(const struct timer_queue *q) {
    if (list_is_empty(&q->timers)) return CLOCK_NEVER;
    return ((const struct timer *)(const void *)((const char *)q->timers.next - offsetof(struct timer, link)))
        ->deadline_ms;
}

#endif
