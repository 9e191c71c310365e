/* Life of the functions that are bound to an exchange. Whether the application kept one is read off their reference counts: besides this
 * struct, only the prepared environs of the thread hold them between requests. Must never leave an exchange in reach after its request. */
#include "call.h"

#include "base/mem.h"

static const struct {
    const char *name;
    vectorcallfunc function;
} functions[CALL_FUNCTIONS] = {
    [CALL_START_RESPONSE] = {"start_response", start_response},
    [CALL_WRITE] = {"write", call_write},
    [CALL_EARLY_HINTS] = {"wsgi.early_hints", call_early_hints},
    [CALL_CLIENT_GONE] = {"cserve.client_gone", call_client_gone},
};

static void bound_dealloc(PyObject *self) {
    struct call *c = ((struct bound *)self)->call;
    PyObject_Free(self);
    if (atomic_fetch_sub(&c->alive, 1) == 1) mem_free(c);
}

static PyObject *bound_repr(PyObject *self) {
    vectorcallfunc function = ((struct bound *)self)->vectorcall;
    const char *name = "";
    for (size_t i = 0; i < CALL_FUNCTIONS; i++)
        if (functions[i].function == function) name = functions[i].name;
    return PyUnicode_FromFormat("<cserve function %s>", name);
}

static PyTypeObject bound_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "cserve.function",
    .tp_basicsize = sizeof(struct bound),
    .tp_dealloc = bound_dealloc,
    .tp_vectorcall_offset = offsetof(struct bound, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_repr = bound_repr,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_doc = "What a WSGI application calls while it serves a request.",
};

int call_init(void) {
    return PyType_Ready(&bound_type);
}

struct call *call_new(void) {
    struct call *c = MEM_NEW(struct call);
    for (size_t i = 0; i < CALL_FUNCTIONS; i++) {
        struct bound *b = PyObject_New(struct bound, &bound_type);
        if (!b) {
            if (i == 0) mem_free(c);
            else call_drop(c);
            return NULL;
        }
        b->vectorcall = functions[i].function;
        b->call = c;
        c->functions[i] = b;
        c->alive++;
    }
    return c;
}

void call_drop(struct call *c) {
    struct bound *bound[CALL_FUNCTIONS];
    if (!c) return;
    c->exchange = NULL;
    memcpy(bound, c->functions, sizeof(bound));
    for (size_t i = 0; i < CALL_FUNCTIONS; i++) Py_XDECREF(bound[i]);
}

static bool is_kept(const struct call *c) {
    Py_ssize_t shared = 1 + (Py_ssize_t)c->templates;
    return Py_REFCNT(c->functions[CALL_START_RESPONSE]) != 1 || Py_REFCNT(c->functions[CALL_WRITE]) != 1 ||
           Py_REFCNT(c->functions[CALL_EARLY_HINTS]) != shared || Py_REFCNT(c->functions[CALL_CLIENT_GONE]) != shared;
}

struct call *call_finish(struct call *c) {
    c->exchange = NULL;
    c->is_started = c->is_sending = false;
    if (LIKELY(!is_kept(c))) return c;
    struct call *next = call_new();
    if (next) call_drop(c);
    return next;
}

struct exchange *call_exchange(PyObject *function) {
    struct call *c = ((struct bound *)function)->call;
    if (UNLIKELY(!c->exchange)) PyErr_Format(PyExc_RuntimeError, "%R: its request is over", function);
    else if (UNLIKELY(c->is_sending)) PyErr_Format(PyExc_RuntimeError, "%R: another thread is sending this response", function);
    else return c->exchange;
    return NULL;
}
