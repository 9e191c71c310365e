/* The parser alone: which rule refuses a head, and that it is the same one however the bytes are cut. */
#include "base/log.h"
#include "base/mem.h"
#include "http/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define SPACES_64 "                                                                "

/* Limits of 64 bytes a line and four fields. */
static const struct settings small = {
    .limit_request_line = 64,
    .limit_request_fields = 4,
    .limit_request_field_size = 64,
    .limit_request_body = 64,
    .body_buffer = 16,
    .spool_dir = "/tmp",
};

struct outcome {
    enum parser_state state;
    unsigned status;
};

/* Feeds two parts, as the connection does: a head again from its start, a body only what is new. Each in memory of its
 * own size. */
static struct outcome parse(struct slice message, size_t cut) {
    static const struct peer peer;
    struct request request = {.peer = &peer};
    struct parser parser = {0};
    size_t done = 0;
    body_init(&request.body);
    parser_start(&parser, &request, &small, &peer);
    for (int part = 0; part < 2 && parser.state < PARSER_COMPLETE; part++) {
        size_t end = part ? message.len : cut, from = parser.state < PARSER_BODY ? 0 : done;
        if (end == from) continue;
        char *copy = mem_alloc(end - from);
        memcpy(copy, message.data + from, end - from);
        parser_feed(&parser, copy, end - from);
        done = end;
        mem_free(copy);
    }
    struct outcome o = {parser.state, parser.refusal.status};
    parser_release(&parser);
    return o;
}

static void check(struct slice message, enum parser_state state, unsigned status) {
    for (size_t cut = 0; cut <= message.len; cut++) {
        struct outcome o = parse(message, cut);
        if (o.state != state || o.status != status)
            fail_msg("state %d, status %u after a cut at %zu of '%.*s'", o.state, o.status, cut, SLICE_ARG(message));
    }
}

#define ACCEPT(message)         check(SLICE(message), PARSER_COMPLETE, 0)
#define REFUSE(message, status) check(SLICE(message), PARSER_REFUSED, status)

static void a_fault_is_not_taken_for_a_long_line(void **state UNUSED) {
    REFUSE("GET / HTTP/1.1\r\nHost: x\r\nA\x91: 1\r\n" SPACES_64 SPACES_64 "\r\n\r\n", 400);
    REFUSE("GET / HTTP/1.1\r\nHost: x\r\nA:\x01 1\r\n" SPACES_64 SPACES_64 "\r\n\r\n", 400);
    REFUSE("GET /\x01 HTTP/1.1\r\n" SPACES_64 SPACES_64 "\r\n\r\n", 400);
    REFUSE(
        "GET / HTTP/1.1\r\nHost: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\nAAAAAAAAAA\x91: 1\r\n\r\n",
        400);
}

static void the_first_limit_that_is_met_decides(void **state UNUSED) {
    REFUSE("GET / HTTP/1.1\r\nHost: x\r\nA:" SPACES_64 "x\r\nB\x91: 1\r\n\r\n", 431);
    REFUSE("GET / HTTP/1.1\r\nHost: x\r\nExpect: y\r\nA:" SPACES_64 "x\r\n\r\n", 431);
    REFUSE("GET /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx HTTP/1.1\r\nHost\x91: x\r\n\r\n", 414);
    REFUSE("GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\nC: 3\r\nbad name\r\n\r\n", 431);
    REFUSE("GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n", 431);
}

static void lines_at_their_limit_are_taken(void **state UNUSED) {
    ACCEPT("GET /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx HTTP/1.1\r\nHost: x\r\n\r\n");
    REFUSE("GET /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx HTTP/1.1\r\nHost: x\r\n\r\n", 414);
    ACCEPT("\r\nGET /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx HTTP/1.0\r\n\r\n");
    REFUSE("\r\nGET /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx HTTP/1.0\r\n\r\n", 414);
    ACCEPT("GET / HTTP/1.0\r\nA-field: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n\r\n");
    REFUSE("GET / HTTP/1.0\r\nA-field: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n\r\n", 431);
    ACCEPT("GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n");
}

static void a_request_line_without_a_version_is_not_read_beyond(void **state UNUSED) {
    REFUSE("OP F\r\n\r\n", 400);
    REFUSE("OP F\r\n\r\nP", 400);
    REFUSE("GET / \r\n\r\n", 400);
}

static void a_body_counts_against_its_limit_at_once(void **state UNUSED) {
    ACCEPT("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    ACCEPT(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n11\r\n0123456789abcdefg\r\n0\r\nT: x\r\n\r\n");
    REFUSE("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65\r\n\r\n", 413);
    REFUSE("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n", 413);
    REFUSE("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n40\r\n", 413);
    REFUSE("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: y\r\n\r\n", 400);
}

int main(void) {
    log_set_level(LOG_LEVEL_CRITICAL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fault_is_not_taken_for_a_long_line),
        cmocka_unit_test(the_first_limit_that_is_met_decides),
        cmocka_unit_test(lines_at_their_limit_are_taken),
        cmocka_unit_test(a_request_line_without_a_version_is_not_read_beyond),
        cmocka_unit_test(a_body_counts_against_its_limit_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
