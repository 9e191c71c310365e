/* The template process: imports once, forks often.
 *
 * It waits with Python's lock held: threads that the import started stand still in it, and exist in no worker. Forks
 * happen on its main thread alone. The process between template and worker must never touch Python. */
#include "process/nursery.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/proctitle.h"
#include "io/signals.h"
#include "process/child.h"
#include "wsgi/wsgi.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

struct nursery {
    const struct worker *prototype;
    struct row *rows;
    int fd;
};

static void reply(const struct nursery *n, enum template_news news, uint32_t row, pid_t pid, int fault) {
    const struct template_reply r = {.news = news, .row = row, .pid = pid, .fault = fault};
    if (send(n->fd, &r, sizeof(r), MSG_NOSIGNAL) < 0) _exit(EXIT_BOOT);
}

/* The worker goes on only when its gate closes: then the process in the middle is gone and the arbiter is its
 * parent. */
static noreturn void become_worker(const struct nursery *n, const struct template_request *request, int gate,
                                   const sigset_t *mask) {
    struct worker w = *n->prototype;
    int fd = n->fd;
    char byte;
    while (read(gate, &byte, 1) < 0 && errno == EINTR) continue;
    close(gate);
    fd_close(&fd);
    wsgi_after_fork_child();
    w.row = &n->rows[request->row];
    w.seat = request->seat;
    w.age = request->age;
    w.is_loaded = true;
    worker_main(&w, mask);
}

static noreturn void become_middle(const struct nursery *n, const struct template_request *request, const int gate[2],
                                   const sigset_t *mask) {
    pid_t pid = fork();
    if (pid == 0) {
        close(gate[1]);
        become_worker(n, request, gate[0], mask);
    }
    reply(n, pid < 0 ? TEMPLATE_FORK_FAILED : TEMPLATE_FORKED, request->row, pid, errno);
    _exit(0);
}

static void fork_worker(const struct nursery *n, const struct template_request *request) {
    int gate[2];
    sigset_t mask;
    if (pipe2(gate, O_CLOEXEC)) {
        reply(n, TEMPLATE_FORK_FAILED, request->row, 0, errno);
        return;
    }
    wsgi_run_hook(WSGI_PRE_FORK, request->seat, request->age);
    wsgi_before_fork();
    signals_block(&mask);
    pid_t middle = fork();
    if (middle == 0) become_middle(n, request, gate, &mask);
    int fault = errno;
    close(gate[0]);
    if (middle > 0)
        while (waitpid(middle, NULL, 0) < 0 && errno == EINTR) continue;
    close(gate[1]);
    signals_restore(&mask);
    wsgi_after_fork_parent();
    if (middle < 0) reply(n, TEMPLATE_FORK_FAILED, request->row, 0, fault);
}

static void warn_of_threads(void) {
    char *names = wsgi_other_threads();
    if (!names) return;
    log_warning(
        "the import left threads running that will not exist in the workers: %s; start them in the hook post_fork",
        names);
    mem_free(names);
}

static void load_once(const struct nursery *n, const sigset_t *mask) {
    const struct worker *w = n->prototype;
    const struct settings *s = w->settings;
    child_take_signals(mask);
    log_set_process("template");
    proctitle_set("cserve: template [%s]", s->proc_name ? s->proc_name : s->wsgi_app);
    child_become_application(s, w->open_errorlog);
    child_follow_arbiter(w->links);
    if (wsgi_start(s)) _exit(EXIT_BOOT);
    worker_follow_imports(w);
    wsgi_run_hook(WSGI_ON_STARTING, 0, 0);
    if (wsgi_load(s)) _exit(EXIT_APP);
    warn_of_threads();
    wsgi_freeze();
    child_leave_terminal(s, w->access_log);
    reply(n, TEMPLATE_READY, 0, 0, 0);
}

static void handle_signals(const struct nursery *n) {
    for (int number; (number = signals_next());)
        if (number == SIGUSR1) child_reopen_logs(n->prototype->settings, n->prototype->access_log);
}

void nursery_main(const struct worker *prototype, struct row *rows, int fd, const sigset_t *mask) {
    const struct nursery n = {.prototype = prototype, .rows = rows, .fd = fd};
    struct template_request request;
    load_once(&n, mask);
    struct pollfd watched[] = {{.fd = fd, .events = POLLIN},
                               {.fd = signals_fd(), .events = POLLIN},
                               {.fd = prototype->links->lifeline[0], .events = POLLIN}};
    for (;;) {
        if (poll(watched, ARRAY_LENGTH(watched), -1) < 0) continue;
        if (watched[2].revents) _exit(0);
        handle_signals(&n);
        if (!watched[0].revents) continue;
        if (recv(fd, &request, sizeof(request), 0) != sizeof(request)) _exit(0);
        fork_worker(&n, &request);
    }
}
