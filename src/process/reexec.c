/* Upgrade in place, in three steps: the new binary checks the present command line; the old image writes what it knows
 * into a memfd and executes it; the new image reads that, and then reloads, so that its own workers replace the old
 * ones.
 *
 * Signals stay blocked from before execve(2) until the new image takes them. Must never execute while a worker's birth
 * is half way: its pid would be lost. */
#include "process/reexec.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/version.h"
#include "io/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* "STATE,OLD" or "STATE,OLD,failed": descriptors of the state and of the old command. Not CSERVE_*: those are
 * settings. */
#define STATE_VARIABLE "__CSERVE_UPGRADE"
#define STATE_VERSION  1
#define CHECK_SLACK_MS 5000 /* beyond boot_timeout, for all but the import */

/* ---- what passes from image to image ---- */

struct inheritance {
    int state_fd;
    int old_fd;
    bool has_failed;
};

static bool read_inheritance(struct inheritance *i) {
    const char *text = getenv(STATE_VARIABLE);
    *i = (struct inheritance){-1, -1, false};
    if (!text || sscanf(text, "%d,%d", &i->state_fd, &i->old_fd) < 1) return false;
    i->has_failed = strstr(text, ",failed");
    return true;
}

static void forget_inheritance(void) {
    struct inheritance i;
    read_inheritance(&i);
    fd_close(&i.state_fd);
    fd_close(&i.old_fd);
    unsetenv(STATE_VARIABLE);
}

/* ---- the check ---- */

/* Where the command would be found now: a new file, or a link to one, may be there since the start. */
static char *find_binary(const struct arbiter *a) {
    const char *name = a->argv[0], *path = getenv("PATH");
    if (strchr(name, '/')) return mem_strdup(name);
    struct slice rest = slice_of(path ? path : "/usr/local/bin:/usr/bin:/bin"), directory;
    while (slice_next(&rest, ':', &directory)) {
        char *candidate = mem_printf("%.*s/%s", SLICE_ARG(directory), name);
        if (!access(candidate, X_OK)) return candidate;
        mem_free(candidate);
    }
    return mem_strdup("/proc/self/exe");
}

static noreturn void become_check(struct arbiter *a, const sigset_t *mask) {
    char **argv = mem_zalloc((size_t)a->argc + 2, sizeof(char *));
    char *binary = find_binary(a);
    for (int i = 0; i < a->argc; i++) argv[i] = a->argv[i];
    argv[a->argc] = "--check-config";
    signals_stop();
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signals_restore(mask);
    dup2(log_fd(), STDOUT_FILENO);
    dup2(log_fd(), STDERR_FILENO);
    if (a->start_directory_fd >= 0 && fchdir(a->start_directory_fd)) _exit(EXIT_SETTINGS);
    execv(binary, argv);
    log_error("cannot execute '%s': %s", binary, strerror(errno));
    _exit(127);
}

void reexec_begin(struct arbiter *a) {
    sigset_t mask;
    if (a->ending) return;
    if (a->candidate || !a->is_up || a->upgrade_pid || a->is_upgrade_checked) {
        log_warning("cannot upgrade now: a start, reload or upgrade is going on; send SIGUSR2 again later");
        return;
    }
    if (a->board_fd < 0) {
        log_error(
            "cannot upgrade: this kernel gave no memfd, so what is known of the workers cannot be handed on; restart instead");
        return;
    }
    log_info("SIGUSR2: checking the command on disk with the present command line");
    signals_block(&mask);
    pid_t pid = fork();
    if (pid == 0) become_check(a, &mask);
    int fault = errno;
    signals_restore(&mask);
    if (pid < 0) {
        log_error("upgrade failed: cannot fork: %s; the old command goes on", strerror(fault));
        return;
    }
    a->upgrade_pid = pid;
    uint64_t most_ms = a->current->settings->boot_timeout;
    a->upgrade_due_ms = most_ms ? a->now_ms + most_ms + CHECK_SLACK_MS : CLOCK_NEVER;
}

void reexec_note_check(struct arbiter *a, int status) {
    a->upgrade_pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        a->is_upgrade_checked = true;
        return;
    }
    if (WIFEXITED(status))
        log_error("upgrade failed: the check exited with status %d; the old command goes on", WEXITSTATUS(status));
    else log_error("upgrade failed: the check was killed by signal %d; the old command goes on", WTERMSIG(status));
}

/* ---- the old image ---- */

static bool is_half_way(const struct arbiter *a) {
    for (unsigned i = 0; i < a->slots_used; i++)
        if (a->slots[i].state == SLOT_FORKING || a->slots[i].state == SLOT_CANCELLED) return true;
    return a->candidate != NULL;
}

static void keep_all(const struct arbiter *a, bool is_kept) {
    const int fds[] = {a->board_fd,          a->pidfile.fd,        a->links.news[0],     a->links.news[1],
                       a->links.lifeline[0], a->links.lifeline[1], a->links.handover[0], a->links.handover[1]};
    for (size_t i = 0; i < ARRAY_LENGTH(fds); i++)
        if (fds[i] >= 0) fd_set_cloexec(fds[i], !is_kept);
    for (size_t i = 0; i < a->sockets.count; i++) fd_set_cloexec(a->sockets.items[i].listener->fd, !is_kept);
}

static void write_state(const struct arbiter *a, struct buf *out) {
    const struct links *l = &a->links;
    buf_printf(out, "cserve %d %d\n", STATE_VERSION, getpid());
    buf_printf(out, "process %d %d %u %u %llu\n", a->board_fd, a->pidfile.fd, a->generations, a->current->seats,
               (unsigned long long)a->spawned);
    buf_printf(out, "links %d %d %d %d %d %d\n", l->news[0], l->news[1], l->lifeline[0], l->lifeline[1], l->handover[0],
               l->handover[1]);
    for (size_t i = 0; i < a->sockets.count; i++) {
        const struct listener *s = a->sockets.items[i].listener;
        buf_printf(out, "socket %d %llu %llu %d %s\n", s->fd, (unsigned long long)s->socket_dev,
                   (unsigned long long)s->socket_ino, s->is_foreign + 2 * a->sockets.items[i].is_stored,
                   s->address.text);
    }
    for (unsigned i = 0; i < a->slots_used; i++) {
        const struct slot *s = &a->slots[i];
        if (s->pid > 0)
            buf_printf(out, "slot %u %d %u %d %llu %llu %llu %d\n", i, s->state, s->seat, s->pid,
                       (unsigned long long)s->spawned_ms, (unsigned long long)s->ready_ms,
                       (unsigned long long)s->due_ms, s->verdict);
    }
}

/* Into a memfd that survives execve(2), its number into the environment. -1 with errno. */
static int leave_state(const struct arbiter *a) {
    struct buf text = BUF_INIT;
    char numbers[40];
    int fd = memfd_create("cserve-state", 0);
    if (fd < 0) return -1;
    write_state(a, &text);
    int result = fd_write_all(fd, text.data, text.len);
    buf_release(&text);
    if (result || lseek(fd, 0, SEEK_SET)) {
        close(fd);
        return -1;
    }
    int old_fd = open("/proc/self/exe", O_PATH); /* stays open over execve(2), which is its purpose */
    snprintf(numbers, sizeof(numbers), "%d,%d", fd, old_fd);
    setenv(STATE_VARIABLE, numbers, 1);
    /* cppcheck-suppress resourceLeak */
    return fd;
}

static void execute(struct arbiter *a) {
    sigset_t mask;
    char *binary = find_binary(a);
    int fd = leave_state(a);
    a->is_upgrade_checked = false;
    log_info("executing %s", binary);
    notify_send(&a->notify, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=upgrading", (unsigned long long)clock_mono_us());
    notify_restore_environment(&a->notify);
    keep_all(a, true);
    signals_block(&mask);
    /* The new image makes a template of its own, and collects this one. */
    template_kill(&a->current->template);
    if (fd >= 0 && (a->start_directory_fd < 0 || !fchdir(a->start_directory_fd))) execv(binary, a->argv);
    int fault = errno;
    signals_restore(&mask);
    keep_all(a, false);
    forget_inheritance();
    notify_clear_environment();
    if (a->current->settings->chdir && chdir(a->current->settings->chdir))
        log_warning("cannot go back to '%s': %s", a->current->settings->chdir, strerror(errno));
    log_error("upgrade failed: cannot execute '%s': %s; the old command goes on", binary, strerror(fault));
    notify_send(&a->notify, "READY=1");
    mem_free(binary);
}

void reexec_watch(struct arbiter *a) {
    if (a->upgrade_pid && a->now_ms >= a->upgrade_due_ms) {
        log_error("the check of the new command takes longer than boot_timeout; killing it");
        a->upgrade_due_ms = CLOCK_NEVER;
        kill(a->upgrade_pid, SIGKILL);
    }
    if (a->is_upgrade_checked && !a->ending && !is_half_way(a)) execute(a);
}

/* ---- the new image ---- */

void reexec_go_back(char **argv) {
    struct inheritance i;
    char numbers[48];
    if (!read_inheritance(&i) || i.old_fd < 0 || i.has_failed) return;
    snprintf(numbers, sizeof(numbers), "%d,%d,failed", i.state_fd, i.old_fd);
    setenv(STATE_VARIABLE, numbers, 1);
    fexecve(i.old_fd, argv, environ);
}

static bool read_state(struct inheritance *i, struct buf *text) {
    ssize_t got;
    if (!read_inheritance(i)) return false;
    int fd = i->state_fd;
    unsetenv(STATE_VARIABLE);
    fd_close(&i->old_fd);
    do {
        buf_reserve(text, 4096);
        got = read(fd, text->data + text->len, 4096);
        if (got > 0) text->len += (size_t)got;
    } while (got > 0);
    close(fd);
    return text->len > 0;
}

static void resume_socket(struct arbiter *a, const char *line) {
    int fd, flags, start = 0; /* foreign, stored */
    unsigned long long dev, ino;
    char error[256];
    struct address address;
    if (sscanf(line, "socket %d %llu %llu %d %n", &fd, &dev, &ino, &flags, &start) != 4 || !start) return;
    fd_set_cloexec(fd, true);
    struct listener *l =
        address_parse(line + start, &address) ? NULL : listener_adopt(fd, &address, error, sizeof(error));
    if (!l) {
        log_warning("lost the socket '%s' over the upgrade", line + start);
        return;
    }
    l->is_foreign = flags & 1;
    l->socket_dev = (dev_t)dev;
    l->socket_ino = (ino_t)ino;
    sockets_add(&a->sockets, l, flags & 2, &a->current->sockets);
}

static void resume_slot(struct arbiter *a, const char *line) {
    unsigned index, seat;
    int state, pid, verdict;
    unsigned long long spawned_ms, ready_ms, due_ms;
    if (sscanf(line, "slot %u %d %u %d %llu %llu %llu %d", &index, &state, &seat, &pid, &spawned_ms, &ready_ms, &due_ms,
               &verdict) != 8)
        return;
    if (index >= SCOREBOARD_ROWS || state < 0 || state >= SLOT_STATES || seat > SCOREBOARD_SEATS) return;
    struct slot *s = &a->slots[index];
    s->state = (enum slot_state)state;
    s->seat = seat;
    s->pid = pid;
    s->spawned_ms = spawned_ms;
    s->ready_ms = ready_ms;
    s->due_ms = due_ms;
    s->verdict = (enum slot_verdict)verdict;
    s->was_asked_to_leave = !slot_is_active(s);
    s->generation = a->current;
    s->settings = a->current->settings;
    if (index >= a->slots_used) a->slots_used = index + 1;
}

static void resume_process(struct arbiter *a, const char *line) {
    unsigned seats = 0;
    unsigned long long spawned = 0;
    int pidfile_fd = -1;
    if (sscanf(line, "process %d %d %u %u %llu", &a->board_fd, &pidfile_fd, &a->generations, &seats, &spawned) != 5)
        return;
    a->spawned = spawned;
    a->current->seats = seats;
    a->current->id = a->generations;
    a->board = scoreboard_map(a->board_fd);
    const char *path = a->current->settings->pidfile;
    if (pidfile_fd >= 0 && path) pidfile_adopt(&a->pidfile, path, pidfile_fd);
    else if (pidfile_fd >= 0) close(pidfile_fd);
}

static void resume_line(struct arbiter *a, const char *line) {
    struct links *l = &a->links;
    if (!strncmp(line, "process ", 8)) resume_process(a, line);
    else if (!strncmp(line, "socket ", 7)) resume_socket(a, line);
    else if (!strncmp(line, "slot ", 5)) resume_slot(a, line);
    else if (sscanf(line, "links %d %d %d %d %d %d", &l->news[0], &l->news[1], &l->lifeline[0], &l->lifeline[1],
                    &l->handover[0], &l->handover[1]) == 6)
        l->arbiter_pid = getpid();
}

/* Another version may lay the scoreboard out differently: then the old workers' rows are unknown, and they are only
 * seen off. */
static void cope_with_foreign_board(struct arbiter *a) {
    if (a->board) return;
    log_warning("the scoreboard of the old command cannot be read: its workers finish without a timeout");
    fd_close(&a->board_fd);
    a->board = scoreboard_new(&a->board_fd);
}

bool reexec_resume(struct arbiter *a, struct settings *settings) {
    struct buf text = BUF_INIT;
    struct slice rest, line;
    int version = 0, pid = 0;
    struct inheritance inheritance;
    bool is_ours = read_state(&inheritance, &text) && sscanf(buf_cstr(&text), "cserve %d %d", &version, &pid) == 2 &&
                   version == STATE_VERSION && pid == getpid();
    if (!is_ours) {
        buf_release(&text);
        return false;
    }
    a->current = generation_adopt(settings);
    a->current->phase = GENERATION_SERVING;
    for (rest = buf_slice(&text); slice_next(&rest, '\n', &line);) {
        char *copy = mem_strndup(line.data, line.len);
        resume_line(a, copy);
        mem_free(copy);
    }
    buf_release(&text);
    cope_with_foreign_board(a);
    keep_all(a, false);
    a->is_up = true;
    a->is_reload_wanted = !inheritance.has_failed;
    if (inheritance.has_failed)
        log_error("upgrade failed: the new command could not load its settings; the old command goes on");
    else log_info("cserve " CSERVE_VERSION " takes over %u workers from the old command", seating_count_alive(a, NULL));
    return a->board != NULL;
}
