/* Fuzzes chunked bodies: the input comes behind a fixed head, once whole and once in pieces. Both must end alike, and a
 * body that is accepted must be what a decoder of a few lines, written from RFC 9112, 7.1, makes of it. */
#include "fuzz.h"

#include "base/log.h"
#include "base/mem.h"
#include "http/parser.h"

static const char head[] = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
#define HEAD_LENGTH (sizeof head - 1)

struct outcome {
    enum parser_state state;
    unsigned status;
    size_t used; /* behind the head */
    struct buf body;
};

static struct outcome decode(struct slice input, const struct settings *settings, size_t step) {
    static const struct peer peer;
    struct request request = {.peer = &peer};
    struct parser parser = {0};
    struct outcome o = {0};
    body_init(&request.body);
    parser_start(&parser, &request, settings, &peer);
    MUST(parser_feed(&parser, head, HEAD_LENGTH) == HEAD_LENGTH && parser.state == PARSER_BODY);

    while (parser.state == PARSER_BODY && o.used < input.len) {
        size_t length = input.len - o.used < step ? input.len - o.used : step;
        /* Each piece in memory of its own: nothing may be read of the one before. */
        char *piece = mem_alloc(length);
        memcpy(piece, input.data + o.used, length);
        size_t used = parser_feed(&parser, piece, length);
        mem_free(piece);
        MUST(used <= length && (used == length || parser.state == PARSER_COMPLETE));
        o.used += used;
    }
    o.state = parser.state;
    o.status = parser.refusal.status;
    buf_reserve(&o.body, (size_t)request.body.length);
    o.body.len = (size_t)body_read(&request.body, 0, o.body.data, (size_t)request.body.length);
    MUST(o.body.len == request.body.length);
    parser_release(&parser);
    return o;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The line up to CRLF, cut off *rest. */
static struct slice take_line(struct slice *rest) {
    struct slice line;
    MUST(slice_next(rest, '\n', &line) && rest->data);
    MUST(line.len && line.data[line.len - 1] == '\r');
    line.len--;
    MUST(slice_find(line, '\r') == line.len);
    return line;
}

/* What a message that was accepted must consist of; returns what follows it. */
static struct slice check_grammar(struct slice rest, struct buf *body) {
    for (;;) {
        struct slice line = take_line(&rest);
        uint64_t size = 0;
        size_t digits = 0;
        for (; digits < line.len && hex_digit(line.data[digits]) >= 0; digits++)
            size = size * 16 + (unsigned)hex_digit(line.data[digits]);
        MUST(digits > 0 && (digits == line.len || line.data[digits] == ';'));
        if (size == 0) break;
        MUST(rest.len >= size + 2);
        buf_append(body, rest.data, (size_t)size);
        MUST(rest.data[size] == '\r' && rest.data[size + 1] == '\n');
        rest = slice_make(rest.data + size + 2, rest.len - (size_t)size - 2);
    }
    for (;;) {
        struct slice line = take_line(&rest);
        if (line.len == 0) return rest;
        size_t colon = slice_find(line, ':');
        MUST(colon > 0 && colon < line.len);
        struct slice name = slice_make(line.data, colon);
        MUST(!slice_equal_nocase(name, SLICE("content-length")) &&
             !slice_equal_nocase(name, SLICE("transfer-encoding")));
        MUST(!slice_equal_nocase(name, SLICE("host")));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct settings settings = {
        .limit_request_line = 8190,
        .limit_request_fields = 100,
        .limit_request_field_size = 8190,
        .limit_request_body = 16384,
        .body_buffer = 1 << 20,
        .spool_dir = "/tmp",
    };
    log_set_level(LOG_LEVEL_CRITICAL);
    struct slice input = slice_make((const char *)data, size);
    size_t step = 1 + fuzz_take_control(&input) % 40;
    struct outcome whole = decode(input, &settings, SIZE_MAX), split = decode(input, &settings, step);
    MUST(whole.state == split.state && whole.status == split.status);
    if (whole.state != PARSER_REFUSED)
        MUST(whole.used == split.used && slice_equal(buf_slice(&whole.body), buf_slice(&split.body)));
    if (whole.state == PARSER_COMPLETE) {
        struct buf body = BUF_INIT;
        struct slice rest = check_grammar(input, &body);
        MUST(rest.len == input.len - whole.used);
        MUST(slice_equal(buf_slice(&body), buf_slice(&whole.body)));
        buf_release(&body);
    }
    buf_release(&whole.body);
    buf_release(&split.body);
    return 0;
}
