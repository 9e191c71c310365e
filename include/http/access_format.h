/* The access log's format language, Gunicorn's: `%(name)s` atoms between literal text, compiled once, a line for each
 * response.
 *
 * h l u t r m U q H s B b f a T M D L p, {field}i of the request, {field}o of the response, {variable}e of the handler;
 * %% is a percent sign. Field names are without case. What is missing appears as "-". Values are escaped so that a line
 * stays a line: quotes, backslashes and everything outside printable ASCII as \xNN. */
#ifndef CSERVE_HTTP_ACCESS_FORMAT_H
#define CSERVE_HTTP_ACCESS_FORMAT_H

#include "http/handler.h"

struct access_format;

/* What the lines are made of. */
struct access_line {
    struct exchange *exchange;
    struct slice time;      /* "[24/Nov/2026:10:06:39 +0000]" */
    struct slice variables; /* from access_format_collect(); used up by access_format_append() */
    uint64_t elapsed_us;    /* in the application; filled in when an atom asks for it */
};

/* "combined" and "common" stand for the formats of these names. NULL with a message in `error` that names the atom and
 * its place. */
struct access_format *access_format_new(const char *format, char *error, size_t error_size);
void access_format_free(struct access_format *f);
/* Does it have {variable}e atoms? */
bool access_format_has_variables(const struct access_format *f);
/* The escaped values of these, a line each: apart, because the handler may wait for a lock of its own. */
void access_format_collect(const struct access_format *f, struct exchange *x, const struct handler *handler,
                           struct buf *out);
/* The line, without its end. */
void access_format_append(const struct access_format *f, struct access_line *line, struct buf *out);

#endif
