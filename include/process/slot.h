/* A slot: the life of one worker process, as a table of state x event.
 *
 * The arbiter feeds events in; the table answers with a signal to send, a new deadline and the next state, nothing
 * else. It neither forks nor waits nor logs, so every cell can be visited by a test. Slots and rows of the scoreboard
 * have the same index. */
#ifndef CSERVE_PROCESS_SLOT_H
#define CSERVE_PROCESS_SLOT_H

#include "base/clock.h"
#include "config/settings.h"

enum slot_state {
    SLOT_EMPTY,     /* belongs to nobody */
    SLOT_WAITING,   /* has a seat, no process: to be spawned at due_ms */
    SLOT_FORKING,   /* asked of the template; its pid is not known yet */
    SLOT_CANCELLED, /* as FORKING, but nobody wants it any more */
    SLOT_STARTING,  /* a process that has not reported ready */
    SLOT_READY,     /* serves */
    SLOT_RETIRING,  /* asked to finish what it runs and leave */
    SLOT_STOPPING,  /* asked to leave at once */
    SLOT_ABORTING,  /* hung: told to dump its stacks and die; the seat stays */
    SLOT_KILLED,    /* killed; the seat stays */
    SLOT_DYING,     /* killed; the seat is given up */
    SLOT_STATES
};

enum slot_event {
    SLOT_ON_SEATED,      /* the slot gets a seat */
    SLOT_ON_ASKED,       /* the template was asked for a process */
    SLOT_ON_FORKED,      /* the process exists: pid is set */
    SLOT_ON_FORK_FAILED, /* it does not, this time */
    SLOT_ON_READY,       /* the worker reported ready */
    SLOT_ON_RETIRE,      /* leave gracefully, give the seat up */
    SLOT_ON_STOP,        /* leave quickly, give the seat up */
    SLOT_ON_DUE,         /* due_ms has come */
    SLOT_ON_HUNG,        /* a request is beyond its timeout */
    SLOT_ON_EXITED,      /* reaped */
    SLOT_EVENTS
};

/* The kill ledger: why we signalled it last. */
enum slot_verdict {
    SLOT_NOT_KILLED,
    SLOT_KILLED_TIMEOUT,
    SLOT_KILLED_BOOT_TIMEOUT,
    SLOT_KILLED_GRACEFUL_TIMEOUT,
    SLOT_KILLED_STOP,
};

enum slot_recycling { SLOT_KEEP, SLOT_RECYCLE_REQUESTS, SLOT_RECYCLE_AGE, SLOT_RECYCLE_MEMORY, SLOT_RECYCLE_HUNG };

struct generation;

struct slot {
    enum slot_state state;
    unsigned index;
    unsigned seat;                 /* 1 to N: the number in the worker's title */
    pid_t pid;                     /* 0: none */
    struct generation *generation; /* NULL while EMPTY */
    const struct settings *settings;
    uint64_t due_ms; /* CLOCK_NEVER: nothing is due */
    uint64_t spawned_ms;
    uint64_t ready_ms;   /* 0 until it reported ready */
    uint64_t stopped_ms; /* when somebody stopped it (SIGSTOP); 0: it runs */
    unsigned failures;   /* deaths in a row before it was ready or soon after */
    enum slot_verdict verdict;
    enum slot_recycling recycling;
    unsigned replacement; /* index + 1 of the slot that is to take the seat over; 0: none */
    bool is_replacement;  /* the seat still belongs to the one that it replaces */
    bool was_asked_to_leave;
    uint64_t memory_checked_ms;
    /* kill(2), or a test's stand-in. */
    int (*signal)(pid_t pid, int number);
};

/* A slot as it begins: EMPTY. */
void slot_init(struct slot *s, unsigned index, int (*signal)(pid_t, int));
/* The only way a slot changes its state. */
void slot_handle(struct slot *s, enum slot_event event, uint64_t now_ms);

/* Holds the seat, or is about to: a slot that nobody asked to go. */
bool slot_is_active(const struct slot *s);
/* A process exists or may come into being. */
bool slot_is_alive(const struct slot *s);
const char *slot_state_name(enum slot_state state);
/* Milliseconds to wait before attempt `failures` + 1: doubling from 100 ms to 30 s, half of it chance, so that seats
 * spread. */
uint64_t slot_back_off_ms(unsigned failures);

/* How long after SIGABRT the kill comes, and how long a quick stop may take. */
#define SLOT_ABORT_GRACE_MS 500
#define SLOT_STOP_GRACE_MS  2000
/* A worker that dies within this time of being ready counts as a failure to start. */
#define SLOT_YOUNG_MS 2000

#endif
