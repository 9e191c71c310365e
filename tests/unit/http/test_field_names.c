/* Names to numbers: every listed name in every case, and nothing that only looks like one. */
#include "base/compiler.h"
#include "http/field_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static void every_listed_name_has_its_number(void **state UNUSED) {
    for (enum field_id id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        struct slice name = field_name_of(id);
        char text[64];
        assert_true(name.len > 1 && name.len < sizeof text);
        assert_int_equal(field_id_of(name), id);
        for (size_t i = 0; i < name.len; i++) text[i] = ascii_lower(name.data[i]);
        assert_int_equal(field_id_of(slice_make(text, name.len)), id);
        for (size_t i = 0; i < name.len; i++) text[i] = ascii_upper(name.data[i]);
        assert_int_equal(field_id_of(slice_make(text, name.len)), id);
        for (size_t i = 0; i < name.len; i++) text[i] = i % 2 ? ascii_upper(text[i]) : ascii_lower(text[i]);
        assert_int_equal(field_id_of(slice_make(text, name.len)), id);
    }
    assert_int_equal(field_name_of(FIELD_OTHER).len, 0);
}

/* Each byte of each name replaced by each other byte: only the other case of a letter is the same name. */
static void one_wrong_byte_makes_another_name(void **state UNUSED) {
    for (enum field_id id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        struct slice name = field_name_of(id);
        char text[64];
        memcpy(text, name.data, name.len);
        for (size_t i = 0; i < name.len; i++) {
            for (int c = 0; c < 256; c++) {
                text[i] = (char)c;
                bool is_same = ascii_lower((char)c) == ascii_lower(name.data[i]);
                assert_int_equal(field_id_of(slice_make(text, name.len)) == id, is_same);
            }
            text[i] = name.data[i];
        }
    }
}

static void a_longer_or_shorter_name_is_another(void **state UNUSED) {
    for (enum field_id id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        struct slice name = field_name_of(id);
        char text[64];
        memcpy(text, name.data, name.len);
        text[name.len] = 's';
        assert_int_not_equal(field_id_of(slice_make(text, name.len + 1)), id);
        assert_int_not_equal(field_id_of(slice_make(text, name.len - 1)), id);
    }
    assert_int_equal(field_id_of(slice_make("", 0)), FIELD_OTHER);
    assert_int_equal(field_id_of(SLICE("h")), FIELD_OTHER);
    assert_int_equal(field_id_of(SLICE("X-Unheard-Of")), FIELD_OTHER);
    char huge[8192];
    memset(huge, 'a', sizeof huge);
    for (size_t length = 0; length < sizeof huge; length++)
        assert_int_equal(field_id_of(slice_make(huge, length)), FIELD_OTHER);
}

static void singletons_are_those_that_decide_something(void **state UNUSED) {
    static const enum field_id singletons[] = {
        FIELD_HOST,
        FIELD_CONTENT_LENGTH,
        FIELD_CONTENT_TYPE,
        FIELD_AUTHORIZATION,
        FIELD_PROXY_AUTHORIZATION,
        FIELD_IF_MODIFIED_SINCE,
        FIELD_IF_UNMODIFIED_SINCE,
        FIELD_IF_RANGE,
        FIELD_RANGE,
        FIELD_MAX_FORWARDS,
        FIELD_ORIGIN,
        FIELD_REFERER,
    };
    static const enum field_id lists[] = {
        FIELD_OTHER,      FIELD_ACCEPT,        FIELD_COOKIE,        FIELD_CONNECTION,        FIELD_X_FORWARDED_FOR,
        FIELD_VIA,        FIELD_IF_NONE_MATCH, FIELD_CACHE_CONTROL, FIELD_TRANSFER_ENCODING, FIELD_EXPECT,
        FIELD_USER_AGENT, FIELD_FORWARDED,
    };
    for (size_t i = 0; i < ARRAY_LENGTH(singletons); i++) assert_true(field_is_singleton(singletons[i]));
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++) assert_false(field_is_singleton(lists[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_listed_name_has_its_number),
        cmocka_unit_test(one_wrong_byte_makes_another_name),
        cmocka_unit_test(a_longer_or_shorter_name_is_another),
        cmocka_unit_test(singletons_are_those_that_decide_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
