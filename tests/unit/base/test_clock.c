/* The clocks agree with libc's, and the calendars with gmtime_r(3) and localtime_r(3). */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>

static void test_clocks(void **state) {
    (void)state;
    uint64_t before_us = clock_mono_us(), before_ms = clock_mono_ms();
    uint64_t coarse_ms = clock_mono_coarse_ms(), after_ms = clock_mono_ms();
    assert_true(before_ms >= before_us / 1000);
    assert_true(after_ms >= before_ms);
    assert_true(coarse_ms <= after_ms && coarse_ms + 1000 > before_ms);
    uint64_t wall_us = clock_wall_us();
    time_t now = time(NULL);
    assert_true((uint64_t)now >= wall_us / 1000000 - 1 && (uint64_t)now <= wall_us / 1000000 + 60);
}

static void assert_same(const struct tm *a, const struct tm *b) {
    assert_int_equal(a->tm_sec, b->tm_sec);
    assert_int_equal(a->tm_min, b->tm_min);
    assert_int_equal(a->tm_hour, b->tm_hour);
    assert_int_equal(a->tm_mday, b->tm_mday);
    assert_int_equal(a->tm_mon, b->tm_mon);
    assert_int_equal(a->tm_year, b->tm_year);
    assert_int_equal(a->tm_wday, b->tm_wday);
    assert_int_equal(a->tm_yday, b->tm_yday);
}

static void test_utc(void **state) {
    (void)state;
    const time_t marks[] = {0,          -1,         951782399,  951782400,    951868800,
                            1709164800, 1709251199, 4107542400, 253402300799, -2208988800};
    struct tm ours, libc;
    for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
        clock_utc(marks[i], &ours);
        assert_non_null(gmtime_r(&marks[i], &libc));
        assert_same(&ours, &libc);
    }
    /* Each day of eight hundred years, at a different time of day. */
    for (time_t day = -146097; day < 146097; day++) {
        time_t seconds = day * 86400 + day % 86400;
        clock_utc(seconds, &ours);
        gmtime_r(&seconds, &libc);
        assert_same(&ours, &libc);
    }
}

static void test_local(void **state) {
    (void)state;
    const char *const zones[] = {"EST5EDT,M3.2.0,M11.1.0", "UTC0", "<+0545>-5:45", "<-0330>3:30"};
    struct tm ours, libc;
    for (size_t i = 0; i < sizeof(zones) / sizeof(*zones); i++) {
        setenv("TZ", zones[i], 1);
        tzset();
        /* Around both changes of New York's summer time in 2026; a different day for each zone, past what is
         * remembered. */
        const time_t changes[] = {1772953200, 1793512800};
        for (size_t c = 0; c < 2; c++) {
            for (time_t seconds = changes[c] - 7200 + (time_t)i * 1000000;
                 seconds < changes[c] + 7200 + (time_t)i * 1000000; seconds += 61) {
                clock_local(seconds, &ours);
                localtime_r(&seconds, &libc);
                assert_same(&ours, &libc);
                assert_int_equal(ours.tm_gmtoff, libc.tm_gmtoff);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_utc),
        cmocka_unit_test(test_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
