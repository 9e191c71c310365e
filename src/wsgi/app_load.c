/* Finding the application: the module is imported, then dotted names are followed, then perhaps a factory is called
 * with literal arguments.
 *
 * What the application's own code raises is shown with its traceback; what the user spelled wrongly is answered with
 * what to write instead. Nothing of the text is ever evaluated: arguments go through ast.literal_eval(). */
#include "app_load.h"

#include "base/mem.h"
#include "exception.h"

struct spec {
    const char *text; /* as the user wrote it */
    char *module;
    char *path;       /* dotted names behind the colon, without a call */
    const char *call; /* the part with the parentheses; NULL: none */
};

static void spec_parse(struct spec *s, const char *text) {
    size_t colon = slice_find(slice_of(text), ':');
    const char *rest = text[colon] ? text + colon + 1 : "application";
    size_t name = slice_find(slice_of(rest), '(');
    *s = (struct spec){.text = text,
                       .module = mem_strndup(text, colon),
                       .path = mem_strndup(rest, name),
                       .call = rest[name] ? rest : NULL};
}

static void spec_release(struct spec *s) {
    mem_free(s->module);
    mem_free(s->path);
}

/* ---- the module ---- */

/* Is the exception that this very module, or a package on the way to it, does not exist? */
static bool is_missing(PyObject *exception, struct slice module) {
    if (!PyErr_GivenExceptionMatches(exception, PyExc_ModuleNotFoundError)) return false;
    PyObject *name = PyObject_GetAttrString(exception, "name");
    struct slice missing;
    bool answer = name && PyUnicode_Check(name) && py_latin1(name, &missing) && slice_starts_with(module, missing) &&
                  (module.len == missing.len || module.data[missing.len] == '.');
    Py_XDECREF(name);
    PyErr_Clear();
    return answer;
}

static void log_missing(const struct spec *s, PyObject *exception) {
    PyObject *path = PySys_GetObject("path"); /* borrowed */
    PyObject *first = path && PyList_Check(path) && PyList_GET_SIZE(path) ? PyList_GET_ITEM(path, 0) : Py_None;
    struct buf what = BUF_INIT, where = BUF_INIT;
    exception_append_str(&what, exception);
    exception_append_repr(&where, first);
    log_error("cannot import the application '%s': %s; it was looked for in %s first, which the settings chdir and "
              "pythonpath change",
              s->text, buf_cstr(&what), buf_cstr(&where));
    buf_release(&what);
    buf_release(&where);
}

static PyObject *import_module(const struct spec *s) {
    PyObject *module = PyImport_ImportModule(s->module);
    if (module) return module;
    PyObject *exception = py_take_exception();
    if (is_missing(exception, slice_of(s->module))) log_missing(s, exception);
    else {
        char headline[512];
        snprintf(headline, sizeof(headline), "cannot import the application '%s': its code failed", s->text);
        exception_log_object(LOG_LEVEL_ERROR, exception, headline);
    }
    Py_DECREF(exception);
    return NULL;
}

/* ---- the object in it ---- */

/* The nearest name that `object` has, as a str; NULL if none is near. */
static PyObject *nearest_name(PyObject *object, const char *name) {
    PyObject *difflib = PyImport_ImportModule("difflib"), *names = PyObject_Dir(object);
    PyObject *matches =
        difflib && names ? PyObject_CallMethod(difflib, "get_close_matches", "sOi", name, names, 1) : NULL;
    PyObject *match = matches ? PySequence_GetItem(matches, 0) : NULL;
    Py_XDECREF(matches);
    Py_XDECREF(names);
    Py_XDECREF(difflib);
    PyErr_Clear();
    return match;
}

static void log_no_attribute(const struct spec *s, PyObject *object, const char *name) {
    PyObject *match = nearest_name(object, name);
    struct buf near = BUF_INIT, owner = BUF_INIT;
    if (PyModule_Check(object)) buf_printf(&owner, "module '%s'", PyModule_GetName(object));
    else exception_append_repr(&owner, object);
    if (match) {
        exception_append_str(&near, match);
        log_error("cannot load the application '%s': %s has no '%s'; did you mean '%s'?", s->text, buf_cstr(&owner),
                  name, buf_cstr(&near));
    } else
        log_error(
            "cannot load the application '%s': %s has no '%s'; write 'module:callable' with the name that it has there",
            s->text, buf_cstr(&owner), name);
    PyErr_Clear();
    Py_XDECREF(match);
    buf_release(&near);
    buf_release(&owner);
}

/* Follows one name of the path. Consumes `object`. */
static PyObject *find_name(const struct spec *s, PyObject *object, struct slice part) {
    char *name = mem_strndup(part.data, part.len);
    PyObject *key = PyUnicode_FromString(name), *found = NULL;
    int result = key ? py_find_attribute(object, key, &found) : -1;
    if (result == 0) log_no_attribute(s, object, name);
    if (result < 0)
        exception_log(LOG_LEVEL_ERROR, "cannot load the application '%s': reading '%s' failed", s->text, name);
    Py_XDECREF(key);
    Py_DECREF(object);
    mem_free(name);
    return found;
}

static PyObject *find_object(const struct spec *s, PyObject *module) {
    struct slice rest = slice_of(s->path), part;
    PyObject *object = Py_NewRef(module);
    while (object && slice_next(&rest, '.', &part)) object = find_name(s, object, slice_trim(part));
    return object;
}

/* ---- the factory's call ---- */

static PyObject *literal(PyObject *ast, PyObject *node) {
    return PyObject_CallMethod(ast, "literal_eval", "O", node);
}

/* The values of call.args. */
static PyObject *positional_values(PyObject *ast, PyObject *call) {
    PyObject *nodes = PyObject_GetAttrString(call, "args");
    Py_ssize_t count = nodes ? PyList_Size(nodes) : -1;
    PyObject *values = count < 0 ? NULL : PyTuple_New(count);
    for (Py_ssize_t i = 0; values && i < count; i++) {
        PyObject *value = literal(ast, PyList_GET_ITEM(nodes, i));
        if (value) PyTuple_SET_ITEM(values, i, value);
        else Py_CLEAR(values);
    }
    Py_XDECREF(nodes);
    return values;
}

static int add_keyword(PyObject *ast, PyObject *node, PyObject *values) {
    PyObject *name = PyObject_GetAttrString(node, "arg"), *expression = PyObject_GetAttrString(node, "value");
    PyObject *value = expression ? literal(ast, expression) : NULL;
    int failed = !name || !value || PyDict_SetItem(values, name, value);
    Py_XDECREF(value);
    Py_XDECREF(expression);
    Py_XDECREF(name);
    return failed ? -1 : 0;
}

/* The values of call.keywords. */
static PyObject *named_values(PyObject *ast, PyObject *call) {
    PyObject *nodes = PyObject_GetAttrString(call, "keywords"), *values = PyDict_New();
    for (Py_ssize_t i = 0; nodes && values && i < PyList_GET_SIZE(nodes); i++)
        if (add_keyword(ast, PyList_GET_ITEM(nodes, i), values)) Py_CLEAR(values);
    if (!nodes) Py_CLEAR(values);
    Py_XDECREF(nodes);
    return values;
}

/* Is it one call, of what the path names? */
static bool is_plain_call(const struct spec *s, PyObject *ast, PyObject *expression) {
    PyObject *function = PyObject_GetAttrString(expression, "func"); /* only calls have one */
    PyObject *text = function ? PyObject_CallMethod(ast, "unparse", "O", function) : NULL;
    bool answer = text && PyUnicode_CompareWithASCIIString(text, s->path) == 0;
    Py_XDECREF(text);
    Py_XDECREF(function);
    if (!answer) PyErr_SetString(PyExc_ValueError, "not the call of a name");
    return answer;
}

/* The call that ast.parse() sees in the text, or NULL with an exception. */
static PyObject *parse_call(const struct spec *s, PyObject *ast) {
    PyObject *tree = PyObject_CallMethod(ast, "parse", "sss", s->call, "<wsgi_app>", "eval");
    PyObject *body = tree ? PyObject_GetAttrString(tree, "body") : NULL;
    if (body && !is_plain_call(s, ast, body)) Py_CLEAR(body);
    Py_XDECREF(tree);
    return body;
}

/* Both kinds of values; false after logging why the text is no call with literals. */
static bool factory_arguments(const struct spec *s, PyObject **positional, PyObject **named) {
    PyObject *ast = PyImport_ImportModule("ast");
    PyObject *call = ast ? parse_call(s, ast) : NULL;
    *positional = call ? positional_values(ast, call) : NULL;
    *named = *positional ? named_values(ast, call) : NULL;
    Py_XDECREF(call);
    Py_XDECREF(ast);
    if (*named) return true;
    PyObject *exception = py_take_exception();
    struct buf what = BUF_INIT;
    exception_append_str(&what, exception);
    log_error("cannot load the application '%s': '%s' is not the call of a factory with literal arguments (%s); "
              "write 'module:factory()' or 'module:factory(1, name=\"x\")'",
              s->text, s->call, buf_cstr(&what));
    buf_release(&what);
    Py_DECREF(exception);
    Py_CLEAR(*positional);
    return false;
}

/* Consumes `factory`. */
static PyObject *call_factory(const struct spec *s, PyObject *factory) {
    PyObject *positional, *named, *application = NULL;
    if (factory_arguments(s, &positional, &named)) {
        application = PyObject_Call(factory, positional, named);
        if (!application)
            exception_log(LOG_LEVEL_ERROR, "cannot load the application '%s': its factory failed", s->text);
        Py_DECREF(positional);
        Py_DECREF(named);
    }
    Py_DECREF(factory);
    return application;
}

PyObject *app_load(const char *text) {
    struct spec s;
    spec_parse(&s, text);
    PyObject *module = import_module(&s);
    PyObject *object = module ? find_object(&s, module) : NULL;
    if (object && s.call) object = call_factory(&s, object);
    if (object && !PyCallable_Check(object)) {
        log_error("cannot load the application '%s': it is of type %s, which cannot be called%s", text,
                  Py_TYPE(object)->tp_name, s.call ? "; the factory must return a WSGI application" : "");
        Py_CLEAR(object);
    }
    Py_XDECREF(module);
    spec_release(&s);
    return object;
}
