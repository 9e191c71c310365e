/* What is generated from the table is what is in the tree, and what it says is true. Runs in the root of the source
 * tree. */
#include "config/describe.h"

#include "base/mem.h"
#include "config/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

static char *generate(void (*describe)(FILE *out)) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    describe(out);
    fclose(out);
    return text;
}

static void assert_same_as_file(void (*describe)(FILE *out), const char *path) {
    char *expected = generate(describe), *found = mem_zalloc(1, strlen(expected) + 2);
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s cannot be read: run the tests in the root of the source tree", path);
    size_t length = fread(found, 1, strlen(expected) + 1, file);
    fclose(file);
    if (length != strlen(expected) || strcmp(found, expected) != 0)
        fail_msg("%s is not what the options table says; run 'make docs'", path);
    mem_free(found);
    free(expected);
}

static void test_files_have_not_drifted(void **state) {
    (void)state;
    assert_same_as_file(describe_ini, "conf/cserve.ini");
    assert_same_as_file(describe_markdown, "docs/settings.md");
    assert_same_as_file(describe_man, "docs/cserve.8");
}

/* The lines of --print-config, without the origins. */
static struct buf printed(int argc, const char **argv) {
    struct buf errors = BUF_INIT, notes = BUF_INIT, values = BUF_INIT;
    struct settings *s = settings_load(argc, (char **)argv, &errors, &notes);
    if (!s) fail_msg("%s", buf_cstr(&errors));
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    describe_settings(s, out);
    fclose(out);
    struct slice rest = slice_of(text), line;
    while (slice_next(&rest, '\n', &line)) {
        const char *origin = memmem(line.data, line.len, "  ; ", 4);
        if (origin) buf_append(&values, line.data, (size_t)(origin - line.data));
        if (origin) buf_append_char(&values, '\n');
    }
    free(text);
    settings_free(s);
    buf_release(&errors);
    buf_release(&notes);
    return values;
}

/* conf/cserve.ini with the '#' removed in front of every key changes nothing. */
static void test_ini_shows_the_defaults(void **state) {
    (void)state;
    char path[] = "/tmp/cserve-generate-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");
    char *text = generate(describe_ini);
    struct slice rest = slice_of(text), line;
    size_t keys = 0;
    while (slice_next(&rest, '\n', &line)) {
        bool is_key = line.len > 1 && line.data[0] == '#' && line.data[1] != ' ' && line.data[1] != 'D';
        keys += is_key;
        fprintf(file, "%.*s\n", (int)line.len - is_key, line.data + is_key);
    }
    fclose(file);
    free(text);
    assert_true(keys > 50);
    const char *bare[] = {"cserve", "--print-config"}, *with_file[] = {"cserve", "--print-config", "-c", path};
    struct buf expected = printed(2, bare), found = printed(4, with_file);
    assert_string_equal(buf_cstr(&found), buf_cstr(&expected));
    buf_release(&expected);
    buf_release(&found);
    unlink(path);
}

static void test_help(void **state) {
    (void)state;
    char *text = generate(describe_help);
    struct slice rest = slice_of(text), line;
    while (slice_next(&rest, '\n', &line))
        if (line.len > 100) fail_msg("a line of the help is too wide: %.*s", SLICE_ARG(line));
    for (size_t i = 0; i < options_count; i++) {
        struct buf flag = BUF_INIT;
        option_append_flag(&options[i], &flag);
        if (!strstr(text, buf_cstr(&flag))) fail_msg("%s is not in the help", buf_cstr(&flag));
        buf_release(&flag);
    }
    for (enum option_group group = 0; group < GROUP_COUNT; group++)
        assert_non_null(strstr(text, option_group_title(group)));
    free(text);
}

static void test_origins_are_shown(void **state) {
    (void)state;
    const char *argv[] = {"cserve", "--workers", "3", "-e", "A=1", "-e", "B=2"};
    struct buf errors = BUF_INIT, notes = BUF_INIT;
    setenv("CSERVE_THREADS", "2", 1);
    setenv("CSERVE_PRINT_CONFIG", "true", 1);
    struct settings *s = settings_load(7, (char **)argv, &errors, &notes);
    assert_non_null(s);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    describe_settings(s, out);
    fclose(out);
    assert_non_null(strstr(text, "\nworkers = 3  ; command line --workers\n"));
    assert_non_null(strstr(text, "\nthreads = 2  ; variable CSERVE_THREADS\n"));
    assert_non_null(strstr(text, "\ntimeout = 30s  ; default\n"));
    assert_non_null(strstr(text, "\nraw_env = A=1  ; command line -e\nraw_env = B=2  ; command line -e\n"));
    free(text);
    settings_free(s);
    buf_release(&errors);
    buf_release(&notes);
    unsetenv("CSERVE_THREADS");
    unsetenv("CSERVE_PRINT_CONFIG");
}

int main(void) {
    const char *const foreign[] = {"PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "TMPDIR", "VIRTUAL_ENV"};
    for (size_t i = 0; i < ARRAY_LENGTH(foreign); i++) unsetenv(foreign[i]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_have_not_drifted),
        cmocka_unit_test(test_ini_shows_the_defaults),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_origins_are_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
