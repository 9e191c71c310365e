/* What the processes know of each other: one shared memory region, a row for each worker process.
 *
 * Every field has exactly one writer and is a C11 atomic; there is no lock, so a worker that is killed anywhere leaves
 * a readable row. The region outlives workers, and the arbiter's own image when it is replaced in place: it lives in a
 * memfd then. */
#ifndef CSERVE_PROCESS_SCOREBOARD_H
#define CSERVE_PROCESS_SCOREBOARD_H

#include "http/activity.h"

#include <stdbool.h>

/* Seats are at most half of the rows: a reload needs both generations at once. Untouched rows cost no memory. */
#define SCOREBOARD_ROWS  1024
#define SCOREBOARD_SEATS (SCOREBOARD_ROWS / 2)

enum worker_stage { WORKER_BOOTING, WORKER_READY, WORKER_LEAVING };

struct CACHE_ALIGNED row {
    /* the arbiter's */
    _Atomic int32_t pid; /* 0: no process */
    _Atomic uint32_t seat;
    _Atomic uint32_t generation;
    _Atomic uint32_t drain_mode; /* enum server_drain_mode: what the next SIGTERM asks for */
    _Atomic bool has_siblings;   /* others accept from the same listeners, or did once */
    _Atomic uint64_t spawned_ms; /* CLOCK_MONOTONIC */
    /* the worker's */
    _Atomic uint32_t stage;           /* enum worker_stage */
    _Atomic uint32_t wants_recycling; /* enum slot_recycling: why the worker asks for it */
    /* the engine's */
    struct activity activity;
};

struct scoreboard {
    /* How it is laid out, for an image of another version that inherits it. */
    uint32_t magic;
    uint32_t row_bytes;
    uint32_t row_count;
    struct row rows[SCOREBOARD_ROWS];
};

/* A zeroed region. *fd is a memfd that holds it, or -1 where the kernel gives none. NULL with errno. */
struct scoreboard *scoreboard_new(int *fd);
/* The region behind a memfd that an earlier image of this process made. NULL with errno; EPROTO if it is laid out
 * otherwise. */
struct scoreboard *scoreboard_map(int fd);
void scoreboard_free(struct scoreboard *board);
/* Makes the row ready for a new worker. Only while no process has it. */
void row_reset(struct row *r, unsigned seat, unsigned generation, uint64_t now_ms);

#endif
