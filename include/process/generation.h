/* A generation: one reading of the settings, and everything that serves by it. */
#ifndef CSERVE_PROCESS_GENERATION_H
#define CSERVE_PROCESS_GENERATION_H

#include "base/list.h"
#include "config/settings.h"
#include "http/access_log.h"
#include "process/sockets.h"
#include "process/template.h"

enum generation_phase {
    GENERATION_DORMANT, /* development: it could not start, and waits for its source to change */
    GENERATION_LOADING, /* its template imports the application */
    GENERATION_CANARY,  /* one worker starts, to see whether it can */
    GENERATION_FILLING, /* the rest starts */
    GENERATION_SERVING,
    GENERATION_LEAVING, /* told to go; ends when its last worker is gone */
};

struct generation {
    struct list link; /* among those that leave */
    unsigned id;      /* from 1 */
    enum generation_phase phase;
    struct settings *settings;
    unsigned seats; /* workers wanted */
    struct socket_set sockets;
    struct access_log *access_log; /* NULL: none */
    struct template template;
    unsigned spokesman; /* index + 1 of the slot that says why loading fails, while all start together; 0: none yet */
    int failure;        /* EXIT_APP or EXIT_BOOT once a worker could not start */
};

/* Opens sockets and the access log. Takes over `settings` on success. NULL with a message. */
struct generation *generation_new(unsigned id, struct settings *settings, struct sockets *sockets, unsigned patience_ms,
                                  char *error, size_t error_size);
/* For workers that an earlier image of this process started: no sockets yet, no access log. */
struct generation *generation_adopt(struct settings *settings);
/* When no process has it any more. */
void generation_free(struct generation *g, struct sockets *sockets, bool unlink_files);
/* What it is called in titles and logs. */
const char *generation_name(const struct generation *g);

#endif
