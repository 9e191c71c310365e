/* llhttp's callbacks, and the bounds around them.
 *
 * The spans of a head are offsets into one contiguous buffer, so a head that arrives in pieces needs no copies: a later
 * piece of the same name or value just makes its span longer. Every unbounded thing in the grammar has a counter here:
 * the request line, fields and their number, the body, chunk lines, trailers. Nothing may be parsed past the end of the
 * message: on_message_complete pauses llhttp. */
#include "http/parser.h"

#include "base/mem.h"
#include "http/forwarded.h"

#include <errno.h>

#define METHOD_MAX      32
#define CHUNK_LINE_MAX  1024 /* size, extensions and line ends of one chunk */
#define TRAILER_MAX     8192 /* all trailer fields of a message */
#define FIELDS_AT_FIRST 24
#define LINE_END        2

static const char STAND_IN_METHOD[] = "POST ";

static int refuse(struct parser *p, unsigned status, const char *reason, struct span subject) {
    p->state = PARSER_REFUSED;
    p->refusal = (struct refusal){status, reason, subject};
    return -1;
}

static const struct span NO_SUBJECT = {0, 0};

static uint32_t offset_of(const struct parser *p, const char *at) {
    return (uint32_t)(at - p->request->head);
}

static int on_url(llhttp_t *llhttp, const char *at, size_t len) {
    struct parser *p = llhttp->data;
    struct request *r = p->request;
    if (r->target.length == 0) r->target.offset = offset_of(p, at);
    r->target.length += (uint32_t)len;
    return 0;
}

/* The line at hand ends at `end`, or is there up to it: the request line, or the last field. Asked whenever a line
 * ends, not only for the whole head: which limit a client meets must not depend on how its bytes were cut. */
static int check_line(struct parser *p, size_t end) {
    const struct settings *s = p->settings;
    const struct request *r = p->request;
    if (r->field_count == 0) {
        if (end <= r->method.offset + s->limit_request_line) return 0;
        return refuse(p, 414, "a request line beyond limit_request_line", NO_SUBJECT);
    }
    struct span name = r->fields[r->field_count - 1].name;
    if (end <= name.offset + s->limit_request_field_size) return 0;
    return refuse(p, 431, "a field beyond limit_request_field_size", name);
}

static int field_begin(struct parser *p, const char *at) {
    struct request *r = p->request;
    if (check_line(p, offset_of(p, at) - LINE_END)) return -1;
    if (r->field_count >= p->settings->limit_request_fields)
        return refuse(p, 431, "more fields than limit_request_fields", NO_SUBJECT);
    if (r->field_count == p->field_capacity) {
        p->field_capacity = p->field_capacity ? p->field_capacity * 2 : FIELDS_AT_FIRST;
        r->fields = mem_realloc(r->fields, p->field_capacity * sizeof *r->fields);
    }
    r->fields[r->field_count++] = (struct field){.name = {offset_of(p, at), 0}};
    return 0;
}

/* Counts the bytes between the data up to `at`: chunk sizes, extensions, line ends, trailers. Asked before anything
 * else is said of them, also of a fault: which one a client meets must not depend on how its bytes were cut. */
static int count_framing(struct parser *p, const char *at) {
    p->chunk_line_bytes += (uint32_t)(at - p->chunk_mark);
    p->chunk_mark = at;
    if (p->in_trailer ? p->chunk_line_bytes > TRAILER_MAX : p->chunk_line_bytes > CHUNK_LINE_MAX)
        return p->in_trailer ? refuse(p, 431, "trailer fields beyond 8192 bytes", NO_SUBJECT)
                             : refuse(p, 400, "a chunk's size and extensions beyond 1024 bytes", NO_SUBJECT);
    return 0;
}

static int trailer_name(struct parser *p, const char *at, size_t len) {
    if (p->in_value) p->trailer_name_length = 0;
    p->in_value = false;
    size_t room = sizeof p->trailer_name - p->trailer_name_length;
    size_t take = len < room ? len : room;
    memcpy(p->trailer_name + p->trailer_name_length, at, take);
    p->trailer_name_length += (uint8_t)take;
    return 0;
}

static int on_field(llhttp_t *llhttp, const char *at, size_t len) {
    struct parser *p = llhttp->data;
    if (UNLIKELY(p->in_trailer)) return trailer_name(p, at, len);
    struct request *r = p->request;
    if (p->in_value || r->field_count == 0) {
        if (field_begin(p, at)) return -1;
        p->in_value = false;
    }
    r->fields[r->field_count - 1].name.length += (uint32_t)len;
    return 0;
}

/* RFC 9110, 6.5.1: nothing that frames, routes, authenticates, or says how to read the content may come after it. */
static bool trailer_is_forbidden(struct slice name) {
    switch (field_id_of(name)) {
    case FIELD_AUTHORIZATION:
    case FIELD_CACHE_CONTROL:
    case FIELD_CONNECTION:
    case FIELD_CONTENT_ENCODING:
    case FIELD_CONTENT_LENGTH:
    case FIELD_CONTENT_TYPE:
    case FIELD_COOKIE:
    case FIELD_EXPECT:
    case FIELD_FORWARDED:
    case FIELD_HOST:
    case FIELD_KEEP_ALIVE:
    case FIELD_MAX_FORWARDS:
    case FIELD_PRAGMA:
    case FIELD_PROXY_AUTHORIZATION:
    case FIELD_PROXY_CONNECTION:
    case FIELD_RANGE:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE: return true;
    default:
        return slice_starts_with_nocase(name, SLICE("content-")) || slice_starts_with_nocase(name, SLICE("if-")) ||
               slice_starts_with_nocase(name, SLICE("x-forwarded-"));
    }
}

static int trailer_value(struct parser *p, const char *at) {
    if (p->in_value) return 0;
    p->in_value = true;
    if (count_framing(p, at)) return -1;
    if (!trailer_is_forbidden(slice_make(p->trailer_name, p->trailer_name_length))) return 0;
    return refuse(p, 400, "a field that may not be a trailer", NO_SUBJECT);
}

static int on_value(llhttp_t *llhttp, const char *at, size_t len) {
    struct parser *p = llhttp->data;
    if (UNLIKELY(p->in_trailer)) return trailer_value(p, at);
    struct field *f = &p->request->fields[p->request->field_count - 1];
    if (!p->in_value) f->value.offset = offset_of(p, at);
    p->in_value = true;
    f->value.length += (uint32_t)len;
    return 0;
}

/* A message without fields ends its head right behind the version. */
static uint32_t end_of_last_line(const struct request *r) {
    uint32_t at = r->target.offset + r->target.length;
    if (r->field_count) {
        const struct field *last = &r->fields[r->field_count - 1];
        at = last->value.length ? last->value.offset + last->value.length : last->name.offset + last->name.length;
    }
    const char *newline = memchr(r->head + at, '\n', UINT32_MAX - at);
    return (uint32_t)(newline - r->head) + 1;
}

static int believe_forwarder(struct parser *p) {
    const char *wrong = forwarded_apply(p->request, p->settings, p->connection_peer);
    return wrong ? refuse(p, 400, wrong, NO_SUBJECT) : 0;
}

static int on_head_complete(llhttp_t *llhttp) {
    struct parser *p = llhttp->data;
    struct request *r = p->request;
    uint32_t end = end_of_last_line(r);
    p->head_length = end + 2;
    if (r->field_count) r->block = (struct span){r->fields[0].name.offset, end - r->fields[0].name.offset};
    if (check_line(p, end - LINE_END)) return -1;
    if (!head_check(r, p->settings, &p->refusal)) {
        p->state = PARSER_REFUSED;
        return -1;
    }
    if (p->cache) head_cache_add(p->cache, r);
    if (believe_forwarder(p)) return -1;
    p->state = PARSER_BODY;
    p->chunk_mark = r->head + p->head_length;
    return 0;
}

static bool chunk_is_too_large(const struct parser *p) {
    uint64_t size = p->llhttp.content_length, limit = p->settings->limit_request_body;
    return limit && (size > limit || p->request->body.length > limit - size);
}

/* No data follows that would say where the line has ended: llhttp stops to tell it (see execute). */
static int on_chunk(llhttp_t *llhttp) {
    const struct parser *p = llhttp->data;
    return llhttp->content_length == 0 || chunk_is_too_large(p) ? HPE_PAUSED : 0;
}

/* Behind the size line of the last chunk, or of one that is too large. */
static int end_chunk_line(struct parser *p, const char *at) {
    if (count_framing(p, at)) return -1;
    if (p->llhttp.content_length) return refuse(p, 413, "a chunked body beyond limit_request_body", NO_SUBJECT);
    p->in_trailer = p->in_value = true;
    p->chunk_line_bytes = 0;
    return 0;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t len) {
    struct parser *p = llhttp->data;
    if (p->request->is_chunked) {
        if (count_framing(p, at)) return -1;
        p->chunk_line_bytes = 0;
        p->chunk_mark = at + len;
    }
    const struct settings *s = p->settings;
    if (body_append(&p->request->body, at, len, s->body_buffer, s->spool_dir) == 0) return 0;
    log_error(
        "cannot keep a request body of %llu bytes in '%s': %s; the request is refused, the setting spool_dir names another place",
        (unsigned long long)p->request->body.length, s->spool_dir, strerror(errno));
    return refuse(p, errno == ENOSPC || errno == EDQUOT ? 507 : 503, "the body cannot be stored", NO_SUBJECT);
}

static int on_complete(llhttp_t *llhttp) {
    struct parser *p = llhttp->data;
    p->state = PARSER_COMPLETE;
    return HPE_PAUSED;
}

static const llhttp_settings_t CALLBACKS = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head_complete,
    .on_body = on_body,
    .on_chunk_header = on_chunk,
    .on_message_complete = on_complete,
};

static void forget_head(struct parser *p) {
    struct request *r = p->request;
    p->refusal = (struct refusal){0, NULL, NO_SUBJECT};
    r->method = r->target = r->query = r->path = r->block = r->script_name = NO_SUBJECT;
    r->field_count = 0;
    r->block_serial = 0;
    r->is_head = false;
}

void parser_start(struct parser *p, struct request *request, const struct settings *settings,
                  const struct peer *connection_peer) {
    p->request = request;
    p->settings = settings;
    p->connection_peer = connection_peer;
    p->state = PARSER_METHOD;
    p->offset = p->head_length = p->chunk_line_bytes = 0;
    p->in_value = p->in_trailer = false;
    p->trailer_name_length = 0;
    forget_head(p);
}

void parser_release(struct parser *p) {
    mem_free(p->request->fields);
    p->request->fields = NULL;
    p->field_capacity = 0;
    body_release(&p->request->body);
    buf_release(&p->request->body.memory);
}

/* RFC 9110, 5.6.2 */
static bool is_token_char(unsigned char c) {
    static const uint32_t allowed[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};
    return allowed[c >> 5] >> (c & 31) & 1;
}

/* One empty line in front is ignored (RFC 9112, 2.2); then a token and a space. */
static int feed_method(struct parser *p, const char *data, size_t len) {
    size_t at = 0;
    if (data[0] == '\r') {
        if (len < 2) return 0;
        if (data[1] != '\n') return refuse(p, 400, "a bare CR before the request line", NO_SUBJECT);
        at = 2;
    }
    size_t start = at;
    while (at < len && is_token_char((unsigned char)data[at])) at++;
    if (at - start > METHOD_MAX) return refuse(p, 501, "a method beyond 32 bytes", NO_SUBJECT);
    if (at == len) return 0;
    if (at == start || data[at] != ' ')
        return refuse(p, 400, "the request line does not begin with a method", NO_SUBJECT);
    p->request->method = (struct span){(uint32_t)start, (uint32_t)(at - start)};
    p->request->is_head = slice_equal(request_span(p->request, p->request->method), SLICE("HEAD"));
    /* Before llhttp judges its authority-form target. */
    if (slice_equal(request_span(p->request, p->request->method), SLICE("CONNECT")))
        return refuse(p, 501, "CONNECT: this is no proxy", p->request->method);
    llhttp_init(&p->llhttp, HTTP_REQUEST, &CALLBACKS);
    p->llhttp.data = p;
    llhttp_execute(&p->llhttp, STAND_IN_METHOD, sizeof STAND_IN_METHOD - 1);
    p->offset = (uint32_t)at + 1;
    p->state = PARSER_HEAD;
    return 0;
}

/* "METHOD /target HTTP/1.1" CRLF at the start of data, behind which `block` begins. Says nothing of anything else: that
 * takes the long way. */
static bool split_plain_line(struct request *r, const char *data, size_t len, size_t limit) {
    static const char version[] = " HTTP/1.1\r\n";
    const size_t tail = sizeof version - 1;
    const char *newline = memchr(data, '\n', len < limit + 2 ? len : limit + 2);
    size_t line = newline ? (size_t)(newline - data) + 1 : 0;
    if (line < tail || memcmp(data + line - tail, version, tail) != 0) return false;
    size_t at = 0;
    while (is_token_char((unsigned char)data[at])) at++;
    if (at == 0 || at > METHOD_MAX || data[at] != ' ' || data[at + 1] != '/' || data[0] == 'C') return false;
    r->method = (struct span){0, (uint32_t)at};
    r->target = (struct span){(uint32_t)at + 1, (uint32_t)(line - tail - at - 1)};
    r->block = (struct span){(uint32_t)line, (uint32_t)(len - 2 - line)};
    return true;
}

/* A whole message without a body whose fields were judged before: only its request line is new. One whose target is
 * refused takes the long way as well, which knows what is wrong with its line: a version may be. */
static bool feed_known_head(struct parser *p, const char *data, size_t len) {
    struct request *r = p->request;
    if (!p->cache || len < sizeof "GET / HTTP/1.1\r\n\r\n" || memcmp(data + len - 4, "\r\n\r\n", 4) != 0) return false;
    if (!split_plain_line(r, data, len, p->settings->limit_request_line) ||
        !head_cache_find(p->cache, r, p->field_capacity) || !head_check_target(r, &p->refusal)) {
        forget_head(p);
        return false;
    }
    r->minor_version = 1;
    r->is_head = slice_equal(request_span(r, r->method), SLICE("HEAD"));
    p->head_length = (uint32_t)len;
    p->state = PARSER_COMPLETE;
    believe_forwarder(p);
    return true;
}

/* llhttp reports a name when it has ended, or the input has: a name that a fault ended was not. Its limits come first
 * all the same. */
static void begin_faulty_field(struct parser *p, const char *fault) {
    const struct request *r = p->request;
    const char *newline = memrchr(r->head, '\n', (size_t)(fault - r->head));
    if (!newline || newline + 1 == fault || newline[1] == '\r') return;
    uint32_t known = r->field_count ? r->fields[r->field_count - 1].name.offset : r->method.offset;
    if (offset_of(p, newline + 1) > known) field_begin(p, newline + 1);
}

/* Of a head that is not whole: is it too large already? */
static void check_part(struct parser *p, const char *end, bool is_faulty) {
    if (p->state == PARSER_HEAD && is_faulty) begin_faulty_field(p, end);
    /* Up to three bytes behind the line may be its CR LF and the CR of an empty one. */
    size_t length = offset_of(p, end);
    if (p->state == PARSER_HEAD && length > 3) check_line(p, length - 3);
}

static void map_llhttp_error(struct parser *p, enum llhttp_errno error) {
    if (p->state == PARSER_REFUSED) return;
    unsigned status = error == HPE_INVALID_VERSION ? 505 : 400;
    const char *reason = llhttp_get_error_reason(&p->llhttp);
    refuse(p, status, reason && *reason ? reason : llhttp_errno_name(error), NO_SUBJECT);
}

static enum llhttp_errno execute(struct parser *p, const char *at, const char *end) {
    enum llhttp_errno error;
    while ((error = llhttp_execute(&p->llhttp, at, (size_t)(end - at))) == HPE_PAUSED && p->state == PARSER_BODY) {
        at = llhttp_get_error_pos(&p->llhttp);
        if (end_chunk_line(p, at)) break;
        llhttp_resume(&p->llhttp);
    }
    return error;
}

size_t parser_feed(struct parser *p, const char *data, size_t len) {
    bool in_head = p->state < PARSER_BODY;
    if (in_head) p->request->head = data;
    if (p->state == PARSER_METHOD && feed_known_head(p, data, len)) return len;
    if (p->state == PARSER_METHOD && (feed_method(p, data, len) || p->state == PARSER_METHOD)) return len;
    size_t from = in_head ? p->offset : 0;
    if (!in_head) p->chunk_mark = data;
    enum llhttp_errno error = execute(p, data + from, data + len);
    if (in_head) {
        p->offset = (uint32_t)len;
        check_part(p, error == HPE_OK ? data + len : llhttp_get_error_pos(&p->llhttp), error != HPE_OK);
        if (p->state == PARSER_REFUSED) return len;
    }
    if (error == HPE_PAUSED && p->state == PARSER_COMPLETE) {
        const char *end = llhttp_get_error_pos(&p->llhttp);
        if (p->request->is_chunked) count_framing(p, end);
        return (size_t)(end - data);
    }
    if (p->state == PARSER_BODY && p->request->is_chunked)
        count_framing(p, error == HPE_OK ? data + len : llhttp_get_error_pos(&p->llhttp));
    if (error != HPE_OK) map_llhttp_error(p, error);
    return len;
}

const char *parser_version(void) {
#define TEXT_OF(number) #number
#define TEXT(number)    TEXT_OF(number)
    return "llhttp " TEXT(LLHTTP_VERSION_MAJOR) "." TEXT(LLHTTP_VERSION_MINOR) "." TEXT(LLHTTP_VERSION_PATCH);
}
