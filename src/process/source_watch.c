/* Watches directories, not files: editors replace files, and a directory tells of the new one as well.
 *
 * Only for development: it reads directory trees and allocates. Must never follow links, which may lead round in
 * circles. */
#include "process/source_watch.h"

#include "base/fd.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <sys/inotify.h>
#include <unistd.h>

#define QUIET_MS   150
#define DEPTH_MOST 12
#define CHANGES    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE)

static bool is_skipped(const char *name) {
    return name[0] == '.' || !strcmp(name, "__pycache__") || !strcmp(name, "node_modules") ||
           !strcmp(name, "site-packages");
}

static bool is_virtual_environment(const char *path) {
    char marker[PATH_MAX + sizeof("/pyvenv.cfg")];
    snprintf(marker, sizeof(marker), "%s/pyvenv.cfg", path);
    return !access(marker, F_OK);
}

static void add_directory(const struct source_watch *w, const char *path) {
    if (inotify_add_watch(w->fd, path, CHANGES | IN_ONLYDIR | IN_DONT_FOLLOW) >= 0 || errno != ENOSPC) return;
    log_warning("cannot watch '%s' for changes: fs.inotify.max_user_watches is reached; its changes go unnoticed",
                path);
}

static void add_tree(const struct source_watch *w, const char *path, int depth) {
    char child[PATH_MAX];
    const struct dirent *entry;
    DIR *directory = opendir(path);
    if (!directory) return;
    add_directory(w, path);
    while (depth < DEPTH_MOST && (entry = readdir(directory))) {
        if (entry->d_type != DT_DIR || is_skipped(entry->d_name)) continue;
        if ((size_t)snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) >= sizeof(child)) continue;
        if (!is_virtual_environment(child)) add_tree(w, child, depth + 1);
    }
    closedir(directory);
}

/* A pattern may have wildcards in its name alone. */
void source_watch_add(const struct source_watch *w, const char *path) {
    const char *slash = strrchr(path, '/');
    char *parent = slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : mem_strdup(".");
    add_directory(w, parent);
    mem_free(parent);
}

void source_watch_follow(struct source_watch *w, const struct settings *s) {
    w->settings = s;
    if (!s->reload) {
        source_watch_stop(w);
        return;
    }
    if (w->fd < 0) w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        log_warning("cannot watch the source files: %s; send SIGHUP after a change", strerror(errno));
        return;
    }
    add_tree(w, s->chdir ? s->chdir : ".", 0);
    for (size_t i = 0; i < s->pythonpath.count; i++) add_tree(w, s->pythonpath.items[i], 0);
    for (size_t i = 0; i < s->reload_extra_files.count; i++) source_watch_add(w, s->reload_extra_files.items[i]);
}

void source_watch_stop(struct source_watch *w) {
    fd_close(&w->fd);
    w->due_ms = CLOCK_NEVER;
}

static bool is_source(const struct source_watch *w, const char *name) {
    if (!fnmatch("*.py", name, FNM_PERIOD)) return true;
    for (size_t i = 0; i < w->settings->reload_extra_files.count; i++) {
        const char *pattern = w->settings->reload_extra_files.items[i], *slash = strrchr(pattern, '/');
        if (!fnmatch(slash ? slash + 1 : pattern, name, 0)) return true;
    }
    return false;
}

void source_watch_hear(struct source_watch *w, uint64_t now_ms) {
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t got;
    if (w->fd < 0) return;
    while ((got = read(w->fd, events, sizeof(events))) > 0) {
        for (const char *p = events; p < events + got;) {
            const struct inotify_event *e = (const void *)p;
            p += sizeof(*e) + e->len;
            bool is_new_directory =
                (e->mask & IN_ISDIR) && (e->mask & (IN_CREATE | IN_MOVED_TO)) && !is_skipped(e->name);
            if (is_new_directory || (e->len && !(e->mask & IN_CREATE) && is_source(w, e->name)))
                w->due_ms = now_ms + QUIET_MS;
        }
    }
}
