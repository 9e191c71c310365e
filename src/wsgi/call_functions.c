/* write(), wsgi.early_hints() and cserve.client_gone(). */
#include "call.h"

#include "app_thread.h"
#include "reply.h"

static bool has_arguments(const char *function, Py_ssize_t count, Py_ssize_t wanted) {
    if (LIKELY(count == wanted)) return true;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd positional argument%s", function, wanted, wanted == 1 ? "" : "s");
    return false;
}

/* Sending may have to let go of the GIL, which only the thread that ends the request may do. */
static struct exchange *exchange_to_send(struct call *c) {
    const struct app_thread *t = app_thread_self();
    struct exchange *x = call_exchange(c);
    if (!x || !t || t->exchange == x) return x;
    PyErr_SetString(PyExc_RuntimeError, "an application thread cannot send another one's response");
    return NULL;
}

static PyObject *send_bytes(struct call *c, PyObject *bytes) {
    if (!exchange_to_send(c)) return NULL;
    switch (reply_send_piece(c, bytes)) {
    case REPLY_GONE: PyErr_SetString(PyExc_BrokenPipeError, "the client is gone"); return NULL;
    case REPLY_RAISED: return NULL;
    case REPLY_DONE: break;
    }
    Py_RETURN_NONE;
}

PyObject *call_write(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    PyObject *result;
    if (!has_arguments("write", count, 1)) return NULL;
    if (!PyBytes_Check(arguments[0])) {
        PyErr_Format(PyExc_TypeError, "write() takes bytes, not %.100s", Py_TYPE(arguments[0])->tp_name);
        return NULL;
    }
    PY_LOCK(self);
    result = send_bytes((struct call *)self, arguments[0]);
    PY_UNLOCK();
    return result;
}

/* One field line of a 103 answer. */
static bool append_hint(struct buf *lines, PyObject *header) {
    struct slice name, value;
    PyObject *first = NULL, *second = NULL;
    if (PyTuple_Check(header) && PyTuple_GET_SIZE(header) == 2) {
        first = PyTuple_GET_ITEM(header, 0);
        second = PyTuple_GET_ITEM(header, 1);
    }
    if (!first || !PyUnicode_Check(first) || !PyUnicode_Check(second) || !py_latin1(first, &name) ||
        !py_latin1(second, &value)) {
        PyErr_Format(PyExc_TypeError, "a hint must be a tuple (name, value) of Latin-1 str, not %R", header);
        return false;
    }
    const char *fault = response_check_interim(name, value);
    if (fault) {
        PyErr_Format(PyExc_ValueError, "the hint %A: %A is %s", first, second, fault);
        return false;
    }
    buf_append_slice(lines, name);
    BUF_APPEND_LITERAL(lines, ": ");
    buf_append_slice(lines, value);
    BUF_APPEND_LITERAL(lines, "\r\n");
    return true;
}

static bool append_hints(struct buf *lines, PyObject *headers) {
    bool is_good = true;
    for (Py_ssize_t i = 0; is_good && i < PyTuple_GET_SIZE(headers); i++)
        is_good = append_hint(lines, PyTuple_GET_ITEM(headers, i));
    return is_good;
}

static bool send_hints(struct call *c, struct slice lines) {
    struct exchange *x = exchange_to_send(c);
    if (!x) return false;
    c->is_sending = true;
    if (lines.len) response_early_hints(x, lines);
    c->is_sending = false;
    return true;
}

PyObject *call_early_hints(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    struct buf lines = BUF_INIT;
    bool is_sent = false;
    if (!has_arguments("early_hints", count, 1)) return NULL;
    PyObject *headers = PySequence_Tuple(arguments[0]);
    if (!headers) return NULL;
    if (append_hints(&lines, headers)) {
        PY_LOCK(self);
        is_sent = send_hints((struct call *)self, buf_slice(&lines));
        PY_UNLOCK();
    }
    Py_DECREF(headers);
    buf_release(&lines);
    if (!is_sent) return NULL;
    Py_RETURN_NONE;
}

PyObject *call_client_gone(PyObject *self, PyObject *const *arguments UNUSED, Py_ssize_t count) {
    bool is_gone;
    if (!has_arguments("client_gone", count, 0)) return NULL;
    PY_LOCK(self);
    struct exchange *x = ((struct call *)self)->exchange;
    is_gone = !x || exchange_is_client_gone(x);
    PY_UNLOCK();
    return PyBool_FromLong(is_gone);
}
