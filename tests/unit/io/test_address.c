/* Bind addresses and peers. */
#include "base/compiler.h"
#include "io/address.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// clang-format off
#include <cmocka.h>
// clang-format on

struct good {
    const char *text;
    enum address_kind kind;
    const char *canonical;
};

static void addresses_have_one_canonical_text(void **state) {
    static const struct good rows[] = {
        {"127.0.0.1:8000", ADDRESS_TCP, "127.0.0.1:8000"},
        {" 127.0.0.1:8000 ", ADDRESS_TCP, "127.0.0.1:8000"},
        {"tcp://127.0.0.1:80", ADDRESS_TCP, "127.0.0.1:80"},
        {"127.0.0.1", ADDRESS_TCP, "127.0.0.1:8000"},
        {":9000", ADDRESS_TCP, "0.0.0.0:9000"},
        {"*:9000", ADDRESS_TCP, "0.0.0.0:9000"},
        {"127.0.0.1:0", ADDRESS_TCP, "127.0.0.1:0"},
        {"[::1]:8000", ADDRESS_TCP, "[::1]:8000"},
        {"[::1]", ADDRESS_TCP, "[::1]:8000"},
        {"::1", ADDRESS_TCP, "[::1]:8000"},
        {"[0:0:0:0:0:0:0:1]:80", ADDRESS_TCP, "[::1]:80"},
        {"unix:/run/app.sock", ADDRESS_UNIX, "unix:/run/app.sock"},
        {"unix:///run/app.sock", ADDRESS_UNIX, "unix:/run/app.sock"},
        {"unix:app.sock", ADDRESS_UNIX, "unix:app.sock"},
        {"unix:@app", ADDRESS_ABSTRACT, "unix:@app"},
        {"fd://3", ADDRESS_FD, "fd://3"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct address a;
        const char *fault = address_parse(rows[i].text, &a);
        if (fault) fail_msg("'%s': %s", rows[i].text, fault);
        assert_int_equal(a.kind, rows[i].kind);
        assert_string_equal(a.text, rows[i].canonical);
    }
}

static void bad_addresses_are_refused_in_words(void **state) {
    static const char *const rows[] = {
        "",        " ",       "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1",
        "[::1",    "[::1]80", "unix:",      "unix:@",         "fd://",           "fd://x",
        "fd://-1", "tcp://",  "8000",       "300.1.1.1:80",   "fd://99999999999"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct address a;
        if (!address_parse(rows[i], &a)) fail_msg("'%s' was taken for '%s'", rows[i], a.text);
    }
}

static void the_longest_unix_path_fits_and_the_next_does_not(void **state) {
    char text[160] = "unix:";
    struct address a;
    (void)state;
    memset(text + 5, 'x', 107);
    assert_null(address_parse(text, &a));
    assert_int_equal(a.length, offsetof(struct sockaddr_un, sun_path) + 108);
    text[5 + 107] = 'x';
    assert_non_null(address_parse(text, &a));
}

static void an_abstract_name_begins_with_nul_and_has_no_end(void **state) {
    struct address a;
    (void)state;
    assert_null(address_parse("unix:@app", &a));
    assert_int_equal(a.length, offsetof(struct sockaddr_un, sun_path) + 4);
    assert_memory_equal(a.name.un.sun_path, "\0app", 4);
}

static struct peer peer_of(int family, const char *ip, unsigned port) {
    struct sockaddr_storage name = {.ss_family = (sa_family_t)family};
    struct peer p;
    if (family == AF_INET) {
        struct sockaddr_in *v4 = (void *)&name;
        inet_pton(AF_INET, ip, &v4->sin_addr);
        v4->sin_port = htons((uint16_t)port);
        peer_from_sockaddr(&p, (void *)&name, sizeof(*v4));
    } else {
        struct sockaddr_in6 *v6 = (void *)&name;
        inet_pton(AF_INET6, ip, &v6->sin6_addr);
        v6->sin6_port = htons((uint16_t)port);
        peer_from_sockaddr(&p, (void *)&name, sizeof(*v6));
    }
    return p;
}

static void assert_peer(const struct peer *p, const char *text, unsigned port) {
    assert_false(p->is_unix);
    assert_int_equal(p->port, port);
    assert_int_equal(p->text_len, strlen(text));
    assert_memory_equal(p->text, text, strlen(text));
}

static void peers_read_as_addresses(void **state) {
    static const char *const v4[] = {"0.0.0.0", "1.2.3.4", "10.20.30.40", "192.168.100.255", "255.255.255.255"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(v4); i++) {
        struct peer p = peer_of(AF_INET, v4[i], 54321);
        assert_peer(&p, v4[i], 54321);
    }
    struct peer p = peer_of(AF_INET6, "2001:db8::1", 80);
    assert_peer(&p, "2001:db8::1", 80);
}

static void a_mapped_v4_peer_reads_as_v4(void **state) {
    (void)state;
    struct peer mapped = peer_of(AF_INET6, "::ffff:192.0.2.1", 80), plain = peer_of(AF_INET, "192.0.2.1", 80);
    assert_memory_equal(&mapped, &plain, sizeof(plain));
}

static void a_unix_peer_has_no_text(void **state) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct peer p;
    (void)state;
    peer_from_sockaddr(&p, (void *)&name, sizeof(sa_family_t));
    assert_true(p.is_unix);
    assert_int_equal(p.text_len, 0);
}

static void ip_addresses_are_whole_and_canonical(void **state) {
    static const char *const bad[] = {"", "1", "1.2.3", "01.2.3.4", "1.2.3.256", "1.2.3.4 ", "::1", "1.2.3.4.5"};
    static const char *const bad6[] = {"",        ":",       "1:2",        ":::",         "::12345",
                                       "1::2::3", "1.2.3.4", "fe80::1%lo", "::1.2.3.256", "1:2:3:4:5:6:7:8:9"};
    char zeros[200];
    struct in_addr v4;
    struct in6_addr v6;
    (void)state;
    assert_true(ip_parse(AF_INET, SLICE("192.0.2.1"), &v4));
    assert_int_equal(v4.s_addr, htonl(0xc0000201));
    assert_true(ip_parse(AF_INET6, SLICE("::1"), &v6));
    assert_true(IN6_IS_ADDR_LOOPBACK(&v6));
    assert_true(ip_parse(AF_INET6, SLICE("1111:2222:3333:4444:5555:6666:255.255.255.255"), &v6));
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) assert_false(ip_parse(AF_INET, slice_of(bad[i]), &v4));
    for (size_t i = 0; i < ARRAY_LENGTH(bad6); i++) assert_false(ip_parse(AF_INET6, slice_of(bad6[i]), &v6));
    memset(zeros, '0', sizeof(zeros));
    assert_false(ip_parse(AF_INET6, slice_make(zeros, sizeof(zeros)), &v6));
    assert_false(ip_parse(AF_INET6, SLICE("::1\0"), &v6));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_have_one_canonical_text),
        cmocka_unit_test(bad_addresses_are_refused_in_words),
        cmocka_unit_test(the_longest_unix_path_fits_and_the_next_does_not),
        cmocka_unit_test(an_abstract_name_begins_with_nul_and_has_no_end),
        cmocka_unit_test(peers_read_as_addresses),
        cmocka_unit_test(a_mapped_v4_peer_reads_as_v4),
        cmocka_unit_test(a_unix_peer_has_no_text),
        cmocka_unit_test(ip_addresses_are_whole_and_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
