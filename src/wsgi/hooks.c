/* Hooks are looked up once, when their module is imported; a function that is not there costs a request one comparison.
 *
 * A hook that raises is logged with its name. Must never let a hook's exception reach a request. */
#include "hooks.h"

#include "app_thread.h"
#include "exception.h"
#include "stand_ins.h"
#include "wsgi/wsgi.h"

#include <signal.h>

enum { PRE_REQUEST = WSGI_WORKER_EXIT + 1, POST_REQUEST, HOOK_COUNT };

static const struct {
    const char *name;
    bool takes_server, takes_worker;
} kinds[HOOK_COUNT] = {
    [WSGI_ON_STARTING] = {"on_starting", true, false}, [WSGI_PRE_FORK] = {"pre_fork", true, true},
    [WSGI_POST_FORK] = {"post_fork", true, true},      [WSGI_POST_WORKER_INIT] = {"post_worker_init", false, true},
    [WSGI_WORKER_INT] = {"worker_int", false, true},   [WSGI_WORKER_ABORT] = {"worker_abort", false, true},
    [WSGI_WORKER_EXIT] = {"worker_exit", true, true},  [PRE_REQUEST] = {"pre_request", false, true},
    [POST_REQUEST] = {"post_request", false, true},
};

static struct {
    const struct settings *settings;
    PyObject *functions[HOOK_COUNT];
    int post_request_arity;
    PyObject *worker; /* for the hooks of requests, made before the first one */
    unsigned seat;
    uint64_t age;
} hooks;

static int import_functions(const char *name) {
    PyObject *module = PyImport_ImportModule(name);
    if (!module) return -1;
    for (size_t i = 0; i < HOOK_COUNT; i++) {
        PyObject *key = PyUnicode_FromString(kinds[i].name), *function = NULL;
        int found = key ? py_find_attribute(module, key, &function) : -1;
        Py_XDECREF(key);
        if (found < 0) {
            Py_DECREF(module);
            return -1;
        }
        if (found && PyCallable_Check(function)) hooks.functions[i] = function;
        else Py_XDECREF(function);
    }
    Py_DECREF(module);
    return 0;
}

/* Gunicorn's post_request has had two, three and four arguments. */
static int arity_of(PyObject *function) {
    PyObject *code = function ? PyObject_GetAttrString(function, "__code__") : NULL;
    PyObject *count = code ? PyObject_GetAttrString(code, "co_argcount") : NULL;
    long arity = count ? PyLong_AsLong(count) : 4;
    Py_XDECREF(count);
    Py_XDECREF(code);
    PyErr_Clear();
    return arity >= 2 && arity <= 4 ? (int)arity : 4;
}

int hooks_init(const struct settings *s) {
    hooks.settings = s;
    if (!s->hooks) return 0;
    if (stand_ins_init() == 0 && import_functions(s->hooks) == 0) {
        hooks.post_request_arity = arity_of(hooks.functions[POST_REQUEST]);
        return 0;
    }
    exception_log(LOG_LEVEL_ERROR, "cannot import the hooks module '%s'", s->hooks);
    return -1;
}

static int call_hook(int which, PyObject *const *arguments, int count) {
    bool is_whole = true;
    for (int i = 0; i < count; i++) is_whole = is_whole && arguments[i];
    PyObject *result = is_whole ? PyObject_Vectorcall(hooks.functions[which], arguments, (size_t)count, NULL) : NULL;
    if (!result) exception_log(LOG_LEVEL_ERROR, "the hook '%s' failed", kinds[which].name);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static int run(int which, unsigned seat, uint64_t age) {
    PyObject *arguments[2];
    int count = 0;
    if (!hooks.functions[which]) return 0;
    if (kinds[which].takes_server) arguments[count++] = stand_in_server(hooks.settings);
    if (kinds[which].takes_worker) arguments[count++] = stand_in_worker(hooks.settings, seat, age);
    int failed = call_hook(which, arguments, count);
    for (int i = 0; i < count; i++) Py_XDECREF(arguments[i]);
    return failed;
}

/* Before there are other application threads. */
static void make_worker(void) {
    if (hooks_are_present()) Py_XSETREF(hooks.worker, stand_in_worker(hooks.settings, hooks.seat, hooks.age));
    PyErr_Clear();
}

int wsgi_run_hook(enum wsgi_hook hook, unsigned seat, uint64_t age) {
    struct app_thread *t = app_thread_self();
    hooks.seat = seat;
    hooks.age = age;
    if (!t) return 0;
    bool was_away = t->let_go;
    gil_take(t);
    if (hook == WSGI_POST_WORKER_INIT) make_worker();
    int failed = run(hook, seat, age);
    if (was_away) gil_let_go(t);
    return failed;
}

/* ---- worker_abort ---- */

/* Runs when the main thread comes to execute Python again; the process then ends as if there had been no hook. */
static PyObject *on_abort(PyObject *self UNUSED, PyObject *arguments UNUSED) {
    run(WSGI_WORKER_ABORT, hooks.seat, hooks.age);
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
    Py_RETURN_NONE;
}

static PyMethodDef on_abort_method = {"on_abort", on_abort, METH_VARARGS, NULL};

int hooks_handle_abort(void) {
    if (!hooks.functions[WSGI_WORKER_ABORT]) return 0;
    PyObject *module = PyImport_ImportModule("signal"), *handler = PyCFunction_New(&on_abort_method, NULL);
    PyObject *result = module && handler ? PyObject_CallMethod(module, "signal", "iO", SIGABRT, handler) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(handler);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* ---- around requests ---- */

bool hooks_are_present(void) {
    return hooks.functions[PRE_REQUEST] || hooks.functions[POST_REQUEST];
}

void hooks_before_request(struct exchange *x) {
    if (!hooks.functions[PRE_REQUEST]) return;
    PyObject *arguments[] = {hooks.worker, stand_in_request(&x->request)};
    call_hook(PRE_REQUEST, arguments, 2);
    Py_XDECREF(arguments[1]);
}

void hooks_after_request(struct exchange *x, PyObject *environ) {
    if (!hooks.functions[POST_REQUEST]) return;
    PyObject *response;
    PY_LOCK(app_thread_self()->call);
    response = stand_in_response(&x->response);
    PY_UNLOCK();
    PyObject *arguments[] = {hooks.worker, stand_in_request(&x->request), environ, response};
    call_hook(POST_REQUEST, arguments, hooks.post_request_arity);
    Py_XDECREF(arguments[1]);
    Py_XDECREF(arguments[3]);
}
