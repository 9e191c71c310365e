/* Keys are made once and shared by all environs: their hash is known, and a dict finds an identical key without comparing text. */
#include "field_keys.h"

#include "base/mem.h"

#define PLACES         64
#define NAME_MAX_BYTES 48 /* longer names are not remembered */

struct place {
    PyObject *key;
    uint8_t length;
    char name[NAME_MAX_BYTES]; /* as it was spelled */
};

struct name_cache {
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

int field_keys_init(void) {
    for (enum field_id id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        bool is_bare = id == FIELD_CONTENT_TYPE || id == FIELD_CONTENT_LENGTH; /* RFC 3875, 4.1.2 and 4.1.3 */
        keys[id] = make_key(field_name_of(id), is_bare ? SLICE("") : SLICE("HTTP_"));
        if (!keys[id]) return -1;
        PyUnicode_InternInPlace(&keys[id]);
    }
    return 0;
}

PyObject *field_key(enum field_id id) {
    return keys[id];
}

struct name_cache *name_cache_new(void) {
    return MEM_NEW(struct name_cache);
}

void name_cache_free(struct name_cache *c) {
    for (size_t i = 0; i < PLACES; i++) Py_XDECREF(c->places[i].key);
    Py_XDECREF(c->unremembered);
    mem_free(c);
}

static size_t place_of(struct slice name) {
    unsigned char first = (unsigned char)name.data[0], middle = (unsigned char)name.data[name.len / 2], last = (unsigned char)name.data[name.len - 1];
    return (name.len * 7 + first * 5u + middle * 3u + last) % PLACES;
}

PyObject *name_cache_key(struct name_cache *c, struct slice name) {
    struct place *p = &c->places[place_of(name)];
    if (LIKELY(p->key && p->length == name.len && memcmp(p->name, name.data, name.len) == 0)) return p->key;
    PyObject *key = make_key(name, SLICE("HTTP_"));
    if (!key) return NULL;
    if (name.len > NAME_MAX_BYTES) {
        Py_XSETREF(c->unremembered, key);
        return key;
    }
    Py_XSETREF(p->key, key);
    p->length = (uint8_t)name.len;
    memcpy(p->name, name.data, name.len);
    return key;
}
