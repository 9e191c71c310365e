/* Runs of bytes: comparison, trimming, splitting, numbers. */
#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_slice(struct slice s, const char *expected) {
    assert_int_equal(s.len, strlen(expected));
    assert_memory_equal(s.data, expected, s.len);
}

static void test_equal(void **state) {
    (void)state;
    assert_true(slice_equal(SLICE("abc"), SLICE("abc")));
    assert_false(slice_equal(SLICE("abc"), SLICE("abC")));
    assert_false(slice_equal(SLICE("abc"), SLICE("abcd")));
    assert_true(slice_equal(SLICE(""), slice_make("x", 0)));
    assert_true(slice_equal_nocase(SLICE("Content-LENGTH"), SLICE("content-length")));
    assert_false(slice_equal_nocase(SLICE("a"), SLICE("ab")));
    /* '@' and '`', '[' and '{' differ by 0x20 as letters do, and are no letters. */
    assert_false(slice_equal_nocase(SLICE("@["), SLICE("`{")));
    assert_false(slice_equal_nocase(SLICE("\xc4"), SLICE("\xe4")));
}

static void test_starts_with(void **state) {
    (void)state;
    assert_true(slice_starts_with(SLICE("unix:/run"), SLICE("unix:")));
    assert_false(slice_starts_with(SLICE("uni"), SLICE("unix:")));
    assert_false(slice_starts_with(SLICE("Unix:"), SLICE("unix:")));
    assert_true(slice_starts_with_nocase(SLICE("Unix:"), SLICE("unix:")));
    assert_true(slice_starts_with(SLICE(""), SLICE("")));
}

static void test_trim(void **state) {
    (void)state;
    assert_slice(slice_trim(SLICE(" \ta b\t ")), "a b");
    assert_slice(slice_trim(SLICE("\r\na")), "\r\na");
    assert_slice(slice_trim(SLICE(" \t ")), "");
    assert_slice(slice_trim(SLICE("")), "");
}

static void test_next(void **state) {
    (void)state;
    struct slice rest = SLICE("a,,b,"), part;
    const char *const expected[] = {"a", "", "b", ""};
    for (int i = 0; i < 4; i++) {
        assert_true(slice_next(&rest, ',', &part));
        assert_slice(part, expected[i]);
    }
    assert_null(rest.data);
    assert_false(slice_next(&rest, ',', &part));
    rest = SLICE("");
    assert_true(slice_next(&rest, ',', &part));
    assert_int_equal(part.len, 0);
    assert_false(slice_next(&rest, ',', &part));
}

static void test_to_u64(void **state) {
    (void)state;
    uint64_t value = 7;
    assert_true(slice_to_u64(SLICE("0"), &value));
    assert_int_equal(value, 0);
    assert_true(slice_to_u64(SLICE("00018446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    const struct slice bad[] = {SLICE(""),
                                SLICE("18446744073709551616"),
                                SLICE("-1"),
                                SLICE("+1"),
                                SLICE(" 1"),
                                SLICE("1 "),
                                SLICE("0x1"),
                                SLICE("1e3"),
                                SLICE("1\0"),
                                SLICE("\xb2"),
                                SLICE("99999999999999999999999")};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) assert_false(slice_to_u64(bad[i], &value));
    assert_true(value == UINT64_MAX);
}

static void test_find(void **state) {
    (void)state;
    assert_int_equal(slice_find(SLICE("a:b:c"), ':'), 1);
    assert_int_equal(slice_find(SLICE("abc"), ':'), 3);
    assert_int_equal(slice_find(slice_make(NULL, 0), ':'), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal), cmocka_unit_test(test_starts_with), cmocka_unit_test(test_trim),
        cmocka_unit_test(test_next),  cmocka_unit_test(test_to_u64),      cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
