/* write(), wsgi.early_hints() and cserve.client_gone(). */
#include "call.h"

#include "reply.h"

static bool has_arguments(const char *function, Py_ssize_t count, Py_ssize_t wanted) {
    if (LIKELY(count == wanted)) return true;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd positional argument%s", function, wanted, wanted == 1 ? "" : "s");
    return false;
}

PyObject *call_write(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    struct call *c = (struct call *)self;
    if (!has_arguments("write", count, 1) || !call_exchange(c)) return NULL;
    if (!PyBytes_Check(arguments[0])) {
        PyErr_Format(PyExc_TypeError, "write() takes bytes, not %.100s", Py_TYPE(arguments[0])->tp_name);
        return NULL;
    }
    switch (reply_send_piece(c, arguments[0])) {
    case REPLY_GONE: PyErr_SetString(PyExc_BrokenPipeError, "the client is gone"); return NULL;
    case REPLY_RAISED: return NULL;
    case REPLY_DONE: break;
    }
    Py_RETURN_NONE;
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

PyObject *call_early_hints(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    struct buf lines = BUF_INIT;
    if (!has_arguments("early_hints", count, 1)) return NULL;
    PyObject *headers = PySequence_Fast(arguments[0], "early_hints() takes a list of tuples (name, value)");
    if (!headers) return NULL;
    bool is_good = true;
    for (Py_ssize_t i = 0; is_good && i < PySequence_Fast_GET_SIZE(headers); i++)
        is_good = append_hint(&lines, PySequence_Fast_GET_ITEM(headers, i));
    Py_DECREF(headers);
    struct exchange *x = is_good ? call_exchange((struct call *)self) : NULL;
    if (x && lines.len) response_early_hints(x, buf_slice(&lines));
    buf_release(&lines);
    if (!x) return NULL;
    Py_RETURN_NONE;
}

PyObject *call_client_gone(PyObject *self, PyObject *const *arguments UNUSED, Py_ssize_t count) {
    if (!has_arguments("client_gone", count, 0)) return NULL;
    struct exchange *x = ((struct call *)self)->exchange;
    return PyBool_FromLong(!x || exchange_is_client_gone(x));
}
