/* What a head must be beyond its syntax: RFC 9112, sections 2.3, 3, 6 and 7, and RFC 9110 where it says how often a
 * field may appear. Refuse, never repair: anything that a proxy in front could read otherwise is answered with an
 * error.
 *
 * Works on complete heads only; looks at bytes, changes nothing but the request's derived members. */
#include "http/parser.h"

#include "io/address.h"

static bool refuse(struct refusal *refusal, unsigned status, const char *reason, struct span subject) {
    *refusal = (struct refusal){status, reason, subject};
    return false;
}

static const struct span NOTHING = {0, 0};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_hex(char c) {
    return is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f');
}

/* Exactly one space, "HTTP/1.0" or "HTTP/1.1", CRLF: llhttp would let more blanks pass, and versions that are not
 * ours. */
static bool check_version(struct request *r, struct refusal *refusal) {
    const char *at = r->head + r->target.offset + r->target.length;
    if (r->target.offset != r->method.offset + r->method.length + 1 || strncmp(at, " HTTP/", 6) != 0)
        return refuse(refusal, 400, "a request line that is not 'method target HTTP/1.1'", NOTHING);
    if (at[6] != '1' || at[7] != '.' || (at[8] != '0' && at[8] != '1'))
        return refuse(refusal, 505, "a version other than HTTP/1.0 and HTTP/1.1", NOTHING);
    r->minor_version = (uint8_t)(at[8] - '0');
    return true;
}

/* RFC 3986, 3.2.2, as far as it tells a name from nonsense. */
static bool is_host_char(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit((char)c) ||
           (c != 0 && strchr("-._~!$&'()*+,;=%", c));
}

static bool escapes_are_whole(struct slice text) {
    const char *at = text.data, *end = text.data + text.len;
    while ((at = memchr(at, '%', (size_t)(end - at)))) {
        if (end - at < 3 || !is_hex(at[1]) || !is_hex(at[2])) return false;
        at += 3;
    }
    return true;
}

/* What stands in brackets: an IPv6 address without a zone, or "v" hex digits "." and the address of a version to come.
 */
static bool ip_literal_is_valid(struct slice literal) {
    struct in6_addr address;
    if (!literal.len || ascii_lower(literal.data[0]) != 'v') return ip_parse(AF_INET6, literal, &address);
    size_t dot = slice_find(literal, '.');
    if (dot < 2 || dot + 1 >= literal.len) return false;
    for (size_t i = 1; i < dot; i++)
        if (!is_hex(literal.data[i])) return false;
    for (size_t i = dot + 1; i < literal.len; i++) {
        char c = literal.data[i];
        if (c == '%' || (c != ':' && !is_host_char((unsigned char)c))) return false;
    }
    return true;
}

/* At most five digits, none at all included (RFC 3986, 3.2.3). */
static bool port_is_valid(struct slice port) {
    uint64_t number;
    return !port.len || (port.len <= 5 && slice_to_u64(port, &number) && number <= UINT16_MAX);
}

static bool authority_is_valid(struct slice a) {
    size_t end = 0;
    if (a.len && a.data[0] == '[') {
        end = slice_find(a, ']');
        if (end == a.len || !ip_literal_is_valid(slice_make(a.data + 1, end - 1))) return false;
        end++;
    } else {
        while (end < a.len && is_host_char((unsigned char)a.data[end])) end++;
        if (end == 0 || !escapes_are_whole(a)) return false;
    }
    if (end == a.len) return true;
    return a.data[end] == ':' && port_is_valid(slice_make(a.data + end + 1, a.len - end - 1));
}

/* http://authority/path: the length of what stands before the path, 0 if it is not that form. */
static uint32_t absolute_form_prefix(struct slice target, struct slice *authority) {
    size_t scheme = slice_starts_with_nocase(target, SLICE("http://"))    ? 7
                    : slice_starts_with_nocase(target, SLICE("https://")) ? 8
                                                                          : 0;
    if (!scheme) return 0;
    size_t end = scheme;
    while (end < target.len && target.data[end] != '/' && target.data[end] != '?') end++;
    *authority = slice_make(target.data + scheme, end - scheme);
    return (uint32_t)end;
}

static bool check_target_form(struct request *r, struct slice target, struct slice *authority,
                              struct refusal *refusal) {
    struct span path = r->target;
    *authority = slice_make(NULL, 0);
    r->authority = NOTHING;
    if (target.data[0] != '/') {
        uint32_t prefix = absolute_form_prefix(target, authority);
        bool is_asterisk = slice_equal(target, SLICE("*"));
        if (is_asterisk ? !slice_equal(request_span(r, r->method), SLICE("OPTIONS")) : prefix == 0)
            return refuse(refusal, 400, "a target in a form that the method does not allow", r->target);
        path = (struct span){r->target.offset + prefix, r->target.length - prefix};
        if (prefix) r->authority = (struct span){path.offset - (uint32_t)authority->len, (uint32_t)authority->len};
    }
    /* "http://host" and "http://host?query" mean the path "/" (RFC 9110, 4.2.3): the first slash of "://" lends it its
     * bytes. */
    bool has_no_path = authority->data && (path.length == 0 || r->head[path.offset] == '?');
    const char *question = memchr(r->head + path.offset, '?', path.length);
    r->path = path;
    r->query = NOTHING;
    if (question) {
        r->path.length = (uint32_t)(question - (r->head + path.offset));
        r->query = (struct span){path.offset + r->path.length + 1, path.length - r->path.length - 1};
    }
    if (has_no_path) r->path = (struct span){(uint32_t)(authority->data - r->head) - 1, 1};
    return true;
}

static bool check_target(struct request *r, struct slice *authority, struct refusal *refusal) {
    struct slice target = request_span(r, r->target);
    if (target.len == 0) return refuse(refusal, 400, "a request line without a target", NOTHING);
    unsigned char bad = 0;
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.data[i];
        bad |= (unsigned char)((c <= ' ') | (c >= 0x7f) | (c == '#'));
    }
    if (bad) return refuse(refusal, 400, "a target with a fragment, a blank or bytes that are not ASCII", r->target);
    if (!check_target_form(r, target, authority, refusal)) return false;
    if (authority->data && !authority_is_valid(*authority))
        return refuse(refusal, 400, "a target with an invalid authority", r->target);
    if (!escapes_are_whole(request_span(r, r->path)))
        return refuse(refusal, 400, "a path with a broken percent escape", r->target);
    return true;
}

bool head_check_target(struct request *r, struct refusal *refusal) {
    struct slice authority;
    return check_target(r, &authority, refusal);
}

/* RFC 9112, 3.2: exactly one in 1.1; an absolute target must not contradict it. */
static bool check_host(struct request *r, struct slice authority, struct refusal *refusal) {
    const struct field *host = request_find(r, FIELD_HOST);
    if (!host) {
        if (r->minor_version) return refuse(refusal, 400, "no Host field", NOTHING);
        return true;
    }
    struct slice value = request_span(r, host->value);
    if (!authority_is_valid(value)) return refuse(refusal, 400, "an invalid Host", host->value);
    if (authority.data && !slice_equal_nocase(authority, value))
        return refuse(refusal, 400, "a Host that contradicts the target", host->value);
    return true;
}

/* Exactly ":chunked" or ": chunked", CRLF: blanks, tabs and letter case are how a coding is smuggled past a proxy. */
static bool check_transfer_encoding(struct request *r, const struct field *f, struct refusal *refusal) {
    struct slice value = request_span(r, f->value);
    const char *colon = r->head + f->name.offset + f->name.length;
    size_t blanks = (size_t)(value.data - colon) - 1;
    if (r->minor_version == 0) return refuse(refusal, 400, "Transfer-Encoding in HTTP/1.0", f->name);
    if (value.len == 0) return refuse(refusal, 400, "an empty Transfer-Encoding", f->name);
    if (!slice_equal(value, SLICE("chunked"))) {
        bool is_disguised =
            slice_equal_nocase(value, SLICE("chunked")) || value.data[0] == ',' || value.data[value.len - 1] == ',';
        return refuse(refusal, is_disguised ? 400 : 501, "a Transfer-Encoding other than 'chunked'", f->value);
    }
    if (blanks > 1 || (blanks == 1 && colon[1] != ' ') || value.data[value.len] != '\r')
        return refuse(refusal, 400, "blanks around 'chunked'", f->name);
    if (r->is_chunked) return refuse(refusal, 400, "a second Transfer-Encoding", f->name);
    r->is_chunked = true;
    return true;
}

static bool check_content_length(struct request *r, const struct field *f, const struct settings *s,
                                 struct refusal *refusal) {
    struct slice value = request_span(r, f->value);
    if (value.len > 19 || !slice_to_u64(value, &r->content_length))
        return refuse(refusal, 400, "an invalid Content-Length", f->value);
    if (s->limit_request_body && r->content_length > s->limit_request_body)
        return refuse(refusal, 413, "a Content-Length beyond limit_request_body", f->value);
    r->has_content_length = true;
    return true;
}

static void read_connection(struct request *r, struct slice list, bool *says_close, bool *says_keep_alive) {
    struct slice token;
    while (slice_next(&list, ',', &token)) {
        token = slice_trim(token);
        if (slice_equal_nocase(token, SLICE("close"))) *says_close = true;
        if (slice_equal_nocase(token, SLICE("keep-alive"))) *says_keep_alive = true;
    }
    r->keep_alive = !*says_close && (r->minor_version || *says_keep_alive);
}

static bool check_expect(struct request *r, const struct field *f, struct refusal *refusal) {
    if (!slice_equal_nocase(request_span(r, f->value), SLICE("100-continue")))
        return refuse(refusal, 417, "an expectation other than 100-continue", f->value);
    r->wants_continue = r->minor_version != 0;
    return true;
}

static struct slice trim_value(struct request *r, struct field *f) {
    struct slice value = slice_trim(request_span(r, f->value));
    f->value = (struct span){(uint32_t)(value.data - r->head), (uint32_t)value.len};
    return value;
}

static bool check_fields(struct request *r, const struct settings *s, struct refusal *refusal) {
    uint64_t seen = 0;
    bool says_close = false, says_keep_alive = false;
    _Static_assert(FIELD_COUNT <= 64, "one bit for each field id");
    for (uint32_t i = 0; i < r->field_count; i++) {
        struct field *f = &r->fields[i];
        f->id = field_id_of(request_span(r, f->name));
        struct slice value = f->value.length ? trim_value(r, f) : slice_make("", 0);
        uint64_t bit = UINT64_C(1) << f->id;
        if (UNLIKELY(seen & bit) && f->id != FIELD_OTHER && field_is_singleton(f->id))
            return refuse(refusal, 400, "a field that may appear only once, twice", f->name);
        seen |= bit;
        switch (f->id) {
        case FIELD_TRANSFER_ENCODING:
            if (!check_transfer_encoding(r, f, refusal)) return false;
            break;
        case FIELD_CONTENT_LENGTH:
            if (!check_content_length(r, f, s, refusal)) return false;
            break;
        case FIELD_CONNECTION: read_connection(r, value, &says_close, &says_keep_alive); break;
        case FIELD_EXPECT:
            if (!check_expect(r, f, refusal)) return false;
            break;
        default: break;
        }
    }
    if (r->is_chunked && r->has_content_length)
        return refuse(refusal, 400, "Content-Length together with Transfer-Encoding", NOTHING);
    return true;
}

bool head_check(struct request *r, const struct settings *settings, struct refusal *refusal) {
    struct slice authority;
    r->is_chunked = r->has_content_length = r->wants_continue = r->is_https = false;
    r->content_length = 0;
    if (!check_version(r, refusal)) return false;
    r->keep_alive = r->minor_version != 0;
    return check_target(r, &authority, refusal) && check_fields(r, settings, refusal) &&
           check_host(r, authority, refusal);
}
