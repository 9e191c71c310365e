/* The Date field: the one format that RFC 9110 wants, whatever the locale. */
#include "http/date.h"

#include "base/compiler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void the_date_is_the_present_one(void **state) {
    (void)state;
    struct http_date cached = {0};
    time_t before = time(NULL) - 1;
    char text[40];
    struct slice date = http_date_now(&cached);
    struct tm t = {0};
    assert_int_equal(date.len, 29);
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(date));
    assert_non_null(strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &t));
    assert_true(timegm(&t) >= before && timegm(&t) <= time(NULL));
}

static void a_cached_date_is_kept_for_its_second(void **state) {
    (void)state;
    struct http_date cached = {0};
    http_date_now(&cached);
    uint64_t second = cached.second;
    const char *first = http_date_now(&cached).data;
    assert_ptr_equal(first, cached.text);
    assert_true(cached.second >= second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_date_is_the_present_one),
        cmocka_unit_test(a_cached_date_is_kept_for_its_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
