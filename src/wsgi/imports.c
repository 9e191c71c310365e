/* Looks through sys.modules when it has grown. Must never run code of a module, as asking one for an attribute may. */
#include "imports.h"

#include "wsgi/wsgi.h"

static struct {
    void (*on_file)(void *ctx, const char *path);
    void *ctx;
    Py_ssize_t told; /* how many modules there were */
} imports;

void wsgi_follow_imports(void (*on_file)(void *ctx, const char *path), void *ctx) {
    imports.on_file = on_file;
    imports.ctx = ctx;
}

bool imports_are_followed(void) {
    return imports.on_file;
}

static void tell(PyObject *module) {
    PyObject *names = PyModule_Check(module) ? PyModule_GetDict(module) : NULL; /* borrowed, as what is in it */
    PyObject *file = names ? PyDict_GetItemString(names, "__file__") : NULL;
    const char *path = file && PyUnicode_Check(file) ? PyUnicode_AsUTF8(file) : NULL;
    if (path) imports.on_file(imports.ctx, path);
    PyErr_Clear();
}

static void tell_all(PyObject *modules) {
    if (PyDict_Size(modules) == imports.told) return;
    PyObject *list = PyDict_Values(modules);
    for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); i++) tell(PyList_GET_ITEM(list, i));
    imports.told = PyDict_Size(modules);
    Py_XDECREF(list);
    PyErr_Clear();
}

void imports_tell(void) {
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    if (!imports_are_followed()) return;
    PY_LOCK(modules);
    tell_all(modules);
    PY_UNLOCK();
}
