/* The floor of a WSGI server: the loop of kernel.c around a real application, called through CPython's API. The environ
 * is a copy of a prepared dict, start_response joins the head and nothing more, and nothing of the request is parsed
 * (one that begins with P gets its body as a BytesIO). No validation, no timeouts, no log: no WSGI server costs less
 * for the same application. python -p PORT -a MODULE:CALLABLE [-B: the environ of a browser's request] [-P PATH] [-c:
 * close each connection] [-w WORKERS] */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "net.h"
#include <stdbool.h>
#include <strings.h>

/* The private name is the older one. */
#if PY_VERSION_HEX < 0x030D0000
#define PyObject_GetOptionalAttr _PyObject_LookupAttr
#endif

enum { COPIED_BODY_MAX = 32768 };

static char out[1 << 16];
static size_t out_size;
static bool has_length, is_closing;
static PyObject *application, *environ_template, *start_response, *bytes_io;
static PyObject *name_input, *name_length, *name_close, *name_fileno;

static void put(const void *bytes, size_t size) {
    memcpy(out + out_size, bytes, size);
    out_size += size;
}
#define PUT_TEXT(text) put(text, sizeof(text) - 1)

/* ---- what the application calls ---- */

struct wrapper {
    PyObject_HEAD PyObject *file;
};

static void wrapper_free(PyObject *self) {
    Py_XDECREF(((struct wrapper *)self)->file);
    Py_TYPE(self)->tp_free(self);
}

static PyTypeObject wrapper_type = {PyVarObject_HEAD_INIT(NULL, 0).tp_name = "floor.wrapper",
                                    .tp_basicsize = sizeof(struct wrapper), .tp_dealloc = wrapper_free,
                                    .tp_flags = Py_TPFLAGS_DEFAULT};

static PyObject *call_file_wrapper(PyObject *self, PyObject *const *args, Py_ssize_t n) {
    struct wrapper *wrapper = PyObject_New(struct wrapper, &wrapper_type);
    Py_INCREF(args[0]);
    wrapper->file = args[0];
    return (PyObject *)wrapper;
}

static PyObject *call_start_response(PyObject *self, PyObject *const *args, Py_ssize_t n) {
    out_size = 0;
    has_length = false;
    PUT_TEXT("HTTP/1.1 ");
    put(PyUnicode_DATA(args[0]), PyUnicode_GET_LENGTH(args[0]));
    PUT_TEXT("\r\nServer: floor\r\nDate: Mon, 23 Nov 2026 09:00:00 GMT\r\n");
    if (is_closing) PUT_TEXT("Connection: close\r\n");
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(args[1]); i++) {
        PyObject *pair = PyList_GET_ITEM(args[1], i), *name = PyTuple_GET_ITEM(pair, 0),
                 *value = PyTuple_GET_ITEM(pair, 1);
        size_t length = PyUnicode_GET_LENGTH(name);
        if (length == 14 && !strncasecmp(PyUnicode_DATA(name), "content-length", 14)) has_length = true;
        put(PyUnicode_DATA(name), length);
        PUT_TEXT(": ");
        put(PyUnicode_DATA(value), PyUnicode_GET_LENGTH(value));
        PUT_TEXT("\r\n");
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"start_response", (PyCFunction)(void *)call_start_response, METH_FASTCALL, 0},
                                {"file_wrapper", (PyCFunction)(void *)call_file_wrapper, METH_FASTCALL, 0}};

/* ---- one request ---- */

static void set_body(PyObject *environ, const char *body, size_t size) {
    PyObject *bytes = PyBytes_FromStringAndSize(body, (Py_ssize_t)size), *input = PyObject_CallOneArg(bytes_io, bytes);
    PyObject *length = PyUnicode_FromFormat("%zu", size);
    PyDict_SetItem(environ, name_input, input);
    PyDict_SetItem(environ, name_length, length);
    Py_DECREF(bytes);
    Py_DECREF(input);
    Py_DECREF(length);
}

static int send_bytes(int fd, PyObject *bytes) {
    char *body = PyBytes_AS_STRING(bytes);
    size_t size = PyBytes_GET_SIZE(bytes);
    if (!has_length) out_size += sprintf(out + out_size, "Content-Length: %zu\r\n", size);
    PUT_TEXT("\r\n");
    if (size < COPIED_BODY_MAX) {
        put(body, size);
        return net_write_all(fd, &(struct iovec){out, out_size}, 1);
    }
    struct iovec parts[2] = {{out, out_size}, {body, size}};
    return net_write_all(fd, parts, 2);
}

static int send_wrapped(int fd, struct wrapper *wrapper) {
    PyObject *number = PyObject_CallMethodNoArgs(wrapper->file, name_fileno);
    int file = (int)PyLong_AsLong(number);
    Py_DECREF(number);
    PUT_TEXT("\r\n");
    int failed = send(fd, out, out_size, MSG_MORE | MSG_NOSIGNAL) < 0 || net_send_file(fd, file, 1 << 30);
    Py_XDECREF(PyObject_CallMethodNoArgs(wrapper->file, name_close));
    return failed;
}

static int send_iterable(int fd, PyObject *iterable) {
    PyObject *iterator = PyObject_GetIter(iterable), *bytes;
    bool is_first = true, is_chunked = false;
    int failed = 0;
    while (!failed && (bytes = PyIter_Next(iterator))) {
        if (is_first) {
            is_chunked = !has_length;
            if (is_chunked) PUT_TEXT("Transfer-Encoding: chunked\r\n");
            PUT_TEXT("\r\n");
        }
        if (is_chunked) out_size += sprintf(out + out_size, "%zx\r\n", PyBytes_GET_SIZE(bytes));
        struct iovec parts[3] = {{out, out_size}, {PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes)}, {"\r\n", 2}};
        failed = net_write_all(fd, parts, is_chunked ? 3 : 2);
        out_size = 0;
        is_first = false;
        Py_DECREF(bytes);
    }
    if (is_chunked && !failed) failed = net_write_all(fd, &(struct iovec){"0\r\n\r\n", 5}, 1);
    Py_DECREF(iterator);
    return failed;
}

static void close_iterable(PyObject *iterable) {
    PyObject *method = NULL;
    if (PyObject_GetOptionalAttr(iterable, name_close, &method) > 0) {
        Py_XDECREF(PyObject_CallNoArgs(method));
        Py_DECREF(method);
    }
}

static int serve(int fd, char *request, size_t size) {
    char *end = memmem(request, size, "\r\n\r\n", 4);
    if (!end) return -1; /* none of these benchmarks sends a head in pieces */
    PyObject *environ = PyDict_Copy(environ_template);
    if (*request == 'P') set_body(environ, end + 4, request + size - (end + 4));
    PyObject *args[3] = {NULL, environ, start_response};
    PyObject *result = PyObject_Vectorcall(application, args + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_DECREF(environ);
    int failed = -1;
    if (result) {
        if (PyList_CheckExact(result) && PyList_GET_SIZE(result) == 1)
            failed = send_bytes(fd, PyList_GET_ITEM(result, 0));
        else if (Py_TYPE(result) == &wrapper_type) failed = send_wrapped(fd, (struct wrapper *)result);
        else failed = send_iterable(fd, result);
        if (!PyList_CheckExact(result)) close_iterable(result);
        Py_DECREF(result);
    }
    if (PyErr_Occurred()) {
        PyErr_Print();
        failed = -1;
    }
    return failed || is_closing;
}

/* ---- start ---- */

static void set_object(const char *key, PyObject *value) {
    PyObject *name = PyUnicode_InternFromString(key);
    PyDict_SetItem(environ_template, name, value);
    Py_DECREF(name);
}

static void set_text(const char *key, const char *text) {
    PyObject *value = PyUnicode_FromString(text);
    set_object(key, value);
    Py_DECREF(value);
}

static void prepare_environ(int port, int workers, const char *path, bool is_browser) {
    char port_text[16];
    snprintf(port_text, sizeof port_text, "%d", port);
    environ_template = PyDict_New();
    set_object("wsgi.version", Py_BuildValue("(ii)", 1, 0));
    set_object("wsgi.errors", PySys_GetObject("stderr"));
    set_object("wsgi.multithread", Py_False);
    set_object("wsgi.multiprocess", workers > 1 ? Py_True : Py_False);
    set_object("wsgi.run_once", Py_False);
    set_object("wsgi.input", PyObject_CallNoArgs(bytes_io));
    set_object("wsgi.file_wrapper", PyCFunction_New(&methods[1], NULL));
    set_text("wsgi.url_scheme", "http");
    set_text("SERVER_NAME", "127.0.0.1");
    set_text("SERVER_PORT", port_text);
    set_text("SERVER_PROTOCOL", "HTTP/1.1");
    set_text("REMOTE_ADDR", "127.0.0.1");
    set_text("REMOTE_PORT", "45678");
    set_text("REQUEST_METHOD", "GET");
    set_text("SCRIPT_NAME", "");
    set_text("PATH_INFO", path);
    set_text("QUERY_STRING", is_browser ? "page=2&sort=asc" : "");
    set_text("HTTP_HOST", "127.0.0.1:8000");
    if (!is_browser) return;
    set_text("HTTP_CONNECTION", "keep-alive");
    set_text("HTTP_CACHE_CONTROL", "max-age=0");
    set_text("HTTP_UPGRADE_INSECURE_REQUESTS", "1");
    set_text("HTTP_USER_AGENT",
             "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36");
    set_text("HTTP_ACCEPT", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8");
    set_text("HTTP_SEC_FETCH_SITE", "same-origin");
    set_text("HTTP_SEC_FETCH_MODE", "navigate");
    set_text("HTTP_SEC_FETCH_DEST", "document");
    set_text("HTTP_REFERER", "https://www.example.org/catalogue/list?page=1&sort=asc");
    set_text("HTTP_ACCEPT_ENCODING", "gzip, deflate, br, zstd");
    set_text("HTTP_ACCEPT_LANGUAGE", "en-GB,en;q=0.9,de;q=0.7");
    set_text("HTTP_COOKIE",
             "sessionid=3k9v0y1c7u5w2q8e4r6t1z3x5c7v9b0n; csrftoken=Q1w2E3r4T5y6U7i8O9p0A1s2D3f4G5h6; theme=dark; "
             "_ga=GA1.2.1234567890.1700000000");
}

static PyObject *load_application(char *spec) {
    char *colon = strchr(spec, ':');
    if (!colon) return NULL;
    *colon = 0;
    PyObject *module = PyImport_ImportModule(spec);
    return module ? PyObject_GetAttrString(module, colon + 1) : NULL;
}

int main(int argc, char **argv) {
    int port = 0, workers = 1;
    bool is_browser = false;
    char *spec = NULL, *path = "/";
    for (int c; (c = getopt(argc, argv, "p:a:P:Bcw:")) != -1;) {
        switch (c) {
        case 'p': port = atoi(optarg); break;
        case 'a': spec = optarg; break;
        case 'P': path = optarg; break;
        case 'B': is_browser = true; break;
        case 'c': is_closing = true; break;
        case 'w': workers = atoi(optarg); break;
        default: return 2;
        }
    }
    if (!spec) return 2;
    signal(SIGPIPE, SIG_IGN);
    Py_InitializeEx(0);
    name_input = PyUnicode_InternFromString("wsgi.input");
    name_length = PyUnicode_InternFromString("CONTENT_LENGTH");
    name_close = PyUnicode_InternFromString("close");
    name_fileno = PyUnicode_InternFromString("fileno");
    PyObject *io = PyImport_ImportModule("io");
    bytes_io = io ? PyObject_GetAttrString(io, "BytesIO") : NULL;
    application = load_application(spec);
    if (!bytes_io || !application || PyType_Ready(&wrapper_type)) {
        PyErr_Print();
        return 1;
    }
    start_response = PyCFunction_New(&methods[0], NULL);
    prepare_environ(port, workers, path, is_browser);
    int listener = net_listen(port);
    PyOS_BeforeFork();
    net_fork_workers(workers);
    PyOS_AfterFork_Child();
    net_loop(net_watch(listener, workers), listener, serve);
}
