/* The table as text for people at a terminal: --help and --print-config. The files for readers are in generate.c. */
#include "config/describe.h"

#include "config/options.h"

enum { WIDTH = 100, HELP_COLUMN = 36 };

/* Writes `text` in lines of at most WIDTH, each but the first indented to `column`. The cursor is at `column`
 * already. */
static void write_wrapped(FILE *out, const char *text, size_t column) {
    struct slice rest = slice_of(text), word;
    size_t at = column;
    while (slice_next(&rest, ' ', &word)) {
        if (at > column && at + 1 + word.len > WIDTH) {
            fprintf(out, "\n%*s", (int)column, "");
            at = column;
        } else if (at > column) {
            fputc(' ', out);
            at++;
        }
        fwrite(word.data, 1, word.len, out);
        at += word.len;
    }
    fputc('\n', out);
}

static void append_invocation(const struct option *o, struct buf *out) {
    if (o->flag) buf_printf(out, "  -%c, ", o->flag);
    else BUF_APPEND_LITERAL(out, "      ");
    option_append_flag(o, out);
    if (o->implied) buf_printf(out, " [%s]", option_metavar(o));
    else if (!o->type->is_flag) buf_printf(out, " %s", option_metavar(o));
}

static void append_words(const struct option *o, struct buf *out) {
    if (!o->words || o->group == GROUP_GUNICORN) return;
    for (size_t i = 0; o->words[i]; i++) buf_printf(out, "%s%s", i ? ", " : " One of ", o->words[i]);
    buf_append_char(out, '.');
}

static void append_default(const struct option *o, struct buf *out) {
    if (o->variable && *o->standard)
        buf_printf(out, " (default: %s$%s, else %s)", o->prefix ? o->prefix : "", o->variable, o->standard);
    else if (o->variable) buf_printf(out, " (default: $%s)", o->variable);
    else if (*o->standard && !(o->type->is_flag && strcmp(o->standard, "false") == 0))
        buf_printf(out, " (default: %s)", o->standard);
}

static void write_option(FILE *out, const struct option *o) {
    struct buf left = BUF_INIT, right = BUF_INIT;
    append_invocation(o, &left);
    buf_append_cstr(&right, o->help);
    append_words(o, &right);
    append_default(o, &right);
    if (left.len + 2 > HELP_COLUMN) fprintf(out, "%s\n%*s", buf_cstr(&left), HELP_COLUMN, "");
    else fprintf(out, "%-*s", HELP_COLUMN, buf_cstr(&left));
    write_wrapped(out, buf_cstr(&right), HELP_COLUMN);
    buf_release(&left);
    buf_release(&right);
}

void describe_help(FILE *out) {
    fputs("usage: cserve [options] [module:callable]\n\n"
          "Serves a WSGI application over HTTP. Settings come from the command line, CSERVE_CMD_ARGS,\n"
          "variables CSERVE_KEY and an ini file; an earlier one of these wins over a later one. Sizes take\n"
          "k, m, g; times take ms, s, m, h, and a plain number is seconds; lists are separated by commas, or\n"
          "the option is repeated. --no-KEY turns a flag off.\n",
          out);
    for (enum option_group group = 0; group < GROUP_COUNT; group++) {
        fprintf(out, "\n%s:\n", option_group_title(group));
        for (size_t i = 0; i < options_count; i++)
            if (options[i].group == group) write_option(out, &options[i]);
    }
    fputs("\nThe command itself:\n"
          "  -h, --help                        Show this list.\n"
          "  -v, --version                     Show the version.\n"
          "\nExit status: 0 all well, 1 settings, 3 the workers cannot start, 4 the application cannot be loaded.\n",
          out);
}

/* A line for each line of the value: what has several is repeated when it is written in a file. */
static void write_setting(FILE *out, const struct settings *s, const struct option *o) {
    struct buf text = BUF_INIT;
    o->type->format(o, option_field_of(o, s), &text);
    struct slice rest = slice_of(buf_cstr(&text)), line;
    while (slice_next(&rest, '\n', &line))
        fprintf(out, "%s =%s%.*s  ; %s\n", o->key, line.len ? " " : "", SLICE_ARG(line), settings_origin(s, o));
    buf_release(&text);
}

void describe_settings(const struct settings *s, FILE *out) {
    if (s->config) fprintf(out, "; settings file: %s\n", s->config);
    fputs("[cserve]\n", out);
    for (size_t i = 0; i < options_count; i++)
        if (!options[i].is_for_invocation && options[i].group != GROUP_GUNICORN) write_setting(out, s, &options[i]);
}
