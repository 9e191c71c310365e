/* The table as files: conf/cserve.ini, docs/settings.md, the man page. A test holds the files in the tree against this
 * output, so what is written here must depend on nothing but the table: no date, no machine, no environment. */
#include "config/describe.h"

#include "base/version.h"
#include "config/options.h"

typedef void write_option(FILE *out, const struct option *o);

static void each_of_group(FILE *out, enum option_group group, write_option *write) {
    for (size_t i = 0; i < options_count; i++)
        if (options[i].group == group) write(out, &options[i]);
}

static bool has_ini_options(enum option_group group) {
    return group != GROUP_GUNICORN;
}

/* --- conf/cserve.ini --- */

/* As comment lines of at most 100 bytes. */
static void write_ini_comment(FILE *out, const char *text) {
    struct slice rest = slice_of(text), word;
    size_t at = 0;
    while (slice_next(&rest, ' ', &word)) {
        if (at && at + 1 + word.len > 100) {
            fputc('\n', out);
            at = 0;
        }
        at += (size_t)fprintf(out, "%s%.*s", at ? " " : "# ", SLICE_ARG(word));
    }
    fputc('\n', out);
}

static void write_ini_option(FILE *out, const struct option *o) {
    if (o->is_for_invocation) return;
    fputc('\n', out);
    write_ini_comment(out, o->help);
    if (o->variable) fprintf(out, "# Unless set, $%s counts.\n", o->variable);
    fprintf(out, "#%s =%s%s\n", o->key, *o->standard ? " " : "", o->standard);
}

void describe_ini(FILE *out) {
    fputs(
        "# Settings of cserve. Each is shown with its default; remove the '#' in front of a key to change it.\n"
        "# Sizes take k, m, g; times take ms, s, m, h, and a plain number is seconds. Lists are separated by commas, or\n"
        "# the key is repeated. Indented lines continue the value above, a '\\' at the end of a line joins it with the\n"
        "# next one, and ' ;' begins a comment. CSERVE_KEY in the environment and --key on the command line win.\n"
        "#\n"
        "#     cserve -c /etc/cserve.ini --check-config      checks a file, --print-config shows what counts\n"
        "\n[cserve]\n",
        out);
    for (enum option_group group = 0; group < GROUP_COUNT; group++) {
        if (!has_ini_options(group)) continue;
        fprintf(out, "\n# --- %s ---\n", option_group_title(group));
        each_of_group(out, group, write_ini_option);
    }
    fputs("\n# The environment of the application, a variable a line.\n"
          "[env]\n"
          "#DJANGO_SETTINGS_MODULE = site.settings\n",
          out);
}

/* --- docs/settings.md --- */

static void append_flags(const struct option *o, struct buf *out) {
    struct slice rest = o->aliases ? slice_of(o->aliases) : slice_make(NULL, 0), alias;
    if (o->flag) buf_printf(out, "`-%c`, ", o->flag);
    BUF_APPEND_LITERAL(out, "`");
    option_append_flag(o, out);
    BUF_APPEND_LITERAL(out, "`");
    while (slice_next(&rest, ' ', &alias)) buf_printf(out, ", `--%.*s`", SLICE_ARG(alias));
}

static void append_markdown_default(const struct option *o, struct buf *out) {
    if (o->variable)
        buf_printf(out, "`%s$%s`%s", o->prefix ? o->prefix : "", o->variable, *o->standard ? ", else " : "");
    if (*o->standard) buf_printf(out, "`%s`", o->standard);
}

static void write_markdown_option(FILE *out, const struct option *o) {
    struct buf flags = BUF_INIT, standard = BUF_INIT, words = BUF_INIT;
    append_flags(o, &flags);
    append_markdown_default(o, &standard);
    for (size_t i = 0; o->words && o->group != GROUP_GUNICORN && o->words[i]; i++)
        buf_printf(&words, "%s`%s`", i ? ", " : " One of ", o->words[i]);
    fprintf(out, "| `%s` | %s | %s | %s | %s%s%s |\n", o->key, buf_cstr(&flags), buf_cstr(&standard),
            o->is_reloadable ? "yes" : "", o->help, buf_cstr(&words), words.len ? "." : "");
    buf_release(&flags);
    buf_release(&standard);
    buf_release(&words);
}

void describe_markdown(FILE *out) {
    fputs(
        "# Settings\n\n"
        "Generated from the options table (`make docs`).\n\n"
        "A setting is written in the ini file (`workers = 4` in section `[cserve]`, or in front of any section), in a variable\n"
        "(`CSERVE_WORKERS=4`), in `CSERVE_CMD_ARGS`, or on the command line (`--workers 4`). The later of these win over the earlier\n"
        "ones. Section `[env]` holds the application's environment. `cserve --print-config` shows each value with its origin, and\n"
        "`cserve --check-config` checks everything, the application's import included.\n\n"
        "- Sizes take `k`, `m`, `g`. Times take `ms`, `s`, `m`, `h`; a plain number is seconds.\n"
        "- Flags are `true` or `false`; on the command line `--key` or `--no-key`.\n"
        "- Lists are separated by commas, or the key is repeated. A list replaces the same list from a weaker place; variables for\n"
        "  the application add up.\n"
        "- In the file, indented lines continue the value above, `\\` at the end of a line joins it with the next one, and ` ;` begins a\n"
        "  comment. A line may have 198 bytes.\n"
        "- An unknown name or a bad value anywhere is an error with its place and the nearest name, and exit status 1.\n\n"
        "*Reload*: a reload (SIGHUP) applies a change. Other settings need a restart.\n",
        out);
    for (enum option_group group = 0; group < GROUP_COUNT; group++) {
        fprintf(out, "\n## %s\n\n| key | command line | default | reload | meaning |\n|---|---|---|---|---|\n",
                option_group_title(group));
        each_of_group(out, group, write_markdown_option);
    }
}

/* --- docs/cserve.8 --- */

/* As roff(7) text: '-' is a minus, '\' is itself, and a line never begins with a request. */
static void write_roff(FILE *out, const char *text) {
    if (*text == '.' || *text == '\'') fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '-') fputs("\\-", out);
        else if (*text == '\\') fputs("\\e", out);
        else fputc(*text, out);
    }
}

static void write_roff_flag(FILE *out, const char *dashes, const char *name) {
    fputs("\\fB", out);
    write_roff(out, dashes);
    write_roff(out, name);
    fputs("\\fR", out);
}

static void write_man_option(FILE *out, const struct option *o) {
    struct buf flag = BUF_INIT;
    option_append_flag(o, &flag);
    fputs(".TP\n", out);
    if (o->flag) {
        char letter[] = {o->flag, '\0'};
        write_roff_flag(out, "-", letter);
        fputs(", ", out);
    }
    write_roff_flag(out, "", buf_cstr(&flag));
    buf_release(&flag);
    if (!o->type->is_flag) fprintf(out, o->implied ? " [\\fI%s\\fR]" : " \\fI%s\\fR", option_metavar(o));
    fputc('\n', out);
    write_roff(out, o->help);
    for (size_t i = 0; o->words && o->group != GROUP_GUNICORN && o->words[i]; i++)
        fprintf(out, "%s%s", i ? ", " : " One of ", o->words[i]);
    fputs(o->words && o->group != GROUP_GUNICORN ? ".\n" : "\n", out);
    if (!*o->standard && !o->variable) return;
    fputs("Default: ", out);
    if (o->variable) fprintf(out, "%s$%s%s", o->prefix ? o->prefix : "", o->variable, *o->standard ? ", else " : "");
    write_roff(out, o->standard);
    fputs(".\n", out);
}

void describe_man(FILE *out) {
    fputs(
        ".\\\" Generated from the options table (make docs).\n"
        ".TH CSERVE 8 \"\" \"cserve " CSERVE_VERSION "\" \"System Administration\"\n"
        ".SH NAME\ncserve \\- serve a WSGI application over HTTP\n"
        ".SH SYNOPSIS\n.B cserve\n[\\fIoptions\\fR] [\\fImodule\\fR:\\fIcallable\\fR]\n"
        ".SH DESCRIPTION\n"
        "A master process binds the sockets and keeps worker processes alive, each with a Python interpreter of its own. Settings come\n"
        "from an ini file, variables CSERVE_\\fIKEY\\fR, the variable CSERVE_CMD_ARGS, and the command line; the later of these win.\n"
        "In the file, section [cserve] holds the keys below with underscores for dashes, and [env] the application's environment.\n"
        "Sizes take k, m, g; times take ms, s, m, h, and a plain number is seconds. Lists are separated by commas, or repeated.\n"
        ".SH OPTIONS\n"
        ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nShow all options.\n"
        ".TP\n\\fB\\-v\\fR, \\fB\\-\\-version\\fR\nShow the version.\n",
        out);
    for (enum option_group group = 0; group < GROUP_COUNT; group++) {
        fprintf(out, ".SS %s\n", option_group_title(group));
        each_of_group(out, group, write_man_option);
    }
    fputs(
        ".SH SIGNALS\n"
        ".TP\nTERM\nStop: running requests may end within graceful_timeout.\n"
        ".TP\nINT, QUIT\nStop at once.\n"
        ".TP\nHUP\nReload: new workers with new settings and new code start first; if they cannot, the old ones stay.\n"
        ".TP\nUSR1\nOpen the logs anew.\n"
        ".TP\nTTIN, TTOU\nOne worker more, one less.\n"
        ".SH EXIT STATUS\n"
        ".TP\n0\nAll well.\n"
        ".TP\n1\nA setting is wrong.\n"
        ".TP\n3\nThe workers cannot start.\n"
        ".TP\n4\nThe application cannot be loaded.\n"
        ".SH FILES\n.TP\n\\&./cserve.ini\nRead if it is there and no other file is named.\n"
        ".SH EXAMPLES\n.nf\ncserve wsgi:app\ncserve \\-c /etc/cserve.ini \\-w 4 \\-b unix:/run/cserve.sock wsgi:app\n.fi\n",
        out);
}
