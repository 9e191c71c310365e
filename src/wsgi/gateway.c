/* The WSGI gateway: one call of the application for each request, from environ to close().
 *
 * With one application thread the GIL stays taken from request to request and is let go when the engine waits; with
 * several it is let go after each. Whatever the application raises ends its request and nothing else. Must never return
 * with an object of the request still able to reach the exchange, nor with the response unfinished. */
#include "gateway.h"

#include "app_load.h"
#include "call.h"
#include "environ.h"
#include "exception.h"
#include "hooks.h"
#include "imports.h"
#include "input.h"
#include "kept.h"
#include "module.h"
#include "reply.h"
#include "wsgi/wsgi.h"

#include "http/status_codes.h"

#include <pthread.h>
#include <unistd.h>

#define STATUS_EXIT_UNCLEAN 1

static struct {
    PyObject *application;
    bool is_threaded;
    bool is_forked; /* this process is a child that the application forked while serving */
} gateway;

static void on_fork_in_child(void) {
    gateway.is_forked = true;
}

int gateway_init(const struct settings *s) {
    gateway.is_threaded = s->threads > 1;
    if (pthread_atfork(NULL, NULL, on_fork_in_child)) PyErr_NoMemory();
    return PyErr_Occurred() ? -1 : 0;
}

void gateway_set_application(PyObject *application) {
    Py_XSETREF(gateway.application, Py_NewRef(application));
}

bool gateway_is_threaded(void) {
    return gateway.is_threaded;
}

void gateway_set_forked(bool is_forked) {
    gateway.is_forked = is_forked;
}

/* ---- when something goes wrong ---- */

/* The request, as a log line names it. */
static void describe(char *out, size_t size, const struct exchange *x) {
    const struct request *r = &x->request;
    char target[512];
    snprintf(out, size, "%.*s %s", SLICE_ARG(request_span(r, r->method)),
             log_escape(target, sizeof(target), request_span(r, r->target)));
}

static int exit_status_of(PyObject *exception) {
    PyObject *code = PyObject_GetAttrString(exception, "code");
    int status = STATUS_EXIT_UNCLEAN;
    if (code == Py_None) status = 0;
    else if (code && PyLong_Check(code)) status = (int)PyLong_AsLong(code);
    Py_XDECREF(code);
    PyErr_Clear();
    return status;
}

/* The application forked and its child came back to us: it owns neither the connection nor the worker's place. */
static void end_forked_child(const struct exchange *x) {
    char request[640];
    describe(request, sizeof(request), x);
    PyObject *exception = py_take_exception();
    if (exception && PyErr_GivenExceptionMatches(exception, PyExc_SystemExit)) _exit(exit_status_of(exception));
    log_error("a process that the application forked while serving %s did not end by itself; it is ended", request);
    if (exception) exception_log_object(LOG_LEVEL_ERROR, exception, "what it raised:");
    _exit(STATUS_EXIT_UNCLEAN);
}

static bool is_exit(PyObject *exception) {
    return !PyErr_GivenExceptionMatches(exception, PyExc_Exception) &&
           (PyErr_GivenExceptionMatches(exception, PyExc_SystemExit) ||
            PyErr_GivenExceptionMatches(exception, PyExc_KeyboardInterrupt) ||
            PyErr_GivenExceptionMatches(exception, PyExc_GeneratorExit));
}

static void log_failure(const struct exchange *x, PyObject *exception, const char *place) {
    char headline[1024], request[640];
    struct buf what = BUF_INIT;
    describe(request, sizeof(request), x);
    if (is_exit(exception)) {
        exception_append_repr(&what, exception);
        snprintf(headline, sizeof(headline), "the application raised %.*s %s %s; the worker goes on",
                 SLICE_ARG(buf_slice(&what)), place, request);
    } else snprintf(headline, sizeof(headline), "error %s %s", place, request);
    exception_log_object(LOG_LEVEL_ERROR, exception, headline);
    buf_release(&what);
}

/* Takes the current exception: into the log, unless it only says what the client did. */
static PyObject *take_failure(const struct exchange *x, const char *place) {
    PyObject *exception = py_take_exception();
    if (!exception) return NULL;
    bool is_client = x->response.is_aborted && PyErr_GivenExceptionMatches(exception, PyExc_BrokenPipeError);
    if (is_client) log_debug("client gone %s its request", place);
    else log_failure(x, exception, place);
    return exception;
}

static void answer_failure(struct exchange *x, bool is_timeout) {
    if (x->response.is_finished) return;
    if (response_is_head_sent(&x->response) || x->response.is_aborted) response_abort(x);
    else response_error(x, status_line(is_timeout ? 504 : 500), true);
}

static void fail(const struct app_thread *t) {
    PyObject *exception = take_failure(t->exchange, "while serving");
    bool is_timeout = exception && PyErr_GivenExceptionMatches(exception, module_request_timeout());
    Py_XDECREF(exception);
    PY_LOCK(t->call);
    answer_failure(t->exchange, is_timeout);
    PY_UNLOCK();
}

/* ---- a request ---- */

static void send_result(struct app_thread *t, PyObject *result) {
    switch (reply_send(t, result)) {
    case REPLY_DONE: break;
    case REPLY_GONE:
        log_debug("client gone while its response was sent");
        response_abort(t->exchange);
        break;
    case REPLY_RAISED:
        if (UNLIKELY(gateway.is_forked)) end_forked_child(t->exchange);
        fail(t);
        break;
    }
    if (reply_close(result)) Py_XDECREF(take_failure(t->exchange, "in close() after"));
}

static void run_application(struct app_thread *t) {
    PyObject *arguments[3] = {NULL, t->environ, t->call->functions[CALL_START_RESPONSE]};
    PyObject *result =
        PyObject_Vectorcall(gateway.application, arguments + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    if (UNLIKELY(gateway.is_forked)) end_forked_child(t->exchange);
    if (UNLIKELY(!result)) {
        fail(t);
        return;
    }
    send_result(t, result);
    Py_DECREF(result);
}

static void refuse(const struct app_thread *t) {
    if (PyErr_Occurred()) {
        fail(t);
        return;
    }
    log_info("request refused: its path holds an encoded NUL (%%00)");
    response_error(t->exchange, status_line(400), true);
}

static void serve_with_gil(struct app_thread *t, struct exchange *x) {
    PyObject *input = x->request.body.length ? input_new(&x->request.body) : NULL;
    bool has_input = !x->request.body.length || input;
    t->exchange = t->call->exchange = x;
    if (gateway.is_threaded) app_thread_begin_interruptible(x);
    t->environ = has_input ? environ_make(t->maker, &x->request, input, t->call) : NULL;
    if (LIKELY(t->environ != NULL)) {
        if (UNLIKELY(hooks_are_present())) hooks_before_request(x);
        run_application(t);
        if (UNLIKELY(hooks_are_present())) hooks_after_request(x, t->environ);
        if (UNLIKELY(imports_are_followed())) imports_tell();
    } else refuse(t);
    if (input) {
        input_finish(input);
        Py_DECREF(input);
    }
    Py_CLEAR(t->environ);
    t->exchange = NULL;
    if (gateway.is_threaded) app_thread_end_interruptible(x);
}

static void serve(void *ctx UNUSED, struct exchange *x) {
    struct app_thread *t = app_thread_self();
    gil_take(t);
    kept_collect();
    serve_with_gil(t, x);
    struct call *next = call_finish(t->call);
    if (UNLIKELY(!next)) Py_FatalError("out of memory");
    t->call = next;
    if (gateway.is_threaded) gil_let_go(t);
}

/* ---- the handler ---- */

static void idle(void *ctx UNUSED) {
    struct app_thread *t = app_thread_self();
    if (!t) return;
    /* With several threads the engine may hold its lock here, so the GIL cannot be waited for. */
    if (UNLIKELY(kept_is_waiting()) && !gateway.is_threaded) gil_take(t);
    t->idle_let_go = !t->let_go;
    if (t->let_go) return;
    kept_collect();
    gil_let_go(t);
}

static void wake(void *ctx UNUSED) {
    struct app_thread *t = app_thread_self();
    if (t && t->idle_let_go) gil_take(t);
}

static void variable(void *ctx UNUSED, struct exchange *x UNUSED, struct slice name, struct buf *out) {
    struct app_thread *t = app_thread_self();
    if (!t || !t->environ) return;
    bool was_away = t->let_go;
    gil_take(t);
    environ_append_variable(t->environ, name, out);
    if (was_away) gil_let_go(t);
}

const struct handler *wsgi_handler(const struct settings *s UNUSED, bool is_multiprocess) {
    static const struct handler handler = {
        .serve = serve, .idle = idle, .wake = wake, .release = kept_release, .variable = variable};
    environ_set_multiprocess(is_multiprocess);
    return &handler;
}

int wsgi_load(const struct settings *s) {
    PyObject *application = app_load(s->wsgi_app);
    imports_tell();
    if (!application) return -1;
    gateway_set_application(application);
    Py_DECREF(application);
    return 0;
}
