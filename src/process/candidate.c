/* Reads the settings for a reload.
 *
 * Settings that only a restart applies keep their value, and the log says so: a new generation must not be half of
 * something else. Reads files and variables; must never change what the present generation uses. */
#include "process/arbiter.h"

#include "base/mem.h"
#include "config/options.h"

#include <errno.h>
#include <unistd.h>

/* Every line of a text of messages, at `level`. */
static void log_lines(enum log_level level, const char *prefix, const struct buf *text) {
    struct slice rest = buf_slice(text), line;
    while (slice_next(&rest, '\n', &line))
        if (line.len) log_write(level, "%s%.*s", prefix, SLICE_ARG(line));
}

/* NULL after logging why. Relative paths count from where cserve was started, as the first time. */
static struct settings *read_anew(struct arbiter *a) {
    struct buf errors = BUF_INIT, notes = BUF_INIT;
    if (a->start_directory_fd >= 0 && fchdir(a->start_directory_fd))
        log_warning("cannot go back to the directory of the start: %s; relative paths may fail", strerror(errno));
    struct settings *s = settings_load(a->argc, a->argv, &errors, &notes);
    log_lines(LOG_LEVEL_WARNING, "", &notes);
    if (!s) log_lines(LOG_LEVEL_ERROR, "cannot reload: ", &errors);
    buf_release(&errors);
    buf_release(&notes);
    return s;
}

static int enter_directory(const struct settings *s) {
    if (!s->chdir || !chdir(s->chdir)) return 0;
    log_error("cannot change to the directory '%s': %s", s->chdir, strerror(errno));
    return -1;
}

void candidate_leave_directory(const struct arbiter *a) {
    if (a->current) enter_directory(a->current->settings);
}

/* ---- what a reload does not apply ---- */

static void format(const struct option *o, const struct settings *s, struct buf *out) {
    buf_reset(out);
    o->type->format(o, option_field_of(o, s), out);
    buf_cstr(out);
}

static void put_back(const struct option *o, struct settings *s, const char *text) {
    void *field = option_field(o, s);
    if (o->type->release) o->type->release(field);
    else memset(field, 0, o->width);
    mem_free(o->type->parse(o, field, text));
}

static void keep_unreloadable(const struct settings *old, struct settings *fresh) {
    struct buf before = BUF_INIT, after = BUF_INIT;
    for (size_t i = 0; i < options_count; i++) {
        const struct option *o = &options[i];
        if (o->is_reloadable || o->is_for_invocation || !o->width) continue;
        format(o, old, &before);
        format(o, fresh, &after);
        if (slice_equal(buf_slice(&before), buf_slice(&after))) continue;
        log_warning("%s: a restart applies the change from '%.*s' to '%.*s', a reload does not", o->key,
                    SLICE_ARG(buf_slice(&before)), SLICE_ARG(buf_slice(&after)));
        put_back(o, fresh, before.data);
    }
    mem_free(fresh->user_name);
    fresh->user_name = old->user_name ? mem_strdup(old->user_name) : NULL;
    buf_release(&before);
    buf_release(&after);
}

struct settings *candidate_read(struct arbiter *a) {
    struct settings *s = read_anew(a);
    if (!s) return NULL;
    keep_unreloadable(a->current->settings, s);
    if (!enter_directory(s)) return s;
    settings_free(s);
    return NULL;
}
