/* start_response() (PEP 3333, "The start_response() Callable"): hands status and headers to the engine, which composes
 * the head at once and keeps it until the first byte of the body.
 *
 * Nothing but exact types is touched between the first and the last header, so no code of the application runs in
 * between. Must never let through what is not str, not Latin-1, or not accepted by the engine. */
#include "call.h"

#include "app_thread.h"
#include "header_lines.h"

#include "http/response.h"

static COLD void refuse_text(PyObject *text, const char *what) {
    if (PyUnicode_Check(text))
        PyErr_Format(PyExc_ValueError, "%s %A has characters that are not Latin-1; encode them first", what, text);
    else PyErr_Format(PyExc_TypeError, "%s must be str, not %.100s", what, Py_TYPE(text)->tp_name);
}

static inline bool get_text(PyObject *text, struct slice *bytes, const char *what) {
    if (LIKELY(PyUnicode_Check(text) && py_latin1(text, bytes))) return true;
    refuse_text(text, what);
    return false;
}

static int add_header(struct exchange *x, struct header_lines *lines, PyObject *header) {
    struct slice name, value;
    const struct response_line *known = lines ? header_lines_find(lines, header) : NULL;
    if (known && LIKELY(!response_add_line(x, known))) return 0;
    if (UNLIKELY(!PyTuple_Check(header) || PyTuple_GET_SIZE(header) != 2)) {
        PyErr_Format(PyExc_TypeError, "a header must be a tuple (name, value), not %R", header);
        return -1;
    }
    if (!get_text(PyTuple_GET_ITEM(header, 0), &name, "a header's name") ||
        !get_text(PyTuple_GET_ITEM(header, 1), &value, "a header's value"))
        return -1;
    const char *fault = response_add(x, name, value);
    if (LIKELY(!fault)) {
        if (lines) header_lines_note(lines, header, name, value);
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "the header %A: %A is %s", PyTuple_GET_ITEM(header, 0), PyTuple_GET_ITEM(header, 1),
                 fault);
    return -1;
}

static int start(struct exchange *x, PyObject *status, PyObject *headers) {
    struct slice line;
    if (!get_text(status, &line, "the status")) return -1;
    if (UNLIKELY(!PyList_Check(headers))) {
        PyErr_Format(PyExc_TypeError, "the headers must be a list, not %.100s", Py_TYPE(headers)->tp_name);
        return -1;
    }
    const char *fault = response_start(x, line);
    if (UNLIKELY(fault != NULL)) {
        PyErr_Format(PyExc_ValueError, "the status %A is refused: %s", status, fault);
        return -1;
    }
    /* Any thread may call us; only an application thread has a cache. */
    struct app_thread *t = app_thread_self();
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(headers); i++)
        if (UNLIKELY(add_header(x, t ? t->lines : NULL, PyList_GET_ITEM(headers, i)))) return -1;
    return 0;
}

/* The rule of exc_info: too late for another head, the application's exception goes on its way. True if the call may
 * proceed. */
static bool may_start(struct call *c, PyObject *exc_info) {
    bool has_exc_info = exc_info && exc_info != Py_None;
    if (LIKELY(!has_exc_info && !c->is_started)) return true;
    if (!has_exc_info) {
        PyErr_SetString(PyExc_AssertionError, "start_response() was called before; a second call needs exc_info");
        return false;
    }
    if (!PyTuple_Check(exc_info) || PyTuple_GET_SIZE(exc_info) != 3) {
        PyErr_Format(PyExc_TypeError, "exc_info must be a tuple of three, as of sys.exc_info(), not %R", exc_info);
        return false;
    }
    if (!response_is_head_sent(&c->exchange->response)) return true;
    PyObject *type = PyTuple_GET_ITEM(exc_info, 0), *value = PyTuple_GET_ITEM(exc_info, 1),
             *traceback = PyTuple_GET_ITEM(exc_info, 2);
    if (!PyExceptionClass_Check(type)) {
        PyErr_SetString(PyExc_TypeError, "exc_info holds no exception");
        return false;
    }
    PyErr_Restore(Py_NewRef(type), value == Py_None ? NULL : Py_NewRef(value),
                  traceback == Py_None ? NULL : Py_NewRef(traceback));
    return false;
}

/* Puts keyword arguments where positional ones stand. METH_FASTCALL has them behind those, named by a tuple. */
static bool gather(PyObject *const *arguments, Py_ssize_t count, PyObject *names, PyObject *gathered[3]) {
    static const char *const parameters[3] = {"status", "headers", "exc_info"};
    Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;
    for (Py_ssize_t i = 0; i < count && i < 3; i++) gathered[i] = arguments[i];
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        int at = 0;
        while (at < 3 && PyUnicode_CompareWithASCIIString(name, parameters[at])) at++;
        if (at == 3 && PyUnicode_CompareWithASCIIString(name, "response_headers") == 0)
            at = 1; /* PEP 3333's name of it */
        if (at == 3 || gathered[at]) {
            PyErr_Format(PyExc_TypeError, "start_response(): argument %R is unknown or given twice", name);
            return false;
        }
        gathered[at] = arguments[count + i];
    }
    if (count <= 3 && gathered[0] && gathered[1]) return true;
    PyErr_SetString(PyExc_TypeError, "start_response() takes status, headers and perhaps exc_info");
    return false;
}

static PyObject *start_locked(struct call *c, PyObject *const given[3]) {
    struct exchange *x = call_exchange(c);
    if (UNLIKELY(!x) || !may_start(c, given[2])) return NULL;
    c->is_started = false;
    if (start(x, given[0], given[1])) return NULL;
    c->is_started = true;
    return Py_NewRef(c->functions[CALL_WRITE]);
}

PyObject *start_response(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    PyObject *given[3] = {NULL, NULL, NULL}, *result;
    if (LIKELY(count == 2 && !names)) {
        given[0] = arguments[0];
        given[1] = arguments[1];
    } else if (!gather(arguments, count, names, given)) return NULL;
    PY_LOCK_BOTH(self, given[1]);
    result = start_locked((struct call *)self, given);
    PY_UNLOCK_BOTH();
    return result;
}
