/* A traceback is formatted by Python's own module, so that notes, groups and hints look as users know them. Must never
 * raise: what cannot be formatted is named by its type. */
#include "exception.h"

#include <stdarg.h>

static void append_text(struct buf *out, PyObject *text, PyObject *origin) {
    PyObject *bytes = text ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;
    if (bytes) buf_append(out, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    else buf_printf(out, "<%s>", Py_TYPE(origin)->tp_name);
    Py_XDECREF(bytes);
    Py_XDECREF(text);
    PyErr_Clear();
}

void exception_append_str(struct buf *out, PyObject *object) {
    append_text(out, PyObject_Str(object), object);
}

void exception_append_repr(struct buf *out, PyObject *object) {
    append_text(out, PyObject_Repr(object), object);
}

/* traceback.format_exception() as one str, or NULL with an exception. */
static PyObject *format_traceback(PyObject *exception) {
    PyObject *module = PyImport_ImportModule("traceback");
    PyObject *traceback = PyException_GetTraceback(exception);
    PyObject *lines = module ? PyObject_CallMethod(module, "format_exception", "OOO", Py_TYPE(exception), exception,
                                                   traceback ? traceback : Py_None)
                             : NULL;
    PyObject *nothing = lines ? PyUnicode_New(0, 0) : NULL;
    PyObject *text = nothing ? PyUnicode_Join(nothing, lines) : NULL;
    Py_XDECREF(nothing);
    Py_XDECREF(lines);
    Py_XDECREF(traceback);
    Py_XDECREF(module);
    return text;
}

void exception_log_object(enum log_level level, PyObject *exception, const char *headline) {
    if (!log_is_enabled(level)) return;
    struct buf text = BUF_INIT;
    append_text(&text, format_traceback(exception), exception);
    log_write_text(level, headline, buf_slice(&text));
    buf_release(&text);
}

void exception_log(enum log_level level, const char *format, ...) {
    char headline[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(headline, sizeof(headline), format, arguments);
    va_end(arguments);
    PyObject *exception = py_take_exception();
    if (!exception) return;
    exception_log_object(level, exception, headline);
    Py_DECREF(exception);
}
