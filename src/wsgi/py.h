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

/* On an interpreter without a GIL, one lock for each object does what the GIL does elsewhere: between the two lines the
 * calling thread has `object` for itself, unless it lets go of its thread state (PyEval_SaveThread()). To leave in
 * between is not possible. */
#ifdef Py_GIL_DISABLED
#define PY_LOCK(object)        Py_BEGIN_CRITICAL_SECTION(object)
#define PY_UNLOCK()            Py_END_CRITICAL_SECTION()
#define PY_LOCK_BOTH(one, two) Py_BEGIN_CRITICAL_SECTION2(one, two)
#define PY_UNLOCK_BOTH()       Py_END_CRITICAL_SECTION2()
#else
#define PY_LOCK(object)        {
#define PY_UNLOCK()            }
#define PY_LOCK_BOTH(one, two) {
#define PY_UNLOCK_BOTH()       }
#endif

/* An item of a list that other threads may be changing: a reference, or NULL with an exception. */
static inline PyObject *py_list_item(PyObject *list, Py_ssize_t index) {
#ifdef Py_GIL_DISABLED
    return PyList_GetItemRef(list, index);
#else
    return Py_NewRef(PyList_GET_ITEM(list, index));
#endif
}

/* The value of a key, or NULL without an exception if there is none. 1 found, 0 not, -1 exception. */
static inline int py_dict_item(PyObject *dict, PyObject *key, PyObject **value) {
#if PY_VERSION_HEX >= 0x030d0000
    return PyDict_GetItemRef(dict, key, value);
#else
    *value = Py_XNewRef(PyDict_GetItemWithError(dict, key));
    return *value ? 1 : PyErr_Occurred() ? -1 : 0;
#endif
}

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
