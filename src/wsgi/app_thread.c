/* Application threads. The main one belongs to the interpreter from its start; the others are made known to Python as
 * they come, and take everything that was kept for them along when they go. Must never take the GIL while the engine's
 * lock is held. */
#include "app_thread.h"

#include "base/mem.h"
#include "call.h"
#include "environ.h"
#include "header_lines.h"
#include "http/activity.h"
#include "module.h"
#include "wsgi/wsgi.h"

static _Thread_local struct app_thread *self;
static struct app_thread *_Atomic by_index[ACTIVITY_TASKS];

struct app_thread *app_thread_self(void) {
    return self;
}

static struct app_thread *app_thread_new(void) {
    struct app_thread *t = MEM_NEW(struct app_thread);
    t->maker = environ_maker_new();
    t->call = call_new();
    t->lines = header_lines_new();
    if (t->maker && t->call) return t;
    PyErr_Clear();
    log_error("cannot start an application thread: out of memory");
    header_lines_free(t->lines);
    mem_free(t);
    return NULL;
}

static void app_thread_free(struct app_thread *t) {
    for (size_t i = 0; i < ARRAY_LENGTH(by_index); i++)
        if (by_index[i] == t) by_index[i] = NULL;
    environ_maker_free(t->maker);
    call_drop(t->call);
    header_lines_free(t->lines);
    buf_release(&t->gathered);
    mem_free(t);
}

void app_thread_adopt_main(void) {
    self = app_thread_new();
}

void app_thread_leave_main(void) {
    if (self) app_thread_free(self);
    self = NULL;
}

int wsgi_thread_start(void) {
    PyGILState_STATE state = PyGILState_Ensure();
    self = app_thread_new();
    if (!self) {
        PyGILState_Release(state);
        return -1;
    }
    gil_let_go(self);
    return 0;
}

void wsgi_thread_stop(void) {
    if (!self) return;
    gil_take(self);
    app_thread_free(self);
    self = NULL;
    PyGILState_Release(PyGILState_UNLOCKED);
}

void app_thread_number(struct app_thread *t, unsigned index) {
    if (LIKELY(by_index[index] == t)) return;
    t->ident = PyThread_get_thread_ident();
    by_index[index] = t;
}

void wsgi_interrupt(unsigned thread) {
    PyGILState_STATE state = PyGILState_Ensure();
    struct app_thread *t = thread < ACTIVITY_TASKS ? by_index[thread] : NULL;
    if (t && t->exchange && !t->is_interrupted) {
        t->is_interrupted = true;
        PyThreadState_SetAsyncExc(t->ident, module_request_timeout());
    }
    PyGILState_Release(state);
}

void app_thread_forgive(struct app_thread *t) {
    if (LIKELY(!t->is_interrupted)) return;
    PyThreadState_SetAsyncExc(t->ident, NULL);
    t->is_interrupted = false;
}
