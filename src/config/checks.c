/* Settings against each other and against the file system, when each by itself has been read well. Only what would fail
 * later anyway is looked at early, and only to fail with a better message: the process layer still handles each failure
 * itself. */
#include "config/checks.h"

#include "base/mem.h"
#include "config/sources.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

struct check {
    const struct settings *s;
    struct buf *errors;
    struct buf *notes;
};

static const char *origin(const struct check *c, const char *key) {
    return settings_origin(c->s, option_find(slice_of(key)));
}

static bool is_explicit(const struct check *c, const char *key) {
    return settings_is_explicit(c->s, option_find(slice_of(key)));
}

static int check_directory(const char *path) {
    struct stat info;
    if (stat(path, &info) < 0) return -1;
    errno = ENOTDIR;
    return S_ISDIR(info.st_mode) ? 0 : -1;
}

static void check_explicit_directory(const struct check *c, const char *key, const char *path) {
    if (path && is_explicit(c, key) && check_directory(path) < 0)
        report_line(c->errors, origin(c, key), "%s '%s': %s", key, path, strerror(errno));
}

static void check_application(const struct check *c) {
    if (c->s->wsgi_app || c->s->print_config) return;
    report_line(c->errors, NULL,
                "no application is given; name it behind the options, as in 'cserve wsgi:app', or set wsgi_app");
}

static void check_directories(const struct check *c) {
    check_explicit_directory(c, "chdir", c->s->chdir);
    check_explicit_directory(c, "virtualenv", c->s->virtualenv);
    check_explicit_directory(c, "spool_dir", c->s->spool_dir);
    bool is_spool_checked = is_explicit(c, "spool_dir") && check_directory(c->s->spool_dir) == 0;
    if (is_spool_checked && access(c->s->spool_dir, W_OK | X_OK) < 0)
        report_line(c->errors, origin(c, "spool_dir"), "cannot write to spool_dir '%s': %s", c->s->spool_dir,
                    strerror(errno));
}

static void check_pidfile(const struct check *c) {
    if (!c->s->pidfile) return;
    const char *slash = strrchr(c->s->pidfile, '/');
    size_t length = slash && slash > c->s->pidfile ? (size_t)(slash - c->s->pidfile) : 1;
    char *directory = mem_strndup(slash ? c->s->pidfile : ".", length);
    if (check_directory(directory) < 0)
        report_line(c->errors, origin(c, "pidfile"), "the directory of pidfile '%s': %s", c->s->pidfile,
                    strerror(errno));
    mem_free(directory);
}

static void check_log(const struct check *c, const char *key, const char *path) {
    if (path && strncmp(path, "syslog:", 7) == 0)
        report_line(c->errors, origin(c, key), "%s cannot be '%s'; give a path, or '-'", key, path);
    if (path && strcmp(path, "-") == 0 && c->s->daemon)
        report_line(c->notes, origin(c, key), "%s '-' is lost in a daemon, which has no terminal; give a path", key);
}

static void check_together(const struct check *c) {
    const struct settings *s = c->s;
    if (s->reload && s->daemon)
        report_line(c->errors, origin(c, "reload"),
                    "reload is for development and does not go together with daemon (%s)", origin(c, "daemon"));
    if (s->max_requests_jitter && !s->max_requests)
        report_line(c->notes, origin(c, "max_requests_jitter"),
                    "max_requests_jitter does nothing without max_requests");
    if (!s->bind.count) report_line(c->errors, origin(c, "bind"), "bind is empty; give at least one address");
}

static void note_ignored(const struct check *c) {
    for (size_t i = 0; i < options_count; i++) {
        const struct option *o = &options[i];
        if (o->type == &value_ignored && settings_is_explicit(c->s, o))
            report_line(c->notes, settings_origin(c->s, o), "%s is accepted as Gunicorn's and ignored", o->key);
    }
}

void settings_check(const struct settings *s, struct buf *errors, struct buf *notes) {
    struct check c = {.s = s, .errors = errors, .notes = notes};
    check_application(&c);
    check_directories(&c);
    check_pidfile(&c);
    check_log(&c, "errorlog", s->errorlog);
    check_log(&c, "accesslog", s->accesslog);
    check_together(&c);
    note_ignored(&c);
}
