/* What a worker is doing, for other processes to read: lives in the scoreboard's shared memory, outlives the worker.
 *
 * One writer a field: the counters belong to whoever holds the engine's lock, a task to the application thread it is
 * numbered for. Every field is a C11 atomic; the text of a task sits behind a sequence counter (odd while it changes),
 * so a reader never blocks and a worker killed between two stores poisons nothing. */
#ifndef CSERVE_HTTP_ACTIVITY_H
#define CSERVE_HTTP_ACTIVITY_H

#include "base/compiler.h"
#include "base/slice.h"

#include <stdatomic.h>

#define ACTIVITY_TASKS 128 /* upper bound of the setting `threads` */

/* One application thread: the request that it runs. */
struct CACHE_ALIGNED task {
    _Atomic uint32_t sequence;
    _Atomic uint32_t bytes_sent; /* 1 once a byte of the response has left */
    _Atomic uint64_t started_ms; /* CLOCK_MONOTONIC at the call of the application; 0 while idle */
    _Atomic uint64_t count;      /* requests that this thread has begun */
    char method[16];
    char peer[46];
    char protocol[10];
    char target[168]; /* cut with "..." at the end */
};

/* Whole lines of the access log that were not written yet; the first may be the rest of one. They outlive a worker that
 * dies: whoever buries it writes them. One word says which bytes count, so that it is always true; it changes after the
 * bytes are there, and after they are written: a death in between tells lines twice rather than never. */
#define UNWRITTEN_BYTES (64 * 1024)
struct unwritten {
    _Atomic uint64_t span; /* first byte in the upper half, end in the lower */
    char text[UNWRITTEN_BYTES];
};

struct CACHE_ALIGNED activity {
    _Atomic uint64_t requests;    /* answered, or given up */
    _Atomic uint64_t accepted;    /* connections taken from a listener */
    _Atomic uint64_t connections; /* open now */
    _Atomic uint64_t handed_over; /* connections given to a sibling */
    _Atomic uint64_t taken_over;  /* connections received from a sibling */
    _Atomic uint64_t loop_ms;     /* CLOCK_MONOTONIC of the last turn of the loop */
    struct task tasks[ACTIVITY_TASKS];
    struct unwritten access_lines;
};

/* A consistent copy of a task for a reader in another process. False while idle. */
struct task_view {
    uint64_t started_ms;
    uint64_t count;
    bool bytes_sent;
    char method[17];
    char peer[47];
    char protocol[11];
    char target[169];
};

void task_begin(struct task *t, uint64_t now_ms, struct slice method, struct slice target, struct slice protocol,
                struct slice peer);
void task_end(struct task *t);
bool task_read(const struct task *t, struct task_view *view);
/* A new worker in the seat: everything to zero. By the arbiter, while no worker has the row. */
void activity_reset(struct activity *a);

#endif
