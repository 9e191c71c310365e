/* A wrapper that can be iterated by anyone, and that the gateway recognises and hands to sendfile(2).
 *
 * Only the exact type is recognised: a subclass may have another idea of its content. Must never send a descriptor
 * whose bytes are not what read() would give, as a compressed file's. */
#include "file_wrapper.h"

#include "call.h"

#include <structmember.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_wrapper {
    PyObject_HEAD PyObject *file;
    Py_ssize_t block_size;
    bool is_closed;
};

static bool is_enabled;
static PyObject *read_name, *close_name, *fileno_name, *tell_name, *compression_name, *stream_name;

static PyObject *wrapper_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    static char filelike[] = "filelike", blksize[] = "blksize", *names[] = {filelike, blksize, NULL};
    PyObject *file;
    Py_ssize_t block_size = 8192;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|n:FileWrapper", names, &file, &block_size)) return NULL;
    struct file_wrapper *w = (struct file_wrapper *)type->tp_alloc(type, 0);
    if (!w) return NULL;
    w->file = Py_NewRef(file);
    w->block_size = block_size;
    return (PyObject *)w;
}

static int wrapper_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((struct file_wrapper *)self)->file);
    return 0;
}

static int wrapper_clear(PyObject *self) {
    Py_CLEAR(((struct file_wrapper *)self)->file);
    return 0;
}

static void wrapper_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    wrapper_clear(self);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *wrapper_next(PyObject *self) {
    struct file_wrapper *w = (struct file_wrapper *)self;
    if (!w->file) return NULL;
    PyObject *size = PyLong_FromSsize_t(w->block_size);
    PyObject *block = size ? PyObject_CallMethodObjArgs(w->file, read_name, size, NULL) : NULL;
    Py_XDECREF(size);
    if (!block) return NULL;
    int more = PyObject_IsTrue(block);
    if (more > 0) return block;
    Py_DECREF(block);
    return NULL;
}

static PyObject *wrapper_close(PyObject *self, PyObject *nothing UNUSED) {
    struct file_wrapper *w = (struct file_wrapper *)self;
    PyObject *close;
    if (w->is_closed || !w->file) Py_RETURN_NONE;
    w->is_closed = true;
    int found = py_find_attribute(w->file, close_name, &close);
    if (found < 0) return NULL;
    if (found == 0) Py_RETURN_NONE;
    PyObject *result = PyObject_CallNoArgs(close);
    Py_DECREF(close);
    return result;
}

static PyMethodDef wrapper_methods[] = {
    {"close", wrapper_close, METH_NOARGS, "Closes the file, once."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef wrapper_members[] = {
    {"filelike", T_OBJECT, offsetof(struct file_wrapper, file), READONLY, NULL},
    {"blksize", T_PYSSIZET, offsetof(struct file_wrapper, block_size), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject wrapper_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "cserve.FileWrapper",
    .tp_basicsize = sizeof(struct file_wrapper),
    .tp_dealloc = wrapper_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_doc = "wsgi.file_wrapper: FileWrapper(filelike, blksize=8192)",
    .tp_traverse = wrapper_traverse,
    .tp_clear = wrapper_clear,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = wrapper_next,
    .tp_methods = wrapper_methods,
    .tp_members = wrapper_members,
    .tp_new = wrapper_new,
};

int file_wrapper_init(bool use_sendfile) {
    is_enabled = use_sendfile;
    read_name = PyUnicode_InternFromString("read");
    close_name = PyUnicode_InternFromString("close");
    fileno_name = PyUnicode_InternFromString("fileno");
    tell_name = PyUnicode_InternFromString("tell");
    compression_name = PyUnicode_InternFromString("_compression");
    stream_name = PyUnicode_InternFromString("BaseStream");
    if (!read_name || !close_name || !fileno_name || !tell_name || !compression_name || !stream_name) return -1;
    return PyType_Ready(&wrapper_type);
}

PyObject *file_wrapper_type(void) {
    return (PyObject *)&wrapper_type;
}

/* ---- sending ---- */

/* gzip, bz2 and lzma name the descriptor of the compressed file. */
static bool is_compressed(PyObject *file) {
    PyObject *module = PyImport_GetModule(compression_name), *type = NULL;
    bool answer = module && py_find_attribute(module, stream_name, &type) > 0 && PyObject_IsInstance(file, type) != 0;
    Py_XDECREF(type);
    Py_XDECREF(module);
    PyErr_Clear();
    return answer;
}

/* The int that a method without arguments returns, or -1. */
static long long ask(PyObject *file, PyObject *name) {
    PyObject *method, *answer = NULL;
    long long number = -1;
    if (py_find_attribute(file, name, &method) > 0) {
        answer = PyObject_CallNoArgs(method);
        Py_DECREF(method);
    }
    if (answer && PyLong_Check(answer)) number = PyLong_AsLongLong(answer);
    Py_XDECREF(answer);
    PyErr_Clear();
    return number;
}

/* Where read() would go on. A buffered file has read ahead of that, but then its descriptor is not at the start. */
static long long position(PyObject *file, int fd) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at > 0 ? ask(file, tell_name) : at;
}

static bool is_regular(int fd, uint64_t *size) {
    struct stat status;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode)) return false;
    *size = (uint64_t)status.st_size;
    return true;
}

bool file_wrapper_send(struct app_thread *t, PyObject *result, enum reply_result *sent) {
    uint64_t size;
    if (!Py_IS_TYPE(result, &wrapper_type) || !is_enabled || !t->call->is_started) return false;
    PyObject *file = ((struct file_wrapper *)result)->file;
    if (!file || is_compressed(file)) return false;
    int fd = (int)ask(file, fileno_name);
    if (fd < 0 || !is_regular(fd, &size)) return false;
    long long offset = position(file, fd);
    if (offset < 0) return false;

    struct exchange *x = t->exchange;
    uint64_t length = (uint64_t)offset < size ? size - (uint64_t)offset : 0;
    enum response_result taken;
    PY_LOCK(t->call);
    uint64_t wanted = x->response.has_length ? x->response.length - x->response.body_bytes : length;
    if (wanted < length) length = wanted;
    t->call->is_sending = true;
    gil_let_go(t);
    taken = response_file(x, fd, (uint64_t)offset, length);
    gil_take(t);
    t->call->is_sending = false;
    PY_UNLOCK();
    *sent = taken == RESPONSE_GONE ? REPLY_GONE : REPLY_DONE;
    return true;
}
