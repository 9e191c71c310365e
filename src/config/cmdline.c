/* Our own reader of arguments instead of getopt_long(3): its messages know the nearest name, and it accepts no
 * abbreviations. Must never reorder anything, nor take an option for another's value. */
#include "config/cmdline.h"

#include "base/mem.h"

struct parser {
    const struct cmdline_callbacks *callbacks;
    void *context;
    char *const *next;
    char *const *end;
    bool has_application;
    bool has_unknown; /* an unknown option was reported: what follows may have been its value */
};

static void report(struct parser *p, char *message) {
    p->callbacks->on_error(p->context, message);
    mem_free(message);
}

static bool looks_like_option(const char *word) {
    return word[0] == '-' && word[1];
}

/* The value of an option that needs one: behind '=' (or the letter), else the next argument. NULL after reporting that
 * there is none. */
static const char *take_value(struct parser *p, const char *spelling, const char *attached) {
    if (attached) return attached;
    if (p->next == p->end) report(p, mem_printf("%s: a value is missing", spelling));
    else if (looks_like_option(*p->next))
        report(p, mem_printf("%s: a value is missing in front of '%s'; if that is the value, write '%s=%s'", spelling,
                             *p->next, spelling, *p->next));
    else return *p->next++;
    return NULL;
}

/* Is the next argument one of the option's words? Else it is none of its business. */
static bool is_word_next(const struct parser *p, const struct option *o) {
    if (p->next == p->end) return false;
    for (size_t i = 0; o->words[i]; i++)
        if (strcmp(o->words[i], *p->next) == 0) return true;
    return false;
}

static void take_option(struct parser *p, const struct option *o, const char *spelling, const char *attached) {
    const char *value;
    if (o->type->is_flag) value = attached ? attached : "true";
    else if (o->implied && !attached && !is_word_next(p, o)) value = o->implied;
    else value = take_value(p, spelling, attached);
    if (value) p->callbacks->on_value(p->context, o, spelling, value);
}

static bool take_request(struct parser *p, const char *spelling, const char *attached) {
    enum cmdline_request request;
    if (strcmp(spelling, "--help") == 0 || strcmp(spelling, "-h") == 0) request = REQUEST_HELP;
    else if (strcmp(spelling, "--version") == 0 || strcmp(spelling, "-v") == 0) request = REQUEST_VERSION;
    else if (strcmp(spelling, "--generate") == 0) request = REQUEST_GENERATE;
    else return false;
    const char *value = request == REQUEST_GENERATE ? take_value(p, spelling, attached) : "";
    if (value) p->callbacks->on_request(p->context, request, value);
    return true;
}

/* "--no-sendfile": the flag behind "no-"; NULL if it is none. */
static const struct option *find_negated(struct slice name) {
    if (!slice_starts_with(name, SLICE("no-"))) return NULL;
    const struct option *o = option_find_flag(slice_make(name.data + 3, name.len - 3));
    return o && o->type->is_flag ? o : NULL;
}

static void take_negated(struct parser *p, const struct option *o, const char *spelling, const char *attached) {
    if (attached) report(p, mem_printf("%s: takes no value, but has '%s'", spelling, attached));
    else p->callbacks->on_value(p->context, o, spelling, "false");
}

static void report_unknown(struct parser *p, const char *spelling) {
    p->has_unknown = true;
    struct slice name = slice_of(spelling + 2);
    const char *reason = option_absence(name);
    if (reason) {
        report(p, mem_printf("%s: not offered: %s", spelling, reason));
        return;
    }
    const char *nearest = option_nearest(name);
    if (!nearest) {
        report(p, mem_printf("%s: no such option; 'cserve --help' lists all", spelling));
        return;
    }
    struct buf flag = BUF_INIT;
    option_append_flag(option_find(slice_of(nearest)), &flag);
    report(p, mem_printf("%s: no such option; did you mean '%s'?", spelling, buf_cstr(&flag)));
    buf_release(&flag);
}

static void take_long(struct parser *p, const char *word) {
    size_t length = strcspn(word, "=");
    const char *attached = word[length] ? word + length + 1 : NULL;
    char *spelling = mem_strndup(word, length);
    struct slice name = slice_of(spelling + 2);
    const struct option *o = option_find_flag(name);
    if (o) take_option(p, o, spelling, attached);
    else if ((o = find_negated(name))) take_negated(p, o, spelling, attached);
    else if (!take_request(p, spelling, attached)) report_unknown(p, spelling);
    mem_free(spelling);
}

/* "-w4", "-w 4", "-Dw4": flags may share a dash, the last letter takes the rest as its value. */
static void take_short(struct parser *p, const char *word) {
    for (const char *letter = word + 1; *letter; letter++) {
        char spelling[] = {'-', *letter, '\0'};
        const struct option *o = option_find_letter(*letter);
        if (!o) {
            if (take_request(p, spelling, NULL)) continue;
            report(p, mem_printf("%s: no such option; 'cserve --help' lists all", spelling));
            return;
        }
        if (o->type->is_flag) {
            take_option(p, o, spelling, NULL);
            continue;
        }
        const char *rest = letter[1] == '=' ? letter + 2 : letter + 1;
        take_option(p, o, spelling, *rest ? rest : NULL);
        return;
    }
}

static void take_application(struct parser *p, const char *word) {
    if (p->has_application && !p->has_unknown)
        report(p, mem_printf("'%s': a second application; one server serves one", word));
    p->has_application = true;
    p->callbacks->on_value(p->context, option_find(SLICE("wsgi_app")), "application", word);
}

void cmdline_parse(size_t count, char *const *words, const struct cmdline_callbacks *callbacks, void *context) {
    struct parser p = {.callbacks = callbacks, .context = context, .next = words, .end = words + count};
    bool is_past_options = false;
    while (p.next < p.end) {
        const char *word = *p.next++;
        if (!is_past_options && strcmp(word, "--") == 0) is_past_options = true;
        else if (!is_past_options && word[0] == '-' && word[1] == '-') take_long(&p, word);
        else if (!is_past_options && looks_like_option(word)) take_short(&p, word);
        else take_application(&p, word);
    }
}
