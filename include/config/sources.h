/* Where settings are written: files, variables, command lines. Each source yields assignments in the order in which
 * they were written; nothing is parsed or decided here but what a name means. */
#ifndef CSERVE_CONFIG_SOURCES_H
#define CSERVE_CONFIG_SOURCES_H

#include "config/options.h"

struct assignment {
    const struct option *option;
    char *text;
    char *place;   /* for messages: "conf.ini:3", "CSERVE_WORKERS", "--workers" */
    unsigned line; /* in the file; 0 elsewhere */
};

struct assignments {
    struct assignment *items;
    size_t count;
};

void assignments_release(struct assignments *list);

void source_command_line(struct assignments *out, int argc, char **argv, struct buf *errors);
/* The words of CSERVE_CMD_ARGS, read like a command line. */
void source_arguments_variable(struct assignments *out, struct buf *errors);
/* All variables CSERVE_KEY. */
void source_variables(struct assignments *out, struct buf *errors, struct buf *notes);
void source_file(struct assignments *out, const char *path, struct buf *errors);

/* Appends one line: "place: message", or the message alone if place is NULL. Control bytes are escaped. */
void report_line(struct buf *lines, const char *place, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
