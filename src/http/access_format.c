/* The access log's format: compiled to an array of atoms, each with the function that appends its value.
 *
 * Text from outside goes through escaped_append() without exception; a value that skips it could forge a line. */
#include "http/access_format.h"

#include "base/clock.h"
#include "base/mem.h"

#include <unistd.h>

#define COMBINED "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\""
#define COMMON "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s"

#define USER_MAX 128 /* of a Basic user name, longer ones are cut */

struct atom;
typedef void atom_append(const struct atom *a, struct access_line *l, struct buf *out);

struct atom {
    atom_append *append;
    struct slice text; /* the literal; the name of a field or variable */
    enum field_id id;  /* of a request field */
};

struct access_format {
    char *text; /* what the atoms' slices point into */
    size_t count;
    bool has_variables;
    struct atom atoms[];
};

/* ---- escaping ---- */

#define BYTES(value) (UINT64_C(0x0101010101010101) * (value))

/* Has one of eight bytes to be escaped? Those below space, '"', '\' and 0x7f and above. */
static inline bool has_special(uint64_t word) {
    uint64_t quote = word ^ BYTES('"'), backslash = word ^ BYTES('\\'), del = word ^ BYTES(0x7f);
    uint64_t found = (word - BYTES(0x20)) & ~word;
    found |= (quote - BYTES(1)) & ~quote;
    found |= (backslash - BYTES(1)) & ~backslash;
    found |= (del - BYTES(1)) & ~del;
    return ((found | word) & BYTES(0x80)) != 0;
}

static inline bool is_special(unsigned char c) {
    return c < 0x20 || c >= 0x7f || c == '"' || c == '\\';
}

/* How many bytes from the start need no escape. */
static size_t plain_length(struct slice s) {
    size_t i = 0;
    for (uint64_t word; s.len - i >= sizeof word; i += sizeof word) {
        memcpy(&word, s.data + i, sizeof word);
        if (has_special(word)) break;
    }
    while (i < s.len && !is_special((unsigned char)s.data[i]))
        i++;
    return i;
}

static void escaped_append(struct buf *out, struct slice s) {
    static const char digits[] = "0123456789ABCDEF";
    while (s.len) {
        size_t plain = plain_length(s);
        buf_append(out, s.data, plain);
        if (plain == s.len) return;
        unsigned char c = (unsigned char)s.data[plain];
        char escape[] = {'\\', 'x', digits[c >> 4], digits[c & 15]};
        buf_append(out, escape, sizeof escape);
        s = slice_make(s.data + plain + 1, s.len - plain - 1);
    }
}

static void value_append(struct buf *out, struct slice s) {
    if (s.len)
        escaped_append(out, s);
    else
        buf_append_char(out, '-');
}

/* ---- what the atoms append ---- */

static void literal_append(const struct atom *a, struct access_line *l UNUSED, struct buf *out) {
    buf_append_slice(out, a->text);
}

static void remote_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    const struct peer *peer = l->exchange->request.peer;
    value_append(out, slice_make(peer->text, peer->text_len));
}

static void nothing_append(const struct atom *a UNUSED, struct access_line *l UNUSED, struct buf *out) {
    buf_append_char(out, '-');
}

/* Value of a base64 digit (RFC 4648, 4), or -1. */
static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

/* The user of Basic credentials (RFC 7617, 2): what stands before the colon. Its length in `user`, 0 if the coding is broken. */
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
    if (is_known)
        buf_append_u64(out, value);
    else
        buf_append_char(out, '-');
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
    const struct field *f = a->id == FIELD_OTHER ? request_find_name(r, a->text) : request_find(r, a->id);
    value_append(out, f ? request_span(r, f->value) : slice_make(NULL, 0));
}

/* The head stays in front of `out` until the line is written. */
static void response_field_append(const struct atom *a, struct access_line *l, struct buf *out) {
    const struct response *response = &l->exchange->response;
    struct slice head = slice_make(response->out.data, response->head_length), line, value = {NULL, 0};
    slice_next(&head, '\n', &line);
    while (value.len == 0 && slice_next(&head, '\n', &line)) {
        size_t colon = slice_find(line, ':');
        if (colon == line.len || !slice_equal_nocase(slice_make(line.data, colon), a->text)) continue;
        value = slice_make(line.data + colon + 1, line.len - colon - 1);
        if (value.len && value.data[value.len - 1] == '\r') value.len--;
        value = slice_trim(value);
    }
    value_append(out, value);
}

static void variable_append(const struct atom *a UNUSED, struct access_line *l, struct buf *out) {
    struct slice value;
    if (slice_next(&l->variables, '\n', &value))
        buf_append_slice(out, value);
    else
        buf_append_char(out, '-');
}

/* ---- compiling ---- */

static const struct {
    char letter;
    atom_append *append;
    enum field_id id;
} letters[] = {
    {'h', remote_append, FIELD_OTHER},
    {'l', nothing_append, FIELD_OTHER},
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
        *a = (struct atom){letters[i].append, slice_make(NULL, 0), letters[i].id};
        return true;
    }
    if (name.len < 4 || name.data[0] != '{' || name.data[name.len - 2] != '}') return false;
    struct slice inner = slice_make(name.data + 1, name.len - 3);
    switch (name.data[name.len - 1]) {
    case 'i':
        *a = (struct atom){request_field_append, inner, field_id_of(inner)};
        return true;
    case 'o':
        *a = (struct atom){response_field_append, inner, FIELD_OTHER};
        return true;
    case 'e':
        *a = (struct atom){variable_append, inner, FIELD_OTHER};
        return true;
    default:
        return false;
    }
}

/* The directive at the start of *rest, which begins with a percent sign; moves *rest behind it. False if it is none. */
static bool directive_parse(struct slice *rest, struct atom *a) {
    size_t length = 2;
    if (rest->len >= 2 && rest->data[1] == '%') {
        *a = (struct atom){literal_append, slice_make(rest->data, 1), FIELD_OTHER};
    } else {
        size_t close = slice_find(*rest, ')');
        if (close + 1 >= rest->len || rest->data[1] != '(') return false;
        if (rest->data[close + 1] != 's' && rest->data[close + 1] != 'd') return false;
        if (!atom_find(slice_make(rest->data + 2, close - 2), a)) return false;
        length = close + 2;
    }
    *rest = slice_make(rest->data + length, rest->len - length);
    return true;
}

static void fault_write(const char *format, struct slice rest, char *error, size_t error_size) {
    size_t shown = slice_find(rest, ')');
    shown = shown + 2 <= rest.len ? shown + 2 : rest.len;
    snprintf(error, error_size,
             "unknown atom '%.*s' at position %zu of access_log_format; an atom is %%(NAME)s with NAME one of h l u t r m U q H s B b f "
             "a T M D L p {field}i {field}o {variable}e, and %%%% is a percent sign",
             (int)(shown > 40 ? 40 : shown), rest.data, (size_t)(rest.data - format) + 1);
}

static size_t atoms_bound(const char *format) {
    size_t bound = 1;
    for (; *format; format++)
        bound += *format == '%' ? 2 : 0;
    return bound;
}

struct access_format *access_format_new(const char *format, char *error, size_t error_size) {
    if (strcmp(format, "combined") == 0) format = COMBINED;
    if (strcmp(format, "common") == 0) format = COMMON;

    struct access_format *f = mem_zalloc(1, sizeof *f + atoms_bound(format) * sizeof f->atoms[0]);
    f->text = mem_strdup(format);
    struct slice rest = slice_of(f->text);
    while (rest.len) {
        size_t plain = slice_find(rest, '%');
        if (plain) f->atoms[f->count++] = (struct atom){literal_append, slice_make(rest.data, plain), FIELD_OTHER};
        rest = slice_make(rest.data + plain, rest.len - plain);
        if (rest.len == 0) break;
        struct atom *a = &f->atoms[f->count++];
        if (!directive_parse(&rest, a)) {
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

void access_format_collect(const struct access_format *f, struct exchange *x, const struct handler *handler, struct buf *out) {
    struct buf value = BUF_INIT;
    for (size_t i = 0; i < f->count; i++) {
        if (f->atoms[i].append != variable_append) continue;
        buf_reset(&value);
        if (handler->variable) handler->variable(handler->ctx, x, f->atoms[i].text, &value);
        value_append(out, buf_slice(&value));
        buf_append_char(out, '\n');
    }
    buf_release(&value);
}

void access_format_append(const struct access_format *f, struct access_line *line, struct buf *out) {
    for (size_t i = 0; i < f->count; i++)
        f->atoms[i].append(&f->atoms[i], line, out);
}
