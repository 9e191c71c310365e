/* Values that stay text: strings, paths, the application's name, and lists of them. A path is made absolute at once,
 * because the process may change its directory later. Must never look into the file system: the checks of settings.c
 * do. */
#include "config/value.h"

#include "base/mem.h"
#include "config/options.h"

#include <unistd.h>

static void replace(void *field, char *text) {
    mem_free(*(char **)field);
    *(char **)field = text;
}

static void string_release(void *field) {
    replace(field, NULL);
}

static char *text_parse(const struct option *o UNUSED, void *field, const char *text) {
    replace(field, mem_strdup(text));
    return NULL;
}

static char *string_parse(const struct option *o UNUSED, void *field, const char *text) {
    replace(field, *text ? mem_strdup(text) : NULL);
    return NULL;
}

static void string_format(const struct option *o UNUSED, const void *field, struct buf *out) {
    const char *text = *(char *const *)field;
    if (text) buf_append_cstr(out, text);
}

const struct value_type value_string = {
    .metavar = "TEXT", .parse = string_parse, .format = string_format, .release = string_release};
const struct value_type value_text = {
    .metavar = "TEXT", .parse = text_parse, .format = string_format, .release = string_release};

/* --- paths --- */

/* What stands for a file but is none. */
static bool is_special(const char *path) {
    return strcmp(path, "-") == 0 || strncmp(path, "syslog:", 7) == 0;
}

static char *absolute(const char *path) {
    if (*path == '/' || is_special(path)) return mem_strdup(path);
    while (path[0] == '.' && path[1] == '/') path += 1 + strspn(path + 1, "/");
    char *here = getcwd(NULL, 0);
    if (!here) return mem_strdup(path); /* a deleted directory: the path leads nowhere either way */
    bool is_here = !*path || strcmp(path, ".") == 0;
    char *joined = is_here ? mem_strdup(here) : mem_printf("%s/%s", strcmp(here, "/") == 0 ? "" : here, path);
    mem_free(here);
    return joined;
}

static char *path_parse(const struct option *o UNUSED, void *field, const char *text) {
    replace(field, *text ? absolute(text) : NULL);
    return NULL;
}

const struct value_type value_path = {
    .metavar = "PATH", .parse = path_parse, .format = string_format, .release = string_release};

/* --- the application --- */

/* What a user who wrote a path meant: "dir/wsgi.py:app" is "--chdir dir wsgi:app". */
static char *path_message(const char *text, struct slice module, struct slice callable) {
    size_t slash = module.len;
    while (slash && module.data[slash - 1] != '/') slash--;
    struct slice directory = slice_make(module.data, slash > 1 ? slash - 1 : slash);
    struct slice name = slice_make(module.data + slash, module.len - slash);
    if (name.len > 3 && slice_equal(slice_make(name.data + name.len - 3, 3), SLICE(".py"))) name.len -= 3;

    struct buf message = BUF_INIT;
    buf_printf(&message, "'%s' is a path, not a module; write '", text);
    if (directory.len) buf_printf(&message, "--chdir %.*s ", SLICE_ARG(directory));
    buf_append_slice(&message, name);
    if (callable.len) buf_printf(&message, ":%.*s", SLICE_ARG(callable));
    buf_append_char(&message, '\'');
    if (!callable.len && !directory.len) buf_printf(&message, " or '%.*s:application'", SLICE_ARG(name));
    return buf_cstr(&message);
}

static char *application_parse(const struct option *o, void *field, const char *text) {
    size_t colon = slice_find(slice_of(text), ':');
    struct slice module = slice_make(text, colon), callable = slice_of(text[colon] ? text + colon + 1 : "");
    bool is_path =
        slice_find(module, '/') < module.len || (module.len > 3 && strncmp(text + module.len - 3, ".py", 3) == 0);
    if (is_path) return path_message(text, module, callable);
    if (*text && !module.len) return mem_printf("'%s' names no module; write 'module:callable'", text);
    if (text[colon] && !callable.len)
        return mem_printf("'%s' names nothing behind the colon; write 'module:callable'", text);
    for (size_t i = 0; i < module.len; i++)
        if (module.data[i] == ' ' || module.data[i] == '\t')
            return mem_printf("'%s' holds a space in the module's name; write 'module:callable'", text);
    return string_parse(o, field, text);
}

const struct value_type value_application = {
    .metavar = "MODULE:CALLABLE", .parse = application_parse, .format = string_format, .release = string_release};

/* --- lists --- */

void string_list_append(struct string_list *list, const char *item, size_t length) {
    list->items = mem_realloc(list->items, (list->count + 1) * sizeof(*list->items));
    list->items[list->count++] = mem_strndup(item, length);
}

void string_list_release(struct string_list *list) {
    for (size_t i = 0; i < list->count; i++) mem_free(list->items[i]);
    mem_free(list->items);
    *list = (struct string_list){NULL, 0};
}

static void list_release(void *field) {
    string_list_release(field);
}

char *value_each_item(const char *text, char *(*add)(void *field, struct slice item), void *field) {
    struct slice rest = slice_of(text), item;
    char *message = NULL;
    while (!message && slice_next(&rest, ',', &item)) {
        item = slice_trim(item);
        if (item.len) message = add(field, item);
    }
    return message;
}

static char *list_add(void *field, struct slice item) {
    string_list_append(field, item.data, item.len);
    return NULL;
}

static char *list_parse(const struct option *o UNUSED, void *field, const char *text) {
    return value_each_item(text, list_add, field);
}

static char *path_list_add(void *field, struct slice item) {
    char *path = mem_strndup(item.data, item.len), *whole = absolute(path);
    string_list_append(field, whole, strlen(whole));
    mem_free(whole);
    mem_free(path);
    return NULL;
}

static char *path_list_parse(const struct option *o UNUSED, void *field, const char *text) {
    return value_each_item(text, path_list_add, field);
}

static void append_joined(const struct string_list *list, const char *separator, struct buf *out) {
    for (size_t i = 0; i < list->count; i++) {
        if (i) buf_append_cstr(out, separator);
        buf_append_cstr(out, list->items[i]);
    }
}

static void list_format(const struct option *o UNUSED, const void *field, struct buf *out) {
    append_joined(field, ", ", out);
}

const struct value_type value_list = {
    .metavar = "TEXT", .is_list = true, .parse = list_parse, .format = list_format, .release = list_release};
const struct value_type value_path_list = {
    .metavar = "PATH", .is_list = true, .parse = path_list_parse, .format = list_format, .release = list_release};

/* --- the application's environment --- */

static char *environment_parse(const struct option *o UNUSED, void *field, const char *text) {
    if (!*text) return NULL;
    struct string_list *list = field;
    size_t name = slice_find(slice_of(text), '=');
    if (!name || !text[name]) return mem_printf("'%s' is not NAME=VALUE", text);
    for (size_t i = 0; i < list->count; i++) {
        if (strncmp(list->items[i], text, name + 1) != 0) continue;
        replace(&list->items[i], mem_strdup(text));
        return NULL;
    }
    string_list_append(list, text, strlen(text));
    return NULL;
}

static void environment_format(const struct option *o UNUSED, const void *field, struct buf *out) {
    append_joined(field, "\n", out);
}

const struct value_type value_environment = {.metavar = "NAME=VALUE",
                                             .is_list = true,
                                             .parse = environment_parse,
                                             .format = environment_format,
                                             .release = list_release};

/* --- Gunicorn's --- */

static char *ignored_parse(const struct option *o, void *field UNUSED, const char *text) {
    if (!*text || !o->words) return NULL;
    for (size_t i = 0; o->words[i]; i++)
        if (strcmp(o->words[i], text) == 0) return NULL;
    return mem_printf("'%s' is not offered: one kind of worker does what 'sync' and 'gthread' do; leave it out", text);
}

static void ignored_format(const struct option *o UNUSED, const void *field UNUSED, struct buf *out UNUSED) {}

const struct value_type value_ignored = {.metavar = "TEXT", .parse = ignored_parse, .format = ignored_format};
