/* The environ of a request (PEP 3333, "environ Variables"): a plain new dict each time. The caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_ENVIRON_H
#define CSERVE_SRC_WSGI_ENVIRON_H

#include "call.h"

#include "config/settings.h"
#include "http/request.h"

/* What requests of one application thread have in common, and what the last ones had. */
struct environ_maker;

/* Prepares what is the same in all requests of the process. -1 with an exception. */
int environ_init(const struct settings *s);
/* The value of wsgi.multiprocess; before the first request. */
void environ_set_multiprocess(bool is_multiprocess);

/* NULL with an exception. */
struct environ_maker *environ_maker_new(void);
void environ_maker_free(struct environ_maker *m);

/* `input` is wsgi.input, NULL for the empty one. NULL with an exception; NULL without one if the path holds an encoded
 * NUL, which no application expects in a str that it will use as a file name or a key. */
PyObject *environ_make(struct environ_maker *m, const struct request *r, PyObject *input, struct call *call);
/* Appends the value of a variable for the access log, if there is one; "-" is the caller's. */
void environ_append_variable(PyObject *environ, struct slice name, struct buf *out);

#endif
