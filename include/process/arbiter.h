/* The arbiter: the process that everything else depends on, and that depends on nothing.
 *
 * Its loop waits in poll(2) for signals, for bytes from workers and templates, and for the next deadline; never for
 * anything else. It runs no Python, takes no lock, parses nothing from the network, and allocates only while it starts,
 * reloads or upgrades. The parts of it below work on one struct; each is a file of its own. */
#ifndef CSERVE_PROCESS_ARBITER_H
#define CSERVE_PROCESS_ARBITER_H

#include "process/death.h"
#include "process/generation.h"
#include "process/notify.h"
#include "process/pidfile.h"
#include "process/source_watch.h"

enum arbiter_ending { ARBITER_GOES_ON, ARBITER_STOPS, ARBITER_STOPS_QUICKLY };

struct arbiter {
    int argc;
    char **argv;
    int start_directory_fd; /* where the command line's relative paths count from */
    uint64_t now_ms;        /* of this turn of the loop */

    struct links links;
    struct scoreboard *board;
    int board_fd;
    struct slot slots[SCOREBOARD_ROWS];
    unsigned slots_used; /* slots beyond were never seated */
    uint64_t spawned;    /* workers so far: the age of the next one */

    struct sockets sockets;
    struct generation *current;   /* NULL only while the first one is made */
    struct generation *candidate; /* a reload in progress */
    struct list leaving;          /* generations that drain */
    unsigned generations;         /* made so far */

    struct notify notify;
    struct pidfile pidfile;
    struct oom_watch oom;
    struct source_watch sources;
    int report_fd;       /* daemon mode: somebody waits for the outcome */
    char *open_errorlog; /* path of the log that is open */
    char *exit_command;  /* exec_on_exit of the settings that served last; NULL: none */

    unsigned told_ready;   /* what the service manager heard last: workers that are ready, */
    unsigned told_seats;   /* and how many there should be */
    bool is_up;            /* the first generation served: from now on nothing but a signal ends the arbiter */
    bool is_reload_wanted; /* a SIGHUP came while a reload was going on */
    enum arbiter_ending ending;
    int exit_status;

    uint64_t planned_ms;      /* when the loop meant to wake up */
    uint64_t resumed_ms;      /* end of the last time when nobody ran: deadlines count from here */
    uint64_t abort_after_ms;  /* not before: stacks that several workers write at once cannot be read */
    uint64_t watchdog_ms;     /* when WATCHDOG=1 is due */
    uint64_t patience_ms;     /* when EXTEND_TIMEOUT_USEC is due */
    uint64_t ages_checked_ms; /* when age and memory of workers were looked at */

    pid_t upgrade_pid; /* the new binary's check, 0: none */
    uint64_t upgrade_due_ms;
    bool is_upgrade_checked; /* execute it as soon as nothing is half way */
    char *binary;            /* absolute path of the command */
};

/* Runs the server to its end; the exit status. `settings` is what the command line said at the start; owned from here
 * on. */
int arbiter_run(int argc, char **argv, struct settings *settings);
/* The loop, once everything is open; ends when the last process is gone. The exit status. */
int arbiter_loop(struct arbiter *a);
/* The first generation cannot start: ends with `status` once its processes are gone. */
void arbiter_give_up(struct arbiter *a, int status);
/* The generation's first workers all had their turn and at least one is ready. */
void arbiter_is_up(struct arbiter *a);
/* Tells the service manager and the log how many workers serve. */
void arbiter_tell_status(struct arbiter *a);

/* ---- spawn.c: fork ---- */

/* A process for the slot, which is WAITING: by the template, or as a direct child. */
void spawn_worker(struct arbiter *a, struct slot *s);
void spawn_template(struct arbiter *a, struct generation *g);

/* ---- seating.c: who sits where ---- */

/* Brings the generations' slots to what is wanted: seats that are empty are filled, seats too many are given up. Spawns
 * what is due. */
void seating_settle(struct arbiter *a);
/* Asks every slot of the generation to go. */
void seating_clear(struct arbiter *a, struct generation *g, enum slot_event how);
/* A free slot, now with the seat; NULL if all are in use. */
struct slot *seating_assign(struct arbiter *a, struct generation *g, unsigned seat);
unsigned seating_count(const struct arbiter *a, const struct generation *g, enum slot_state state);
/* Slots of the generation (of any, if NULL) with a process. */
unsigned seating_count_alive(const struct arbiter *a, const struct generation *g);

/* ---- news.c: what children report ---- */

/* Reads the row behind a slot. */
void news_read_row(struct arbiter *a, struct slot *s);
void news_read_rows(struct arbiter *a);
void news_hear_template(struct arbiter *a, struct generation *g);
void news_hear_templates(struct arbiter *a);

/* ---- reaper.c ---- */

/* Collects every dead child. */
void reaper_run(struct arbiter *a);

/* ---- watch.c: deadlines ---- */

/* Was the loop itself held up? Then nobody is judged by the time that passed. */
void watch_note_lateness(struct arbiter *a);
void watch_note_resumption(struct arbiter *a);
/* Acts on every deadline that has come. */
void watch_deadlines(struct arbiter *a);
/* When the loop must look again. */
uint64_t watch_next(const struct arbiter *a);

/* ---- candidate.c: the settings of a reload ---- */

/* What the command line, the variables and the file say now, with the present values where only a restart applies a
 * change. The process is in the directory of the new settings then. NULL after logging why; the directory is the old
 * one. */
struct settings *candidate_read(struct arbiter *a);
/* Back to the directory of the generation that serves. */
void candidate_leave_directory(const struct arbiter *a);

/* ---- reload.c: the transaction ---- */

void reload_begin(struct arbiter *a);
/* Takes the next step of the candidate if the last one is done. */
void reload_advance(struct arbiter *a);
/* The candidate cannot start; `why` ends the log line. */
void reload_roll_back(struct arbiter *a, const char *why);
/* Sends a generation away: it drains and ends. */
void reload_retire(struct arbiter *a, struct generation *g);
/* The others stop, too: those that are leaving hand nothing to them any more. */
void reload_hurry_leaving(struct arbiter *a);
/* The source changed (development). */
void reload_because_of_sources(struct arbiter *a);
/* Frees generations that have no process left. */
void reload_collect(struct arbiter *a);
/* A worker or template of the generation died or hung before it was ready. */
void reload_note_failure(struct arbiter *a, struct generation *g, const struct slot *s, int failure);
/* The process for it could not be made, so often in a row: a reload goes back at once, the first start tries for a
 * while. */
void reload_note_failed_fork(struct arbiter *a, struct generation *g, const struct slot *s, unsigned failures);

/* ---- recycle.c: max_requests, max_worker_age, max_worker_memory ---- */

void recycle_check(struct arbiter *a);
uint64_t recycle_next(const struct arbiter *a);

/* ---- command.c: exec_* ---- */

struct command_detail {
    const char *name;
    const char *value;
};

/* Starts `command` in a shell with EVENT, MASTER_PID and the details in its environment; does not wait for it. NULL:
 * nothing to do. */
void command_run(struct arbiter *a, const char *command, const char *event, const struct command_detail *details,
                 size_t count);

#endif
