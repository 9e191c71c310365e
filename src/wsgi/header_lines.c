/* A direct-mapped table of tuples by address. Must hold a reference to every tuple it knows, and only prepare what
 * response_add() has accepted. */
#include "header_lines.h"

#include "base/buf.h"
#include "base/mem.h"

#define PLACES         64
#define LINE_BYTES_MAX 160 /* longer ones are seldom constants */

struct place {
    PyObject *tuple; /* a reference, or NULL */
    uintptr_t seen;  /* address of the last tuple that came by; says nothing about what is there now */
    struct response_line line;
    struct buf text;
};

struct header_lines {
    struct place places[PLACES];
};

static size_t place_of(const PyObject *tuple) {
    return (uintptr_t)tuple / sizeof(void *) / 2 % PLACES;
}

struct header_lines *header_lines_new(void) {
    return MEM_NEW(struct header_lines);
}

void header_lines_free(struct header_lines *lines) {
    for (size_t i = 0; i < PLACES; i++) {
        Py_XDECREF(lines->places[i].tuple);
        buf_release(&lines->places[i].text);
    }
    mem_free(lines);
}

const struct response_line *header_lines_find(const struct header_lines *lines, PyObject *tuple) {
    const struct place *p = &lines->places[place_of(tuple)];
    return p->tuple == tuple ? &p->line : NULL;
}

static bool is_constant(PyObject *tuple) {
    return PyTuple_CheckExact(tuple) && PyUnicode_CheckExact(PyTuple_GET_ITEM(tuple, 0)) &&
           PyUnicode_CheckExact(PyTuple_GET_ITEM(tuple, 1));
}

void header_lines_note(struct header_lines *lines, PyObject *tuple, struct slice name, struct slice value) {
    struct place *p = &lines->places[place_of(tuple)];
    if (p->seen != (uintptr_t)tuple) {
        p->seen = (uintptr_t)tuple;
        return;
    }
    if (name.len + value.len > LINE_BYTES_MAX || !is_constant(tuple)) return;
    buf_reset(&p->text);
    if (response_prepare_line(name, value, &p->text, &p->line)) Py_CLEAR(p->tuple);
    else Py_XSETREF(p->tuple, Py_NewRef(tuple));
}
