/* Why a process died: one sentence from the wait status, the kill ledger, the kernel's memory events and the row. Never
 * a guess. */
#ifndef CSERVE_PROCESS_DEATH_H
#define CSERVE_PROCESS_DEATH_H

#include "process/scoreboard.h"
#include "process/slot.h"

/* The kernel's count of processes that it killed for memory in our control group. */
struct oom_watch {
    int fd; /* memory.events (v2) or memory.oom_control (v1); -1: no such thing here */
    uint64_t count;
    uint64_t unclaimed; /* recent kills that no death has explained yet */
    uint64_t risen_ms;  /* when the count was last seen to rise */
};

void oom_watch_start(struct oom_watch *w);
/* Notes that the count has risen, so that a kill of some other process is not taken for the cause of a later death. To
 * be called often, and when poll(2) says POLLPRI for `fd` (v2). */
void oom_watch_look(struct oom_watch *w, uint64_t now_ms);
/* Was one more process killed a moment ago than this has explained so far? */
bool oom_watch_claim(struct oom_watch *w, uint64_t now_ms);
void oom_watch_stop(struct oom_watch *w);

struct death {
    int status; /* as from waitpid(2) */
    enum slot_verdict verdict;
    const struct settings *settings;
    bool was_ready;
    bool was_oom;
};

/* "killed by SIGSEGV", "exited with status 3 before it was ready", ... */
void death_describe(const struct death *d, char *out, size_t size);
/* " while in the application: GET /export, 41.0 s", for each of the first tasks that ran; "" if none did. */
void death_describe_tasks(const struct row *r, unsigned threads, uint64_t now_ms, char *out, size_t size);

#endif
