/* PROXY headers of both versions: whole, in pieces, followed by a request, and broken in every way that the
 * specification names. */
#include "base/compiler.h"
#include "base/mem.h"
#include "http/proxy_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4           \
    "\xc0\x00\x02\x01" \
    "\xc6\x33\x64\x02" \
    "\x04\xd2"         \
    "\x01\xbb"
#define TCP6_SOURCE "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define TCP6                           \
    TCP6_SOURCE TCP6_SOURCE "\x04\xd2" \
                            "\x01\xbb"
#define UNTOUCHED "untouched"

static struct peer untouched(void) {
    struct peer p = {.port = 7, .text_len = sizeof UNTOUCHED - 1};
    memcpy(p.text, UNTOUCHED, sizeof UNTOUCHED - 1);
    return p;
}

/* Parses a copy of exactly that size, so that a sanitizer sees a byte read too far. */
static ssize_t parse(struct slice data, enum proxy_protocol allowed, struct peer *client) {
    char *copy = mem_alloc(data.len);
    memcpy(copy, data.data, data.len);
    ssize_t result = proxy_protocol_parse(slice_make(copy, data.len), allowed, client);
    mem_free(copy);
    return result;
}

static void check_client(const struct peer *client, const char *text, unsigned port) {
    assert_true(slice_equal(slice_make(client->text, client->text_len), slice_of(text)));
    assert_int_equal(client->port, port);
}

/* Accepted whole and with a request behind it, unfinished at every shorter length. */
static void accept_header(struct slice header, enum proxy_protocol allowed, const char *text, unsigned port) {
    struct peer client;
    for (size_t length = 0; length < header.len; length++) {
        client = untouched();
        assert_int_equal(parse(slice_make(header.data, length), allowed, &client), 0);
        check_client(&client, UNTOUCHED, 7);
    }
    client = untouched();
    assert_int_equal(parse(header, allowed, &client), header.len);
    check_client(&client, text, port);

    char followed[8192];
    memcpy(followed, header.data, header.len);
    memcpy(followed + header.len, "GET / HTTP/1.1\r\n\r\n", 18);
    client = untouched();
    assert_int_equal(parse(slice_make(followed, header.len + 18), allowed, &client), header.len);
    check_client(&client, text, port);
}

/* Refused, at the latest when all of it is there, in every mode; the client stays as it was. */
static void refuse_header(struct slice header) {
    static const enum proxy_protocol modes[] = {PROXY_V1, PROXY_V2, PROXY_AUTO};
    for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
        struct peer client = untouched();
        assert_int_equal(parse(header, modes[i], &client), -1);
        check_client(&client, UNTOUCHED, 7);
    }
}

static void v1_tells_the_client(void **state UNUSED) {
    accept_header(SLICE("PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n"), PROXY_V1, "192.0.2.1", 1234);
    accept_header(SLICE("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"), PROXY_AUTO, "0.0.0.0", 0);
    accept_header(SLICE("PROXY TCP6 2001:db8::1 2001:db8::2 65535 1\r\n"), PROXY_V1, "2001:db8::1", 65535);
    accept_header(SLICE("PROXY TCP6 ::1 ::1 1 1\r\n"), PROXY_AUTO, "::1", 1);
}

static void v1_unknown_leaves_the_client_alone(void **state UNUSED) {
    accept_header(SLICE("PROXY UNKNOWN\r\n"), PROXY_V1, UNTOUCHED, 7);
    accept_header(SLICE("PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n"), PROXY_AUTO, UNTOUCHED, 7);
}

static void v1_in_the_longest_form_is_taken_and_one_byte_more_is_not(void **state UNUSED) {
    char line[PROXY_V1_MAX + 2];
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + PROXY_V1_MAX - 2, "\r\n", 2);
    accept_header(slice_make(line, PROXY_V1_MAX), PROXY_V1, UNTOUCHED, 7);
    memcpy(line + PROXY_V1_MAX - 2, "x\r\n", 3);
    struct peer client = untouched();
    assert_int_equal(parse(slice_make(line, PROXY_V1_MAX - 1), PROXY_V1, &client), 0);
    assert_int_equal(parse(slice_make(line, PROXY_V1_MAX), PROXY_V1, &client), -1);
    assert_int_equal(parse(slice_make(line, PROXY_V1_MAX + 1), PROXY_V1, &client), -1);
    memset(line + 14, 'x', sizeof line - 14);
    refuse_header(slice_make(line, PROXY_V1_MAX));
}

static void v1_refuses_what_is_no_header(void **state UNUSED) {
    static const char *const broken[] = {
        "PROXX",
        "PROXY\r\n",
        "PROXY \r\n",
        "proxy TCP4 192.0.2.1 198.51.100.2 1234 443\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.2 1234 443\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.2 1234 443\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.2 1234 443\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 1234 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1234 443 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1234 443 9\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1234\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2\r\n",
        "PROXY TCP4\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 1234 443\r\n",
        "PROXY TCP4 192.0.2 198.51.100.2 1234 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.2 1234 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1234 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 1234 443\r\n",
        "PROXY TCP6 2001:db8::1 2001:db8::g 1234 443\r\n",
        "PROXY TCP6 2001:db8::1%eth0 2001:db8::2 1234 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1234 99999999999999999999\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 01 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 0x1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\rGET",
        "PROXY TCP4 192.0.2.1 198.51.100.2\n1234 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\r\n",
        "PROXY TCP4 192.0.2.1\t198.51.100.2\t1234\t443\r\n",
        "GET / HTTP/1.1\r\n",
        " PROXY UNKNOWN\r\n",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(broken); i++) refuse_header(slice_of(broken[i]));
    refuse_header(SLICE("PROXY TCP4 192.0.2.1\0 198.51.100.2 1234 443\r\n"));
}

static void v2_tells_the_client(void **state UNUSED) {
    accept_header(SLICE(SIGNATURE "\x21\x11\x00\x0c" TCP4), PROXY_V2, "192.0.2.1", 1234);
    accept_header(SLICE(SIGNATURE "\x21\x21\x00\x24" TCP6), PROXY_AUTO, "2001:db8::1", 1234);
}

static void v2_skips_what_follows_the_addresses(void **state UNUSED) {
    accept_header(SLICE(SIGNATURE "\x21\x11\x00\x13" TCP4 "\x04\x00\x04\xff\xff\xff\xff"), PROXY_V2, "192.0.2.1", 1234);
    char header[PROXY_V2_MAX] = SIGNATURE "\x21\x11\x10\x00" TCP4;
    accept_header(slice_make(header, sizeof header), PROXY_V2, "192.0.2.1", 1234);
}

static void v2_leaves_the_client_alone_where_no_address_applies(void **state UNUSED) {
    char header[16 + 216] = SIGNATURE "\x21\x31\x00\xd8/run/client";
    accept_header(slice_make(header, sizeof header), PROXY_V2, UNTOUCHED, 7);
    accept_header(SLICE(SIGNATURE "\x21\x00\x00\x00"), PROXY_V2, UNTOUCHED, 7);
    accept_header(SLICE(SIGNATURE "\x21\x00\x00\x03"
                                  "abc"),
                  PROXY_V2, UNTOUCHED, 7);
    accept_header(SLICE(SIGNATURE "\x21\x12\x00\x0c" TCP4), PROXY_V2, UNTOUCHED, 7);
    accept_header(SLICE(SIGNATURE "\x20\x11\x00\x0c" TCP4), PROXY_V2, UNTOUCHED, 7);
    accept_header(SLICE(SIGNATURE "\x20\x00\x00\x00"), PROXY_AUTO, UNTOUCHED, 7);
    accept_header(SLICE(SIGNATURE "\x20\xff\x00\x00"), PROXY_AUTO, UNTOUCHED, 7);
}

static void v2_refuses_what_is_no_header(void **state UNUSED) {
    refuse_header(SLICE(SIGNATURE "\x11\x11\x00\x0c" TCP4));
    refuse_header(SLICE(SIGNATURE "\x31"));
    refuse_header(SLICE(SIGNATURE "\x22\x11\x00\x0c" TCP4));
    refuse_header(SLICE(SIGNATURE "\x21\x11\x00\x0b" TCP4));
    refuse_header(SLICE(SIGNATURE "\x21\x21\x00\x23" TCP6));
    refuse_header(SLICE(SIGNATURE "\x21\x41\x00\x00"));
    refuse_header(SLICE(SIGNATURE "\x21\x13\x00\x0c" TCP4));
    refuse_header(SLICE(SIGNATURE "\x21\x11\x10\x01"));
    refuse_header(SLICE(SIGNATURE "\x21\x11\xff\xff"));
    refuse_header(SLICE("\r\n\r\n\0\r\nQUIT\r"));
    refuse_header(SLICE("\r\n\r\nG"));
    refuse_header(SLICE("\n"));
}

static void only_the_allowed_version_is_taken(void **state UNUSED) {
    struct peer client = untouched();
    assert_int_equal(parse(SLICE("PROXY UNKNOWN\r\n"), PROXY_V2, &client), -1);
    assert_int_equal(parse(SLICE("P"), PROXY_V2, &client), -1);
    assert_int_equal(parse(SLICE(SIGNATURE "\x21\x11\x00\x0c" TCP4), PROXY_V1, &client), -1);
    assert_int_equal(parse(SLICE("\r"), PROXY_V1, &client), -1);
    assert_int_equal(parse(SLICE("PROXY UNKNOWN\r\n"), PROXY_OFF, &client), -1);
    check_client(&client, UNTOUCHED, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v1_tells_the_client),
        cmocka_unit_test(v1_unknown_leaves_the_client_alone),
        cmocka_unit_test(v1_in_the_longest_form_is_taken_and_one_byte_more_is_not),
        cmocka_unit_test(v1_refuses_what_is_no_header),
        cmocka_unit_test(v2_tells_the_client),
        cmocka_unit_test(v2_skips_what_follows_the_addresses),
        cmocka_unit_test(v2_leaves_the_client_alone_where_no_address_applies),
        cmocka_unit_test(v2_refuses_what_is_no_header),
        cmocka_unit_test(only_the_allowed_version_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
