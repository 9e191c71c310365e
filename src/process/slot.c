/* The table of a worker's life. Each cell names an action and the next state; actions send at most one signal and set a
 * deadline.
 *
 * An event that means nothing in a state leaves everything as it is: late news are normal here. Must never fork, wait,
 * log or allocate. */
#include "process/slot.h"

#include <signal.h>
#include <stdlib.h>

#define BACK_OFF_FIRST_MS 100
#define BACK_OFF_MOST_MS  30000

typedef void (*slot_action)(struct slot *s, uint64_t now_ms);

uint64_t slot_back_off_ms(unsigned failures) {
    uint64_t ceiling = BACK_OFF_FIRST_MS;
    if (!failures) return 0;
    for (unsigned i = 1; i < failures && ceiling < BACK_OFF_MOST_MS; i++) ceiling *= 2;
    if (ceiling > BACK_OFF_MOST_MS) ceiling = BACK_OFF_MOST_MS;
    return ceiling / 2 + (uint64_t)random() % (ceiling / 2 + 1);
}

static uint64_t deadline(uint64_t now_ms, uint64_t duration_ms) {
    return duration_ms ? now_ms + duration_ms : CLOCK_NEVER;
}

static void send_signal(struct slot *s, int number) {
    if (s->pid > 0) s->signal(s->pid, number);
}

static void wait_turn(struct slot *s, uint64_t now_ms) {
    s->due_ms = now_ms;
}

static void await_template(struct slot *s, uint64_t now_ms) {
    s->due_ms = deadline(now_ms, s->settings->boot_timeout);
}

/* The template owes an answer, or its end. */
static void await_end_of_template(struct slot *s, uint64_t now_ms) {
    (void)now_ms;
    s->due_ms = CLOCK_NEVER;
}

static void await_boot(struct slot *s, uint64_t now_ms) {
    s->spawned_ms = now_ms;
    s->ready_ms = 0;
    s->stopped_ms = 0;
    s->verdict = SLOT_NOT_KILLED;
    s->due_ms = deadline(now_ms, s->settings->boot_timeout);
}

static void back_off(struct slot *s, uint64_t now_ms) {
    s->pid = 0;
    s->failures++;
    s->due_ms = now_ms + slot_back_off_ms(s->failures);
}

static void serve(struct slot *s, uint64_t now_ms) {
    s->ready_ms = now_ms;
    s->due_ms = CLOCK_NEVER;
}

static void vacate(struct slot *s, uint64_t now_ms) {
    (void)now_ms;
    slot_init(s, s->index, s->signal);
}

static void retire(struct slot *s, uint64_t now_ms) {
    s->was_asked_to_leave = true;
    s->due_ms = deadline(now_ms, s->settings->graceful_timeout);
    send_signal(s, SIGTERM);
}

/* It is on its way already, and has to know that the others are, too. */
static void hurry(struct slot *s, uint64_t now_ms) {
    (void)now_ms;
    send_signal(s, SIGTERM);
}

static void stop(struct slot *s, uint64_t now_ms) {
    s->was_asked_to_leave = true;
    s->due_ms = now_ms + SLOT_STOP_GRACE_MS;
    send_signal(s, SIGQUIT);
}

static void kill_now(struct slot *s, uint64_t now_ms) {
    (void)now_ms;
    s->due_ms = CLOCK_NEVER;
    send_signal(s, SIGKILL);
}

static void kill_stopped(struct slot *s, uint64_t now_ms) {
    s->was_asked_to_leave = true;
    if (!s->verdict) s->verdict = SLOT_KILLED_STOP;
    kill_now(s, now_ms);
}

static void kill_late(struct slot *s, uint64_t now_ms) {
    s->verdict = SLOT_KILLED_GRACEFUL_TIMEOUT;
    kill_now(s, now_ms);
}

static void give_up_seat(struct slot *s, uint64_t now_ms) {
    (void)now_ms;
    s->was_asked_to_leave = true;
}

static void abort_hung(struct slot *s, uint64_t now_ms) {
    s->verdict = SLOT_KILLED_TIMEOUT;
    s->due_ms = now_ms + SLOT_ABORT_GRACE_MS;
    send_signal(s, SIGABRT);
}

static void abort_boot(struct slot *s, uint64_t now_ms) {
    s->verdict = SLOT_KILLED_BOOT_TIMEOUT;
    s->due_ms = now_ms + SLOT_ABORT_GRACE_MS;
    send_signal(s, SIGABRT);
}

/* The seat stays, its process is gone. A hung request is no fault of the start: the next one comes at once. */
static void respawn(struct slot *s, uint64_t now_ms) {
    bool is_young = !s->ready_ms || now_ms - s->ready_ms < SLOT_YOUNG_MS;
    s->recycling = SLOT_KEEP;
    if (is_young && s->verdict != SLOT_KILLED_TIMEOUT) {
        back_off(s, now_ms);
        return;
    }
    s->pid = 0;
    s->failures = 0;
    s->due_ms = now_ms;
}

struct cell {
    slot_action action; /* NULL: the event means nothing here */
    enum slot_state next;
};

static const struct cell table[SLOT_STATES][SLOT_EVENTS] =
    {
        [SLOT_EMPTY] =
            {
                [SLOT_ON_SEATED] = {wait_turn, SLOT_WAITING},
            },
        [SLOT_WAITING] =
            {
                [SLOT_ON_ASKED] = {await_template, SLOT_FORKING},
                [SLOT_ON_FORKED] = {await_boot, SLOT_STARTING},
                [SLOT_ON_FORK_FAILED] = {back_off, SLOT_WAITING},
                [SLOT_ON_RETIRE] = {vacate, SLOT_EMPTY},
                [SLOT_ON_STOP] = {vacate, SLOT_EMPTY},
            },
        [SLOT_FORKING] =
            {
                [SLOT_ON_ASKED] = {await_template, SLOT_FORKING},
                [SLOT_ON_FORKED] = {await_boot, SLOT_STARTING},
                [SLOT_ON_FORK_FAILED] = {back_off, SLOT_WAITING},
                [SLOT_ON_RETIRE] = {give_up_seat, SLOT_CANCELLED},
                [SLOT_ON_STOP] = {give_up_seat, SLOT_CANCELLED},
                [SLOT_ON_DUE] = {await_end_of_template, SLOT_FORKING},
            },
        [SLOT_CANCELLED] =
            {
                [SLOT_ON_ASKED] = {await_template, SLOT_CANCELLED},
                [SLOT_ON_DUE] = {await_end_of_template, SLOT_CANCELLED},
                [SLOT_ON_FORKED] = {kill_stopped, SLOT_DYING},
                [SLOT_ON_FORK_FAILED] = {vacate, SLOT_EMPTY},
            },
        [SLOT_STARTING] =
            {
                [SLOT_ON_READY] = {serve, SLOT_READY},
                [SLOT_ON_RETIRE] = {retire, SLOT_RETIRING},
                [SLOT_ON_STOP] = {kill_stopped, SLOT_DYING},
                [SLOT_ON_DUE] = {abort_boot, SLOT_ABORTING},
                [SLOT_ON_EXITED] = {respawn, SLOT_WAITING},
            },
        [SLOT_READY] =
            {
                [SLOT_ON_RETIRE] = {retire, SLOT_RETIRING},
                [SLOT_ON_STOP] = {stop, SLOT_STOPPING},
                [SLOT_ON_HUNG] = {abort_hung, SLOT_ABORTING},
                [SLOT_ON_EXITED] = {respawn, SLOT_WAITING},
            },
        [SLOT_RETIRING] =
            {
                [SLOT_ON_RETIRE] = {hurry, SLOT_RETIRING},
                [SLOT_ON_STOP] = {stop, SLOT_STOPPING},
                [SLOT_ON_DUE] = {kill_late, SLOT_DYING},
                [SLOT_ON_HUNG] = {abort_hung, SLOT_DYING},
                [SLOT_ON_EXITED] = {vacate, SLOT_EMPTY},
            },
        [SLOT_STOPPING] =
            {
                [SLOT_ON_DUE] = {kill_stopped, SLOT_DYING},
                [SLOT_ON_EXITED] = {vacate, SLOT_EMPTY},
            },
        [SLOT_ABORTING] =
            {
                [SLOT_ON_RETIRE] = {give_up_seat, SLOT_DYING},
                [SLOT_ON_STOP] = {kill_stopped, SLOT_DYING},
                [SLOT_ON_DUE] = {kill_now, SLOT_KILLED},
                [SLOT_ON_EXITED] = {respawn, SLOT_WAITING},
            },
        [SLOT_KILLED] =
            {
                [SLOT_ON_RETIRE] = {give_up_seat, SLOT_DYING},
                [SLOT_ON_STOP] = {give_up_seat, SLOT_DYING},
                [SLOT_ON_EXITED] = {respawn, SLOT_WAITING},
            },
        [SLOT_DYING] =
            {
                [SLOT_ON_STOP] = {kill_stopped, SLOT_DYING},
                [SLOT_ON_DUE] = {kill_stopped, SLOT_DYING},
                [SLOT_ON_EXITED] = {vacate, SLOT_EMPTY},
            },
};

void slot_init(struct slot *s, unsigned index, int (*signal)(pid_t, int)) {
    *s = (struct slot){.state = SLOT_EMPTY, .index = index, .due_ms = CLOCK_NEVER, .signal = signal};
}

void slot_handle(struct slot *s, enum slot_event event, uint64_t now_ms) {
    const struct cell *cell = &table[s->state][event];
    if (!cell->action) return;
    s->state = cell->next;
    cell->action(s, now_ms);
}

bool slot_is_active(const struct slot *s) {
    switch (s->state) {
    case SLOT_WAITING:
    case SLOT_FORKING:
    case SLOT_STARTING:
    case SLOT_READY:
    case SLOT_ABORTING:
    case SLOT_KILLED: return true;
    default: return false;
    }
}

bool slot_is_alive(const struct slot *s) {
    return s->state != SLOT_EMPTY && s->state != SLOT_WAITING;
}

const char *slot_state_name(enum slot_state state) {
    static const char *const names[SLOT_STATES] = {
        "empty",    "waiting",  "forking",  "cancelled", "starting", "ready",
        "retiring", "stopping", "aborting", "killed",    "dying",
    };
    return names[state];
}
