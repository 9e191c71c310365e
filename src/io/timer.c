/* Timer queues: each is sorted because every timer in it lies the same time ahead when it is started. */
#include "io/timer.h"

#include "base/compiler.h"

#include <stddef.h>

#define TIMER_OF(node) CONTAINER_OF(node, struct timer, link)

void timer_queue_init(struct timer_queue *q, uint64_t duration_ms) {
    list_init(&q->timers);
    q->duration_ms = duration_ms;
}

void timer_init(struct timer *t) {
    list_init(&t->link);
    t->deadline_ms = CLOCK_NEVER;
}

void timer_start(struct timer_queue *q, struct timer *t, uint64_t now_ms) {
    t->deadline_ms = q->duration_ms ? now_ms + q->duration_ms : CLOCK_NEVER;
    list_move_to_end(&q->timers, &t->link);
}

void timer_stop(struct timer *t) {
    list_unlink(&t->link);
}

struct timer *timer_queue_oldest(const struct timer_queue *q) {
    struct list *first = list_first(&q->timers);
    return first ? TIMER_OF(first) : NULL;
}

struct timer *timer_queue_expire(struct timer_queue *q, uint64_t now_ms) {
    if (timer_queue_deadline(q) > now_ms) return NULL;
    struct timer *oldest = timer_queue_oldest(q);
    if (!oldest) return NULL;
    timer_stop(oldest);
    return oldest;
}
