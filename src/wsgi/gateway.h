/* What the files of this folder share about the running gateway. The caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_GATEWAY_H
#define CSERVE_SRC_WSGI_GATEWAY_H

#include "app_thread.h"

#include "config/settings.h"

/* -1 with an exception. */
int gateway_init(const struct settings *s);
/* The application that requests are given to; takes its own reference. */
void gateway_set_application(PyObject *application);
/* More than one application thread? */
bool gateway_is_threaded(void);
/* The application called fork(2) and this is the child, or not. */
void gateway_set_forked(bool is_forked);

#endif
