/* Composing a response in one buffer: status line and fields as the handler gives them, then what the engine adds, then
 * small bodies, so that a small answer leaves in one send(2). The head stays at the front of the buffer until the next
 * response: the access log reads it.
 *
 * Nothing from the application reaches the wire unchecked: a status line or a field with CR, LF or NUL would be a
 * second response. */
#include "http/engine.h"

#include "http/access_log.h"

/* Bodies up to this are copied behind the head: one send is cheaper than two vectors. */
#define COPY_BYTES (24 * 1024)

/* RFC 9110, 5.6.2: the bytes of a token. */
static const bool TOKEN[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1,         ['&'] = 1,         ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,         ['^'] = 1,         ['_'] = 1,
    ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

static bool is_token(struct slice s) {
    bool good = s.len > 0;
    for (size_t i = 0; i < s.len; i++) good &= TOKEN[(unsigned char)s.data[i]];
    return good;
}

static bool is_control(unsigned char c) {
    return (c < ' ' && c != '\t') || c == 0x7f;
}

#define EVERY_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* Whether one of eight bytes is below ' ' or DEL: says so of none that has neither, so only a suspicion is looked at
 * byte by byte. */
static bool may_have_controls(const char *at) {
    uint64_t bytes;
    memcpy(&bytes, at, sizeof bytes);
    uint64_t del = bytes ^ EVERY_BYTE(0x7f);
    uint64_t below_space = (bytes - EVERY_BYTE(' ')) & ~bytes, is_del = (del - EVERY_BYTE(1)) & ~del;
    return (below_space | is_del) & EVERY_BYTE(0x80);
}

static bool has_control_bytes(struct slice s) {
    size_t i = 0;
    while (i + 8 <= s.len && !may_have_controls(s.data + i)) i += 8;
    for (; i < s.len; i++)
        if (is_control((unsigned char)s.data[i])) return true;
    return false;
}

void response_reset(struct response *r) {
    buf_reset(&r->out);
    r->head_length = 0;
    r->status = 0;
    r->is_head_sent = r->is_chunked = r->is_bodiless = r->is_finished = r->is_aborted = r->must_close = false;
    r->has_length = r->has_date = r->has_server = false;
    r->length = r->body_bytes = r->sent_bytes = 0;
}

/* Whatever the method. */
static inline bool status_has_no_body(unsigned status) {
    return status == 204 || status == 205 || status == 304;
}

const char *response_start(struct exchange *x, struct slice status) {
    struct response *r = &x->response;
    if (r->is_head_sent) return "the response has begun already";
    const char *d = status.data;
    if (status.len < 4 || d[0] < '1' || d[0] > '9' || d[1] < '0' || d[1] > '9' || d[2] < '0' || d[2] > '9' ||
        d[3] != ' ')
        return "a status must be three digits, a space and a reason, as in '200 OK'";
    if (has_control_bytes(status)) return "a status with control characters";
    if (d[0] == '1') return "an interim (1xx) status cannot be the response's status";
    response_reset(r);
    r->status = (uint16_t)((d[0] - '0') * 100 + (d[1] - '0') * 10 + (d[2] - '0'));
    r->is_bodiless = x->request.is_head || status_has_no_body(r->status);
    buf_reserve(&r->out, 512);
    buf_append(&r->out, "HTTP/1.1 ", 9);
    buf_append_slice(&r->out, status);
    buf_append(&r->out, "\r\n", 2);
    return NULL;
}

/* What must not be said by the application (PEP 3333; wsgiref.util.is_hop_by_hop), and what the engine has to know. */
enum special_field { FIELD_PLAIN, FIELD_HOP_BY_HOP, FIELD_LENGTH, FIELD_DATE, FIELD_SERVER };

static enum special_field special_field_of(struct slice name) {
#define IS(literal) slice_equal_nocase(name, SLICE(literal))
    switch (name.len) {
    case 2: return IS("te") ? FIELD_HOP_BY_HOP : FIELD_PLAIN;
    case 4: return IS("date") ? FIELD_DATE : FIELD_PLAIN;
    case 6: return IS("server") ? FIELD_SERVER : FIELD_PLAIN;
    case 7: return IS("upgrade") ? FIELD_HOP_BY_HOP : FIELD_PLAIN;
    case 8: return IS("trailers") ? FIELD_HOP_BY_HOP : FIELD_PLAIN;
    case 10: return IS("connection") || IS("keep-alive") ? FIELD_HOP_BY_HOP : FIELD_PLAIN;
    case 14: return IS("content-length") ? FIELD_LENGTH : FIELD_PLAIN;
    case 17: return IS("transfer-encoding") ? FIELD_HOP_BY_HOP : FIELD_PLAIN;
    case 18: return IS("proxy-authenticate") ? FIELD_HOP_BY_HOP : FIELD_PLAIN;
    case 19: return IS("proxy-authorization") ? FIELD_HOP_BY_HOP : FIELD_PLAIN;
    default: return FIELD_PLAIN;
    }
#undef IS
}

/* "name: value" CRLF, with one check for room. */
static void append_line(struct buf *out, struct slice name, struct slice value) {
    buf_reserve(out, name.len + value.len + 4);
    char *at = out->data + out->len;
    memcpy(at, name.data, name.len);
    at += name.len;
    *at++ = ':';
    *at++ = ' ';
    memcpy(at, value.data, value.len);
    at += value.len;
    *at++ = '\r';
    *at++ = '\n';
    out->len = (size_t)(at - out->data);
}

/* Everything about a field that does not depend on the others. NULL, or what is wrong. */
static inline const char *judge(struct slice name, struct slice value, struct response_line *line) {
    if (!is_token(name)) return "a field name that is not a token";
    if (has_control_bytes(value)) return "a field value with control characters";
    line->kind = (uint8_t)special_field_of(name);
    if (line->kind == FIELD_HOP_BY_HOP) return "a hop-by-hop field, which only the server may send";
    if (line->kind == FIELD_LENGTH && !slice_to_u64(slice_trim(value), &line->length))
        return "a Content-Length that is not a number";
    return NULL;
}

/* What the engine has to remember of a field. *goes_out is false for one that the status forbids. */
static inline const char *note_field(struct response *r, const struct response_line *line, bool *goes_out) {
    *goes_out = true;
    switch ((enum special_field)line->kind) {
    case FIELD_LENGTH:
        if (r->has_length) return "a second Content-Length";
        r->has_length = true;
        r->length = line->length;
        *goes_out = r->status != 204 && r->status != 205; /* RFC 9110, 8.6 and 15.3.6 */
        break;
    case FIELD_DATE: r->has_date = true; break;
    case FIELD_SERVER: r->has_server = true; break;
    case FIELD_HOP_BY_HOP:
    case FIELD_PLAIN: break;
    }
    return NULL;
}

const char *response_check_interim(struct slice name, struct slice value) {
    struct response_line line;
    const char *wrong = judge(name, value, &line);
    if (!wrong && line.kind == FIELD_LENGTH) return "a Content-Length, which an interim response has not";
    return wrong;
}

const char *response_add(struct exchange *x, struct slice name, struct slice value) {
    struct response_line line;
    bool goes_out;
    const char *wrong = judge(name, value, &line);
    if (!wrong) wrong = note_field(&x->response, &line, &goes_out);
    if (!wrong && goes_out) append_line(&x->response.out, name, value);
    return wrong;
}

const char *response_prepare_line(struct slice name, struct slice value, struct buf *text, struct response_line *line) {
    const char *wrong = judge(name, value, line);
    if (wrong) return wrong;
    append_line(text, name, value);
    line->text = buf_slice(text);
    return NULL;
}

const char *response_add_line(struct exchange *x, const struct response_line *line) {
    bool goes_out;
    const char *wrong = note_field(&x->response, line, &goes_out);
    if (!wrong && goes_out) buf_append_slice(&x->response.out, line->text);
    return wrong;
}

void response_set_length(struct exchange *x, uint64_t length) {
    struct response *r = &x->response;
    if (r->has_length || r->is_head_sent) return;
    r->has_length = true;
    r->length = length;
    if (status_has_no_body(r->status)) return;
    if (x->request.is_head && length == 0) return; /* it says nothing of what GET would get */
    BUF_APPEND_LITERAL(&r->out, "Content-Length: ");
    buf_append_u64(&r->out, length);
    BUF_APPEND_LITERAL(&r->out, "\r\n");
}

/* How the end of the body will be known (RFC 9112, 6.3), and whether the connection goes on. */
static void append_framing(struct exchange *x) {
    struct response *r = &x->response;
    const struct request *q = &x->request;
    bool needs_framing = !r->has_length && !status_has_no_body(r->status);
    if (r->status == 205) BUF_APPEND_LITERAL(&r->out, "Content-Length: 0\r\n");
    if (needs_framing && q->minor_version) {
        BUF_APPEND_LITERAL(&r->out, "Transfer-Encoding: chunked\r\n");
        r->is_chunked = !r->is_bodiless;
    } else if (needs_framing && !r->is_bodiless) r->must_close = true;
    if (!q->keep_alive || !x->server->settings->keepalive ||
        atomic_load_explicit(&x->server->answers_close, memory_order_relaxed))
        r->must_close = true;
    if (r->must_close) BUF_APPEND_LITERAL(&r->out, "Connection: close\r\n");
    else if (q->minor_version == 0) BUF_APPEND_LITERAL(&r->out, "Connection: keep-alive\r\n");
}

/* False if the courier has answered in the meantime. */
static bool finish_head(struct exchange *x) {
    struct response *r = &x->response;
    if (!response_claim(r)) {
        r->is_aborted = true;
        return false;
    }
    const char *server = x->server->settings->server_header;
    buf_reserve(&r->out, 256);
    if (!r->has_server && *server) append_line(&r->out, SLICE("Server"), slice_of(server));
    if (!r->has_date) append_line(&r->out, SLICE("Date"), http_date_now(&r->date));
    append_framing(x);
    BUF_APPEND_LITERAL(&r->out, "\r\n");
    r->head_length = r->out.len;
    r->is_head_sent = true;
    return true;
}

static enum response_result note(struct response *r, enum response_result result, size_t body_bytes) {
    if (result == RESPONSE_GONE) r->is_aborted = true;
    else r->sent_bytes += body_bytes;
    return result;
}

/* Cuts what goes beyond the promised length. */
static size_t clip_to_length(struct exchange *x, uint64_t len) {
    struct response *r = &x->response;
    uint64_t room = r->has_length ? r->length - r->body_bytes : UINT64_MAX;
    if (len <= room) return len;
    char target[160];
    log_escape(target, sizeof target, request_span(&x->request, x->request.target));
    if (!r->must_close)
        log_error(
            "response to %.*s %s: the body is longer than its Content-Length of %llu; the excess is dropped and the connection closed",
            SLICE_ARG(request_span(&x->request, x->request.method)), target, (unsigned long long)r->length);
    r->must_close = true;
    return room;
}

static void append_chunk_size(struct buf *out, uint64_t size) {
    static const char digits[] = "0123456789abcdef";
    char text[18];
    size_t at = sizeof text;
    text[--at] = '\n';
    text[--at] = '\r';
    do text[--at] = digits[size & 15];
    while (size >>= 4);
    buf_append(out, text + at, sizeof text - at);
}

/* The head, unless it has left, and a chunk's size line: in `out` behind what was sent before, from *from on. False if
 * nothing may be sent. */
static bool open_piece(struct exchange *x, uint64_t len, size_t *from) {
    struct response *r = &x->response;
    *from = 0;
    if (r->is_head_sent) r->out.len = *from = r->head_length;
    else if (!finish_head(x)) return false;
    if (r->is_chunked) append_chunk_size(&r->out, len);
    return true;
}

static struct iovec piece_from(const struct response *r, size_t from) {
    return (struct iovec){r->out.data + from, r->out.len - from};
}

enum response_result response_body(struct exchange *x, const void *data, size_t len, void *owner) {
    struct response *r = &x->response;
    if (UNLIKELY(r->is_aborted || r->status == 0)) return RESPONSE_GONE;
    if (len == 0) return RESPONSE_TAKEN;
    size_t use = clip_to_length(x, len);
    r->body_bytes += use;
    if (r->is_bodiless || use == 0) return RESPONSE_TAKEN;
    struct iovec vectors[3];
    size_t from;
    int count = 1;
    if (!open_piece(x, use, &from)) return RESPONSE_GONE;
    if (use <= COPY_BYTES) {
        buf_append(&r->out, data, use);
        if (r->is_chunked) BUF_APPEND_LITERAL(&r->out, "\r\n");
    } else {
        vectors[count++] = (struct iovec){(void *)data, use};
        if (r->is_chunked) vectors[count++] = (struct iovec){"\r\n", 2};
    }
    vectors[0] = piece_from(r, from);
    if (vectors[0].iov_len == 0) return note(r, conn_send(x->conn, vectors + 1, count - 1, 0, owner), use);
    return note(r, conn_send(x->conn, vectors, count, 1, owner), use);
}

enum response_result response_file(struct exchange *x, int fd, uint64_t offset, uint64_t length) {
    struct response *r = &x->response;
    if (r->is_aborted || r->status == 0) return RESPONSE_GONE;
    if (!r->has_length && r->body_bytes == 0) response_set_length(x, length);
    uint64_t use = clip_to_length(x, length);
    r->body_bytes += use;
    if (r->is_bodiless || use == 0) return RESPONSE_TAKEN;
    size_t from;
    if (!open_piece(x, use, &from)) return RESPONSE_GONE;
    struct iovec head = piece_from(r, from);
    if (head.iov_len && conn_send(x->conn, &head, 1, -1, NULL) == RESPONSE_GONE) return note(r, RESPONSE_GONE, 0);
    enum response_result result = note(r, conn_send_file(x->conn, fd, offset, use), use);
    if (r->is_chunked && result != RESPONSE_GONE) {
        struct iovec end = {"\r\n", 2};
        result = note(r, conn_send(x->conn, &end, 1, -1, NULL), 0);
    }
    return result;
}

static bool is_cut_short(struct exchange *x) {
    struct response *r = &x->response;
    if (r->is_bodiless || !r->has_length || r->body_bytes == r->length) return false;
    char target[160];
    log_escape(target, sizeof target, request_span(&x->request, x->request.target));
    log_error("response to %.*s %s: the body has %llu bytes, its Content-Length says %llu; the connection is closed",
              SLICE_ARG(request_span(&x->request, x->request.method)), target, (unsigned long long)r->body_bytes,
              (unsigned long long)r->length);
    return true;
}

static void end(struct exchange *x) {
    x->response.is_finished = true;
    if (x->server->config.access_log) access_log_add(x->server->config.access_log, x, x->server->handler);
}

void response_finish(struct exchange *x) {
    struct response *r = &x->response;
    if (r->is_finished) return;
    if (r->is_aborted || r->status == 0 || (is_cut_short(x) && r->is_head_sent)) {
        response_abort(x);
        return;
    }
    struct iovec rest = {"0\r\n\r\n", 5};
    bool has_rest = r->is_chunked;
    if (!r->is_head_sent) {
        if (!r->has_length) response_set_length(x, 0);
        else if (!r->is_bodiless && r->length) r->must_close = true;
        has_rest = finish_head(x);
        rest = (struct iovec){r->out.data, r->out.len};
    }
    if (has_rest) note(r, conn_send(x->conn, &rest, 1, -1, NULL), 0);
    end(x);
}

void response_abort(struct exchange *x) {
    if (x->response.is_finished) return;
    x->response.is_aborted = x->response.must_close = true;
    end(x);
}

void response_error(struct exchange *x, struct slice status, bool close) {
    struct response *r = &x->response;
    if (r->is_head_sent) {
        response_abort(x);
        return;
    }
    response_start(x, status);
    r->must_close = close;
    response_add(x, SLICE("Content-Type"), SLICE("text/plain"));
    response_set_length(x, status.len + 1);
    char text[128];
    int length = snprintf(text, sizeof text, "%.*s\n", SLICE_ARG(status));
    response_body(x, text, (size_t)length, NULL);
    response_finish(x);
}

void response_early_hints(struct exchange *x, struct slice field_lines) {
    static const char status[] = "HTTP/1.1 103 Early Hints\r\n";
    if (x->request.minor_version == 0 || x->response.is_head_sent || x->response.is_aborted) return;
    struct iovec vectors[3] = {{(void *)(uintptr_t)status, sizeof status - 1},
                               {(void *)(uintptr_t)field_lines.data, field_lines.len},
                               {"\r\n", 2}};
    note(&x->response, conn_send(x->conn, vectors, 3, -1, NULL), 0);
}
