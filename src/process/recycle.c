/* Marks workers that have served long enough, or grown too large; seating.c replaces them, a few at a time.
 *
 * Proportional memory is read from /proc, which walks the worker's page tables: seldom, and one worker a turn. */
#include "process/arbiter.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define MEMORY_EVERY_MS 30000

/* Bytes, 0 if it cannot be read. */
static uint64_t proportional_memory(pid_t pid) {
    char path[48], text[512];
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (got <= 0) return 0;
    text[got] = '\0';
    const char *field = strstr(text, "\nPss:");
    return field ? strtoull(field + 5, NULL, 10) * 1024 : 0;
}

static bool is_candidate(const struct slot *s) {
    return s->state == SLOT_READY && s->recycling == SLOT_KEEP;
}

static uint64_t age_due(const struct slot *s) {
    return s->settings->max_worker_age ? s->ready_ms + s->settings->max_worker_age : CLOCK_NEVER;
}

static uint64_t memory_due(const struct slot *s) {
    if (!s->settings->max_worker_memory) return CLOCK_NEVER;
    uint64_t last_ms = s->memory_checked_ms > s->ready_ms ? s->memory_checked_ms : s->ready_ms;
    return last_ms + MEMORY_EVERY_MS;
}

void recycle_check(struct arbiter *a) {
    bool has_read = false;
    for (unsigned i = 0; i < a->slots_used; i++) {
        struct slot *s = &a->slots[i];
        if (!is_candidate(s)) continue;
        if (age_due(s) <= a->now_ms) s->recycling = SLOT_RECYCLE_AGE;
        if (has_read || memory_due(s) > a->now_ms) continue;
        has_read = true;
        s->memory_checked_ms = a->now_ms;
        if (proportional_memory(s->pid) > s->settings->max_worker_memory) s->recycling = SLOT_RECYCLE_MEMORY;
    }
}

uint64_t recycle_next(const struct arbiter *a) {
    uint64_t next = CLOCK_NEVER;
    for (unsigned i = 0; i < a->slots_used; i++) {
        const struct slot *s = &a->slots[i];
        if (!is_candidate(s)) continue;
        if (age_due(s) < next) next = age_due(s);
        if (memory_due(s) < next) next = memory_due(s);
    }
    return next;
}
