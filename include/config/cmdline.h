/* The command line, read with the options table: --key value, --key=value, --no-key for flags, -k value, -kvalue, -Dw4,
 * the application by itself, "--" in front of it. Abbreviations are not accepted: a later version could make them
 * ambiguous. */
#ifndef CSERVE_CONFIG_CMDLINE_H
#define CSERVE_CONFIG_CMDLINE_H

#include "config/options.h"

/* What is asked of the command itself rather than of the server. */
enum cmdline_request { REQUEST_HELP, REQUEST_VERSION, REQUEST_GENERATE };

struct cmdline_callbacks {
    /* `spelling` is the option as the user wrote it, without its value: "--workers", "-w"; "application" for the bare
     * one. */
    void (*on_value)(void *context, const struct option *o, const char *spelling, const char *value);
    void (*on_request)(void *context, enum cmdline_request request, const char *value);
    void (*on_error)(void *context, const char *message);
};

/* `words` are the arguments without the command's name. */
void cmdline_parse(size_t count, char *const *words, const struct cmdline_callbacks *callbacks, void *context);

#endif
