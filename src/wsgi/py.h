/* Python.h, and the few functions that versions 3.9 to 3.13 spell differently. First include of every file of this
 * folder: base/compiler.h poisons names that Python's inline functions may use. */
#ifndef CSERVE_SRC_WSGI_PY_H
#define CSERVE_SRC_WSGI_PY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/compiler.h"
#include "base/slice.h"

#if PY_VERSION_HEX < 0x030a0000
static inline PyObject *Py_NewRef(PyObject *object) {
    Py_INCREF(object);
    return object;
}

static inline PyObject *Py_XNewRef(PyObject *object) {
    Py_XINCREF(object);
    return object;
}
#endif

/* A method with METH_FASTCALL, or METH_FASTCALL | METH_KEYWORDS, in a PyMethodDef. */
#define PY_FASTCALL(function) ((PyCFunction)(void (*)(void))(function))

/* The attribute, or NULL without an exception if there is none: a miss costs no AttributeError. 1 found, 0 not, -1
 * exception. */
static inline int py_find_attribute(PyObject *object, PyObject *name, PyObject **value) {
#if PY_VERSION_HEX >= 0x030d0000
    return PyObject_GetOptionalAttr(object, name, value);
#else
    return _PyObject_LookupAttr(object, name, value);
#endif
}

/* The current exception, normalised and with its traceback, which is cleared; NULL if there is none. */
static inline PyObject *py_take_exception(void) {
#if PY_VERSION_HEX >= 0x030c0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!type) return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback && PyException_SetTraceback(value, traceback)) PyErr_Clear();
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

/* A str with the bytes of `s` as Latin-1, as PEP 3333 wants them. NULL with an exception. */
static inline PyObject *py_text(struct slice s) {
    uint64_t high = 0;
    size_t i = 0;
    for (; i + sizeof(high) <= s.len; i += sizeof(high)) {
        uint64_t word;
        memcpy(&word, s.data + i, sizeof(word));
        high |= word;
    }
    for (; i < s.len; i++) high |= (unsigned char)s.data[i];
    if (UNLIKELY(high & UINT64_C(0x8080808080808080))) return PyUnicode_DecodeLatin1(s.data, (Py_ssize_t)s.len, NULL);
    PyObject *text = PyUnicode_New((Py_ssize_t)s.len, 127);
    if (text && s.len) memcpy(PyUnicode_1BYTE_DATA(text), s.data, s.len);
    return text;
}

/* The same for a str that is not plain ASCII. */
UNUSED static COLD bool py_latin1_beyond_ascii(PyObject *text, struct slice *bytes) {
#if PY_VERSION_HEX < 0x030c0000
    if (PyUnicode_READY(text)) {
        PyErr_Clear();
        return false;
    }
#endif
    if (PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND) return false;
    *bytes = slice_make((const char *)PyUnicode_1BYTE_DATA(text), (size_t)PyUnicode_GET_LENGTH(text));
    return true;
}

/* The bytes of a str as Latin-1, as they stand in memory; they live as long as it. False if it has characters beyond
 * Latin-1. */
static inline __attribute__((always_inline)) bool py_latin1(PyObject *text, struct slice *bytes) {
    if (UNLIKELY(!PyUnicode_IS_COMPACT_ASCII(text))) return py_latin1_beyond_ascii(text, bytes);
    *bytes = slice_make((const char *)((PyASCIIObject *)text + 1), (size_t)((PyASCIIObject *)text)->length);
    return true;
}

#define PY_DECIMAL_BYTES 20 /* digits of UINT64_MAX */

/* The digits of `number`, at the end of `out`. */
static inline struct slice py_decimal(char out[PY_DECIMAL_BYTES], uint64_t number) {
    size_t at = PY_DECIMAL_BYTES;
    do out[--at] = (char)('0' + number % 10);
    while (number /= 10);
    return slice_make(out + at, PY_DECIMAL_BYTES - at);
}

/* Was `text` made by py_text() from these bytes? */
static inline bool py_text_equals(PyObject *text, struct slice bytes) {
    return (size_t)PyUnicode_GET_LENGTH(text) == bytes.len &&
           memcmp(PyUnicode_1BYTE_DATA(text), bytes.data, bytes.len) == 0;
}

#endif
