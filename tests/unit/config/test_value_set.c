/* Accounts, networks, header fields. */
#include "value_fixture.h"

#include <arpa/inet.h>
#include <stdlib.h>

static void test_accounts(void **state) {
    (void)state;
    struct subject t = {.message = NULL};
    assert_null(subject_parse(&t, "user", "root")->message);
    assert_int_equal(t.s.user, 0);
    assert_null(subject_parse(&t, "group", "3999999999")->message);
    assert_int_equal(t.s.group, 3999999999);
    assert_null(subject_parse(&t, "socket_owner", "")->message);
    assert_true(t.s.socket_owner == UID_UNSET);
    subject_release(&t);
    assert_value("user", "0", "root");
    assert_value("group", "root", "root");
    assert_value("user", "3999999999", "3999999999");
    assert_refused("user", "no-such-user", "there is no user 'no-such-user'");
    assert_refused("group", "no-such-group", "there is no group 'no-such-group'");
    assert_refused("user", "4294967295", "there is no user");
    assert_refused("user", "-1", "there is no user");
}

static bool has(const struct address_set *set, const char *peer) {
    unsigned char address[16] = {[10] = 0xff, [11] = 0xff};
    if (inet_pton(AF_INET, peer, address + 12) != 1) assert_int_equal(inet_pton(AF_INET6, peer, address), 1);
    return address_set_has(set, address);
}

static void test_membership(void **state) {
    (void)state;
    struct subject t = {.message = NULL};
    const struct address_set *set = &t.s.forwarded_allow_ips;
    assert_null(subject_parse(&t, "forwarded_allow_ips", "10.1.2.3, 192.168.0.0/20,2001:db8::/33 , ::1")->message);
    assert_int_equal(set->count, 4);
    const char *const members[] = {"10.1.2.3",       "::ffff:10.1.2.3",  "192.168.0.1",
                                   "192.168.15.255", "2001:db8:7fff::1", "::1"};
    const char *const others[] = {"10.1.2.2", "192.168.16.0", "2001:db8:8000::1", "::2", "127.0.0.1", "::a01:203"};
    for (size_t i = 0; i < ARRAY_LENGTH(members); i++) assert_true(has(set, members[i]));
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++) assert_false(has(set, others[i]));
    assert_true(address_set_has(set, NULL));

    subject_parse(&t, "forwarded_allow_ips", "");
    assert_false(address_set_has(set, NULL));
    assert_false(has(set, "127.0.0.1"));
    subject_parse(&t, "forwarded_allow_ips", "*");
    assert_true(address_set_has(set, NULL));
    assert_true(has(set, "8.8.8.8") && has(set, "2001:db8::1"));
    subject_parse(&t, "forwarded_allow_ips", "0.0.0.0/0");
    assert_true(has(set, "8.8.8.8"));
    assert_false(has(set, "2001:db8::1"));
    subject_parse(&t, "forwarded_allow_ips", "::/0");
    assert_true(has(set, "8.8.8.8") && has(set, "2001:db8::1"));
    subject_release(&t);
}

static void test_addresses(void **state) {
    (void)state;
    assert_value("proxy_allow_ips", "127.0.0.1,::1", "127.0.0.1, ::1");
    assert_value("proxy_allow_ips", "10.0.0.0/8, fd00::/8, *", "*, 10.0.0.0/8, fd00::/8");
    assert_value("proxy_allow_ips", "1.2.3.4/32, ::/0, 0.0.0.0/0", "1.2.3.4, ::/0, 0.0.0.0/0");
    const char *const bad[] = {"localhost", "10.0.0.1/33", "::1/129",
                               "10.0.0",    "1.2.3.4/",    "1.2.3.4/-1",
                               "1.2.3.4/x", "10.*",        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_refused("proxy_allow_ips", bad[i], "is not an address, a block");
}

static void test_name_values(void **state) {
    (void)state;
    assert_value("secure_scheme_headers", "X-Forwarded-Proto: https ,X-Ssl:on", "X-Forwarded-Proto:https, X-Ssl:on");
    assert_value("secure_scheme_headers", "", "");
    const char *const bad[] = {"X-Ssl", ":on", "X-Ssl:", "X Ssl:on", "X\"y:on"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) assert_refused("secure_scheme_headers", bad[i], "is not NAME:VALUE");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accounts),
        cmocka_unit_test(test_membership),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_name_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
