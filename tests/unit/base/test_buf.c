/* The growing run of bytes: growth, formatting, consuming, its invariants. */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_holds(const struct buf *b, const char *expected) {
    assert_true(b->len <= b->cap);
    assert_int_equal(b->len, strlen(expected));
    if (b->len) assert_memory_equal(b->data, expected, b->len);
}

static void test_empty(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    assert_holds(&b, "");
    assert_null(b.data);
    buf_append(&b, NULL, 0);
    assert_null(b.data);
    buf_consume(&b, 0);
    buf_release(&b);
    buf_release(&b);
    assert_int_equal(b.cap, 0);
}

static void test_append(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b);
    BUF_APPEND_LITERAL(&b, "GET ");
    buf_append_char(&b, '/');
    buf_append_slice(&b, SLICE("a\0b"));
    buf_append_cstr(&b, "!");
    assert_int_equal(b.len, 9);
    assert_memory_equal(b.data, "GET /a\0b!", 9);
    buf_release(&b);
}

static void test_growth_keeps_content(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    for (int i = 0; i < 100000; i++) buf_append_char(&b, (char)i);
    assert_int_equal(b.len, 100000);
    for (int i = 0; i < 100000; i++) assert_int_equal(b.data[i], (char)i);
    size_t cap = b.cap;
    buf_reserve(&b, cap - b.len);
    assert_int_equal(b.cap, cap);
    buf_reserve(&b, cap - b.len + 1);
    assert_true(b.cap >= 2 * cap);
    buf_release(&b);
}

static void test_numbers_and_format(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    buf_append_u64(&b, 0);
    buf_append_char(&b, ' ');
    buf_append_u64(&b, UINT64_MAX);
    buf_printf(&b, " %s-%d", "x", -5);
    buf_printf(&b, "%s", "");
    assert_holds(&b, "0 18446744073709551615 x--5");
    buf_reset(&b);
    buf_printf(&b, "%5000d", 1);
    assert_int_equal(b.len, 5000);
    assert_int_equal(b.data[4999], '1');
    buf_release(&b);
}

static void test_consume(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    buf_append_cstr(&b, "abcdef");
    buf_consume(&b, 2);
    assert_holds(&b, "cdef");
    buf_consume(&b, 4);
    assert_holds(&b, "");
    buf_release(&b);
}

static void test_cstr(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    assert_string_equal(buf_cstr(&b), "");
    assert_int_equal(b.len, 0);
    while (b.len < b.cap) buf_append_char(&b, 'x');
    size_t full = b.len;
    assert_int_equal(strlen(buf_cstr(&b)), full);
    assert_int_equal(b.len, full);
    assert_true(slice_equal(buf_slice(&b), slice_make(b.data, full)));
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_growth_keeps_content),
        cmocka_unit_test(test_numbers_and_format),
        cmocka_unit_test(test_consume),
        cmocka_unit_test(test_cstr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
