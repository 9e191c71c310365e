/* Settings in layers: each source is collected whole, then the layers are applied from the weakest to the strongest,
 * then the defaults where no layer said anything. A list of a stronger layer replaces that of a weaker one; variables
 * of the application add up. Must never change the process, nor log: a reload reads here while the old generation
 * serves. */
#include "config/settings.h"

#include "base/mem.h"
#include "base/version.h"
#include "config/checks.h"
#include "config/cmdline.h"
#include "config/describe.h"
#include "config/sources.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

enum layer { LAYER_DEFAULT, LAYER_FILE, LAYER_VARIABLES, LAYER_ARGUMENTS_VARIABLE, LAYER_COMMAND_LINE, LAYER_COUNT };

struct setting_origin {
    enum layer layer;
    char *text;
};

struct setting_origins {
    size_t count;
    struct setting_origin of[]; /* in the order of the table */
};

struct loader {
    struct settings *s;
    struct assignments layers[LAYER_COUNT];
    const char *path; /* of the file; NULL: none */
    struct buf *errors;
    struct buf *notes;
};

static struct setting_origin *origin_of(const struct settings *s, const struct option *o) {
    return &s->origins->of[o - options];
}

const char *settings_origin(const struct settings *s, const struct option *o) {
    return origin_of(s, o)->text;
}

bool settings_is_explicit(const struct settings *s, const struct option *o) {
    return origin_of(s, o)->layer != LAYER_DEFAULT;
}

static void set_origin(struct settings *s, const struct option *o, enum layer layer, char *text) {
    struct setting_origin *origin = origin_of(s, o);
    mem_free(origin->text);
    *origin = (struct setting_origin){layer, text};
}

/* --- applying --- */

static void parse_into(struct loader *l, const struct option *o, const char *place, const char *text) {
    char *message = o->type->parse(o, option_field(o, l->s), text);
    if (message) report_line(l->errors, place, "%s: %s", o->key, message);
    mem_free(message);
}

static void apply(struct loader *l, enum layer layer, const struct assignment *a) {
    static const char *const prefixes[LAYER_COUNT] = {"", "", "variable ", "", "command line "};
    const struct option *o = a->option;
    bool is_stronger = layer > origin_of(l->s, o)->layer;
    if (is_stronger && o->type->release && o->type != &value_environment) o->type->release(option_field(o, l->s));
    parse_into(l, o, a->place, a->text);
    if (is_stronger || !o->type->is_list) set_origin(l->s, o, layer, mem_printf("%s%s", prefixes[layer], a->place));
}

static void apply_default(struct loader *l, const struct option *o) {
    const char *inherited = o->variable ? getenv(o->variable) : NULL;
    if (!inherited || !*inherited) {
        parse_into(l, o, "default", o->standard);
        set_origin(l->s, o, LAYER_DEFAULT, mem_strdup("default"));
        return;
    }
    char *text = mem_printf("%s%s", o->prefix ? o->prefix : "", inherited);
    parse_into(l, o, o->variable, text);
    set_origin(l->s, o, LAYER_DEFAULT, mem_printf("variable %s", o->variable));
    mem_free(text);
}

static void apply_layers(struct loader *l) {
    for (enum layer layer = LAYER_FILE; layer < LAYER_COUNT; layer++)
        for (size_t i = 0; i < l->layers[layer].count; i++) apply(l, layer, &l->layers[layer].items[i]);
    for (size_t i = 0; i < options_count; i++)
        if (!settings_is_explicit(l->s, &options[i])) apply_default(l, &options[i]);
}

/* --- collecting --- */

/* What the strongest layer says about `key`, before anything is applied; NULL if no layer does. */
static const char *find_text(const struct loader *l, const char *key) {
    const struct option *o = option_find(slice_of(key));
    for (enum layer layer = LAYER_COUNT; layer-- > LAYER_FILE;) {
        const struct assignments *list = &l->layers[layer];
        for (size_t i = list->count; i-- > 0;)
            if (list->items[i].option == o) return list->items[i].text;
    }
    return NULL;
}

static void collect(struct loader *l, int argc, char **argv) {
    static const char usual[] = "./cserve.ini";
    source_command_line(&l->layers[LAYER_COMMAND_LINE], argc, argv, l->errors);
    source_arguments_variable(&l->layers[LAYER_ARGUMENTS_VARIABLE], l->errors);
    source_variables(&l->layers[LAYER_VARIABLES], l->errors, l->notes);
    l->path = find_text(l, "config");
    if (!l->path && access(usual, F_OK) == 0) l->path = usual;
    if (l->path) source_file(&l->layers[LAYER_FILE], l->path, l->errors);
}

/* --- what follows from other settings --- */

/* For initgroups(3). Several names may share a number: the one that was given counts. */
static void find_user_name(struct loader *l) {
    if (l->s->user == UID_UNSET) return;
    const char *given = find_text(l, "user");
    const struct passwd *entry = given ? getpwnam(given) : NULL;
    if (!entry) entry = getpwuid(l->s->user);
    if (entry) l->s->user_name = mem_strdup(entry->pw_name);
}

/* The environment that cserve is installed in: DIR of DIR/bin/cserve, if DIR/pyvenv.cfg says that it is one (PEP
 * 405). */
static void find_own_virtualenv(struct settings *s) {
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (length <= 0) return;
    path[length] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(path, '/');
        if (!slash) return;
        *slash = '\0';
    }
    char *mark = mem_printf("%s/pyvenv.cfg", path);
    if (access(mark, R_OK) == 0) {
        s->virtualenv = mem_strdup(path);
        set_origin(s, option_find(SLICE("virtualenv")), LAYER_DEFAULT, mem_strdup("the environment that holds cserve"));
    }
    mem_free(mark);
}

static void forget_stale_virtualenv(struct loader *l) {
    const struct option *o = option_find(SLICE("virtualenv"));
    if (!l->s->virtualenv || settings_is_explicit(l->s, o) || access(l->s->virtualenv, X_OK) == 0) return;
    report_line(l->notes, o->variable, "there is no '%s', ignored", l->s->virtualenv);
    o->type->release(&l->s->virtualenv);
    set_origin(l->s, o, LAYER_DEFAULT, mem_strdup("default"));
}

static void complete(struct loader *l) {
    struct settings *s = l->s;
    find_user_name(l);
    if (l->path && !s->config) value_path.parse(NULL, &s->config, l->path);
    forget_stale_virtualenv(l);
    if (!s->virtualenv) find_own_virtualenv(s);
    if (!s->chdir) s->chdir = getcwd(NULL, 0);
    if (!s->proc_name && s->wsgi_app) s->proc_name = mem_strdup(s->wsgi_app);
}

/* --- public --- */

static struct settings *settings_new(void) {
    struct settings *s = MEM_NEW(struct settings);
    s->origins = mem_zalloc(1, sizeof(*s->origins) + options_count * sizeof(s->origins->of[0]));
    s->origins->count = options_count;
    s->user = s->socket_owner = UID_UNSET;
    s->group = s->socket_group = GID_UNSET;
    return s;
}

struct settings *settings_load(int argc, char **argv, struct buf *errors, struct buf *notes) {
    struct loader l = {.s = settings_new(), .errors = errors, .notes = notes};
    size_t errors_before = errors->len;
    collect(&l, argc, argv);
    apply_layers(&l);
    complete(&l);
    if (errors->len == errors_before) settings_check(l.s, errors, notes);
    for (enum layer layer = LAYER_FILE; layer < LAYER_COUNT; layer++) assignments_release(&l.layers[layer]);
    if (errors->len == errors_before) return l.s;
    settings_free(l.s);
    return NULL;
}

void settings_free(struct settings *s) {
    if (!s) return;
    for (size_t i = 0; i < s->origins->count; i++) {
        if (options[i].type->release) options[i].type->release(option_field(&options[i], s));
        mem_free(s->origins->of[i].text);
    }
    mem_free(s->origins);
    mem_free(s->user_name);
    mem_free(s);
}

/* --- help and the like --- */

struct early {
    bool is_asked;
    enum cmdline_request request;
    char *value;
};

static void on_early_value(void *context UNUSED, const struct option *o UNUSED, const char *spelling UNUSED,
                           const char *value UNUSED) {}

static void on_early_error(void *context UNUSED, const char *message UNUSED) {}

static void on_early_request(void *context, enum cmdline_request request, const char *value) {
    struct early *early = context;
    if (early->is_asked) return;
    *early = (struct early){.is_asked = true, .request = request, .value = mem_strdup(value)};
}

static void answer_generate(const char *what) {
    static const struct {
        const char *name;
        void (*describe)(FILE *out);
    } files[] = {{"ini", describe_ini}, {"markdown", describe_markdown}, {"man", describe_man}};
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
        if (strcmp(files[i].name, what) != 0) continue;
        files[i].describe(stdout);
        return;
    }
    die(EXIT_SETTINGS, "--generate: '%s' is none of 'ini', 'markdown', 'man'", what);
}

bool settings_answer_early(int argc, char **argv, const char *version_details) {
    static const struct cmdline_callbacks callbacks = {
        .on_value = on_early_value, .on_request = on_early_request, .on_error = on_early_error};
    struct early early = {.is_asked = false};
    if (argc > 1) cmdline_parse((size_t)argc - 1, argv + 1, &callbacks, &early);
    if (!early.is_asked) return false;
    if (early.request == REQUEST_HELP) describe_help(stdout);
    else if (early.request == REQUEST_VERSION)
        printf("cserve " CSERVE_VERSION "%s%s\n", version_details && *version_details ? " " : "",
               version_details ? version_details : "");
    else answer_generate(early.value);
    mem_free(early.value);
    fflush(stdout);
    return true;
}
