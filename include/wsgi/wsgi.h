/* The application: one embedded CPython interpreter a process, and the WSGI gateway as a handler of the engine (PEP
 * 3333).
 *
 * No Python type appears here. One interpreter a process, so the functions take no handle; wsgi_start() comes first.
 * All are called from the process' main thread unless said otherwise. The main thread holds the GIL from wsgi_start()
 * until it first waits in server_run(). */
#ifndef CSERVE_WSGI_WSGI_H
#define CSERVE_WSGI_WSGI_H

#include "config/settings.h"
#include "http/handler.h"

/* Initialises the interpreter as the virtual environment's (or the system's) python would be, with PyConfig: chdir and
 * pythonpath on sys.path, the environment's PYTHON* variables honoured, signal handlers left alone. Enables
 * faulthandler on the error log's descriptor for SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT, all threads. -1 after
 * logging why. */
int wsgi_start(const struct settings *s);
/* Imports settings->wsgi_app and finds the callable. -1 after logging why, with the application's traceback if its code
 * raised, else what to write instead (no such module, no such attribute: the nearest one, not callable). */
int wsgi_load(const struct settings *s);
/* Development: from now on `on_file` hears the source file of every imported module, after wsgi_load(), also a failed
 * one, and after a request that imported more; one file may be told again. Before wsgi_load(). */
void wsgi_follow_imports(void (*on_file)(void *ctx, const char *path), void *ctx);
/* The gateway for the loaded application. `is_multiprocess` becomes wsgi.multiprocess. */
const struct handler *wsgi_handler(const struct settings *s, bool is_multiprocess);

/* Around fork(2) in the template: wsgi_before_fork(), fork, then one of the two others. */
void wsgi_before_fork(void);
void wsgi_after_fork_parent(void);
void wsgi_after_fork_child(void);
/* gc.collect() and gc.freeze(), before the first fork of a template. */
void wsgi_freeze(void);
/* Names of Python threads besides the main one, "name, name", to warn of before forking; NULL if there are none. Caller
 * frees. */
char *wsgi_other_threads(void);

/* An application thread besides the main one: brackets its server_run(). */
int wsgi_thread_start(void);
void wsgi_thread_stop(void);
/* Raises RequestTimeout in application thread `thread` if it still runs the exchange of that number. Any thread,
 * without the engine's lock. Only with several application threads. */
void wsgi_interrupt(unsigned thread, uint64_t number);

enum wsgi_hook {
    WSGI_ON_STARTING,
    WSGI_PRE_FORK,
    WSGI_POST_FORK,
    WSGI_POST_WORKER_INIT,
    WSGI_WORKER_INT,
    WSGI_WORKER_ABORT,
    WSGI_WORKER_EXIT
};

/* Runs a hook of settings->hooks if it exists, with Gunicorn's arguments as stand-ins (server, worker with .pid, .age,
 * .cfg, .log). -1 if it raised, which is logged with its name. */
int wsgi_run_hook(enum wsgi_hook hook, unsigned seat, uint64_t age);
/* atexit functions, threading's shutdown, the interpreter's end. */
void wsgi_stop(void);
/* "Python 3.11.2"; usable at any time, also before wsgi_start(). */
const char *wsgi_version(void);

#endif
