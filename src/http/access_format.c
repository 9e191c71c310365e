/* The access log's format: compiled to an array of atoms, each with the function that appends its value.
 *
 * Text from outside goes through escaped_append() without exception; a value that skips it could forge a line. */
#include "http/access_format.h"

#include "base/clock.h"
#include "base/mem.h"

#include <unistd.h>

#define COMBINED "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\""
#define COMMON   "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s"

#define USER_MAX 128 /* of a Basic user name, longer ones are cut */

struct atom;
typedef void atom_append(const struct atom *a, struct access_line *l, struct buf *out);

struct atom {
    struct slice before; /* literal text in front of the value */
    atom_append *append;
    enum field_id id;  /* of a request field */
    struct slice name; /* of a field or variable */
};

struct access_format {
    char *text; /* what the atoms' slices point into */
    size_t count;
    bool has_variables;
    struct atom atoms[];
};

/* ---- escaping ---- */

#define BYTES(value) (UINT64_C(0x0101010101010101) * (value))

/* Has one of eight bytes to be escaped? A byte above 0x7f shows by its own top bit; for the others each sum or
 * difference sets the top bit for DEL, for what is below space, and for '"' and '\\' made zero. */
static inline bool has_special(const char *data) {
    uint64_t word;
    memcpy(&word, data, sizeof word);
    uint64_t found = word | (word + BYTES(1)) | (word - BYTES(' '));
    found |= ((word ^ BYTES('"')) - BYTES(1)) | ((word ^ BYTES('\\')) - BYTES(1));
    return (found & BYTES(0x80)) != 0;
}

static inline bool is_special(unsigned char c) {
    return c < ' ' || c >= 0x7f || c == '"' || c == '\\';
}

static bool is_plain(struct slice s) {
    if (s.len >= 8) {
        for (size_t i = 0; i + 8 < s.len; i += 8)
            if (has_special(s.data + i)) return false;
        return !has_special(s.data + s.len - 8);
    }
    for (size_t i = 0; i < s.len; i++)
        if (is_special((unsigned char)s.data[i])) return false;
    return true;
}

static COLD void specials_append(struct buf *out, struct slice s) {
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (is_special(c)) {
            char escape[] = {'\\', 'x', digits[c >> 4], digits[c & 15]};
            buf_append(out, escape, sizeof escape);
        } else {
            buf_append_char(out, s.data[i]);
        }
    }
}

static void escaped_append(struct buf *out, struct slice s) {
    if (LIKELY(is_plain(s))) buf_append_slice(out, s);
    else specials_append(out, s);
}

static void value_append(struct buf *out, struct slice s) {
    if (s.len) escaped_append(out, s);
    else buf_append_char(out, '-');
}

/* ---- what the atoms append ---- */

static void remote_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    const struct peer *peer = l->exchange->request.peer;
    value_append(out, slice_make(peer->text, peer->text_len));
}

static void dash_append(const struct atom *a UNUSED, struct access_line *l UNUSED, struct buf *out) {
    buf_append_char(out, '-');
}

static void percent_append(const struct atom *a UNUSED, struct access_line *l UNUSED, struct buf *out) {
    buf_append_char(out, '%');
}

/* Behind the last atom. */
static void nothing_append(const struct atom *a UNUSED, struct access_line *l UNUSED, struct buf *out UNUSED) {}

/* Value of a base64 digit (RFC 4648, 4), or -1. */
static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

/* The user of Basic credentials (RFC 7617, 2): what stands before the colon. Its length in `user`, 0 if the coding is
 * broken. */
static size_t user_decode(struct slice coded, char user[USER_MAX]) {
    size_t length = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < coded.len && coded.data[i] != '=' && length < USER_MAX; i++) {
        int digit = base64_digit(coded.data[i]);
        if (digit < 0) return 0;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 == 0) continue;
        char c = (char)(bits >> (6 - 2 * (i % 4)));
        if (c == ':') break;
        user[length++] = c;
    }
    return length;
}

static void user_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    const struct request *r = &l->exchange->request;
    const struct field *f = request_find(r, FIELD_AUTHORIZATION);
    struct slice value = f ? request_span(r, f->value) : slice_make(NULL, 0);
    char user[USER_MAX];
    size_t length = 0;
    if (slice_starts_with_nocase(value, SLICE("Basic ")))
        length = user_decode(slice_trim(slice_make(value.data + 6, value.len - 6)), user);
    value_append(out, slice_make(user, length));
}

static void time_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    buf_append_slice(out, l->time);
}

static void request_line_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    const struct request *r = &l->exchange->request;
    if (r->method.length == 0) {
        buf_append_char(out, '-');
        return;
    }
    escaped_append(out, request_span(r, r->method));
    buf_append_char(out, ' ');
    escaped_append(out, request_span(r, r->target));
    buf_append_char(out, ' ');
    buf_append_slice(out, request_protocol(r));
}

static void method_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    const struct request *r = &l->exchange->request;
    value_append(out, request_span(r, r->method));
}

static void path_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    const struct request *r = &l->exchange->request;
    value_append(out, request_span(r, r->path));
}

/* Empty when there is none, as Gunicorn has it: formats write "%(U)s?%(q)s". */
static void query_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    const struct request *r = &l->exchange->request;
    escaped_append(out, request_span(r, r->query));
}

static void protocol_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    buf_append_slice(out, request_protocol(&l->exchange->request));
}

static void number_append(struct buf *out, uint64_t value, bool is_known) {
    if (is_known) buf_append_u64(out, value);
    else buf_append_char(out, '-');
}

static void status_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    unsigned status = l->exchange->response.status;
    number_append(out, status, status != 0);
}

static void length_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    buf_append_u64(out, l->exchange->response.sent_bytes);
}

static void length_or_dash_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    uint64_t sent = l->exchange->response.sent_bytes;
    number_append(out, sent, sent != 0);
}

/* Microseconds in the application. One look at the clock a line. False if nobody noted the start. */
static bool elapsed_know(struct access_line *l) {
    if (l->exchange->started_us == 0) return false;
    if (l->elapsed_us == 0) {
        uint64_t now = clock_mono_us();
        l->elapsed_us = now > l->exchange->started_us ? now - l->exchange->started_us : 1;
    }
    return true;
}

static void seconds_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    bool is_known = elapsed_know(l);
    number_append(out, l->elapsed_us / 1000000, is_known);
}

static void milliseconds_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    bool is_known = elapsed_know(l);
    number_append(out, l->elapsed_us / 1000, is_known);
}

static void microseconds_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    bool is_known = elapsed_know(l);
    number_append(out, l->elapsed_us, is_known);
}

static void decimal_seconds_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    if (!elapsed_know(l)) {
        buf_append_char(out, '-');
        return;
    }
    buf_append_u64(out, l->elapsed_us / 1000000);
    buf_append_char(out, '.');
    for (uint32_t part = l->elapsed_us % 1000000, unit = 100000; unit; part %= unit, unit /= 10)
        buf_append_char(out, (char)('0' + part / unit));
}

static void pid_append(const struct atom *a UNUSED, struct access_line *l UNUSED, struct buf *out) {
    buf_append_char(out, '<');
    buf_append_u64(out, (uint64_t)getpid());
    buf_append_char(out, '>');
}

static void request_field_append(const struct atom *a, struct access_line *l, struct buf *out) {
    const struct request *r = &l->exchange->request;
    const struct field *f = a->id == FIELD_OTHER ? request_find_name(r, a->name) : request_find(r, a->id);
    value_append(out, f ? request_span(r, f->value) : slice_make(NULL, 0));
}

/* The head stays in front of `out` until the line is written. */
static void response_field_append(const struct atom *a, struct access_line *l, struct buf *out) {
    const struct response *response = &l->exchange->response;
    struct slice head = slice_make(response->out.data, response->head_length), line, value = {NULL, 0};
    slice_next(&head, '\n', &line);
    while (value.len == 0 && slice_next(&head, '\n', &line)) {
        size_t colon = slice_find(line, ':');
        if (colon == line.len || !slice_equal_nocase(slice_make(line.data, colon), a->name)) continue;
        value = slice_make(line.data + colon + 1, line.len - colon - 1);
        if (value.len && value.data[value.len - 1] == '\r') value.len--;
        value = slice_trim(value);
    }
    value_append(out, value);
}

static void variable_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    struct slice value;
    if (slice_next(&l->variables, '\n', &value)) buf_append_slice(out, value);
    else buf_append_char(out, '-');
}

/* ---- compiling ---- */

static const struct {
    char letter;
    atom_append *append;
    enum field_id id;
} letters[] = {
    {'h', remote_append, FIELD_OTHER},
    {'l', dash_append, FIELD_OTHER},
    {'u', user_append, FIELD_OTHER},
    {'t', time_append, FIELD_OTHER},
    {'r', request_line_append, FIELD_OTHER},
    {'m', method_append, FIELD_OTHER},
    {'U', path_append, FIELD_OTHER},
    {'q', query_append, FIELD_OTHER},
    {'H', protocol_append, FIELD_OTHER},
    {'s', status_append, FIELD_OTHER},
    {'B', length_append, FIELD_OTHER},
    {'b', length_or_dash_append, FIELD_OTHER},
    {'f', request_field_append, FIELD_REFERER},
    {'a', request_field_append, FIELD_USER_AGENT},
    {'T', seconds_append, FIELD_OTHER},
    {'M', milliseconds_append, FIELD_OTHER},
    {'D', microseconds_append, FIELD_OTHER},
    {'L', decimal_seconds_append, FIELD_OTHER},
    {'p', pid_append, FIELD_OTHER},
};

/* The atom of a name between the parentheses: a letter, or {name} and one of i, o, e. */
static bool atom_find(struct slice name, struct atom *a) {
    for (size_t i = 0; i < ARRAY_LENGTH(letters) && name.len == 1; i++) {
        if (letters[i].letter != name.data[0]) continue;
        a->append = letters[i].append;
        a->id = letters[i].id;
        return true;
    }
    if (name.len < 4 || name.data[0] != '{' || name.data[name.len - 2] != '}') return false;
    a->name = slice_make(name.data + 1, name.len - 3);
    switch (name.data[name.len - 1]) {
    case 'i':
        a->append = request_field_append;
        a->id = field_id_of(a->name);
        return true;
    case 'o': a->append = response_field_append; return true;
    case 'e': a->append = variable_append; return true;
    default: return false;
    }
}

static struct slice slice_cut(struct slice s, size_t length) {
    return slice_make(s.data + length, s.len - length);
}

/* The directive at the start of *rest, which begins with a percent sign; moves *rest behind it. False if it is none. */
static bool directive_parse(struct slice *rest, struct atom *a) {
    if (slice_starts_with(*rest, SLICE("%%"))) {
        a->append = percent_append;
        *rest = slice_cut(*rest, 2);
        return true;
    }
    size_t close = slice_find(*rest, ')');
    if (close + 1 >= rest->len || rest->data[1] != '(') return false;
    if (rest->data[close + 1] != 's' && rest->data[close + 1] != 'd') return false;
    if (!atom_find(slice_make(rest->data + 2, close - 2), a)) return false;
    *rest = slice_cut(*rest, close + 2);
    return true;
}

static void fault_write(const char *format, struct slice rest, char *error, size_t error_size) {
    size_t shown = slice_find(rest, ')');
    shown = shown + 2 <= rest.len ? shown + 2 : rest.len;
    snprintf(
        error, error_size,
        "unknown atom '%.*s' at position %zu of access_log_format; an atom is %%(NAME)s with NAME one of h l u t r m U q H s B b f "
        "a T M D L p {field}i {field}o {variable}e, and %%%% is a percent sign",
        (int)(shown > 40 ? 40 : shown), rest.data, (size_t)(rest.data - format) + 1);
}

static size_t atoms_bound(const char *format) {
    size_t bound = 1;
    for (; *format; format++) bound += *format == '%';
    return bound;
}

struct access_format *access_format_new(const char *format, char *error, size_t error_size) {
    if (strcmp(format, "combined") == 0) format = COMBINED;
    if (strcmp(format, "common") == 0) format = COMMON;

    struct access_format *f = mem_zalloc(1, sizeof *f + atoms_bound(format) * sizeof f->atoms[0]);
    f->text = mem_strdup(format);
    struct slice rest = slice_of(f->text);
    while (rest.len) {
        struct atom *a = &f->atoms[f->count++];
        size_t plain = slice_find(rest, '%');
        a->before = slice_make(rest.data, plain);
        a->append = nothing_append;
        rest = slice_cut(rest, plain);
        if (rest.len && !directive_parse(&rest, a)) {
            fault_write(f->text, rest, error, error_size);
            access_format_free(f);
            return NULL;
        }
        f->has_variables = f->has_variables || a->append == variable_append;
    }
    return f;
}

void access_format_free(struct access_format *f) {
    if (!f) return;
    mem_free(f->text);
    mem_free(f);
}

bool access_format_has_variables(const struct access_format *f) {
    return f->has_variables;
}

void access_format_collect(const struct access_format *f, struct exchange *x, const struct handler *handler,
                           struct buf *out) {
    struct buf value = BUF_INIT;
    for (size_t i = 0; i < f->count; i++) {
        if (f->atoms[i].append != variable_append) continue;
        buf_reset(&value);
        if (handler->variable) handler->variable(handler->ctx, x, f->atoms[i].name, &value);
        value_append(out, buf_slice(&value));
        buf_append_char(out, '\n');
    }
    buf_release(&value);
}

void access_format_append(const struct access_format *f, struct access_line *line, struct buf *out) {
    for (size_t i = 0; i < f->count; i++) {
        buf_append_slice(out, f->atoms[i].before);
        f->atoms[i].append(&f->atoms[i], line, out);
    }
}
