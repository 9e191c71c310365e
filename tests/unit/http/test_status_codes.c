/* Status lines and which of them have a body. */
#include "base/compiler.h"
#include "http/status_codes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static void check(unsigned status, const char *line) {
    assert_true(slice_equal(status_line(status), slice_of(line)));
}

static void registered_numbers_have_their_line(void **state UNUSED) {
    check(100, "100 Continue");
    check(200, "200 OK");
    check(204, "204 No Content");
    check(304, "304 Not Modified");
    check(400, "400 Bad Request");
    check(404, "404 Not Found");
    check(408, "408 Request Timeout");
    check(413, "413 Content Too Large");
    check(414, "414 URI Too Long");
    check(417, "417 Expectation Failed");
    check(431, "431 Request Header Fields Too Large");
    check(501, "501 Not Implemented");
    check(503, "503 Service Unavailable");
    check(505, "505 HTTP Version Not Supported");
    check(507, "507 Insufficient Storage");
}

static void other_numbers_are_errors(void **state UNUSED) {
    check(0, "500 Internal Server Error");
    check(299, "500 Internal Server Error");
    check(1000, "500 Internal Server Error");
}

/* What the table says of itself: the number in front of each line is its own. */
static void lines_begin_with_their_number(void **state UNUSED) {
    for (unsigned status = 100; status < 600; status++) {
        struct slice line = status_line(status);
        assert_true(line.len > 4 && line.data[3] == ' ');
        unsigned number = (unsigned)strtoul(line.data, NULL, 10);
        assert_true(number == status || number == 500);
    }
}

static void interim_204_and_304_have_no_body(void **state UNUSED) {
    assert_false(status_has_body(100));
    assert_false(status_has_body(103));
    assert_false(status_has_body(204));
    assert_false(status_has_body(304));
    assert_true(status_has_body(200));
    assert_true(status_has_body(205));
    assert_true(status_has_body(404));
    assert_true(status_has_body(999));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registered_numbers_have_their_line),
        cmocka_unit_test(other_numbers_are_errors),
        cmocka_unit_test(lines_begin_with_their_number),
        cmocka_unit_test(interim_204_and_304_have_no_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
