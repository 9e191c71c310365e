/* Memory that never comes back as NULL, and the end of the process when there is none. */
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_nothing_is_something(void **state) {
    (void)state;
    void *a = mem_alloc(0), *b = mem_zalloc(0, 8), *c = mem_realloc(NULL, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(NULL);
}

static void test_zalloc_is_zero(void **state) {
    (void)state;
    unsigned char *bytes = mem_zalloc(100, 3);
    for (int i = 0; i < 300; i++) assert_int_equal(bytes[i], 0);
    mem_free(bytes);
}

static void test_copies(void **state) {
    (void)state;
    char *whole = mem_strdup("worker"), *part = mem_strndup("worker", 4), *none = mem_strndup("", 0);
    char *text = mem_printf("%s %d", whole, 7);
    assert_string_equal(whole, "worker");
    assert_string_equal(part, "work");
    assert_string_equal(none, "");
    assert_string_equal(text, "worker 7");
    mem_free(whole);
    mem_free(part);
    mem_free(none);
    mem_free(text);
}

/* The wait status of a child that asks for more than there is. */
static int status_of_greedy_child(void *(*ask)(void)) {
    pid_t child = fork();
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        ask();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void *ask_product(void) {
    volatile size_t many = SIZE_MAX / 2;
    return mem_zalloc(many, 16);
}

static void *ask_endless_text(void) {
    volatile size_t length = SIZE_MAX;
    return mem_strndup("x", length);
}

static void test_exhaustion_aborts(void **state) {
    (void)state;
    void *(*const greedy[])(void) = {ask_product, ask_endless_text};
    for (size_t i = 0; i < 2; i++) {
        int status = status_of_greedy_child(greedy[i]);
        /* A sanitizer's allocator may end the process in its own way; either way it does not go on. */
        assert_int_not_equal(status, 0);
    }
}

static void test_dropped_text_comes_back(void **state) {
    (void)state;
    static int written = 1;
    written = 2;
    mem_drop_text();
    assert_int_equal(written, 2);
    char *copy = mem_strdup("read-only");
    assert_string_equal(copy, "read-only");
    mem_free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_something),
        cmocka_unit_test(test_zalloc_is_zero),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_exhaustion_aborts),
        cmocka_unit_test(test_dropped_text_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
