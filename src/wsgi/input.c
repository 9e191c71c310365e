/* Reading the request's body. It is complete before the application is called, so nothing here waits for the client;
 * from a file it is read with pread(2), with the GIL let go. Must never touch a body whose request is over. */
#include "input.h"

#include "app_thread.h"

#include <errno.h>

#define BLOCK_BYTES  8192 /* read at once while looking for the end of a line in a file */
#define LET_GO_BYTES (64 * 1024)

struct input {
    PyObject_HEAD const struct body *body; /* NULL once the request is over */
    uint64_t offset;
};

static const struct body no_body = {.file_fd = -1};
static PyObject *empty;

static struct input *input_of(PyObject *self) {
    struct input *in = (struct input *)self;
    if (LIKELY(in->body != NULL)) return in;
    PyErr_SetString(PyExc_ValueError, "read from wsgi.input after its request was over");
    return NULL;
}

/* 0 once the request is over, which it may be after anything that lets go of the GIL. */
static uint64_t rest_of(const struct input *in) {
    return in->body ? in->body->length - in->offset : 0;
}

/* The optional argument of read(), readline() and readlines(): UINT64_MAX for none, None and negative numbers. False
 * with an exception. */
static bool get_size(PyObject *const *arguments, Py_ssize_t count, uint64_t *size) {
    *size = UINT64_MAX;
    if (count > 1) {
        PyErr_Format(PyExc_TypeError, "takes at most 1 argument (%zd given)", count);
        return false;
    }
    if (count == 0 || arguments[0] == Py_None) return true;
    Py_ssize_t number = PyNumber_AsSsize_t(arguments[0], NULL);
    if (number == -1 && PyErr_Occurred()) return false;
    if (number >= 0) *size = (uint64_t)number;
    return true;
}

static bool read_file(const struct body *body, uint64_t offset, char *data, size_t size) {
    while (size) {
        ssize_t got = body_read(body, offset, data, size);
        if (got <= 0) {
            if (got == 0) errno = EIO;
            return false;
        }
        data += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return true;
}

/* Is this the thread whose return ends the request? Then the body stays while the GIL is away. */
static bool is_serving_thread(const struct body *body) {
    const struct app_thread *t = app_thread_self();
    return t && t->exchange && &t->exchange->request.body == body;
}

/* The next `size` bytes, which are there. */
static PyObject *take(struct input *in, uint64_t size) {
    const struct body *body = in->body;
    uint64_t offset = in->offset;
    PyObject *bytes =
        PyBytes_FromStringAndSize(body->file_fd < 0 && size ? body->memory.data + offset : NULL, (Py_ssize_t)size);
    if (!bytes) return NULL;
    in->offset += size;
    if (body->file_fd < 0 || size == 0) return bytes;
    PyThreadState *state = size >= LET_GO_BYTES && is_serving_thread(body) ? PyEval_SaveThread() : NULL;
    bool is_whole = read_file(body, offset, PyBytes_AS_STRING(bytes), (size_t)size);
    if (state) PyEval_RestoreThread(state);
    if (is_whole) return bytes;
    Py_DECREF(bytes);
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* read(), readline() and readlines(): one thread at a time. */
static PyObject *read_by(PyObject *(*reader)(struct input *in, uint64_t size), PyObject *self,
                         PyObject *const *arguments, Py_ssize_t count) {
    uint64_t size;
    PyObject *result = NULL;
    if (!get_size(arguments, count, &size)) return NULL;
    PY_LOCK(self);
    struct input *in = input_of(self);
    if (in) result = reader(in, size);
    PY_UNLOCK();
    return result;
}

static PyObject *take_bytes(struct input *in, uint64_t size) {
    uint64_t rest = rest_of(in);
    return take(in, size < rest ? size : rest);
}

static PyObject *input_read(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    return read_by(take_bytes, self, arguments, count);
}

/* How long the line at the present position is, at most `limit` bytes. -1 with an exception. */
static int64_t line_length(const struct input *in, uint64_t limit) {
    const struct body *body = in->body;
    char block[BLOCK_BYTES];
    uint64_t length = 0;
    while (length < limit) {
        uint64_t offset = in->offset + length;
        size_t size = limit - length < sizeof(block) ? (size_t)(limit - length) : sizeof(block);
        const char *data = block;
        if (body->file_fd < 0) {
            data = body->memory.data + offset;
            size = (size_t)(limit - length);
        } else if (!read_file(body, offset, block, size)) {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        const char *end = memchr(data, '\n', size);
        if (end) return (int64_t)(length + (uint64_t)(end - data) + 1);
        length += size;
    }
    return (int64_t)length;
}

static PyObject *take_line(struct input *in, uint64_t size) {
    uint64_t rest = rest_of(in);
    int64_t length = line_length(in, size < rest ? size : rest);
    return length < 0 ? NULL : take(in, (uint64_t)length);
}

static PyObject *input_readline(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    return read_by(take_line, self, arguments, count);
}

/* Whole lines until they hold `hint` bytes or more; 0 and less are no hint (io.IOBase.readlines). */
static PyObject *take_lines(struct input *in, uint64_t hint) {
    uint64_t total = 0;
    PyObject *lines = PyList_New(0);
    while (lines && rest_of(in) && (hint == 0 || total < hint)) {
        PyObject *line = take_line(in, UINT64_MAX);
        if (!line || PyList_Append(lines, line)) Py_CLEAR(lines);
        else total += (uint64_t)PyBytes_GET_SIZE(line);
        Py_XDECREF(line);
    }
    return lines;
}

static PyObject *input_readlines(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    return read_by(take_lines, self, arguments, count);
}

static PyObject *input_next(PyObject *self) {
    PyObject *line = NULL;
    PY_LOCK(self);
    struct input *in = input_of(self);
    if (in && rest_of(in)) line = take_line(in, UINT64_MAX);
    PY_UNLOCK();
    return line;
}

static PyMethodDef input_methods[] = {
    {"read", PY_FASTCALL(input_read), METH_FASTCALL, "read(size=-1): the next bytes of the body; b'' at its end."},
    {"readline", PY_FASTCALL(input_readline), METH_FASTCALL, "readline(size=-1): the next line, with its end."},
    {"readlines", PY_FASTCALL(input_readlines), METH_FASTCALL, "readlines(hint=-1): the lines that are left."},
    {NULL, NULL, 0, NULL},
};

static void input_dealloc(PyObject *self) {
    PyObject_Free(self);
}

static PyTypeObject input_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "cserve.Input",
    .tp_basicsize = sizeof(struct input),
    .tp_dealloc = input_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "wsgi.input: the body of a request.",
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = input_next,
    .tp_methods = input_methods,
};

int input_init(void) {
    if (PyType_Ready(&input_type)) return -1;
    empty = input_new(&no_body);
    return empty ? 0 : -1;
}

PyObject *input_new(const struct body *body) {
    struct input *in = PyObject_New(struct input, &input_type);
    if (!in) return NULL;
    in->body = body;
    in->offset = 0;
    return (PyObject *)in;
}

void input_finish(PyObject *input) {
    PY_LOCK(input);
    ((struct input *)input)->body = NULL;
    PY_UNLOCK();
}

PyObject *input_empty(void) {
    return Py_NewRef(empty);
}
