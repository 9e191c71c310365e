/* Lines of the application become lines of the error log, at level error; what came in one write() stays together. A
 * line is held until its end comes, or flush() after which nothing of it must be lost. */
#include "errors.h"

#include "base/buf.h"
#include "base/log.h"

#include <pthread.h>

#define LINE_BYTES     (64 * 1024) /* a longer line is logged in parts */
#define HEADLINE_BYTES 2048        /* a longer first line would be cut as a headline */

struct errors {
    PyObject_HEAD struct buf partial;
};

static struct errors *stream;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for interpreters without a GIL; nothing waits inside */

/* The first line as the headline, the rest below it. */
static void log_lines(struct slice text) {
    struct slice rest = text, first;
    slice_next(&rest, '\n', &first);
    if (first.len > HEADLINE_BYTES) {
        log_write_text(LOG_LEVEL_ERROR, "from the application:", text);
        return;
    }
    char headline[HEADLINE_BYTES + 1];
    snprintf(headline, sizeof(headline), "%.*s", SLICE_ARG(first));
    log_write_text(LOG_LEVEL_ERROR, headline, rest);
}

static void log_partial(struct errors *e, size_t len) {
    if (len) log_lines(slice_make(e->partial.data, len));
    buf_consume(&e->partial, len);
}

static void add(struct errors *e, struct slice text) {
    pthread_mutex_lock(&lock);
    buf_append_slice(&e->partial, text);
    const char *end = e->partial.len ? memrchr(e->partial.data, '\n', e->partial.len) : NULL;
    if (end) log_partial(e, (size_t)(end - e->partial.data) + 1);
    if (e->partial.len > LINE_BYTES) log_partial(e, e->partial.len);
    pthread_mutex_unlock(&lock);
}

static int write_text(struct errors *e, PyObject *text) {
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "wsgi.errors takes str, not %.100s", Py_TYPE(text)->tp_name);
        return -1;
    }
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (!bytes) return -1;
    add(e, slice_make(PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes)));
    Py_DECREF(bytes);
    return 0;
}

static PyObject *errors_write(PyObject *self, PyObject *text) {
    if (write_text((struct errors *)self, text)) return NULL;
    return PyLong_FromSsize_t(PyUnicode_GET_LENGTH(text));
}

static PyObject *errors_writelines(PyObject *self, PyObject *lines) {
    PyObject *iterator = PyObject_GetIter(lines), *line;
    if (!iterator) return NULL;
    while ((line = PyIter_Next(iterator))) {
        int failed = write_text((struct errors *)self, line);
        Py_DECREF(line);
        if (failed) break;
    }
    Py_DECREF(iterator);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

static PyObject *errors_flush_method(PyObject *self UNUSED, PyObject *nothing UNUSED) {
    errors_flush();
    Py_RETURN_NONE;
}

static PyObject *answer_true(PyObject *self UNUSED, PyObject *nothing UNUSED) {
    Py_RETURN_TRUE;
}

static PyObject *answer_false(PyObject *self UNUSED, PyObject *nothing UNUSED) {
    Py_RETURN_FALSE;
}

static PyObject *get_encoding(PyObject *self UNUSED, void *closure UNUSED) {
    return PyUnicode_FromString("utf-8");
}

static PyMethodDef errors_methods[] = {
    {"write", errors_write, METH_O, "Logs whole lines; keeps the rest until its end comes."},
    {"writelines", errors_writelines, METH_O, NULL},
    {"flush", errors_flush_method, METH_NOARGS, "Logs an unfinished line."},
    {"writable", answer_true, METH_NOARGS, NULL},
    {"isatty", answer_false, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef errors_attributes[] = {
    {"encoding", get_encoding, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject errors_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "cserve.Errors",
    .tp_basicsize = sizeof(struct errors),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "wsgi.errors: the error log as a text stream.",
    .tp_methods = errors_methods,
    .tp_getset = errors_attributes,
};

int errors_init(void) {
    if (PyType_Ready(&errors_type)) return -1;
    stream = PyObject_New(struct errors, &errors_type);
    if (!stream) return -1;
    buf_init(&stream->partial);
    return 0;
}

PyObject *errors_stream(void) {
    return Py_NewRef((PyObject *)stream);
}

void errors_flush(void) {
    if (!stream) return;
    pthread_mutex_lock(&lock);
    log_partial(stream, stream->partial.len);
    pthread_mutex_unlock(&lock);
}
