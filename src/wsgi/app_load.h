/* From "module:callable" to an object. The caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_APP_LOAD_H
#define CSERVE_SRC_WSGI_APP_LOAD_H

#include "py.h"

/* Imports and finds what `text` names. NULL after logging why. */
PyObject *app_load(const char *text);

#endif
