/* Puts the cause of a death into words.
 *
 * A kill of ours counts as the cause only if the process died of the signal we sent. The row still holds what the dead
 * worker was doing, since nobody else writes to it. */
#include "process/death.h"

#include "base/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define TASKS_NAMED 3
/* The kernel counts a kill before the victim gets its signal, and a large process takes its time to die. */
#define OOM_FRESH_MS 10000

static int open_events(const char *mount, const char *group, const char *file) {
    char path[4300];
    snprintf(path, sizeof(path), "%s%s/%s", mount, group, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) return fd;
    /* In a container the mount may begin at our group, whatever path its host knows it by. */
    snprintf(path, sizeof(path), "%s/%s", mount, file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Of the group behind "0::" (v2), or behind the controller "memory" (v1), of /proc/self/cgroup. */
static int open_memory_events(void) {
    char line[4096], *name;
    int fd = -1;
    FILE *groups = fopen("/proc/self/cgroup", "re");
    if (!groups) return -1;
    while (fd < 0 && fgets(line, sizeof(line), groups)) {
        line[strcspn(line, "\n")] = '\0';
        if ((name = strstr(line, ":memory:")))
            fd = open_events("/sys/fs/cgroup/memory", name + 8, "memory.oom_control");
        else if (!strncmp(line, "0::", 3)) fd = open_events("/sys/fs/cgroup", line + 3, "memory.events");
    }
    fclose(groups);
    return fd;
}

static bool read_kills(int fd, uint64_t *count) {
    char text[512];
    ssize_t got = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
    if (got <= 0) return false;
    text[got] = '\0';
    const char *field = strstr(text, "oom_kill ");
    if (field) *count = strtoull(field + 9, NULL, 10);
    return field != NULL;
}

void oom_watch_start(struct oom_watch *w) {
    *w = (struct oom_watch){.fd = open_memory_events()};
    read_kills(w->fd, &w->count);
}

void oom_watch_stop(struct oom_watch *w) {
    fd_close(&w->fd);
}

void oom_watch_look(struct oom_watch *w, uint64_t now_ms) {
    uint64_t count;
    if (w->fd < 0) return;
    if (!read_kills(w->fd, &count)) {
        /* The group is gone, we live in another one: poll(2) would never sleep again. */
        oom_watch_stop(w);
        return;
    }
    if (now_ms - w->risen_ms > OOM_FRESH_MS) w->unclaimed = 0;
    if (count > w->count) {
        w->unclaimed += count - w->count;
        w->risen_ms = now_ms;
    }
    w->count = count;
}

bool oom_watch_claim(struct oom_watch *w, uint64_t now_ms) {
    oom_watch_look(w, now_ms);
    if (w->fd < 0 || !w->unclaimed) return false;
    w->unclaimed--;
    return true;
}

static const char *verdict_text(const struct death *d, char *out, size_t size) {
    switch (d->verdict) {
    case SLOT_KILLED_TIMEOUT: return "killed by cserve: timeout";
    case SLOT_KILLED_STOP:
        return d->was_ready ? "killed by cserve: it did not stop at once" : "killed by cserve: it is no longer wanted";
    case SLOT_KILLED_BOOT_TIMEOUT:
        snprintf(out, size, "killed by cserve: not ready within boot_timeout, %.0f s",
                 (double)d->settings->boot_timeout / 1000);
        return out;
    case SLOT_KILLED_GRACEFUL_TIMEOUT:
        snprintf(out, size, "killed by cserve: not done within graceful_timeout, %.0f s",
                 (double)d->settings->graceful_timeout / 1000);
        return out;
    case SLOT_NOT_KILLED: break;
    }
    return NULL;
}

static void describe_signal(const struct death *d, int number, char *out, size_t size) {
    char text[96];
    const char *verdict = number == SIGABRT || number == SIGKILL ? verdict_text(d, text, sizeof(text)) : NULL;
    const char *name = sigabbrev_np(number);
    if (verdict) snprintf(out, size, "%s", verdict);
    else if (number == SIGKILL && d->was_oom) snprintf(out, size, "killed by the kernel for memory");
    else if (name) snprintf(out, size, "killed by SIG%s%s", name, WCOREDUMP(d->status) ? ", core dumped" : "");
    else snprintf(out, size, "killed by signal %d", number);
}

void death_describe(const struct death *d, char *out, size_t size) {
    if (WIFSIGNALED(d->status)) describe_signal(d, WTERMSIG(d->status), out, size);
    else if (WEXITSTATUS(d->status) == EXIT_DEAF)
        snprintf(out, size, "ended itself: the application has closed descriptors of the server");
    else snprintf(out, size, "exited with status %d", WEXITSTATUS(d->status));
    size_t length = strlen(out);
    if (!d->was_ready && !d->verdict) snprintf(out + length, size - length, " before it was ready");
}

void death_describe_tasks(const struct row *r, unsigned threads, uint64_t now_ms, char *out, size_t size) {
    struct task_view view;
    char target[200];
    size_t used = 0;
    unsigned named = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < threads && i < ACTIVITY_TASKS && used < size; i++) {
        if (!task_read(&r->activity.tasks[i], &view)) continue;
        if (named++ >= TASKS_NAMED) continue;
        log_escape(target, sizeof(target), slice_of(view.target));
        uint64_t spent_ms = now_ms > view.started_ms ? now_ms - view.started_ms : 0;
        int wrote =
            snprintf(out + used, size - used, "%s %s %s, %.1f s", named == 1 ? " while in the application:" : ";",
                     view.method, target, (double)spent_ms / 1000);
        if (wrote > 0) used += (size_t)wrote;
    }
    if (named > TASKS_NAMED && used < size) snprintf(out + used, size - used, "; and %u more", named - TASKS_NAMED);
}
