/* Life of the functions that are bound to an exchange. Whether the application kept one is read off their reference
 * counts: besides this struct, only the prepared environs of the thread hold them between requests. Must never leave an
 * exchange in reach after its request. */
#include "call.h"

static PyMethodDef definitions[CALL_FUNCTIONS] = {
    [CALL_START_RESPONSE] = {"start_response", PY_FASTCALL(start_response), METH_FASTCALL | METH_KEYWORDS,
                             "start_response(status, headers, exc_info=None)"},
    [CALL_WRITE] = {"write", PY_FASTCALL(call_write), METH_FASTCALL, "write(data): sends a piece of the body."},
    [CALL_EARLY_HINTS] = {"early_hints", PY_FASTCALL(call_early_hints), METH_FASTCALL,
                          "early_hints(headers): sends 103 with these."},
    [CALL_CLIENT_GONE] = {"client_gone", PY_FASTCALL(call_client_gone), METH_FASTCALL,
                          "client_gone(): does nobody wait for the answer?"},
};

static void call_dealloc(PyObject *self) {
    PyObject_Free(self);
}

static PyTypeObject call_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "cserve.Call",
    .tp_basicsize = sizeof(struct call),
    .tp_dealloc = call_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "One call of a WSGI application.",
};

int call_init(void) {
    return PyType_Ready(&call_type);
}

struct call *call_new(void) {
    struct call *c = PyObject_New(struct call, &call_type);
    if (!c) return NULL;
    c->exchange = NULL;
    c->is_started = c->is_sending = false;
    c->templates = 0;
    bool is_whole = true;
    for (size_t i = 0; i < CALL_FUNCTIONS; i++) {
        c->functions[i] = PyCFunction_New(&definitions[i], (PyObject *)c);
        is_whole = is_whole && c->functions[i];
    }
    if (is_whole) return c;
    call_drop(c);
    return NULL;
}

void call_drop(struct call *c) {
    if (!c) return;
    c->exchange = NULL;
    for (size_t i = 0; i < CALL_FUNCTIONS; i++) Py_CLEAR(c->functions[i]);
    Py_DECREF(c);
}

static bool is_kept(const struct call *c) {
    Py_ssize_t shared = 1 + (Py_ssize_t)c->templates;
    return Py_REFCNT(c->functions[CALL_START_RESPONSE]) != 1 || Py_REFCNT(c->functions[CALL_WRITE]) != 1 ||
           Py_REFCNT(c->functions[CALL_EARLY_HINTS]) != shared || Py_REFCNT(c->functions[CALL_CLIENT_GONE]) != shared;
}

struct call *call_finish(struct call *c) {
    PY_LOCK(c);
    c->exchange = NULL;
    c->is_started = c->is_sending = false;
    PY_UNLOCK();
    if (LIKELY(!is_kept(c))) return c;
    struct call *next = call_new();
    if (next) call_drop(c);
    return next;
}

struct exchange *call_exchange(struct call *c) {
    if (UNLIKELY(!c->exchange)) PyErr_SetString(PyExc_RuntimeError, "the request that this belongs to is over");
    else if (UNLIKELY(c->is_sending)) PyErr_SetString(PyExc_RuntimeError, "another thread is sending this response");
    else return c->exchange;
    return NULL;
}
