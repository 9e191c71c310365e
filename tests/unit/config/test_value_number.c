/* Numbers, sizes, times, modes, flags, words. */
#include "value_fixture.h"

#include "config/cpus.h"

#include <stdlib.h>

static void test_number(void **state) {
    (void)state;
    assert_value("backlog", "1", "1");
    assert_value("backlog", "007", "7");
    assert_value("max_requests", "9223372036854775807", "9223372036854775807");
    assert_refused("max_requests", "9223372036854775808", "'9223372036854775808' is not a number");
    const char *const bad[] = {"", "0", "-1", "+1", " 1", "1 ", "1.5", "1k", "0x10", "4 # four", "99999999999999999999",
                               "x"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_refused("backlog", bad[i], "is not a number from 1 to 1048576");
}

static void test_refused_keeps_the_field(void **state) {
    (void)state;
    struct subject t = {.message = NULL};
    subject_parse(&t, "backlog", "55");
    t.message = t.option->type->parse(t.option, &t.s.backlog, "x");
    assert_non_null(t.message);
    assert_int_equal(t.s.backlog, 55);
    subject_release(&t);
}

static void test_size(void **state) {
    (void)state;
    assert_value("limit_request_body", "0", "0");
    assert_value("limit_request_body", "1000", "1000");
    assert_value("limit_request_body", "1024", "1k");
    assert_value("limit_request_body", "64K", "64k");
    assert_value("limit_request_body", "1536m", "1536m");
    assert_value("limit_request_body", "3g", "3g");
    assert_refused("limit_request_body", "18014398509481984k", "is not a size");
    assert_refused("limit_request_body", "1kb", "is not a size");
    assert_refused("limit_request_body", "k", "is not a size");
    assert_refused("limit_request_line", "63", "from 64 to 1m");
    struct subject t = {.message = NULL};
    assert_null(subject_parse(&t, "body_buffer", "64k")->message);
    assert_int_equal(t.s.body_buffer, 65536);
    subject_release(&t);
}

static void test_time(void **state) {
    (void)state;
    struct subject t = {.message = NULL};
    assert_null(subject_parse(&t, "timeout", "30")->message);
    assert_int_equal(t.s.timeout, 30000);
    assert_null(subject_parse(&t, "handover_delay", "2ms")->message);
    assert_int_equal(t.s.handover_delay, 2000);
    assert_null(subject_parse(&t, "handover_delay", "1")->message);
    assert_int_equal(t.s.handover_delay, 1000000);
    subject_release(&t);
    assert_value("timeout", "0", "0");
    assert_value("timeout", "500ms", "500ms");
    assert_value("timeout", "1500MS", "1500ms");
    assert_value("timeout", "5m", "300s");
    assert_value("timeout", "1h", "3600s");
    assert_value("handover_delay", "500us", "500us");
    assert_value("handover_delay", "2500us", "2500us");
    assert_refused("timeout", "25h", "from 0 to 86400s");
    assert_refused("timeout", "1d", "is not a time");
    assert_refused("timeout", "1.5", "is not a time");
    assert_refused("timeout", "5us", "is not a time");
    assert_refused("timeout", "-1", "is not a time");
}

static void test_mode(void **state) {
    (void)state;
    assert_value("umask", "22", "0022");
    assert_value("umask", "0o077", "0077");
    assert_value("socket_mode", "0660", "0660");
    const char *const bad[] = {"", "8", "1000", "0o", "rw", "-1", "0000000000022"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) assert_refused("umask", bad[i], "is not an octal mode");
}

static void test_bool(void **state) {
    (void)state;
    const char *const yes[] = {"true", "TRUE", "yes", "on", "1"}, *const no[] = {"false", "No", "off", "0"};
    for (size_t i = 0; i < ARRAY_LENGTH(yes); i++) assert_value("daemon", yes[i], "true");
    for (size_t i = 0; i < ARRAY_LENGTH(no); i++) assert_value("daemon", no[i], "false");
    assert_refused("daemon", "", "neither 'true' nor 'false'");
    assert_refused("daemon", "2", "neither 'true' nor 'false'");
}

static void test_word(void **state) {
    (void)state;
    struct subject t = {.message = NULL};
    assert_null(subject_parse(&t, "loglevel", "Warning")->message);
    assert_int_equal(t.s.loglevel, LOG_LEVEL_WARNING);
    assert_null(subject_parse(&t, "proxy_protocol", "auto")->message);
    assert_int_equal(t.s.proxy_protocol, PROXY_AUTO);
    assert_null(subject_parse(&t, "header_map", "refuse")->message);
    assert_int_equal(t.s.header_map, HEADER_MAP_REFUSE);
    subject_release(&t);
    assert_value("loglevel", "critical", "critical");
    assert_refused("loglevel", "warn", "'warn' is none of 'debug', 'info', 'warning', 'error', 'critical'");
    assert_refused("header_map", "dangerous", "is none of 'drop', 'refuse'");
}

static void test_workers(void **state) {
    (void)state;
    struct subject t = {.message = NULL};
    assert_null(subject_parse(&t, "workers", "auto")->message);
    assert_int_equal(t.s.workers, 2 * cpus_usable("") + 1);
    subject_release(&t);
    assert_value("workers", "4", "4");
    assert_refused("workers", "0", "is not 'auto' or a number from 1 to 1024");
    assert_refused("workers", "1025", "is not 'auto' or a number");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number), cmocka_unit_test(test_refused_keeps_the_field),
        cmocka_unit_test(test_size),   cmocka_unit_test(test_time),
        cmocka_unit_test(test_mode),   cmocka_unit_test(test_bool),
        cmocka_unit_test(test_word),   cmocka_unit_test(test_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
