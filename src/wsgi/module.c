/* The built-in module "cserve". */
#include "module.h"

#include "base/version.h"

static PyObject *request_timeout;

static int fill_module(PyObject *module) {
    if (PyModule_AddStringConstant(module, "__version__", CSERVE_VERSION)) return -1;
    Py_INCREF(request_timeout);
    if (PyModule_AddObject(module, "RequestTimeout", request_timeout) == 0) return 0;
    Py_DECREF(request_timeout);
    return -1;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)fill_module},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "cserve",
    .m_doc = "The server that runs this application.",
    .m_slots = slots,
};

static PyObject *make_module(void) {
    return PyModuleDef_Init(&definition);
}

int module_register(void) {
    return PyImport_AppendInittab("cserve", make_module);
}

int module_init(void) {
    /* No subclass of Exception: "except Exception" in an application must not swallow it. */
    request_timeout =
        PyErr_NewExceptionWithDoc("cserve.RequestTimeout", "Raised in the application when a request has run too long.",
                                  PyExc_BaseException, NULL);
    PyObject *module = request_timeout ? PyImport_ImportModule("cserve") : NULL;
    Py_XDECREF(module);
    return module ? 0 : -1;
}

PyObject *module_request_timeout(void) {
    return request_timeout;
}
