/* The interpreter's life: configured like the python of the virtual environment, started, forked around, ended.
 *
 * Signals stay cserve's: Python installs no handler. Must never wait without bound for what the application left
 * running. */
#include "py.h"

#include "app_thread.h"
#include "base/mem.h"
#include "call.h"
#include "environ.h"
#include "errors.h"
#include "exception.h"
#include "file_wrapper.h"
#include "gateway.h"
#include "hooks.h"
#include "input.h"
#include "kept.h"
#include "module.h"
#include "reply.h"
#include "venv.h"
#include "wsgi/wsgi.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define STOP_MAX_MS 10000 /* for atexit functions and threads, unless graceful_timeout is shorter */

static uint64_t stop_max_ms = STOP_MAX_MS;

const char *wsgi_version(void) {
    static char version[32];
    if (!*version)
        snprintf(version, sizeof(version), "Python %.*s", (int)strcspn(Py_GetVersion(), " "), Py_GetVersion());
    return version;
}

/* ---- configuration ---- */

static PyStatus add_warnings(PyConfig *config, const struct string_list *warnings) {
    PyStatus status = PyStatus_Ok();
    for (size_t i = 0; i < warnings->count && !PyStatus_Exception(status); i++) {
        wchar_t *text = Py_DecodeLocale(warnings->items[i], NULL);
        status = text ? PyWideStringList_Append(&config->warnoptions, text) : PyStatus_NoMemory();
        PyMem_RawFree(text);
    }
    return status;
}

static PyStatus fill_config(PyConfig *config, const struct settings *s, const char *python) {
    char name[] = "cserve", *argv[] = {name, NULL};
    config->install_signal_handlers = 0;
    config->parse_argv = 0;
    config->pathconfig_warnings = 0;
    if (s->python_optimize) config->optimization_level = s->python_optimize;
    if (s->python_unbuffered) config->buffered_stdio = 0;
    PyStatus status = PyConfig_SetBytesArgv(config, 1, argv);
    if (!PyStatus_Exception(status)) status = PyConfig_SetBytesString(config, &config->program_name, python);
    if (!PyStatus_Exception(status)) status = PyConfig_SetBytesString(config, &config->executable, python);
    if (!PyStatus_Exception(status)) status = add_warnings(config, &s->warnings);
    return status;
}

static int initialise(const struct settings *s, const char *python) {
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    PyStatus status = fill_config(&config, s, python);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (!PyStatus_Exception(status)) return 0;
    log_error("cannot start %s as '%s': %s", wsgi_version(), python,
              status.err_msg ? status.err_msg : "it asked to exit");
    return -1;
}

/* ---- what happens once it runs ---- */

/* Behind its own handler for SIGABRT comes the one that it finds: worker_abort's, once the hooks are imported. */
static void enable_faulthandler(void) {
    PyObject *module = PyImport_ImportModule("faulthandler");
    PyObject *disabled = module ? PyObject_CallMethod(module, "disable", NULL) : NULL;
    bool is_ready = disabled && hooks_handle_abort() == 0;
    PyObject *enabled = is_ready ? PyObject_CallMethod(module, "enable", "ii", log_fd(), 1) : NULL;
    Py_XDECREF(enabled);
    Py_XDECREF(disabled);
    Py_XDECREF(module);
    if (!enabled) exception_log(LOG_LEVEL_WARNING, "no Python stack will be logged when a worker crashes or hangs");
}

/* Inserts a directory, unless it is there already, and moves *at behind it. */
static int insert_path(PyObject *path, Py_ssize_t *at, const char *directory) {
    PyObject *text = PyUnicode_DecodeFSDefault(directory);
    int is_there = text ? PySequence_Contains(path, text) : -1;
    if (is_there == 0 && PyList_Insert(path, (*at)++, text) < 0) is_there = -1;
    Py_XDECREF(text);
    return is_there < 0 ? -1 : 0;
}

static int extend_path(const struct settings *s) {
    PyObject *path = PySys_GetObject("path"); /* borrowed */
    Py_ssize_t at = 0;
    char *cwd = s->chdir ? mem_strdup(s->chdir) : getcwd(NULL, 0);
    int failed = !path || !PyList_Check(path) || (cwd && insert_path(path, &at, cwd));
    for (size_t i = 0; i < s->pythonpath.count && !failed; i++) failed = insert_path(path, &at, s->pythonpath.items[i]);
    mem_free(cwd);
    return failed ? -1 : 0;
}

/* The process layer has pointed descriptors 1 and 2 at the log: lines must get there when they are written, not when a
 * buffer is full. */
static int flush_lines(const char *name) {
    PyObject *stream = PySys_GetObject(name); /* borrowed */
    if (!stream || stream == Py_None) return 0;
    PyObject *reconfigure = PyObject_GetAttrString(stream, "reconfigure"), *nothing = PyTuple_New(0);
    PyObject *options = Py_BuildValue("{s:i}", "line_buffering", 1);
    PyObject *result = reconfigure && nothing && options ? PyObject_Call(reconfigure, nothing, options) : NULL;
    Py_XDECREF(result);
    Py_XDECREF(options);
    Py_XDECREF(nothing);
    Py_XDECREF(reconfigure);
    return result ? 0 : -1;
}

static int prepare(const struct settings *s) {
    if (extend_path(s) || module_init() || call_init() || reply_init() || input_init() || errors_init() ||
        file_wrapper_init(s->sendfile) || environ_init(s) || gateway_init(s))
        return -1;
    if (s->capture_output && (flush_lines("stdout") || flush_lines("stderr"))) return -1;
    enable_faulthandler();
    app_thread_adopt_main();
    return app_thread_self() ? 0 : -1;
}

int wsgi_start(const struct settings *s) {
    char *python = venv_find_python(s);
    if (!python) return -1;
    if (s->graceful_timeout && s->graceful_timeout < STOP_MAX_MS) stop_max_ms = s->graceful_timeout;
    signal(SIGPIPE, SIG_IGN);
    int failed = module_register() || initialise(s, python);
    mem_free(python);
    if (failed) return -1;
    if (prepare(s)) {
        exception_log(LOG_LEVEL_ERROR, "cannot prepare the interpreter");
        return -1;
    }
    if (hooks_init(s)) return -1;
    if (s->hooks) enable_faulthandler();
    return 0;
}

/* ---- around fork ---- */

void wsgi_before_fork(void) {
    PyOS_BeforeFork();
}

void wsgi_after_fork_parent(void) {
    PyOS_AfterFork_Parent();
}

void wsgi_after_fork_child(void) {
    gateway_set_forked(false);
    PyOS_AfterFork_Child();
}

void wsgi_freeze(void) {
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *collected = gc ? PyObject_CallMethod(gc, "collect", NULL) : NULL;
    PyObject *frozen = collected ? PyObject_CallMethod(gc, "freeze", NULL) : NULL;
    if (!frozen)
        exception_log(LOG_LEVEL_WARNING, "cannot freeze the application's objects; workers will share less memory");
    Py_XDECREF(frozen);
    Py_XDECREF(collected);
    Py_XDECREF(gc);
}

/* ", name" for each thread of the list but the main one. */
static void append_names(struct buf *names, PyObject *threads, PyObject *main_thread) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(threads); i++) {
        PyObject *thread = PyList_GET_ITEM(threads, i);
        PyObject *name = thread == main_thread ? NULL : PyObject_GetAttrString(thread, "name");
        if (!name) continue;
        if (names->len) BUF_APPEND_LITERAL(names, ", ");
        exception_append_str(names, name);
        Py_DECREF(name);
    }
}

char *wsgi_other_threads(void) {
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *threads = threading ? PyObject_CallMethod(threading, "enumerate", NULL) : NULL;
    PyObject *main_thread = threads ? PyObject_CallMethod(threading, "main_thread", NULL) : NULL;
    struct buf names = BUF_INIT;
    if (main_thread && PyList_Check(threads)) append_names(&names, threads, main_thread);
    Py_XDECREF(main_thread);
    Py_XDECREF(threads);
    Py_XDECREF(threading);
    PyErr_Clear();
    return names.len ? buf_cstr(&names) : NULL;
}

/* ---- the end ---- */

/* Ends the process if the interpreter does not end: a thread that is no daemon may run for ever, and an atexit function
 * too. */
static void *watch_stop(void *argument UNUSED) {
    struct timespec rest = {.tv_sec = (time_t)(stop_max_ms / 1000), .tv_nsec = (long)(stop_max_ms % 1000) * 1000000};
    while (nanosleep(&rest, &rest) && errno == EINTR) {
    }
    log_warning(
        "the application's threads or atexit functions did not end within %llu ms; the process leaves without them",
        (unsigned long long)stop_max_ms);
    _exit(0);
}

static void start_watch(void) {
    pthread_t watch;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&watch, NULL, watch_stop, NULL) == 0) pthread_detach(watch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void wsgi_stop(void) {
    struct app_thread *t = app_thread_self();
    if (!t) return;
    start_watch();
    gil_take(t);
    kept_collect();
    app_thread_leave_main();
    errors_flush();
    Py_FinalizeEx();
}
