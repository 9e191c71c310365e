/* The cache of field blocks: what comes out of it is what the parser itself would have made of the same bytes. */
#include "base/compiler.h"
#include "http/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct settings settings = {.limit_request_line = 8190,
                                   .limit_request_fields = 100,
                                   .limit_request_field_size = 8190,
                                   .body_buffer = 4096,
                                   .spool_dir = (char *)"/tmp"};
static const struct peer somebody = {.text_len = 9, .text = "192.0.2.1"};

struct parsed {
    struct request request;
    struct parser parser;
};

static void parse(struct parsed *p, struct head_cache *cache, struct slice bytes) {
    p->parser.cache = cache;
    parser_start(&p->parser, &p->request, &settings, &somebody);
    parser_feed(&p->parser, bytes.data, bytes.len);
}

static void assert_same(const struct parsed *a, const struct parsed *b) {
    assert_int_equal(a->parser.state, b->parser.state);
    assert_int_equal(a->parser.refusal.status, b->parser.refusal.status);
    if (a->parser.state != PARSER_COMPLETE) return;
    assert_int_equal(a->parser.head_length, b->parser.head_length);
    assert_int_equal(a->request.field_count, b->request.field_count);
    assert_memory_equal(&a->request.method, &b->request.method, sizeof(struct span));
    assert_memory_equal(&a->request.target, &b->request.target, sizeof(struct span));
    assert_memory_equal(&a->request.path, &b->request.path, sizeof(struct span));
    assert_memory_equal(&a->request.query, &b->request.query, sizeof(struct span));
    assert_int_equal(a->request.keep_alive, b->request.keep_alive);
    assert_int_equal(a->request.is_head, b->request.is_head);
    assert_int_equal(a->request.minor_version, b->request.minor_version);
    assert_int_equal(a->request.is_https, b->request.is_https);
    for (uint32_t i = 0; i < a->request.field_count; i++) {
        const struct field *f = &a->request.fields[i], *g = &b->request.fields[i];
        assert_int_equal(f->id, g->id);
        assert_true(slice_equal(request_span(&a->request, f->name), request_span(&b->request, g->name)));
        assert_int_equal(f->value.length, g->value.length);
        if (f->value.length)
            assert_true(slice_equal(request_span(&a->request, f->value), request_span(&b->request, g->value)));
    }
}

#define BROWSER \
    "Host: example.org\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nX-Empty:\r\nCookie: a=b; c=d\r\nX-Other:  padded \t\r\n"

static const char *const requests[] = {
    "GET / HTTP/1.1\r\n" BROWSER "\r\n",
    "GET /other?query=1 HTTP/1.1\r\n" BROWSER "\r\n",
    "HEAD /a/long/path/that/moves/the/block HTTP/1.1\r\n" BROWSER "\r\n",
    "BREW /x HTTP/1.1\r\n" BROWSER "\r\n",
    "GET /#fragment HTTP/1.1\r\n" BROWSER "\r\n",
    "GET /%zz HTTP/1.1\r\n" BROWSER "\r\n",
    "GET  / HTTP/1.1\r\n" BROWSER "\r\n",
    "GET / HTTP/1.0\r\n" BROWSER "\r\n",
    "GET http://example.org/ HTTP/1.1\r\n" BROWSER "\r\n",
    "GET http://example.net/ HTTP/1.1\r\n" BROWSER "\r\n",
    "CONNECT / HTTP/1.1\r\n" BROWSER "\r\n",
    "GET / HTTP/1.1\r\n" BROWSER "Connection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-B: \x01\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\n" BROWSER "\r\n",
};

/* With the cache and without it. */
static struct parsed with, without;
static struct head_cache *cache;

static int set_up(void **state) {
    (void)state;
    cache = head_cache_new();
    with = without = (struct parsed){0};
    with.parser.request = &with.request;
    without.parser.request = &without.request;
    with.request.body.file_fd = without.request.body.file_fd = -1;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    parser_release(&with.parser);
    parser_release(&without.parser);
    head_cache_free(cache);
    return 0;
}

static void parse_both(struct slice bytes) {
    parse(&with, cache, bytes);
    parse(&without, NULL, bytes);
    assert_same(&without, &with);
}

static void a_known_block_gives_what_parsing_it_gives(void **state) {
    (void)state;
    unsigned found = 0;
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < ARRAY_LENGTH(requests); i++) {
            parse_both(slice_of(requests[i]));
            found += with.request.block_serial != 0;
        }
    }
    assert_true(found >= 8);
}

static void a_faulty_line_before_a_known_block_is_refused_for_its_fault(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) parse(&with, cache, SLICE("GET / HTTP/1.1\r\n" BROWSER "\r\n"));
    assert_int_not_equal(with.request.block_serial, 0);

    parse(&with, cache, SLICE("GET / HTTP/1.GET / HTTP/1.1\r\n" BROWSER "\r\n"));
    assert_int_equal(with.parser.state, PARSER_REFUSED);
    assert_int_equal(with.parser.refusal.status, 505);

    char any_byte[] = "GET /a?c HTTP/1.1\r\n" BROWSER "\r\n";
    for (int byte = 0; byte < 256; byte++) {
        any_byte[6] = (char)byte;
        parse_both(slice_make(any_byte, sizeof any_byte - 1));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_known_block_gives_what_parsing_it_gives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_faulty_line_before_a_known_block_is_refused_for_its_fault, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
