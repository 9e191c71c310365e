/* wsgi.errors (PEP 3333, "Input and Error Streams"): a text stream into the error log. The caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_ERRORS_H
#define CSERVE_SRC_WSGI_ERRORS_H

#include "py.h"

/* -1 with an exception. */
int errors_init(void);
/* The stream; one for the process. A new reference. */
PyObject *errors_stream(void);
/* Logs what stands behind the last line feed. */
void errors_flush(void);

#endif
