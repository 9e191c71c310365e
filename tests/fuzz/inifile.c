/* Fuzzes the ini reader: every line that is neither blank nor a comment ends in a section, a value or an error that
 * names it; what is handed on stands in the file, in order. The last byte of an input answers for is_own_line. */
#include "fuzz.h"

#include "base/mem.h"
#include "config/inifile.h"

#define LINES_MAX 8192

struct seen {
    bool lines[LINES_MAX + 1];
    bool owns_lines;
    bool has_error;
    unsigned last_line;
};

static void see(struct seen *s, unsigned line) {
    MUST(line >= 1 && line <= LINES_MAX);
    MUST(line >= s->last_line);
    s->last_line = line;
    s->lines[line] = true;
}

static void on_section(void *context, unsigned line, const char *name) {
    MUST(!strpbrk(name, "\r\n"));
    see(context, line);
}

static void on_value(void *context, const struct ini_value *value) {
    MUST(value->section && value->key && value->value);
    MUST(!strpbrk(value->key, "\r\n") && !strpbrk(value->value, "\r\n"));
    see(context, value->line);
}

static void on_error(void *context, unsigned line, const char *message) {
    struct seen *s = context;
    MUST(message && *message);
    s->has_error = true;
    see(s, line);
}

static bool is_own_line(void *context, const char *section, struct slice text) {
    MUST(section && text.len);
    return ((struct seen *)context)->owns_lines;
}

/* Without the blanks that isspace(3) knows in the C locale, which inih goes by. */
static struct slice strip(struct slice s) {
    while (s.len && strchr(" \t\r\v\f", s.data[s.len - 1])) s.len--;
    while (s.len && strchr(" \t\r\v\f", s.data[0])) s = slice_make(s.data + 1, s.len - 1);
    return s;
}

static void check_nothing_is_skipped(const struct seen *s, struct slice text) {
    struct slice line;
    bool joins = false;
    unsigned number = 0;
    if (slice_starts_with(text, SLICE("\xef\xbb\xbf"))) text = slice_make(text.data + 3, text.len - 3);
    while (slice_next(&text, '\n', &line)) {
        number++;
        line = strip(line);
        bool is_text = line.len && line.data[0] != ';' && line.data[0] != '#';
        if (is_text && !joins) MUST(s->lines[number]);
        joins = slice_find(line, '\\') < line.len; /* at its end, or in front of a comment */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct ini_callbacks callbacks = {on_section, on_value, on_error, is_own_line};
    struct slice input = slice_make((const char *)data, size);
    struct seen *seen = MEM_NEW(struct seen);
    seen->owns_lines = fuzz_take_control(&input) & 1;
    char *copy = mem_alloc(input.len);
    if (input.len) memcpy(copy, input.data, input.len);
    struct slice text = slice_make(copy, input.len);
    inifile_parse(text, &callbacks, seen);
    /* A file with NUL bytes is refused as a whole, and so may one be with bytes in front that no editor shows. */
    if (!seen->has_error) check_nothing_is_skipped(seen, text);
    mem_free(copy);
    mem_free(seen);
    return 0;
}
