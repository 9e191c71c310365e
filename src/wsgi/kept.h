/* Bodies that the engine still reads from after response_body() has returned. Their references may be given up only
 * with the GIL, but the engine lets go of them from any thread, with its lock held: they wait in a list until a thread
 * with the GIL comes by. */
#ifndef CSERVE_SRC_WSGI_KEPT_H
#define CSERVE_SRC_WSGI_KEPT_H

#include "py.h"

/* An owner for response_body() that holds a reference on `object`. With the GIL. */
void *kept_new(PyObject *object);
/* Ends it at once: the engine did not keep the body. With the GIL. */
void kept_free(void *owner);
/* struct handler's release: without the GIL, without a lock. */
void kept_release(void *ctx, void *owner);
/* Ends everything that was released. With the GIL. */
void kept_collect(void);
/* Would kept_collect() find something? */
bool kept_is_waiting(void);

#endif
