/* Strings, paths, the application, lists, variables. */
#include "value_fixture.h"

#include <stdlib.h>
#include <unistd.h>

static void test_string(void **state) {
    (void)state;
    struct subject t = {.message = NULL};
    assert_null(subject_parse(&t, "proc_name", "")->message);
    assert_null(t.s.proc_name);
    assert_null(subject_parse(&t, "server_header", "")->message);
    assert_string_equal(t.s.server_header, "");
    subject_release(&t);
    assert_value("proc_name", "caf\xc3\xa9 = x", "caf\xc3\xa9 = x");
}

static void test_path(void **state) {
    (void)state;
    char *here = getcwd(NULL, 0), *joined = mem_printf("%s/logs/error.log", here),
         *list = mem_printf("%s/lib, /opt/x", here);
    assert_value("errorlog", "/var/log/cserve.log", "/var/log/cserve.log");
    assert_value("errorlog", "-", "-");
    assert_value("errorlog", "logs/error.log", joined);
    assert_value("errorlog", ".//logs/error.log", joined);
    assert_value("chdir", ".", here);
    assert_value("chdir", "./", here);
    assert_value("pythonpath", "lib, /opt/x", list);
    free(here);
    mem_free(joined);
    mem_free(list);
}

static void test_application(void **state) {
    (void)state;
    const char *const good[] = {"wsgi",       "wsgi:app", "site.wsgi:application", "app:create_app(x='a:b/c.py', n=1)",
                                "my-app:app", "py"};
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) assert_value("wsgi_app", good[i], good[i]);
    assert_refused("wsgi_app", "wsgi.py", "'wsgi.py' is a path, not a module; write 'wsgi' or 'wsgi:application'");
    assert_refused("wsgi_app", "wsgi.py:app", "write 'wsgi:app'");
    assert_refused("wsgi_app", "dir/wsgi.py", "write '--chdir dir wsgi'");
    assert_refused("wsgi_app", "/srv/app/wsgi.py:app", "write '--chdir /srv/app wsgi:app'");
    assert_refused("wsgi_app", "/wsgi.py", "write '--chdir / wsgi'");
    assert_refused("wsgi_app", "dir/wsgi", "write '--chdir dir wsgi'");
    assert_refused("wsgi_app", ":app", "names no module");
    assert_refused("wsgi_app", "wsgi:", "names nothing behind the colon");
    assert_refused("wsgi_app", "my app:app", "holds a space");
}

static void test_list(void **state) {
    (void)state;
    assert_value("bind", " a:1 ,,b:2, ", "a:1, b:2");
    assert_value("bind", "", "");
    struct subject t = {.message = NULL};
    subject_parse(&t, "bind", "a:1");
    assert_null(t.option->type->parse(t.option, &t.s.bind, "b:2"));
    assert_int_equal(t.s.bind.count, 2);
    assert_string_equal(t.s.bind.items[1], "b:2");
    subject_release(&t);
}

static void test_environment(void **state) {
    (void)state;
    struct subject t = {.message = NULL};
    const char *const texts[] = {"A=1,2", "AB=3", "A=", "C= x=y "};
    subject_parse(&t, "raw_env", "");
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        assert_null(t.option->type->parse(t.option, &t.s.raw_env, texts[i]));
    assert_int_equal(t.s.raw_env.count, 3);
    assert_string_equal(t.s.raw_env.items[0], "A=");
    assert_string_equal(t.s.raw_env.items[1], "AB=3");
    assert_string_equal(t.s.raw_env.items[2], "C= x=y ");
    subject_release(&t);
    assert_refused("raw_env", "A", "'A' is not NAME=VALUE");
    assert_refused("raw_env", "=1", "is not NAME=VALUE");
}

static void test_ignored(void **state) {
    (void)state;
    assert_value("worker_class", "sync", "");
    assert_value("worker_class", "gthread", "");
    assert_value("worker_tmp_dir", "/dev/shm", "");
    assert_refused("worker_class", "gevent", "'gevent' is not offered");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_string), cmocka_unit_test(test_path),        cmocka_unit_test(test_application),
        cmocka_unit_test(test_list),   cmocka_unit_test(test_environment), cmocka_unit_test(test_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
