/* Collects what users wrote, wherever they wrote it, as assignments to rows of the table. A name that is no row is an
 * error with the nearest one; reading goes on, so that one attempt shows all mistakes. */
#include "config/sources.h"

#include "base/mem.h"
#include "config/cmdline.h"
#include "config/inifile.h"
#include "config/words.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

void report_line(struct buf *lines, const char *place, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (place) buf_printf(lines, "%s: ", place);
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) buf_printf(lines, "\\x%02x", (unsigned char)*c);
        else buf_append_char(lines, *c);
    }
    buf_append_char(lines, '\n');
}

static struct assignment *add(struct assignments *list, const struct option *o, char *place, const char *text) {
    list->items = mem_realloc(list->items, (list->count + 1) * sizeof(*list->items));
    struct assignment *a = &list->items[list->count++];
    *a = (struct assignment){.option = o, .text = mem_strdup(text), .place = place};
    return a;
}

void assignments_release(struct assignments *list) {
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->items[i].text);
        mem_free(list->items[i].place);
    }
    mem_free(list->items);
    *list = (struct assignments){NULL, 0};
}

/* --- command lines --- */

struct arguments {
    struct assignments *out;
    struct buf *errors;
    const char *variable; /* that holds them; NULL: the command line itself */
};

static void on_argument(void *context, const struct option *o, const char *spelling, const char *value) {
    struct arguments *a = context;
    char *place = a->variable ? mem_printf("%s in %s", spelling, a->variable) : mem_strdup(spelling);
    add(a->out, o, place, value);
}

static void on_request(void *context, enum cmdline_request request UNUSED, const char *value UNUSED) {
    struct arguments *a = context;
    if (a->variable) report_line(a->errors, a->variable, "help and version are for the command line");
}

static void on_argument_error(void *context, const char *message) {
    struct arguments *a = context;
    report_line(a->errors, a->variable, "%s", message);
}

static const struct cmdline_callbacks argument_callbacks = {
    .on_value = on_argument, .on_request = on_request, .on_error = on_argument_error};

void source_command_line(struct assignments *out, int argc, char **argv, struct buf *errors) {
    struct arguments a = {.out = out, .errors = errors};
    if (argc > 1) cmdline_parse((size_t)argc - 1, argv + 1, &argument_callbacks, &a);
}

void source_arguments_variable(struct assignments *out, struct buf *errors) {
    static const char variable[] = "CSERVE_CMD_ARGS";
    const char *text = getenv(variable);
    if (!text) return;
    struct string_list words = {NULL, 0};
    struct arguments a = {.out = out, .errors = errors, .variable = variable};
    if (words_split(text, &words)) cmdline_parse(words.count, words.items, &argument_callbacks, &a);
    else report_line(errors, variable, "'%s' has a quote that is not closed", text);
    string_list_release(&words);
}

/* --- variables --- */

static const char variable_prefix[] = "CSERVE_";

static void append_upper(struct buf *out, const char *key) {
    for (; *key; key++) buf_append_char(out, ascii_upper(*key));
}

/* Kubernetes sets CSERVE_SERVICE_HOST, CSERVE_PORT_8000_TCP and so on in every pod when a service is called
 * "cserve". */
static bool is_of_kubernetes(struct slice name) {
    return slice_equal(name, SLICE("PORT")) || slice_starts_with(name, SLICE("PORT_")) ||
           slice_starts_with(name, SLICE("SERVICE_"));
}

static void report_unknown_variable(struct slice name, struct slice key, struct buf *errors) {
    const char *nearest = option_nearest(key);
    struct buf hint = BUF_INIT;
    if (nearest) {
        buf_printf(&hint, "; did you mean '%s", variable_prefix);
        append_upper(&hint, nearest);
        BUF_APPEND_LITERAL(&hint, "'?");
    }
    report_line(errors, NULL, "%s%.*s: no setting has this name%s", variable_prefix, SLICE_ARG(name), buf_cstr(&hint));
    buf_release(&hint);
}

static void read_variable(struct assignments *out, struct slice name, const char *value, struct buf *errors,
                          struct buf *notes) {
    if (slice_equal(name, SLICE("CMD_ARGS"))) return;
    struct buf key = BUF_INIT;
    for (size_t i = 0; i < name.len; i++) buf_append_char(&key, ascii_lower(name.data[i]));
    const struct option *o = option_find(buf_slice(&key));
    if (o) add(out, o, mem_printf("%s%.*s", variable_prefix, SLICE_ARG(name)), value);
    else if (is_of_kubernetes(name))
        report_line(notes, NULL, "%s%.*s: taken for a variable of Kubernetes, ignored", variable_prefix,
                    SLICE_ARG(name));
    else report_unknown_variable(name, buf_slice(&key), errors);
    buf_release(&key);
}

void source_variables(struct assignments *out, struct buf *errors, struct buf *notes) {
    for (char **variable = environ; variable && *variable; variable++) {
        struct slice name = slice_of(*variable);
        if (!slice_starts_with(name, slice_of(variable_prefix))) continue;
        size_t equals = slice_find(name, '='), prefix = sizeof(variable_prefix) - 1;
        if (equals == name.len) continue;
        read_variable(out, slice_make(name.data + prefix, equals - prefix), *variable + equals + 1, errors, notes);
    }
}

/* --- files --- */

struct file {
    struct assignments *out;
    struct buf *errors;
    const char *path;
    size_t first;  /* of this file's assignments in `out` */
    bool is_known; /* the current section is one of ours */
    bool is_open;  /* the last value was taken: continuation lines belong to it */
};

static bool is_settings_section(const char *name) {
    return !*name || strcmp(name, "cserve") == 0;
}

static bool is_environment_section(const char *name) {
    return strcmp(name, "env") == 0;
}

static char *file_place(const struct file *f, unsigned line) {
    return mem_printf("%s:%u", f->path, line);
}

static void on_file_error(void *context, unsigned line, const char *message) {
    struct file *f = context;
    char *place = file_place(f, line);
    report_line(f->errors, place, "%s", message);
    mem_free(place);
    f->is_open = false;
}

/* Reports `message` and frees it. */
static void file_error(struct file *f, unsigned line, char *message) {
    on_file_error(f, line, message);
    mem_free(message);
}

static void on_section(void *context, unsigned line, const char *name) {
    struct file *f = context;
    f->is_open = false;
    f->is_known = (is_settings_section(name) && *name) || is_environment_section(name);
    if (f->is_known) return;
    struct slice written = slice_of(name);
    bool is_near_env = edit_distance(written, SLICE("env"), 2) < edit_distance(written, SLICE("cserve"), 3);
    file_error(f, line,
               mem_printf("unknown section '[%s]'; did you mean '%s'? There are [cserve] and [env]", name,
                          is_near_env ? "[env]" : "[cserve]"));
}

/* A key that is written twice: which of both was meant is anybody's guess. */
static bool is_repeated(struct file *f, const struct option *o, unsigned line) {
    for (size_t i = f->first; i < f->out->count && !o->type->is_list; i++) {
        if (f->out->items[i].option != o) continue;
        file_error(f, line, mem_printf("'%s' is set again; it was set in line %u", o->key, f->out->items[i].line));
        return true;
    }
    return false;
}

static const struct option *find_for_file(struct file *f, const struct ini_value *v) {
    const struct option *o = option_find(slice_of(v->key));
    if (!o) {
        const char *reason = option_absence(slice_of(v->key)), *nearest = option_nearest(slice_of(v->key));
        if (reason) file_error(f, v->line, mem_printf("'%s' is not offered: %s", v->key, reason));
        else if (nearest)
            file_error(f, v->line, mem_printf("unknown setting '%s'; did you mean '%s'?", v->key, nearest));
        else file_error(f, v->line, mem_printf("unknown setting '%s'; docs/settings.md lists all", v->key));
        return NULL;
    }
    if (o->is_for_invocation) {
        file_error(f, v->line, mem_printf("'%s' is for the command line, not for a file", o->key));
        return NULL;
    }
    return is_repeated(f, o, v->line) ? NULL : o;
}

static void add_from_file(struct file *f, const struct option *o, unsigned line, const char *text) {
    add(f->out, o, file_place(f, line), text)->line = line;
    f->is_open = true;
}

/* An indented line: another item of a list, or more of a text. Variables keep the line break. */
static void continue_value(struct file *f, const struct ini_value *v) {
    if (!f->is_open) return; /* the value above was refused, with a message */
    struct assignment *last = &f->out->items[f->out->count - 1];
    if (last->option->type->is_list && !is_environment_section(v->section)) {
        add_from_file(f, last->option, v->line, v->value);
        return;
    }
    const char *separator = is_environment_section(v->section) ? "\n" : *last->text ? " " : "";
    char *longer = mem_printf("%s%s%s", last->text, separator, v->value);
    mem_free(last->text);
    last->text = longer;
}

static void on_value(void *context, const struct ini_value *v) {
    struct file *f = context;
    if (!f->is_known) return;
    if (v->is_continuation) {
        continue_value(f, v);
    } else if (is_environment_section(v->section)) {
        char *text = mem_printf("%s=%s", v->key, v->value);
        add_from_file(f, option_find(SLICE("raw_env")), v->line, text);
        mem_free(text);
    } else {
        f->is_open = false;
        const struct option *o = find_for_file(f, v);
        if (o) add_from_file(f, o, v->line, v->value);
    }
}

/* In [cserve], what a known key begins; in [env], what an upper-case name begins. */
static bool is_own_line(void *context UNUSED, const char *section, struct slice text) {
    if (slice_equal(text, SLICE("[cserve]")) || slice_equal(text, SLICE("[env]"))) return true;
    size_t end = slice_find(text, '=');
    if (end == text.len) return false;
    struct slice name = slice_trim(slice_make(text.data, end));
    if (!is_environment_section(section)) return option_find(name) != NULL;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9' && i) && c != '_') return false;
    }
    return name.len > 0;
}

void source_file(struct assignments *out, const char *path, struct buf *errors) {
    static const struct ini_callbacks callbacks = {
        .on_section = on_section, .on_value = on_value, .on_error = on_file_error, .is_own_line = is_own_line};
    size_t length = strlen(path);
    if (length > 3 && strcmp(path + length - 3, ".py") == 0) {
        report_line(errors, NULL, "'%s' is Python; settings are read from ini files", path);
        return;
    }
    struct buf text = BUF_INIT;
    struct file f = {.out = out, .errors = errors, .path = path, .first = out->count, .is_known = true};
    if (inifile_load(path, &text) == 0) inifile_parse(buf_slice(&text), &callbacks, &f);
    else report_line(errors, NULL, "cannot read the settings in '%s': %s", path, strerror(errno));
    buf_release(&text);
}
