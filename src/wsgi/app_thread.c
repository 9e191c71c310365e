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

#include <sched.h>
#include <stdatomic.h>

static _Thread_local struct app_thread *self;

/* What the application threads run, by their index, for wsgi_interrupt(). `state` is the exchange's number, shifted,
 * and one of the phases below; 0 between requests. */
static struct {
    _Atomic uint64_t state;
    unsigned long ident; /* Python's number of the thread */
} running[ACTIVITY_TASKS];

enum { RUNNING, INTERRUPTING, INTERRUPTED, PHASE_BITS = 2 };

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

/* ---- interruption ---- */

static uint64_t state_of(uint64_t number, unsigned phase) {
    return number << PHASE_BITS | phase;
}

void app_thread_begin_interruptible(const struct exchange *x) {
    running[x->thread].ident = PyThread_get_thread_ident();
    atomic_store_explicit(&running[x->thread].state, state_of(x->number, RUNNING), memory_order_release);
}

void app_thread_end_interruptible(const struct exchange *x) {
    uint64_t expected = state_of(x->number, RUNNING);
    if (LIKELY(atomic_compare_exchange_strong(&running[x->thread].state, &expected, 0))) return;
    /* Only where there is no GIL can the other thread be at it still. */
    while (atomic_load(&running[x->thread].state) != state_of(x->number, INTERRUPTED)) sched_yield();
    PyThreadState_SetAsyncExc(running[x->thread].ident, NULL);
    atomic_store(&running[x->thread].state, 0);
}

void wsgi_interrupt(unsigned thread, uint64_t number) {
    if (thread >= ACTIVITY_TASKS) return;
    PyGILState_STATE gil = PyGILState_Ensure();
    uint64_t expected = state_of(number, RUNNING);
    if (atomic_compare_exchange_strong(&running[thread].state, &expected, state_of(number, INTERRUPTING))) {
        PyThreadState_SetAsyncExc(running[thread].ident, module_request_timeout());
        atomic_store(&running[thread].state, state_of(number, INTERRUPTED));
    }
    PyGILState_Release(gil);
}
