/* Functions of the user's hooks module, named as in a Gunicorn configuration. The caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_HOOKS_H
#define CSERVE_SRC_WSGI_HOOKS_H

#include "py.h"

#include "config/settings.h"
#include "http/handler.h"

/* Imports the module, if there is one. -1 after logging why. */
int hooks_init(const struct settings *s);
/* Has SIGABRT call worker_abort, if there is one, in the main thread once that executes Python; the process ends then.
 * -1 with an exception. */
int hooks_handle_abort(void);
/* Is there a pre_request or a post_request? Without, a request pays for this question only. */
bool hooks_are_present(void);
void hooks_before_request(struct exchange *x);
void hooks_after_request(struct exchange *x, PyObject *environ);

#endif
