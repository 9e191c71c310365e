/* The worker's life: becomes the application's user, loads the application, reports ready, serves, leaves.
 *
 * Its main thread is application thread 0. News from the arbiter arrive as signals, read from a pipe in the engine's
 * loop; the arbiter's death as the end of the lifeline, and as SIGKILL for a worker that is too busy to look. Must
 * never return. */
#include "process/worker.h"

#include "base/mem.h"
#include "base/proctitle.h"
#include "http/server.h"
#include "io/signals.h"
#include "process/child.h"
#include "process/slot.h"
#include "wsgi/wsgi.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

struct service {
    const struct worker *plan;
    struct server *server;
    struct loop_source signals;
    struct loop_source lifeline;
    pthread_t *threads; /* of application threads 1 and up */
    bool was_interrupted;
};

/* ---- what comes in while it serves ---- */

static void on_signals(struct loop_source *source, uint32_t events) {
    struct service *service = CONTAINER_OF(source, struct service, signals);
    struct row *row = service->plan->row;
    int number;
    (void)events;
    while ((number = signals_next())) {
        switch (number) {
        case SIGTERM:
            atomic_store(&row->stage, WORKER_LEAVING);
            server_drain(service->server, (enum server_drain_mode)atomic_load(&row->drain_mode));
            break;
        case SIGINT:
        case SIGQUIT:
            service->was_interrupted = true;
            atomic_store(&row->stage, WORKER_LEAVING);
            server_stop(service->server);
            break;
        case SIGUSR1: child_reopen_logs(service->plan->settings, service->plan->access_log); break;
        default: break;
        }
    }
}

static void on_lifeline(struct loop_source *source, uint32_t events) {
    (void)source;
    (void)events;
    _exit(EXIT_BOOT);
}

static void on_recycle(void *ctx) {
    const struct worker *w = ctx;
    atomic_store(&w->row->wants_recycling, SLOT_RECYCLE_REQUESTS);
    links_tell_arbiter(w->links);
}

/* ---- a request that runs too long, beside others ---- */

struct late_request {
    unsigned thread;
    uint64_t number;
};

static void *interrupt(void *argument) {
    struct late_request late = *(struct late_request *)argument;
    mem_free(argument);
    wsgi_interrupt(late.thread, late.number);
    return NULL;
}

/* Waiting for the GIL is not for the engine's threads. */
static void on_timeout(void *ctx, unsigned index, uint64_t number) {
    const struct worker *w = ctx;
    struct late_request *late = MEM_NEW(struct late_request);
    *late = (struct late_request){index, number};
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int fault = pthread_create(&thread, &attributes, interrupt, late);
    if (fault) {
        log_error("cannot interrupt application thread %u: %s", index, strerror(fault));
        mem_free(late);
    }
    pthread_attr_destroy(&attributes);
    atomic_store(&w->row->wants_recycling, SLOT_RECYCLE_HUNG);
    links_tell_arbiter(w->links);
}

/* ---- threads ---- */

struct thread_start {
    struct server *server;
    unsigned index;
};

static void *run_thread(void *argument) {
    struct thread_start start = *(struct thread_start *)argument;
    mem_free(argument);
    if (wsgi_thread_start()) return NULL;
    server_run(start.server, start.index);
    wsgi_thread_stop();
    return NULL;
}

static int start_threads(struct service *service) {
    unsigned count = (unsigned)service->plan->settings->threads - 1;
    sigset_t mask;
    int fault = 0;
    service->threads = mem_zalloc(count + 1, sizeof(pthread_t));
    signals_block(&mask);
    for (unsigned i = 0; i < count && !fault; i++) {
        struct thread_start *start = MEM_NEW(struct thread_start);
        *start = (struct thread_start){service->server, i + 1};
        fault = pthread_create(&service->threads[i], NULL, run_thread, start);
    }
    signals_restore(&mask);
    if (!fault) return 0;
    log_error("cannot start application thread: %s; lower the setting threads", strerror(fault));
    return -1;
}

static void join_threads(struct service *service, const struct handler *handler) {
    unsigned count = (unsigned)service->plan->settings->threads - 1;
    if (handler->idle) handler->idle(handler->ctx);
    for (unsigned i = 0; i < count; i++) pthread_join(service->threads[i], NULL);
}

/* ---- start and end ---- */

static void watch_file(void *ctx, const char *path) {
    source_watch_add(ctx, path);
}

void worker_follow_imports(const struct worker *w) {
    if (w->sources->fd >= 0) wsgi_follow_imports(watch_file, w->sources);
}

static void load_application(const struct worker *w) {
    worker_follow_imports(w);
    if (w->is_silent) log_set_level((enum log_level)(LOG_LEVEL_CRITICAL + 1));
    if (wsgi_load(w->settings)) _exit(EXIT_APP);
    log_set_level(w->settings->loglevel);
}

static void become_worker(const struct worker *w, const sigset_t *mask) {
    char name[32];
    snprintf(name, sizeof(name), "worker %u", w->seat);
    child_take_signals(mask);
    log_set_process(name);
    proctitle_set("cserve: %s [%s]", name, w->settings->proc_name ? w->settings->proc_name : w->settings->wsgi_app);
    if (!w->is_loaded) child_become_application(w->settings, w->open_errorlog);
    child_follow_arbiter(w->links);
    if (!w->is_loaded && wsgi_start(w->settings)) _exit(EXIT_BOOT);
    wsgi_run_hook(WSGI_POST_FORK, w->seat, w->age);
    if (!w->is_loaded) load_application(w);
    if (wsgi_run_hook(WSGI_POST_WORKER_INIT, w->seat, w->age)) _exit(EXIT_BOOT);
}

static uint64_t choose_max_requests(const struct settings *s) {
    if (!s->max_requests || !s->max_requests_jitter) return s->max_requests;
    /* Every worker its own: the arbiter's random state is the same in all of its children. */
    unsigned seed = (unsigned)getpid();
    return s->max_requests + (uint64_t)rand_r(&seed) % (s->max_requests_jitter + 1);
}

static struct server *make_server(const struct worker *w, const struct handler *handler) {
    const struct settings *s = w->settings;
    if (w->access_log) access_log_keep_in(w->access_log, &w->row->activity.access_lines);
    const struct server_config config = {
        .settings = s,
        .listeners = w->listeners,
        .listener_count = w->listener_count,
        .handler = handler,
        .activity = &w->row->activity,
        .access_log = w->access_log,
        .handover_give_fd = w->links->handover[1],
        .handover_take_fd = w->links->handover[0],
        .has_siblings = &w->row->has_siblings,
        .max_requests = choose_max_requests(s),
        .on_recycle = on_recycle,
        .on_recycle_ctx = (void *)w,
        .on_timeout = s->threads > 1 ? on_timeout : NULL,
        .on_timeout_ctx = (void *)w,
    };
    return server_new(&config);
}

static int start_serving(struct service *service) {
    const struct worker *w = service->plan;
    /* A SIGUSR1 that came during the import. */
    for (int number; (number = signals_next());)
        if (number == SIGUSR1) child_reopen_logs(w->settings, w->access_log);
    child_take_all_signals();
    service->signals = (struct loop_source){.fd = signals_fd(), .on_event = on_signals};
    service->lifeline = (struct loop_source){.fd = w->links->lifeline[0], .on_event = on_lifeline};
    if (server_watch(service->server, &service->signals, EPOLLIN) ||
        server_watch(service->server, &service->lifeline, EPOLLIN)) {
        log_error("cannot watch the arbiter: %s; the worker gives up", strerror(errno));
        return -1;
    }
    child_leave_terminal(w->settings, w->access_log);
    return start_threads(service);
}

static noreturn void leave(struct service *service) {
    const struct worker *w = service->plan;
    if (service->was_interrupted) wsgi_run_hook(WSGI_WORKER_INT, w->seat, w->age);
    wsgi_run_hook(WSGI_WORKER_EXIT, w->seat, w->age);
    server_free(service->server);
    if (w->access_log) access_log_flush(w->access_log);
    wsgi_stop();
    fflush(NULL);
    _exit(0);
}

void worker_main(const struct worker *w, const sigset_t *mask) {
    struct service service = {.plan = w};
    become_worker(w, mask);
    const struct handler *handler = wsgi_handler(w->settings, w->settings->workers > 1);
    service.server = make_server(w, handler);
    if (!service.server) {
        log_error("cannot start the engine: %s; the worker gives up", strerror(errno));
        _exit(EXIT_BOOT);
    }
    if (start_serving(&service)) _exit(EXIT_BOOT);
    atomic_store(&w->row->stage, WORKER_READY);
    links_tell_arbiter(w->links);
    server_run(service.server, 0);
    join_threads(&service, handler);
    leave(&service);
}

void worker_check(const struct settings *s) {
    child_become_application(s, s->errorlog);
    if (wsgi_start(s)) _exit(EXIT_BOOT);
    if (wsgi_load(s)) _exit(EXIT_APP);
    wsgi_stop();
    _exit(0);
}
