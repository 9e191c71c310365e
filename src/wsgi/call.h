/* One call of the application, as the application sees it: four functions that act on the exchange, start_response(),
 * the write() that it returns, and in environ wsgi.early_hints() and cserve.client_gone().
 *
 * They are made once for a thread and serve one request after another. An application that keeps one of them beyond its
 * request keeps a harmless thing: the exchange is taken out of it, and the thread makes a new set. */
#ifndef CSERVE_SRC_WSGI_CALL_H
#define CSERVE_SRC_WSGI_CALL_H

#include "py.h"

#include "http/handler.h"

enum call_function { CALL_START_RESPONSE, CALL_WRITE, CALL_EARLY_HINTS, CALL_CLIENT_GONE, CALL_FUNCTIONS };

/* What the functions are bound to: their `self`. */
struct call {
    PyObject_HEAD struct exchange *exchange; /* NULL between requests, and for ever once a function was kept */
    bool is_started;                         /* start_response() has accepted a head */
    bool is_sending;    /* inside response_body(): the GIL may be away, another thread must not interfere */
    unsigned templates; /* prepared environs that hold wsgi.early_hints and cserve.client_gone */
    PyObject *functions[CALL_FUNCTIONS]; /* references, until call_drop() */
};

/* -1 with an exception. */
int call_init(void);
/* NULL with an exception. */
struct call *call_new(void);
/* Lets go of the functions. */
void call_drop(struct call *c);
/* The request is over. Returns the call for the next one: `c`, or a new one if the application kept a function; NULL
 * with an exception. */
struct call *call_finish(struct call *c);

/* The exchange that the functions act on. NULL with RuntimeError: the request is over, or is being answered by another
 * thread. */
struct exchange *call_exchange(struct call *c);

/* The functions themselves (start_response.c, call_functions.c): METH_FASTCALL, the first with METH_KEYWORDS. */
PyObject *start_response(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
PyObject *call_write(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *call_early_hints(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *call_client_gone(PyObject *self, PyObject *const *arguments, Py_ssize_t count);

#endif
