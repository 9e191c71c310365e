/* One call of the application, as the application sees it: four functions that act on the exchange, start_response(), the write() that it
 * returns, and in environ wsgi.early_hints() and cserve.client_gone().
 *
 * They are made once for a thread and serve one request after another. An application that keeps one of them beyond its request keeps
 * a harmless thing: the exchange is taken out of it, and the thread makes a new set. */
#ifndef CSERVE_SRC_WSGI_CALL_H
#define CSERVE_SRC_WSGI_CALL_H

#include "py.h"

#include "http/handler.h"

enum call_function { CALL_START_RESPONSE, CALL_WRITE, CALL_EARLY_HINTS, CALL_CLIENT_GONE, CALL_FUNCTIONS };

struct bound {
    PyObject_HEAD vectorcallfunc vectorcall;
    struct call *call;
};

struct call {
    struct exchange *exchange;               /* NULL between requests, and for ever once a function was kept */
    bool is_started;                         /* start_response() has accepted a head */
    bool is_sending;                         /* inside response_body(): the GIL may be away, another thread must not interfere */
    _Atomic unsigned alive;                  /* functions that exist */
    unsigned templates;                      /* prepared environs that hold wsgi.early_hints and cserve.client_gone */
    struct bound *functions[CALL_FUNCTIONS]; /* references */
};

/* 0, or -1 with an exception. */
int call_init(void);
/* NULL with an exception. */
struct call *call_new(void);
/* Lets go of the functions; the last one frees it. */
void call_drop(struct call *c);
/* The request is over. Returns the call for the next one: `c`, or a new one if the application kept a function; NULL with an exception. */
struct call *call_finish(struct call *c);

static inline PyObject *call_function(const struct call *c, enum call_function which) {
    return (PyObject *)c->functions[which];
}

/* The exchange that `function` acts on. NULL with RuntimeError `when over`: its request is over, or it is sending in another thread. */
struct exchange *call_exchange(PyObject *function);

/* The functions themselves (start_response.c, call_functions.c). */
PyObject *start_response(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names);
PyObject *call_write(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names);
PyObject *call_early_hints(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names);
PyObject *call_client_gone(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names);

#endif
