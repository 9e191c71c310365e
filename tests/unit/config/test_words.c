/* Words as a shell reads them. */
#include "config/words.h"

#include "config/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_words(const char *text, size_t count, const char *const *expected) {
    struct string_list words = {NULL, 0};
    assert_true(words_split(text, &words));
    assert_int_equal(words.count, count);
    for (size_t i = 0; i < count; i++) assert_string_equal(words.items[i], expected[i]);
    string_list_release(&words);
}

#define ASSERT_WORDS(text, ...) \
    assert_words(text, ARRAY_LENGTH(((const char *const[]){__VA_ARGS__})), (const char *const[]){__VA_ARGS__})

static void test_words(void **state) {
    (void)state;
    assert_words("", 0, NULL);
    assert_words(" \t\n", 0, NULL);
    ASSERT_WORDS(" -w  4\twsgi:app\n", "-w", "4", "wsgi:app");
    ASSERT_WORDS("a'b c'd \"e f\" ''", "ab cd", "e f", "");
    ASSERT_WORDS("a\\ b \\\" \\\\", "a b", "\"", "\\");
    ASSERT_WORDS("'\\n' \"\\n \\\" \\$\"", "\\n", "\\n \" $");
    ASSERT_WORDS("$HOME *.c #x", "$HOME", "*.c", "#x");
    ASSERT_WORDS("end\\", "end\\");
}

static void test_open_quotes(void **state) {
    (void)state;
    const char *const open[] = {"'", "a \"b", "x 'y\\''", "\"\\\""};
    for (size_t i = 0; i < ARRAY_LENGTH(open); i++) {
        struct string_list words = {NULL, 0};
        assert_false(words_split(open[i], &words));
        string_list_release(&words);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_open_quotes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
