/* Ini files: the grammar, exact line numbers, everything that is refused, and bytes of any kind. */
#include "config/inifile.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* What the reader told, as text: "1[section]", "2 section.key=value", "3+section.key=value", "4!message", each ended by
 * '|'. */
static void on_section(void *context, unsigned line, const char *name) {
    buf_printf(context, "%u[%s]|", line, name);
}

static void on_value(void *context, const struct ini_value *v) {
    buf_printf(context, "%u%c%s.%s=%s|", v->line, v->is_continuation ? '+' : ' ', v->section, v->key, v->value);
}

static void on_error(void *context, unsigned line, const char *message) {
    buf_printf(context, "%u!%s|", line, message);
}

static bool is_own_line(void *context, const char *section, struct slice text) {
    (void)context;
    (void)section;
    return slice_starts_with(text, SLICE("own"));
}

static const struct ini_callbacks callbacks = {on_section, on_value, on_error, is_own_line};

static void assert_read_slice(struct slice text, const char *expected) {
    struct buf told = BUF_INIT;
    inifile_parse(text, &callbacks, &told);
    assert_string_equal(buf_cstr(&told), expected);
    buf_release(&told);
}

static void assert_read(const char *text, const char *expected) {
    assert_read_slice(slice_of(text), expected);
}

#define UNREAD(text) "'" text "' is neither 'key = value' nor '[section]'"

static void test_values(void **state) {
    (void)state;
    assert_read("", "");
    assert_read("\n\n", "");
    assert_read("a=1", "1 .a=1|");
    assert_read(" a = 1 \r\nb:2\r\n\r\n[x]\r\nc =\r\n", "1 .a=1|2 .b=2|4[x]|5 x.c=|");
    assert_read("a = b = c: d\nb = #;\"x\"", "1 .a=b = c: d|2 .b=#;\"x\"|");
    assert_read("\xef\xbb\xbf[x]\na=1\n", "1[x]|2 x.a=1|");
    assert_read("[ x ]\na\t=\tcaf\xc3\xa9\n", "1[x]|2 x.a=caf\xc3\xa9|");
    assert_read("[x]\n[y]\n", "1[x]|2[y]|");
}

static void test_comments(void **state) {
    (void)state;
    assert_read("; a=1\n# b=2\n  ; c\n\t# d\na=1 ; x\nb=1;2 #3\nc=\t;x\n", "5 .a=1|6 .b=1;2 #3|7 .c=|");
    assert_read("[x] ; y\na=1", "1[x]|2 x.a=1|");
}

static void test_continuation(void **state) {
    (void)state;
    assert_read("a = 1 ; x\n  2 ; y\n\n; z\n\t3 = 4\nb=5\n", "1 .a=1|2+.a=2|5+.a=3 = 4|6 .b=5|");
    /* The first key of a section may be indented: nothing stands above it. */
    assert_read("  a=1\n[x]\n  b=2\n  c\n", "1 .a=1|2[x]|3 x.b=2|4+x.b=c|");
    assert_read(
        "a=1\n  own=2\nb=3\n",
        "1 .a=1|2!the line is indented, so it would continue the value above; remove the spaces in front of it|3 .b=3|");
    /* A key longer than what inih remembers. */
    char text[200], expected[300], key[71];
    memset(key, 'k', 70);
    key[70] = '\0';
    snprintf(text, sizeof(text), "%s=1\n 2\n", key);
    snprintf(expected, sizeof(expected), "1 .%s=1|2+.%s=2|", key, key);
    assert_read(text, expected);
}

static void test_joined_lines(void **state) {
    (void)state;
    assert_read("a = x\\\ny\\\r\n  z\nb=1\n", "1 .a=xyz|4 .b=1|");
    assert_read("a = x \\\n  y ; c\nb=1\n", "1 .a=x y|3 .b=1|");
    assert_read("a =\\\nb = 1\n", "1 .a=b = 1|");
    assert_read("a = 1\n  2 \\\n3\n", "1 .a=1|2+.a=2 3|");
    assert_read("a = x\\\nown\n", "1 .a=xown|");
    assert_read("a = x\\", "1 .a=x|1!the line ends in '\\', but nothing follows it|");
    assert_read("a = x\\\n\nb=1\n", "1 .a=x|1!the line ends in '\\', but nothing follows it|3 .b=1|");
    assert_read("a = x\\\n# y\nb=1\n", "1 .a=x|1!the line ends in '\\', but nothing follows it|3 .b=1|");
    assert_read("a = 1\n\\\nb=2\n", "1 .a=1|2!the line holds nothing but '\\'|3 .b=2|");
    assert_read("# a \\\nb=2\n", "2 .b=2|");
}

static void test_long_values_are_joined(void **state) {
    (void)state;
    struct buf text = BUF_INIT, expected = BUF_INIT;
    BUF_APPEND_LITERAL(&text, "a = ");
    BUF_APPEND_LITERAL(&expected, "1 .a=");
    for (int line = 0; line < 50; line++) {
        for (int i = 0; i < 150; i++) buf_append_char(&text, 'x');
        BUF_APPEND_LITERAL(&text, "\\\n");
    }
    for (int i = 0; i < 7500; i++) buf_append_char(&expected, 'x');
    BUF_APPEND_LITERAL(&text, "end\nb=1\n");
    BUF_APPEND_LITERAL(&expected, "end|52 .b=1|");
    assert_read(buf_cstr(&text), buf_cstr(&expected));
    buf_release(&text);
    buf_release(&expected);
}

static void test_too_long(void **state) {
    (void)state;
    for (size_t bytes = 195; bytes < 205; bytes++) {
        char text[400], expected[400], value[300];
        memset(value, 'v', bytes - 2);
        value[bytes - 2] = '\0';
        snprintf(text, sizeof(text), "b=1\na=%s\nc=2\n", value);
        if (bytes <= 198) snprintf(expected, sizeof(expected), "1 .b=1|2 .a=%s|3 .c=2|", value);
        else
            snprintf(
                expected, sizeof(expected),
                "1 .b=1|2!the line has %zu bytes, and 198 can be read; break it with '\\' and go on in the next line|3 .c=2|",
                bytes);
        assert_read(text, expected);
    }
    /* Comments and spaces do not count: inih never sees them. */
    char text[1000];
    memset(text, ' ', sizeof(text));
    memcpy(text, "a=1 ;", 5);
    memset(text + 5, 'c', 500);
    text[sizeof(text) - 1] = '\0';
    assert_read(text, "1 .a=1|");
    text[0] = '#';
    assert_read(text, "");
}

static void test_refused(void **state) {
    (void)state;
    assert_read("a\nb=1\n", "1!" UNREAD("a") "|2 .b=1|");
    assert_read("b=1\na ; =2", "1 .b=1|2!" UNREAD("a") "|");
    assert_read("= 1\nb=2\n", "1!there is no key in front of '='|2 .b=2|");
    assert_read("[x\na=1\n", "1!the line of a section does not end in ']'|2 .a=1|");
    assert_read("[x] a=1\n", "1!the line of a section does not end in ']'|");
    assert_read("[]\na=1\n", "1[]|2 .a=1|");
    assert_read_slice(SLICE("a=1\nb=\0002\nc=3\n"), "1 .a=1|2!byte 3 of the line is the control byte 0x00|3 .c=3|");
    assert_read("a=\x1b[0m\n", "1!byte 3 of the line is the control byte 0x1b|");
    assert_read("a=1\rb=2\n", "1!byte 4 of the line is the control byte 0x0d|");
}

static void test_load(void **state) {
    (void)state;
    struct buf text = BUF_INIT;
    assert_int_equal(inifile_load("/nonexistent/cserve.ini", &text), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(inifile_load("/", &text), -1);
    assert_int_equal(errno, EISDIR);
    assert_int_equal(inifile_load("/dev/zero", &text), -1);
    assert_int_equal(errno, EFBIG);
    buf_reset(&text);
    assert_int_equal(inifile_load("/dev/null", &text), 0);
    assert_int_equal(text.len, 0);
    buf_release(&text);
}

/* Any bytes: no crash, no read beyond the end (under the sanitizers), and line numbers never fall nor pass the last
 * line. */
struct watch {
    unsigned last, lines;
};

static void watch_line(struct watch *w, unsigned line) {
    assert_true(line >= 1 && line <= w->lines);
    assert_true(line + 1 >= w->last); /* a '\' without a next line is reported with the line before */
    w->last = line;
}

static void watch_section(void *context, unsigned line, const char *name) {
    assert_non_null(name);
    watch_line(context, line);
}

static void watch_value(void *context, const struct ini_value *v) {
    assert_non_null(v->section);
    assert_true(*v->key);
    assert_non_null(v->value);
    assert_true(v->line >= 1);
    assert_true(v->line <= ((struct watch *)context)->lines);
}

static void watch_error(void *context, unsigned line, const char *message) {
    assert_true(*message);
    watch_line(context, line);
}

static void test_any_bytes(void **state) {
    (void)state;
    static const struct ini_callbacks watching = {watch_section, watch_value, watch_error, is_own_line};
    static const char *const pieces[] = {"a",
                                         "=",
                                         "\n",
                                         " ",
                                         "\\\n",
                                         ";",
                                         "#",
                                         "[",
                                         "]",
                                         "own",
                                         "\t",
                                         "\r\n",
                                         "key = value\n",
                                         "[x]\n",
                                         "  more\n",
                                         ":",
                                         "\xef\xbb\xbf",
                                         "\"",
                                         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
    unsigned seed = 20240229;
    for (int round = 0; round < 20000; round++) {
        struct buf text = BUF_INIT;
        int count = rand_r(&seed) % 60;
        for (int i = 0; i < count; i++) {
            if (rand_r(&seed) % 16 == 0) buf_append_char(&text, (char)rand_r(&seed));
            else buf_append_cstr(&text, pieces[(size_t)rand_r(&seed) % ARRAY_LENGTH(pieces)]);
        }
        /* Exactly as long as the text, so that a sanitizer sees any read beyond. */
        char *tight = mem_alloc(text.len);
        if (text.len) memcpy(tight, text.data, text.len);
        struct watch watch = {.last = 1, .lines = 1};
        for (size_t i = 0; i < text.len; i++) watch.lines += tight[i] == '\n';
        inifile_parse(slice_make(tight, text.len), &watching, &watch);
        mem_free(tight);
        buf_release(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_continuation),
        cmocka_unit_test(test_joined_lines),
        cmocka_unit_test(test_long_values_are_joined),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
