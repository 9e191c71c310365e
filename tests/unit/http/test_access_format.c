/* Each atom of the access log's format, what is missing, what tries to break the line, and formats that are wrong. */
#include "base/clock.h"
#include "base/compiler.h"
#include "http/access_format.h"
#include "request_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static struct request_fixture fixture;
static struct exchange exchange;

static void variable(void *ctx UNUSED, struct exchange *x UNUSED, struct slice name, struct buf *out) {
    if (slice_equal(name, SLICE("REMOTE_USER"))) buf_append_cstr(out, "ann\n\"x\"");
    if (slice_equal(name, SLICE("wsgi.url_scheme"))) buf_append_cstr(out, "http");
}

static const struct handler handler = {.variable = variable};

static int set_up(void **state UNUSED) {
    fixture_init(&fixture, "POST", "/a%20b?c=d&e", "192.0.2.1");
    fixture_add(&fixture, "Host", "example.org");
    fixture_add(&fixture, "User-Agent", "curl/8.5 (x; y) \"q\"");
    fixture_add(&fixture, "X-Custom", "one");
    fixture_add(&fixture, "X-Custom", "two");
    exchange = (struct exchange){.request = fixture.request};
    BUF_APPEND_LITERAL(
        &exchange.response.out,
        "HTTP/1.1 201 Created\r\nContent-Type: text/html\r\nX-Empty:\r\nX-Took:  5 ms \r\n\r\nX-Body: no");
    exchange.response.head_length = exchange.response.out.len - 10;
    exchange.response.status = 201;
    exchange.response.sent_bytes = 1234;
    return 0;
}

static int tear_down(void **state UNUSED) {
    fixture_release(&fixture);
    buf_release(&exchange.response.out);
    return 0;
}

static void check(const char *format, const char *expected) {
    char error[512] = "";
    struct access_format *f = access_format_new(format, error, sizeof error);
    assert_string_equal(error, "");
    assert_non_null(f);
    struct buf variables = BUF_INIT, out = BUF_INIT;
    if (access_format_has_variables(f)) access_format_collect(f, &exchange, &handler, &variables);
    struct access_line line = {
        .exchange = &exchange, .time = SLICE("[24/Nov/2026:10:06:39 +0000]"), .variables = buf_slice(&variables)};
    access_format_append(f, &line, &out);
    assert_string_equal(buf_cstr(&out), expected);
    buf_release(&variables);
    buf_release(&out);
    access_format_free(f);
}

static void every_atom_has_its_value(void **state UNUSED) {
    check("%(h)s", "192.0.2.1");
    check("%(l)s", "-");
    check("%(u)s", "-");
    check("%(t)s", "[24/Nov/2026:10:06:39 +0000]");
    check("%(r)s", "POST /a%20b?c=d&e HTTP/1.1");
    check("%(m)s", "POST");
    check("%(U)s", "/a%20b");
    check("%(q)s", "c=d&e");
    check("%(H)s", "HTTP/1.1");
    check("%(s)s", "201");
    check("%(s)d", "201");
    check("%(B)s", "1234");
    check("%(b)s", "1234");
    check("%(f)s", "-");
    check("%(a)s", "curl/8.5 (x; y) \\x22q\\x22");
    char pid[32];
    snprintf(pid, sizeof pid, "<%d>", (int)getpid());
    check("%(p)s", pid);
}

static void fields_and_variables_are_found_by_name(void **state UNUSED) {
    check("%({host}i)s %({USER-AGENT}i)s", "example.org curl/8.5 (x; y) \\x22q\\x22");
    check("%({x-custom}i)s", "one");
    check("%({X-None}i)s %({Cookie}i)s", "- -");
    check("%({content-type}o)s", "text/html");
    check("%({X-TOOK}o)s", "5 ms");
    check("%({X-Empty}o)s", "-");
    check("%({X-Body}o)s %({X-None}o)s %({HTTP/1.1 201 Created}o)s", "- - -");
    check("%({wsgi.url_scheme}e)s %({none}e)s %({REMOTE_USER}e)s", "http - ann\\x0A\\x22x\\x22");
}

static void literal_text_stays(void **state UNUSED) {
    check("", "");
    check("plain", "plain");
    check("100%%", "100%");
    check("%%%(m)s%%(m)s", "%POST%(m)s");
    check("[%(m)s] \"%(s)s\"!", "[POST] \"201\"!");
}

static void the_named_formats_are_gunicorns(void **state UNUSED) {
    check(
        "combined",
        "192.0.2.1 - - [24/Nov/2026:10:06:39 +0000] \"POST /a%20b?c=d&e HTTP/1.1\" 201 1234 \"-\" \"curl/8.5 (x; y) \\x22q\\x22\"");
    check("common", "192.0.2.1 - - [24/Nov/2026:10:06:39 +0000] \"POST /a%20b?c=d&e HTTP/1.1\" 201 1234");
}

static void what_is_missing_is_a_dash(void **state UNUSED) {
    exchange.request.method.length = exchange.request.target.length = 0;
    exchange.request.path.length = exchange.request.query.length = 0;
    exchange.response.status = 0;
    exchange.response.sent_bytes = 0;
    exchange.response.head_length = 0;
    fixture.peer.text_len = 0;
    exchange.request.minor_version = 0;
    check("%(h)s %(r)s %(m)s %(U)s %(s)s %(b)s %({X-Took}o)s", "- - - - - - -");
    check("%(B)s %(H)s %(q)s|", "0 HTTP/1.0 |");
    check("%(T)s %(M)s %(D)s %(L)s", "- - - -");
}

static void durations_agree(void **state UNUSED) {
    exchange.started_us = clock_mono_us() - 12345678;
    char error[512];
    struct access_format *f = access_format_new("%(T)s %(M)s %(D)s %(L)s", error, sizeof error);
    struct buf out = BUF_INIT;
    struct access_line line = {.exchange = &exchange};
    access_format_append(f, &line, &out);
    unsigned long long s, ms, us, whole, part;
    assert_int_equal(sscanf(buf_cstr(&out), "%llu %llu %llu %llu.%6llu", &s, &ms, &us, &whole, &part), 5);
    assert_true(us >= 12345678 && us < 100000000);
    assert_int_equal(s, us / 1000000);
    assert_int_equal(ms, us / 1000);
    assert_int_equal(whole * 1000000 + part, us);

    exchange.started_us = clock_mono_us() + 1000000000;
    line = (struct access_line){.exchange = &exchange};
    buf_reset(&out);
    access_format_append(f, &line, &out);
    assert_string_equal(buf_cstr(&out), "0 0 1 0.000001");
    buf_release(&out);
    access_format_free(f);
}

static void check_user(const char *authorization, const char *user) {
    struct field *f = &fixture.fields[2];
    f->id = FIELD_AUTHORIZATION;
    f->value = fixture_append(&fixture, slice_of(authorization));
    exchange.request.head = fixture.request.head;
    check("%(u)s", user);
}

static void the_user_is_that_of_basic_credentials(void **state UNUSED) {
    check_user("Basic dXNlcjpwYXNz", "user");
    check_user("basic   dXNlcjpwYXNz ", "user");
    check_user("Basic YTpi", "a");
    check_user("Basic YWI6Yw==", "ab");
    check_user("Basic dXNlcg==", "user");
    check_user("Basic Iglc", "\\x22\\x09\\x5C");
    check_user("Basic OnBhc3M=", "-");
    check_user("Basic ", "-");
    check_user("Basic", "-");
    check_user("Basic d-Nl", "-");
    check_user("Bearer dXNlcjpwYXNz", "-");
    char large[600] = "Basic ";
    memset(large + 6, 'Q', 592);
    struct field *f = &fixture.fields[2];
    f->value = fixture_append(&fixture, slice_of(large));
    exchange.request.head = fixture.request.head;
    char error[512];
    struct access_format *format = access_format_new("%(u)s", error, sizeof error);
    struct buf out = BUF_INIT;
    struct access_line line = {.exchange = &exchange};
    access_format_append(format, &line, &out);
    assert_in_range(out.len, 128, 512);
    buf_release(&out);
    access_format_free(format);
}

/* Every byte at every place of a value, against the obvious way of escaping. */
static void values_cannot_break_the_line(void **state UNUSED) {
    char error[512], value[20];
    struct access_format *format = access_format_new("%(a)s", error, sizeof error);
    struct buf out = BUF_INIT, expected = BUF_INIT;
    for (size_t length = 1; length < sizeof value; length++) {
        for (size_t at = 0; at < length; at++) {
            for (unsigned c = 0; c < 256; c++) {
                memset(value, 'v', length);
                value[at] = (char)c;
                buf_reset(&fixture.head);
                fixture.fields[1].value = fixture_append(&fixture, slice_make(value, length));
                exchange.request.head = fixture.request.head;
                buf_reset(&out);
                buf_reset(&expected);
                struct access_line line = {.exchange = &exchange};
                access_format_append(format, &line, &out);
                for (size_t i = 0; i < length; i++) {
                    unsigned char byte = (unsigned char)value[i];
                    if (byte < 0x20 || byte > 0x7e || byte == '"' || byte == '\\')
                        buf_printf(&expected, "\\x%02X", byte);
                    else buf_append_char(&expected, value[i]);
                }
                assert_true(slice_equal(buf_slice(&out), buf_slice(&expected)));
            }
        }
    }
    buf_release(&out);
    buf_release(&expected);
    access_format_free(format);
}

static void check_fault(const char *format, const char *atom, unsigned position) {
    char error[512] = "", place[64];
    assert_null(access_format_new(format, error, sizeof error));
    snprintf(place, sizeof place, "unknown atom '%s' at position %u of", atom, position);
    if (!strstr(error, place)) print_error("%s\n", error);
    assert_non_null(strstr(error, place));
}

static void a_wrong_format_is_refused_by_name_and_place(void **state UNUSED) {
    check_fault("%(z)s", "%(z)s", 1);
    check_fault("%(h)s %(hh)s", "%(hh)s", 7);
    check_fault("abc %", "%", 5);
    check_fault("abc %h", "%h", 5);
    check_fault("%(h", "%(h", 1);
    check_fault("%(h)", "%(h)", 1);
    check_fault("%(h)x", "%(h)x", 1);
    check_fault("%()s", "%()s", 1);
    check_fault("%({x}q)s", "%({x}q)s", 1);
    check_fault("%({}i)s", "%({}i)s", 1);
    check_fault("%({x)s", "%({x)s", 1);
    check_fault("%%%(m)s%", "%", 8);
    check_fault("%(m)s%(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)s",
                "%(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 6);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_atom_has_its_value),
        TEST(fields_and_variables_are_found_by_name),
        TEST(literal_text_stays),
        TEST(the_named_formats_are_gunicorns),
        TEST(what_is_missing_is_a_dash),
        TEST(durations_agree),
        TEST(the_user_is_that_of_basic_credentials),
        TEST(values_cannot_break_the_line),
        TEST(a_wrong_format_is_refused_by_name_and_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
