/* wsgi.input (PEP 3333, "Input and Error Streams"): the body of one request, complete, in memory or in a file. The
 * caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_INPUT_H
#define CSERVE_SRC_WSGI_INPUT_H

#include "py.h"

#include "http/body.h"

/* -1 with an exception. */
int input_init(void);
/* The stream over `body`. NULL with an exception. */
PyObject *input_new(const struct body *body);
/* The request is over: from now on the stream raises ValueError, as a closed file does. */
void input_finish(PyObject *input);
/* The stream of all requests without a body: always at its end, so it can be shared. A new reference. */
PyObject *input_empty(void);

#endif
