/* The table is sound, and names are found by every spelling. */
#include "value_fixture.h"

#include <stdlib.h>

static void test_table_is_sound(void **state) {
    (void)state;
    for (size_t i = 0; i < options_count; i++) {
        const struct option *o = &options[i];
        assert_non_null(o->key);
        assert_non_null(o->type);
        assert_non_null(o->standard);
        assert_non_null(o->help);
        assert_int_equal(o->help[strlen(o->help) - 1], '.');
        assert_true(o->group < GROUP_COUNT);
        if (i) assert_true(o->group >= options[i - 1].group);
        assert_true(o->offset + o->width <= sizeof(struct settings));
        assert_ptr_equal(option_find(slice_of(o->key)), o);
        if (o->flag) assert_ptr_equal(option_find_letter(o->flag), o);
        assert_true(o->flag != 'h' && o->flag != 'v');
        struct subject t = {.message = NULL};
        subject_parse(&t, o->key, o->standard);
        if (t.message) fail_msg("the default of %s: %s", o->key, t.message);
        subject_release(&t);
    }
}

/* No field of the struct is forgotten: those of the table, and what follows from them, fill it but for padding. */
static void test_fields_do_not_overlap(void **state) {
    (void)state;
    static bool is_taken[sizeof(struct settings)];
    for (size_t i = 0; i < options_count; i++) {
        for (size_t b = 0; b < options[i].width; b++) {
            assert_false(is_taken[options[i].offset + b]);
            is_taken[options[i].offset + b] = true;
        }
    }
    size_t gap = 0, longest = 0;
    for (size_t b = 0; b < sizeof(struct settings); b++) {
        gap = is_taken[b] ? 0 : gap + 1;
        if (gap > longest) longest = gap;
    }
    /* user_name and origins are pointers that no row sets; padding is shorter than a pointer. */
    assert_true(longest < 2 * sizeof(void *));
}

static void test_flags(void **state) {
    (void)state;
    static const struct {
        const char *flag, *key;
    } spellings[] = {
        {"graceful-timeout", "graceful_timeout"},
        {"pid", "pidfile"},
        {"preload", "preload_app"},
        {"name", "proc_name"},
        {"env", "raw_env"},
        {"keep-alive", "keepalive"},
        {"keepalive", "keepalive"},
        {"access-logfile", "accesslog"},
        {"access-logformat", "access_log_format"},
        {"error-logfile", "errorlog"},
        {"log-file", "errorlog"},
        {"log-level", "loglevel"},
        {"reload-extra-file", "reload_extra_files"},
        {"worker-class", "worker_class"},
        {"worker-tmp-dir", "worker_tmp_dir"},
        {"limit-request-field_size", "limit_request_field_size"},
        {"proxy-allow-from", "proxy_allow_ips"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(spellings); i++) {
        const struct option *o = option_find_flag(slice_of(spellings[i].flag));
        assert_non_null(o);
        assert_string_equal(o->key, spellings[i].key);
    }
    assert_null(option_find_flag(SLICE("graceful_timeout")));
    assert_null(option_find_flag(SLICE("graceful")));
    assert_null(option_find_flag(SLICE("")));
    assert_null(option_find_letter(0));
    assert_null(option_find_letter('z'));
}

static void test_distance(void **state) {
    (void)state;
    assert_int_equal(edit_distance(SLICE("workers"), SLICE("workers"), 9), 0);
    assert_int_equal(edit_distance(SLICE("wrokers"), SLICE("workers"), 9), 1);
    assert_int_equal(edit_distance(SLICE("worker"), SLICE("workers"), 9), 1);
    assert_int_equal(edit_distance(SLICE("KEEP-ALIVE"), SLICE("keep_alive"), 9), 0);
    assert_int_equal(edit_distance(SLICE("kitten"), SLICE("sitting"), 9), 3);
    assert_int_equal(edit_distance(SLICE(""), SLICE("abc"), 9), 3);
    assert_int_equal(edit_distance(SLICE("abc"), SLICE("xyz"), 1), 2);
    char text[100];
    memset(text, 'x', sizeof(text));
    assert_int_equal(edit_distance(slice_make(text, sizeof(text)), SLICE("x"), 4), 5);
}

static void test_nearest(void **state) {
    (void)state;
    static const struct {
        const char *written, *key;
    } mistakes[] = {
        {"worker", "workers"},       {"wrokers", "workers"},          {"binds", "bind"},
        {"keep_alive", "keepalive"}, {"log_level", "loglevel"},       {"preload", "preload_app"},
        {"tiemout", "timeout"},      {"access_logfile", "accesslog"}, {"gracefull-timeout", "graceful_timeout"},
        {"deamon", "daemon"},        {"graceful", "graceful_timeout"}};
    for (size_t i = 0; i < ARRAY_LENGTH(mistakes); i++) {
        const char *nearest = option_nearest(slice_of(mistakes[i].written));
        assert_non_null(nearest);
        assert_string_equal(nearest, mistakes[i].key);
    }
    assert_null(option_nearest(SLICE("completely_different")));
    assert_null(option_nearest(SLICE("")));
}

static void test_absence(void **state) {
    (void)state;
    assert_non_null(option_absence(SLICE("certfile")));
    assert_non_null(option_absence(SLICE("tmp-upload-dir")));
    assert_null(option_absence(SLICE("workers")));
    for (size_t i = 0; i < options_count; i++) assert_null(option_absence(slice_of(options[i].key)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_sound), cmocka_unit_test(test_fields_do_not_overlap),
        cmocka_unit_test(test_flags),          cmocka_unit_test(test_distance),
        cmocka_unit_test(test_nearest),        cmocka_unit_test(test_absence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
