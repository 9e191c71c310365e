/* Python exceptions in the error log. The caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_EXCEPTION_H
#define CSERVE_SRC_WSGI_EXCEPTION_H

#include "py.h"

#include "base/buf.h"
#include "base/log.h"

/* Takes the current exception and logs it: a headline, its traceback below, in one piece. */
void exception_log(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same for an exception that was taken before; the reference stays the caller's. */
void exception_log_object(enum log_level level, PyObject *exception, const char *headline);
/* Appends str(object), or repr(object), in UTF-8; the type's name if even that raises. */
void exception_append_str(struct buf *out, PyObject *object);
void exception_append_repr(struct buf *out, PyObject *object);

#endif
