/* Parsing and formatting one setting by its key, as the tests of values need it. */
#ifndef CSERVE_TESTS_VALUE_FIXTURE_H
#define CSERVE_TESTS_VALUE_FIXTURE_H

#include "base/mem.h"
#include "config/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct subject {
    struct settings s;
    const struct option *option;
    char *message; /* of the last parse */
    struct buf text;
};

static inline void subject_release(struct subject *t) {
    if (t->option && t->option->type->release) t->option->type->release(option_field(t->option, &t->s));
    mem_free(t->message);
    buf_release(&t->text);
    *t = (struct subject){.message = NULL};
}

/* Parses into an empty field. */
static inline struct subject *subject_parse(struct subject *t, const char *key, const char *text) {
    subject_release(t);
    t->option = option_find(slice_of(key));
    assert_non_null(t->option);
    t->message = t->option->type->parse(t->option, option_field(t->option, &t->s), text);
    return t;
}

/* `text` is taken and shown as `shown`, and what is shown is taken again and shown the same. */
static inline void assert_value(const char *key, const char *text, const char *shown) {
    struct subject t = {.message = NULL};
    const char *written = text;
    char *again = mem_strdup(shown);
    for (int round = 0; round < 2; round++) {
        subject_parse(&t, key, written);
        if (t.message) fail_msg("%s = '%s': %s", key, written, t.message);
        t.option->type->format(t.option, option_field(t.option, &t.s), &t.text);
        assert_string_equal(buf_cstr(&t.text), shown);
        written = again;
    }
    subject_release(&t);
    mem_free(again);
}

static inline void assert_refused(const char *key, const char *text, const char *message) {
    struct subject t = {.message = NULL};
    subject_parse(&t, key, text);
    if (!t.message) fail_msg("%s = '%s' is taken", key, text);
    if (!strstr(t.message, message)) fail_msg("%s = '%s': '%s' lacks '%s'", key, text, t.message, message);
    subject_release(&t);
}

#endif
