/* Stand-ins are types.SimpleNamespace, filled when a hook is called; only the log has a type of its own. */
#include "stand_ins.h"

#include "exception.h"
#include "module.h"

#include <unistd.h>

static PyObject *namespace_type, *log_object;

/* ---- the log ---- */

static void append_message(struct buf *out, PyObject *format, PyObject *const *arguments, Py_ssize_t count) {
    PyObject *values = NULL, *text = NULL;
    if (count == 1 && PyDict_Check(arguments[0])) values = Py_NewRef(arguments[0]);
    else if (count) {
        values = PyTuple_New(count);
        for (Py_ssize_t i = 0; values && i < count; i++) PyTuple_SET_ITEM(values, i, Py_NewRef(arguments[i]));
    }
    if (values && PyUnicode_Check(format)) text = PyUnicode_Format(format, values);
    PyErr_Clear();
    exception_append_str(out, text ? text : format);
    Py_XDECREF(text);
    Py_XDECREF(values);
}

static PyObject *log_at(enum log_level level, PyObject *const *arguments, Py_ssize_t count) {
    if (count == 0) {
        PyErr_SetString(PyExc_TypeError, "a message is missing");
        return NULL;
    }
    struct buf message = BUF_INIT;
    append_message(&message, arguments[0], arguments + 1, count - 1);
    log_write_text(level, buf_cstr(&message), SLICE(""));
    buf_release(&message);
    Py_RETURN_NONE;
}

#define LOG_METHOD(name, level)                                                                      \
    static PyObject *log_##name(PyObject *self UNUSED, PyObject *const *arguments, Py_ssize_t count, \
                                PyObject *names UNUSED) {                                            \
        return log_at(level, arguments, count);                                                      \
    }
LOG_METHOD(debug_method, LOG_LEVEL_DEBUG)
LOG_METHOD(info_method, LOG_LEVEL_INFO)
LOG_METHOD(warning_method, LOG_LEVEL_WARNING)
LOG_METHOD(error_method, LOG_LEVEL_ERROR)
LOG_METHOD(critical_method, LOG_LEVEL_CRITICAL)

static PyMethodDef log_methods[] = {
    {"debug", PY_FASTCALL(log_debug_method), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"info", PY_FASTCALL(log_info_method), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"warning", PY_FASTCALL(log_warning_method), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"error", PY_FASTCALL(log_error_method), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"exception", PY_FASTCALL(log_error_method), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"critical", PY_FASTCALL(log_critical_method), METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject log_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "cserve.Log",
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "The error log, with the methods of a logging.Logger.",
    .tp_methods = log_methods,
};

int stand_ins_init(void) {
    PyObject *types = PyImport_ImportModule("types");
    namespace_type = types ? PyObject_GetAttrString(types, "SimpleNamespace") : NULL;
    Py_XDECREF(types);
    if (!namespace_type || PyType_Ready(&log_type)) return -1;
    log_object = PyObject_New(PyObject, &log_type);
    return log_object ? 0 : -1;
}

/* ---- the objects ---- */

/* Consumes `attributes`. */
static PyObject *make(PyObject *attributes) {
    PyObject *nothing = attributes ? PyTuple_New(0) : NULL;
    PyObject *object = nothing ? PyObject_Call(namespace_type, nothing, attributes) : NULL;
    Py_XDECREF(nothing);
    Py_XDECREF(attributes);
    return object;
}

static PyObject *list_of(const struct string_list *strings) {
    PyObject *list = PyList_New((Py_ssize_t)strings->count);
    for (size_t i = 0; list && i < strings->count; i++) {
        PyObject *text = PyUnicode_DecodeFSDefault(strings->items[i]);
        if (text) PyList_SET_ITEM(list, (Py_ssize_t)i, text);
        else Py_CLEAR(list);
    }
    return list;
}

static PyObject *make_cfg(const struct settings *s) {
    return make(
        Py_BuildValue("{s:N,s:i,s:i,s:d,s:d,s:d,s:K,s:K,s:z,s:z,s:z,s:z,s:z,s:z,s:N,s:N}", "bind", list_of(&s->bind),
                      "workers", s->workers, "threads", s->threads, "timeout", (double)s->timeout / 1000,
                      "graceful_timeout", (double)s->graceful_timeout / 1000, "keepalive", (double)s->keepalive / 1000,
                      "max_requests", (unsigned long long)s->max_requests, "max_requests_jitter",
                      (unsigned long long)s->max_requests_jitter, "wsgi_app", s->wsgi_app, "chdir", s->chdir, "pidfile",
                      s->pidfile, "proc_name", s->proc_name, "accesslog", s->accesslog, "errorlog", s->errorlog,
                      "preload_app", PyBool_FromLong(s->preload_app), "raw_env", list_of(&s->raw_env)));
}

PyObject *stand_in_server(const struct settings *s) {
    return make(Py_BuildValue("{s:N,s:O,s:i}", "cfg", make_cfg(s), "log", log_object, "pid", (int)getppid()));
}

PyObject *stand_in_worker(const struct settings *s, unsigned seat, uint64_t age) {
    return make(Py_BuildValue("{s:i,s:i,s:K,s:I,s:N,s:O}", "pid", (int)getpid(), "ppid", (int)getppid(), "age",
                              (unsigned long long)age, "worker_id", seat, "cfg", make_cfg(s), "log", log_object));
}

static PyObject *upper_text(struct slice name) {
    PyObject *text = py_text(name);
    PyObject *upper = text ? PyObject_CallMethod(text, "upper", NULL) : NULL;
    Py_XDECREF(text);
    return upper;
}

static PyObject *make_headers(const struct request *r) {
    PyObject *headers = PyList_New(0);
    for (uint32_t i = 0; headers && i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        PyObject *pair =
            Py_BuildValue("(NN)", upper_text(request_span(r, f->name)), py_text(request_span(r, f->value)));
        if (!pair || PyList_Append(headers, pair)) Py_CLEAR(headers);
        Py_XDECREF(pair);
    }
    return headers;
}

PyObject *stand_in_request(const struct request *r) {
    return make(Py_BuildValue("{s:N,s:N,s:N,s:N,s:(ii),s:N}", "method", py_text(request_span(r, r->method)), "uri",
                              py_text(request_span(r, r->target)), "path", py_text(request_span(r, r->path)), "query",
                              py_text(request_span(r, r->query)), "version", 1, (int)r->minor_version, "headers",
                              make_headers(r)));
}

PyObject *stand_in_response(const struct response *r) {
    struct slice line = buf_slice(&r->out), status = SLICE("");
    size_t protocol = sizeof("HTTP/1.1 ") - 1;
    if (line.len > protocol) {
        status = slice_make(line.data + protocol, line.len - protocol);
        status.len = slice_find(status, '\r');
    }
    return make(Py_BuildValue("{s:N,s:i,s:K}", "status", py_text(status), "status_code", (int)r->status, "sent",
                              (unsigned long long)r->sent_bytes));
}
