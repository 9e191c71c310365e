/* The template of preload_app: a child that has imported the application, and forks workers on request.
 *
 * The arbiter asks over a socket and never waits for the answer. Workers become the arbiter's own children: the
 * template forks twice, the process in the middle says the worker's pid and goes, and the arbiter, a child subreaper,
 * inherits the worker. */
#ifndef CSERVE_PROCESS_TEMPLATE_H
#define CSERVE_PROCESS_TEMPLATE_H

#include "base/clock.h"
#include "process/slot.h"
#include "process/worker.h"

struct template {
    pid_t pid;                 /* 0: none */
    int fd;                    /* -1: none; readable when it has something to say */
    bool is_ready;             /* it has imported the application, and forks on request */
    unsigned failures;         /* in a row */
    uint64_t due_ms;           /* while it imports: the end of boot_timeout; while there is none: when to start it */
    enum slot_verdict verdict; /* why SIGABRT was sent, if it was */
};

struct template_request {
    uint32_t row; /* index */
    uint32_t seat;
    uint64_t age;
};

enum template_news { TEMPLATE_READY, TEMPLATE_FORKED, TEMPLATE_FORK_FAILED };

struct template_reply {
    uint32_t news; /* enum template_news */
    uint32_t row;
    int32_t pid;
    int32_t fault; /* errno */
};

/* No template. */
void template_init(struct template *t);
/* The socket pair; ends[0] is the arbiter's, non-blocking. -1 with errno. */
int template_open(int ends[2]);
/* -1 with errno if it cannot take a request now. */
int template_ask(const struct template *t, const struct template_request *request);
/* The next reply: 1. None now: 0. The template and whoever it was forking are gone, *t has no descriptor any more: -1.
 * Only then is it certain that what was asked of it will not come. */
int template_hear(struct template *t, struct template_reply *reply);

/* It hangs: SIGABRT, and SIGKILL when due_ms comes. */
void template_abort(struct template *t, enum slot_verdict verdict, uint64_t now_ms);
/* Ends it; pid and descriptor stay until the process is reaped and the last reply is heard. */
void template_kill(struct template *t);
/* It was reaped. */
void template_bury(struct template *t);
bool template_exists(const struct template *t);

#endif
