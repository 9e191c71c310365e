/* What the gateway keeps for each application thread, and when such a thread holds the GIL.
 *
 * A thread holds it while the application runs, and may keep it from one request to the next; it lets go before any
 * wait. */
#ifndef CSERVE_SRC_WSGI_APP_THREAD_H
#define CSERVE_SRC_WSGI_APP_THREAD_H

#include "py.h"

#include "base/buf.h"
#include "http/handler.h"

struct call;
struct environ_maker;
struct header_lines;

struct app_thread {
    PyThreadState *let_go; /* while the GIL is let go; NULL while this thread holds it */
    bool idle_let_go;      /* the last idle() did so: wake() takes it back */
    /* Of the request that runs, else NULL: */
    struct exchange *exchange;
    PyObject *environ;
    /* From one request to the next: */
    struct call *call;
    struct environ_maker *maker;
    struct header_lines *lines;
    struct buf gathered; /* small pieces of a body that leave together */
};

/* The calling thread's; NULL if it is no application thread. */
struct app_thread *app_thread_self(void);
/* For the thread that has just initialised the interpreter, whose GIL it holds. */
void app_thread_adopt_main(void);
/* Ends what app_thread_adopt_main() began. With the GIL. */
void app_thread_leave_main(void);

static inline void gil_take(struct app_thread *t) {
    if (!t->let_go) return;
    PyEval_RestoreThread(t->let_go);
    t->let_go = NULL;
}

static inline void gil_let_go(struct app_thread *t) {
    if (!t->let_go) t->let_go = PyEval_SaveThread();
}

/* From here to app_thread_end_interruptible() wsgi_interrupt() may raise RequestTimeout in the calling thread, which
 * runs `x`. With the GIL. */
void app_thread_begin_interruptible(const struct exchange *x);
/* The request is over: an exception that has not come through yet must not hit the next one. With the GIL. */
void app_thread_end_interruptible(const struct exchange *x);

#endif
