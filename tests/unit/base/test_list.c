/* The intrusive list. */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_order(void **state) {
    (void)state;
    struct list head, a, b, c;
    list_init(&head);
    list_init(&a);
    list_init(&b);
    list_init(&c);
    assert_true(list_is_empty(&head));
    assert_null(list_first(&head));
    list_append(&head, &b);
    list_append(&head, &c);
    list_prepend(&head, &a);
    assert_ptr_equal(list_first(&head), &a);
    assert_ptr_equal(a.next, &b);
    assert_ptr_equal(b.next, &c);
    assert_ptr_equal(c.next, &head);
    assert_ptr_equal(head.prev, &c);
    list_move_to_end(&head, &a);
    assert_ptr_equal(list_first(&head), &b);
    assert_ptr_equal(head.prev, &a);
}

static void test_unlink_twice(void **state) {
    (void)state;
    struct list head, a;
    list_init(&head);
    list_append(&head, &a);
    list_unlink(&a);
    list_unlink(&a);
    assert_true(list_is_empty(&head));
    assert_true(list_is_empty(&a));
    list_move_to_end(&head, &a);
    assert_ptr_equal(list_first(&head), &a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order), cmocka_unit_test(test_unlink_twice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
