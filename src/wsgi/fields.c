/* Keys are made once and shared by all environs: their hash is known, and a dict finds an identical key without
 * comparing text. Names that have no number find theirs in a small table, by the bytes that were sent. Values that come
 * again are shared as well. Everything here is bounded: a client may send a new name or value each time. */
#include "fields.h"

#include "base/mem.h"

#define PLACES             64
#define NAME_MAX_BYTES     48  /* longer names are not remembered, */
#define SHARED_VALUE_BYTES 512 /* nor longer values */

struct place {
    PyObject *key;
    uint8_t length;
    char name[NAME_MAX_BYTES]; /* as it was spelled */
};

struct fields {
    PyObject *values[FIELD_COUNT]; /* of numbered fields, as they were last */
    struct place places[PLACES];
    PyObject *unremembered; /* the last key that found no place */
};

static PyObject *keys[FIELD_COUNT];

static char key_char(char c) {
    return c == '-' ? '_' : ascii_upper(c);
}

static PyObject *make_key(struct slice name, struct slice prefix) {
    PyObject *key = PyUnicode_New((Py_ssize_t)(prefix.len + name.len), 127);
    if (!key) return NULL;
    Py_UCS1 *at = PyUnicode_1BYTE_DATA(key);
    memcpy(at, prefix.data, prefix.len);
    for (size_t i = 0; i < name.len; i++) at[prefix.len + i] = (Py_UCS1)key_char(name.data[i]);
    return key;
}

int fields_init(void) {
    for (enum field_id id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        bool is_bare = id == FIELD_CONTENT_TYPE || id == FIELD_CONTENT_LENGTH; /* RFC 3875, 4.1.2 and 4.1.3 */
        keys[id] = make_key(field_name_of(id), is_bare ? SLICE("") : SLICE("HTTP_"));
        if (!keys[id]) return -1;
        PyUnicode_InternInPlace(&keys[id]);
    }
    return 0;
}

struct fields *fields_new(void) {
    return MEM_NEW(struct fields);
}

void fields_free(struct fields *f) {
    for (size_t i = 0; i < FIELD_COUNT; i++) Py_XDECREF(f->values[i]);
    for (size_t i = 0; i < PLACES; i++) Py_XDECREF(f->places[i].key);
    Py_XDECREF(f->unremembered);
    mem_free(f);
}

static size_t place_of(struct slice name) {
    unsigned char first = (unsigned char)name.data[0], middle = (unsigned char)name.data[name.len / 2],
                  last = (unsigned char)name.data[name.len - 1];
    return (name.len * 7 + first * 5u + middle * 3u + last) % PLACES;
}

/* The key of a name without a number: a borrowed reference until the next call. */
static PyObject *other_key(struct fields *f, struct slice name) {
    struct place *p = &f->places[place_of(name)];
    if (LIKELY(p->key && p->length == name.len && memcmp(p->name, name.data, name.len) == 0)) return p->key;
    PyObject *key = make_key(name, SLICE("HTTP_"));
    if (!key) return NULL;
    if (name.len > NAME_MAX_BYTES) {
        Py_XSETREF(f->unremembered, key);
        return key;
    }
    Py_XSETREF(p->key, key);
    p->length = (uint8_t)name.len;
    memcpy(p->name, name.data, name.len);
    return key;
}

/* A second field of the same name. RFC 9110, 5.3; cookies are the exception (RFC 9113, 8.2.3). */
static int join_value(PyObject *environ, PyObject *key, PyObject *first, PyObject *second, const char *separator) {
    PyObject *joined = PyUnicode_FromFormat("%U%s%U", first, separator, second);
    int failed = joined ? PyDict_SetItem(environ, key, joined) : -1;
    Py_XDECREF(joined);
    return failed;
}

/* A borrowed reference: of numbered fields the last value is shared when it is the same again. */
static PyObject *shared_value(struct fields *f, enum field_id id, struct slice text) {
    PyObject *last = f->values[id];
    if (last && py_text_equals(last, text)) return last;
    PyObject *value = py_text(text);
    if (value) Py_XSETREF(f->values[id], value);
    return value;
}

static int add_numbered(struct fields *f, PyObject *environ, enum field_id id, struct slice text, uint64_t *seen) {
    PyObject *key = keys[id], *value = shared_value(f, id, text);
    bool is_repeated = *seen >> id & 1;
    *seen |= UINT64_C(1) << id;
    if (!value) return -1;
    int failed = LIKELY(!is_repeated) ? PyDict_SetItem(environ, key, value)
                                      : join_value(environ, key, PyDict_GetItemWithError(environ, key), value,
                                                   id == FIELD_COOKIE ? "; " : ",");
    if (text.len > SHARED_VALUE_BYTES) Py_CLEAR(f->values[id]);
    return failed;
}

static int add_other(struct fields *f, PyObject *environ, struct slice name, struct slice text) {
    PyObject *key = other_key(f, name), *value = key ? py_text(text) : NULL;
    if (!value) return -1;
    PyObject *present = PyDict_SetDefault(environ, key, value);
    int failed = !present ? -1 : present == value ? 0 : join_value(environ, key, present, value, ",");
    Py_DECREF(value);
    return failed;
}

/* The body is whole and no longer chunked: its length is known, and Transfer-Encoding is none of the application's
 * business. */
static int add_length(PyObject *environ, const struct request *r) {
    if (!r->has_content_length && !r->is_chunked) return 0;
    char digits[PY_DECIMAL_BYTES];
    PyObject *length = py_text(py_decimal(digits, r->body.length));
    int failed = length ? PyDict_SetItem(environ, keys[FIELD_CONTENT_LENGTH], length) : -1;
    Py_XDECREF(length);
    return failed;
}

/* A target in absolute-form names the host, too (RFC 9112, 3.2.2), where the field may be absent: in 1.0. */
static int add_host(PyObject *environ, const struct request *r, uint64_t seen) {
    if (LIKELY(seen >> FIELD_HOST & 1) || !r->authority.length) return 0;
    PyObject *host = py_text(request_span(r, r->authority));
    int failed = host ? PyDict_SetItem(environ, keys[FIELD_HOST], host) : -1;
    Py_XDECREF(host);
    return failed;
}

int fields_add(struct fields *f, PyObject *environ, const struct request *r) {
    uint64_t seen = 0;
    _Static_assert(FIELD_COUNT <= 64, "a bit for each numbered field");
    for (uint32_t i = 0; i < r->field_count; i++) {
        const struct field *field = &r->fields[i];
        struct slice value = request_span(r, field->value);
        int failed = 0;
        if (field->id == FIELD_OTHER) failed = add_other(f, environ, request_span(r, field->name), value);
        else if (field->id != FIELD_CONTENT_LENGTH && field->id != FIELD_TRANSFER_ENCODING)
            failed = add_numbered(f, environ, field->id, value, &seen);
        if (failed) return -1;
    }
    if (add_host(environ, r, seen)) return -1;
    return add_length(environ, r);
}
