/* environ is a copy of a prepared dict, which costs a fraction of building one.
 *
 * A prepared environ ("template") is complete: it holds the values of the last request it was used for, and before it
 * is copied, those that differ now are set. A thread has one without header fields, on whose copies they are set one by
 * one, and one for each block of fields that the engine knows by a serial number (http/head_cache.h), which holds them
 * already. Values are immutable; the dicts themselves are never shown to an application, or one request could write
 * into another's environ. */
#include "environ.h"

#include "base/mem.h"
#include "base/version.h"
#include "errors.h"
#include "exception.h"
#include "fields.h"
#include "file_wrapper.h"
#include "input.h"

#include <stdlib.h>

#define KNOWN_BLOCKS 64
#define LINE_BYTES   256 /* a longer request line is taken apart anew each time */

/* What may differ from request to request besides the header fields. */
#define VARIABLES(X)   \
    X(REQUEST_METHOD)  \
    X(RAW_URI)         \
    X(REQUEST_URI)     \
    X(SCRIPT_NAME)     \
    X(PATH_INFO)       \
    X(QUERY_STRING)    \
    X(SERVER_PROTOCOL) \
    X(SERVER_NAME)     \
    X(SERVER_PORT)     \
    X(REMOTE_ADDR)     \
    X(REMOTE_PORT)

enum variable {
#define X(name) name,
    VARIABLES(X)
#undef X
        VARIABLE_COUNT
};

static const char *const variable_names[VARIABLE_COUNT] = {
#define X(name) #name,
    VARIABLES(X)
#undef X
};

struct template {
    PyObject *dict;
    PyObject *values[VARIABLE_COUNT]; /* what dict holds now: borrowed from it */
    struct call *call;                /* whose functions it holds */
    const struct peer *local;
    unsigned char peer_ip[16];
    uint16_t peer_port;
    bool peer_is_unix;
    bool has_peer;
    bool is_https;
    bool has_script_name; /* the last request had one of its own */
    uint8_t minor_version;
    /* Which block of fields it holds; serial 0: none. From some senders fewer of them are believed. */
    uint32_t serial;
    uint32_t field_count;
    /* The request line up to its version, as it was last: */
    uint32_t line_length;
    char line[LINE_BYTES];
};

struct environ_maker {
    struct template bare;
    struct template *known[KNOWN_BLOCKS];
    struct fields *fields;
    struct buf decoded;
};

static struct {
    PyObject *dict; /* what is the same in all requests */
    PyObject *variables[VARIABLE_COUNT];
    PyObject *url_scheme, *http, *https, *input, *early_hints, *client_gone;
    struct slice mount; /* $SCRIPT_NAME, as Gunicorn reads it */
} common;

/* ---- once for a process ---- */

static int set_common(const char *name, PyObject *value) {
    int failed = value ? PyDict_SetItemString(common.dict, name, value) : -1;
    Py_XDECREF(value);
    return failed;
}

static int make_keys(void) {
    struct {
        PyObject **key;
        const char *name;
    } const others[] = {
        {&common.url_scheme, "wsgi.url_scheme"},
        {&common.http, "http"},
        {&common.https, "https"},
        {&common.input, "wsgi.input"},
        {&common.early_hints, "wsgi.early_hints"},
        {&common.client_gone, "cserve.client_gone"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++)
        if (!(*others[i].key = PyUnicode_InternFromString(others[i].name))) return -1;
    for (size_t i = 0; i < VARIABLE_COUNT; i++)
        if (!(common.variables[i] = PyUnicode_InternFromString(variable_names[i]))) return -1;
    return fields_init();
}

static void find_mount(void) {
    const char *mount = getenv("SCRIPT_NAME");
    if (!mount || *mount != '/') return;
    common.mount = slice_of(mem_strdup(mount));
    while (common.mount.len && common.mount.data[common.mount.len - 1] == '/') common.mount.len--;
}

int environ_init(const struct settings *s) {
    if (make_keys() || !(common.dict = PyDict_New())) return -1;
    find_mount();
    return set_common("wsgi.version", Py_BuildValue("(ii)", 1, 0)) || set_common("wsgi.errors", errors_stream()) ||
                   set_common("wsgi.multithread", PyBool_FromLong(s->threads > 1)) ||
                   set_common("wsgi.multiprocess", PyBool_FromLong(0)) ||
                   set_common("wsgi.run_once", PyBool_FromLong(0)) ||
                   set_common("wsgi.file_wrapper", Py_NewRef(file_wrapper_type())) ||
                   set_common("wsgi.input_terminated", PyBool_FromLong(1)) || set_common("wsgi.input", input_empty()) ||
                   set_common("wsgi.url_scheme", Py_NewRef(common.http)) ||
                   set_common("SERVER_SOFTWARE", PyUnicode_FromString("cserve/" CSERVE_VERSION))
               ? -1
               : 0;
}

void environ_set_multiprocess(bool is_multiprocess) {
    if (set_common("wsgi.multiprocess", PyBool_FromLong(is_multiprocess))) PyErr_Clear();
}

/* ---- once for a thread ---- */

struct environ_maker *environ_maker_new(void) {
    struct environ_maker *m = MEM_NEW(struct environ_maker);
    m->fields = fields_new();
    return m;
}

static void template_release(struct template *t) {
    if (t->call) t->call->templates--;
    Py_CLEAR(t->dict);
}

void environ_maker_free(struct environ_maker *m) {
    if (!m) return;
    template_release(&m->bare);
    for (size_t i = 0; i < KNOWN_BLOCKS; i++) {
        if (m->known[i]) template_release(m->known[i]);
        mem_free(m->known[i]);
    }
    fields_free(m->fields);
    buf_release(&m->decoded);
    mem_free(m);
}

/* ---- what the request line, the peers and the call say ---- */

static int set_variable(struct template *t, enum variable which, struct slice text) {
    PyObject *old = t->values[which];
    if (old && py_text_equals(old, text)) return 0;
    PyObject *value = py_text(text);
    if (!value || PyDict_SetItem(t->dict, common.variables[which], value)) {
        Py_XDECREF(value);
        t->values[which] = NULL;
        return -1;
    }
    t->values[which] = value;
    Py_DECREF(value);
    return 0;
}

static int hex_value(char c) {
    return c <= '9' ? c - '0' : ascii_lower(c) - 'a' + 10;
}

/* Percent-decoding; the engine has seen to it that every escape is whole. False if it yields a NUL. */
static bool decode_path(struct buf *out, struct slice path) {
    buf_reset(out);
    buf_reserve(out, path.len);
    for (size_t i = 0; i < path.len; i++) {
        char c = path.data[i];
        if (c == '%' && i + 2 < path.len) {
            c = (char)(hex_value(path.data[i + 1]) << 4 | hex_value(path.data[i + 2]));
            if (c == 0) return false;
            i += 2;
        }
        out->data[out->len++] = c;
    }
    return true;
}

/* Where the application is mounted: what a trusted proxy says, or else $SCRIPT_NAME if the path lies below it. */
static struct slice mount_of(const struct request *r, struct slice path) {
    if (r->script_name.length) return request_span(r, r->script_name);
    struct slice mount = common.mount;
    bool is_below =
        mount.len && slice_starts_with(path, mount) && (path.len == mount.len || path.data[mount.len] == '/');
    return is_below ? mount : SLICE("");
}

static int update_path(struct environ_maker *m, struct template *t, const struct request *r) {
    struct slice path = request_span(r, r->path), mount = mount_of(r, path);
    path = slice_make(path.data + mount.len, path.len - mount.len);
    if (memchr(path.data, '%', path.len)) {
        if (!decode_path(&m->decoded, path)) return -1;
        path = buf_slice(&m->decoded);
    }
    return set_variable(t, SCRIPT_NAME, mount) || set_variable(t, PATH_INFO, path) ? -1 : 0;
}

static struct slice line_of(const struct request *r) {
    return slice_make(r->head + r->method.offset, r->target.offset + r->target.length - r->method.offset);
}

static void remember_line(struct template *t, const struct request *r) {
    struct slice line = line_of(r);
    t->has_script_name = r->script_name.length != 0;
    t->line_length = line.len <= LINE_BYTES ? (uint32_t)line.len : 0;
    memcpy(t->line, line.data, t->line_length);
}

static bool is_line_known(const struct template *t, const struct request *r) {
    return t->line_length && !t->has_script_name && !r->script_name.length &&
           slice_equal(slice_make(t->line, t->line_length), line_of(r));
}

static int update_line(struct environ_maker *m, struct template *t, const struct request *r) {
    struct slice target = request_span(r, r->target);
    t->line_length = 0;
    if (set_variable(t, REQUEST_METHOD, request_span(r, r->method)) || set_variable(t, RAW_URI, target) ||
        set_variable(t, REQUEST_URI, target) || set_variable(t, QUERY_STRING, request_span(r, r->query)) ||
        update_path(m, t, r))
        return -1;
    remember_line(t, r);
    return 0;
}

/* A unix socket has no name and port: those by which the client knows us, as Gunicorn does. */
static int name_by_host(struct template *t, const struct request *r) {
    struct span host = request_host(r);
    struct slice name = host.length ? request_span(r, host) : SLICE("localhost");
    struct slice port = r->is_https ? SLICE("443") : SLICE("80");
    const char *colon = memrchr(name.data, ':', name.len);
    if (colon && !memchr(colon, ']', (size_t)(name.data + name.len - colon))) {
        struct slice given = slice_make(colon + 1, name.len - (size_t)(colon + 1 - name.data));
        name.len = (size_t)(colon - name.data);
        if (given.len) port = given;
    }
    return set_variable(t, SERVER_NAME, name) || set_variable(t, SERVER_PORT, port) ? -1 : 0;
}

static int update_local(struct template *t, const struct request *r) {
    const struct peer *local = r->local;
    char port[PY_DECIMAL_BYTES];
    t->local = NULL;
    if (local->is_unix) return name_by_host(t, r); /* not remembered: the next Host may be another */
    if (set_variable(t, SERVER_NAME, slice_make(local->text, local->text_len)) ||
        set_variable(t, SERVER_PORT, py_decimal(port, local->port)))
        return -1;
    t->local = local;
    return 0;
}

static bool is_peer_known(const struct template *t, const struct peer *peer) {
    if (!t->has_peer || t->peer_is_unix != peer->is_unix) return false;
    return peer->is_unix || (t->peer_port == peer->port && memcmp(t->peer_ip, peer->ip, sizeof(t->peer_ip)) == 0);
}

static int set_remote_port(struct template *t, const struct peer *peer) {
    char port[PY_DECIMAL_BYTES];
    if (!peer->is_unix) return set_variable(t, REMOTE_PORT, py_decimal(port, peer->port));
    if (!t->values[REMOTE_PORT]) return 0;
    t->values[REMOTE_PORT] = NULL;
    return PyDict_DelItem(t->dict, common.variables[REMOTE_PORT]);
}

static int update_peer(struct template *t, const struct peer *peer) {
    t->has_peer = false;
    if (set_variable(t, REMOTE_ADDR, slice_make(peer->text, peer->text_len)) || set_remote_port(t, peer)) return -1;
    memcpy(t->peer_ip, peer->ip, sizeof(t->peer_ip));
    t->peer_port = peer->port;
    t->peer_is_unix = peer->is_unix;
    t->has_peer = true;
    return 0;
}

static int update_version(struct template *t, const struct request *r) {
    if (t->values[SERVER_PROTOCOL] && t->minor_version == r->minor_version) return 0;
    t->minor_version = r->minor_version;
    return set_variable(t, SERVER_PROTOCOL, request_protocol(r));
}

static int update_scheme(struct template *t, const struct request *r) {
    if (t->is_https == r->is_https) return 0;
    t->is_https = r->is_https;
    return PyDict_SetItem(t->dict, common.url_scheme, r->is_https ? common.https : common.http);
}

static int update_call(struct template *t, struct call *call) {
    if (LIKELY(t->call == call)) return 0;
    if (t->call) t->call->templates--;
    t->call = NULL;
    if (PyDict_SetItem(t->dict, common.early_hints, call->functions[CALL_EARLY_HINTS]) ||
        PyDict_SetItem(t->dict, common.client_gone, call->functions[CALL_CLIENT_GONE]))
        return -1;
    t->call = call;
    call->templates++;
    return 0;
}

static int template_update(struct environ_maker *m, struct template *t, const struct request *r, struct call *call) {
    if (!is_line_known(t, r) && update_line(m, t, r)) return -1;
    if (UNLIKELY(t->local != r->local) && update_local(t, r)) return -1;
    if (!is_peer_known(t, r->peer) && update_peer(t, r->peer)) return -1;
    return update_version(t, r) || update_scheme(t, r) || update_call(t, call) ? -1 : 0;
}

/* ---- templates ---- */

static bool is_template_for(const struct template *t, const struct request *r) {
    return t->serial == r->block_serial && t->field_count == r->field_count;
}

/* As the bare one, with the fields. */
static struct template *template_new(struct environ_maker *m, const struct request *r) {
    PyObject *dict = PyDict_Copy(m->bare.dict);
    if (!dict || fields_add(m->fields, dict, r)) {
        Py_XDECREF(dict);
        return NULL;
    }
    struct template *t = mem_alloc(sizeof(*t));
    *t = m->bare;
    t->dict = dict;
    t->serial = r->block_serial;
    t->field_count = r->field_count;
    if (t->call) t->call->templates++;
    return t;
}

/* The prepared environ that is nearest to the request's. */
static struct template *template_for(struct environ_maker *m, const struct request *r, struct call *call) {
    if (!r->block_serial) return &m->bare;
    struct template **place = &m->known[r->block_serial % KNOWN_BLOCKS];
    if (LIKELY(*place && is_template_for(*place, r))) return *place;
    if (template_update(m, &m->bare, r, call)) return NULL;
    struct template *t = template_new(m, r);
    if (!t) return NULL;
    if (*place) template_release(*place);
    mem_free(*place);
    *place = t;
    return t;
}

PyObject *environ_make(struct environ_maker *m, const struct request *r, PyObject *input, struct call *call) {
    if (UNLIKELY(!m->bare.dict) && !(m->bare.dict = PyDict_Copy(common.dict))) return NULL;
    struct template *t = template_for(m, r, call);
    if (!t || template_update(m, t, r, call)) return NULL;
    PyObject *environ = PyDict_Copy(t->dict);
    if (!environ) return NULL;
    if ((t == &m->bare && fields_add(m->fields, environ, r)) || (input && PyDict_SetItem(environ, common.input, input)))
        Py_CLEAR(environ);
    return environ;
}

void environ_append_variable(PyObject *environ, struct slice name, struct buf *out) {
    PyObject *key = environ ? py_text(name) : NULL, *value = NULL;
    if (key && py_dict_item(environ, key, &value) > 0) exception_append_str(out, value);
    Py_XDECREF(value);
    Py_XDECREF(key);
    PyErr_Clear();
}
