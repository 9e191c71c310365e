/* A worker process: one engine, one interpreter, one application. */
#ifndef CSERVE_PROCESS_WORKER_H
#define CSERVE_PROCESS_WORKER_H

#include "http/access_log.h"
#include "io/listener.h"
#include "process/links.h"
#include "process/scoreboard.h"
#include "process/source_watch.h"

#include <signal.h>

/* All that a worker is told before it starts. */
struct worker {
    const struct settings *settings;
    struct listener *const *listeners;
    size_t listener_count;
    struct access_log *access_log; /* NULL: none */
    struct links *links;
    struct source_watch *sources; /* open in development alone */
    struct row *row;
    unsigned seat;
    uint64_t age;              /* how many workers were started before it */
    bool is_loaded;            /* forked from the template: the application is there */
    bool is_silent;            /* another one reports why the application cannot be loaded */
    const char *open_errorlog; /* path of the log that is open */
};

/* Serves until it is told to leave; the exit status is 0, or before it was ready EXIT_BOOT or EXIT_APP. `mask` is the
 * one from before the fork, which happened with every signal blocked. */
noreturn void worker_main(const struct worker *w, const sigset_t *mask);
/* Development: the arbiter hears of changes to whatever this process imports. Before the application is loaded. */
void worker_follow_imports(const struct worker *w);
/* --check-config: imports the application and exits with 0, EXIT_BOOT or EXIT_APP. */
noreturn void worker_check(const struct settings *s);

#endif
