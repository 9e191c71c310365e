/* inih takes lines apart; the reader below feeds it. Distributions build inih with lines of 200 bytes, cut without a
 * word, and without line numbers. So the reader counts lines, takes comments off, refuses what inih would cut, and
 * notices each line that inih made nothing of: then its handler was not called. A value is handed on when the next line
 * shows that it is complete. Must never hand inih a line that it would read differently from how the reader classified
 * it. */
#include "config/inifile.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/version.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <unistd.h>

struct reader {
    const struct ini_callbacks *callbacks;
    void *context;
    struct slice rest;  /* of the file */
    unsigned line;      /* of `current`, from 1 */
    struct buf current; /* as inih got it; for messages */
    bool is_expected;   /* inih should make a value of `current` */
    bool is_indented;
    bool has_key;     /* a key was read since the section began: inih takes indented lines for its continuation */
    char *section;    /* "" in front of the first */
    const char *glue; /* the line before ended in '\': what joins it with `current`; NULL: nothing does */
    const char *next_glue;

    bool has_pending;
    unsigned pending_line;
    bool pending_is_continuation;
    struct buf key, value;
};

static void flush(struct reader *r) {
    if (!r->has_pending) return;
    r->has_pending = false;
    struct ini_value value = {.section = r->section,
                              .key = buf_cstr(&r->key),
                              .value = buf_cstr(&r->value),
                              .line = r->pending_line,
                              .is_continuation = r->pending_is_continuation};
    r->callbacks->on_value(r->context, &value);
}

static void report(struct reader *r, unsigned line, const char *message) {
    flush(r);
    r->callbacks->on_error(r->context, line, message);
}

/* --- from inih: one value --- */

static void append_glued(struct reader *r, const char *value) {
    if (r->value.len) buf_append_cstr(&r->value, r->glue);
    buf_append_cstr(&r->value, value);
}

static int on_inih_value(void *user, const char *section UNUSED, const char *name, const char *value) {
    struct reader *r = user;
    r->is_expected = false;
    if (r->glue && r->has_pending) {
        append_glued(r, value);
        return 1;
    }
    flush(r);
    bool is_continuation = r->is_indented && r->has_key;
    struct slice text = slice_trim(buf_slice(&r->current));
    if (is_continuation && r->callbacks->is_own_line(r->context, r->section, text)) {
        report(r, r->line,
               "the line is indented, so it would continue the value above; remove the spaces in front of it");
        return 1;
    }
    if (!is_continuation) {
        r->has_key = *name != '\0';
        if (!*name) {
            report(r, r->line, "there is no key in front of '='");
            return 1;
        }
        /* inih's copy of a key for continuation lines is cut at 50 bytes; ours is not. */
        buf_reset(&r->key);
        buf_append_cstr(&r->key, name);
    }
    buf_reset(&r->value);
    buf_append_cstr(&r->value, value);
    r->has_pending = true;
    r->pending_line = r->line;
    r->pending_is_continuation = is_continuation;
    return 1;
}

/* --- to inih: one line --- */

static struct slice without_comment(struct slice line) {
    for (size_t i = 1; i < line.len; i++)
        if (line.data[i] == ';' && (line.data[i - 1] == ' ' || line.data[i - 1] == '\t'))
            return slice_make(line.data, i);
    return line;
}

static struct slice trim_end(struct slice line) {
    while (line.len && (line.data[line.len - 1] == ' ' || line.data[line.len - 1] == '\t')) line.len--;
    return line;
}

static bool has_control_byte(struct reader *r, struct slice line) {
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.data[i];
        if ((c >= 0x20 && c != 0x7f) || c == '\t') continue;
        char *message = mem_printf("byte %zu of the line is the control byte 0x%02x", i + 1, c);
        report(r, r->line, message);
        mem_free(message);
        return true;
    }
    return false;
}

/* "[name]": inih would ignore what follows the bracket, and say nothing of a section without keys. It learns only that
 * one begins: the name may be longer than its lines. */
static bool read_section(struct reader *r, struct slice line) {
    struct slice name = slice_trim(line);
    flush(r);
    if (name.data[name.len - 1] != ']') {
        report(r, r->line, "the line of a section does not end in ']'");
        return false;
    }
    name = slice_trim(slice_make(name.data + 1, name.len - 2));
    mem_free(r->section);
    r->section = mem_strndup(name.data, name.len);
    r->has_key = false;
    r->callbacks->on_section(r->context, r->line, r->section);
    return true;
}

/* Takes the '\' off that joins the line with the next one. */
static struct slice read_glue(struct reader *r, struct slice line) {
    r->next_glue = NULL;
    if (!line.len || line.data[line.len - 1] != '\\') return line;
    struct slice joined = trim_end(slice_make(line.data, line.len - 1));
    r->next_glue = joined.len + 1 < line.len ? " " : "";
    return joined;
}

/* What inih is to read in place of the file's next line; an empty slice for what is no business of inih's. */
static struct slice next_line(struct reader *r, size_t room) {
    static const struct slice nothing = {"", 0}, any_section = {"[]", 2};
    struct slice line;
    slice_next(&r->rest, '\n', &line);
    r->line++;
    if (line.len && line.data[line.len - 1] == '\r') line.len--;
    if (has_control_byte(r, line)) return nothing;
    struct slice text = slice_trim(line);
    bool is_comment = text.len && (text.data[0] == ';' || text.data[0] == '#');
    line = trim_end(without_comment(line));
    if (is_comment || !line.len) {
        if (r->glue) report(r, r->line - 1, "the line ends in '\\', but nothing follows it");
        return nothing;
    }
    r->is_indented = line.data[0] == ' ' || line.data[0] == '\t';
    bool is_continuation = r->glue || (r->is_indented && r->has_key);
    if (text.data[0] == '[' && !is_continuation) return read_section(r, line) ? any_section : nothing;
    line = read_glue(r, line);
    if (!line.len) {
        report(r, r->line, "the line holds nothing but '\\'");
        r->next_glue = NULL;
        return nothing;
    }
    /* A continued line gets a space in front, which is how inih knows. */
    if (line.len + (r->glue != NULL) > room) {
        char *message =
            mem_printf("the line has %zu bytes, and %zu can be read; break it with '\\' and go on in the next line",
                       line.len, room);
        report(r, r->line, message);
        mem_free(message);
        return nothing;
    }
    r->is_expected = true;
    return line;
}

static void report_unread(struct reader *r) {
    if (!r->is_expected) return;
    r->is_expected = false;
    char *message = mem_printf("'%s' is neither 'key = value' nor '[section]'", buf_cstr(&r->current));
    report(r, r->line, message);
    mem_free(message);
}

static char *read_line(char *out, int size, void *stream) {
    struct reader *r = stream;
    report_unread(r);
    r->glue = r->next_glue;
    r->next_glue = NULL;
    if (!r->rest.data) {
        if (r->glue) report(r, r->line, "the line ends in '\\', but nothing follows it");
        return NULL;
    }
    /* A line that fills the room without a line feed is too long for newer versions, which then skip the next one. */
    struct slice line = next_line(r, (size_t)size - 2);
    buf_reset(&r->current);
    if (r->glue && line.len) buf_append_char(&r->current, ' ');
    buf_append_slice(&r->current, line);
    memcpy(out, buf_cstr(&r->current), r->current.len + 1);
    return out;
}

void inifile_parse(struct slice text, const struct ini_callbacks *callbacks, void *context) {
    static const struct slice byte_order_mark = {"\xef\xbb\xbf", 3};
    if (slice_starts_with(text, byte_order_mark)) text = slice_make(text.data + 3, text.len - 3);
    /* A line feed ends the last line, it does not begin another. */
    if (text.len && text.data[text.len - 1] == '\n') text.len--;
    struct reader r = {.callbacks = callbacks, .context = context, .rest = text, .section = mem_strdup("")};
    if (!text.len) r.rest.data = NULL;
    ini_parse_stream(read_line, &r, on_inih_value, &r);
    flush(&r);
    mem_free(r.section);
    buf_release(&r.current);
    buf_release(&r.key);
    buf_release(&r.value);
}

const char *inifile_version(void) {
    return "inih " INIH_VERSION;
}

int inifile_load(const char *path, struct buf *text) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t length;
    do {
        buf_reserve(text, 4096);
        length = read(fd, text->data + text->len, text->cap - text->len);
        if (length > 0) text->len += (size_t)length;
        if (text->len > INIFILE_MAX_BYTES) {
            errno = EFBIG;
            length = -1;
        }
    } while (length > 0 || (length < 0 && errno == EINTR));
    fd_close(&fd);
    return length < 0 ? -1 : 0;
}
