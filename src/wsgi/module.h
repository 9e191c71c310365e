/* `import cserve` in an application: RequestTimeout, which is raised in a request that ran too long, and
 * __version__. */
#ifndef CSERVE_SRC_WSGI_MODULE_H
#define CSERVE_SRC_WSGI_MODULE_H

#include "py.h"

/* Before the interpreter is initialised. -1 on exhaustion. */
int module_register(void);
/* Imports it, so that module_request_timeout() has something to give. -1 with an exception. */
int module_init(void);
/* The exception's type; a borrowed reference. */
PyObject *module_request_timeout(void);

#endif
