/* Values that are one number, and names for numbers. A number is digits and perhaps a unit: no sign, no fraction, no
 * exponent, so that what is written is what is meant. Must never store what the field cannot hold. */
#include "config/value.h"

#include "base/mem.h"
#include "config/cpus.h"
#include "config/options.h"

#include <limits.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit plain_units[] = {{"", 1}, {NULL, 0}};
static const struct unit size_units[] = {{"", 1}, {"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {NULL, 0}};
static const struct unit time_units_ms[] = {{"", 1000},       {"ms", 1},          {"s", 1000},
                                            {"m", 60 * 1000}, {"h", 3600 * 1000}, {NULL, 0}};
static const struct unit time_units_us[] = {{"", 1000000},   {"us", 1},         {"ms", 1000}, {"s", 1000000},
                                            {"m", 60000000}, {"h", 3600000000}, {NULL, 0}};

/* For showing: seconds are easier to compare than a mixture of hours and minutes. */
static const struct unit shown_units_ms[] = {{"ms", 1}, {"s", 1000}, {NULL, 0}};
static const struct unit shown_units_us[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}, {NULL, 0}};

static uint64_t load(const struct option *o, const void *field) {
    if (o->width == sizeof(uint64_t)) return *(const uint64_t *)field;
    return *(const unsigned *)field;
}

static void store(const struct option *o, void *field, uint64_t value) {
    if (o->width == sizeof(uint64_t)) *(uint64_t *)field = value;
    else *(unsigned *)field = (unsigned)value;
}

static uint64_t largest(const struct option *o) {
    if (o->max) return o->max;
    return o->width == sizeof(uint64_t) ? INT64_MAX : INT_MAX;
}

/* In the largest unit that leaves a whole number. The first unit is one. */
static void append_in_units(struct buf *out, uint64_t value, const struct unit *units) {
    const struct unit *best = value ? units : plain_units;
    for (const struct unit *u = units; value && u->name; u++)
        if (value % u->factor == 0 && u->factor > best->factor) best = u;
    buf_append_u64(out, value / best->factor);
    buf_append_cstr(out, best->name);
}

static char *range_message(const struct option *o, const char *text, const char *what, const struct unit *shown) {
    struct buf message = BUF_INIT;
    buf_printf(&message, "'%s' is not %s", text, what);
    if (o->min || o->max) {
        BUF_APPEND_LITERAL(&message, " from ");
        append_in_units(&message, o->min, shown);
        BUF_APPEND_LITERAL(&message, " to ");
        append_in_units(&message, largest(o), shown);
    }
    return buf_cstr(&message);
}

static bool read_with_units(struct slice text, const struct unit *units, uint64_t *value) {
    size_t digits = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9') digits++;
    uint64_t number;
    if (!slice_to_u64(slice_make(text.data, digits), &number)) return false;
    struct slice suffix = slice_make(text.data + digits, text.len - digits);
    for (const struct unit *u = units; u->name; u++) {
        if (!slice_equal_nocase(slice_of(u->name), suffix)) continue;
        return !__builtin_mul_overflow(number, u->factor, value);
    }
    return false;
}

static char *parse_number(const struct option *o, void *field, const char *text, const char *what,
                          const struct unit *units, const struct unit *shown) {
    uint64_t value;
    if (!read_with_units(slice_of(text), units, &value) || value < o->min || value > largest(o))
        return range_message(o, text, what, shown);
    store(o, field, value);
    return NULL;
}

/* --- numbers --- */

static char *number_parse(const struct option *o, void *field, const char *text) {
    return parse_number(o, field, text, "a number", plain_units, plain_units);
}

static void number_format(const struct option *o, const void *field, struct buf *out) {
    buf_append_u64(out, load(o, field));
}

const struct value_type value_number = {.metavar = "N", .parse = number_parse, .format = number_format};

static char *workers_parse(const struct option *o, void *field, const char *text) {
    if (strcmp(text, "auto") != 0) return parse_number(o, field, text, "'auto' or a number", plain_units, plain_units);
    uint64_t count = 2 * (uint64_t)cpus_usable("") + 1;
    store(o, field, count < o->max ? count : o->max);
    return NULL;
}

const struct value_type value_workers = {.metavar = "N", .parse = workers_parse, .format = number_format};

static char *size_parse(const struct option *o, void *field, const char *text) {
    return parse_number(o, field, text, "a size (as 512k, 64m, 1g)", size_units, size_units);
}

static void size_format(const struct option *o, const void *field, struct buf *out) {
    append_in_units(out, load(o, field), size_units);
}

const struct value_type value_size = {.metavar = "SIZE", .parse = size_parse, .format = size_format};

static char *time_ms_parse(const struct option *o, void *field, const char *text) {
    return parse_number(o, field, text, "a time (as 30, 500ms, 5m, 1h)", time_units_ms, shown_units_ms);
}

static void time_ms_format(const struct option *o, const void *field, struct buf *out) {
    append_in_units(out, load(o, field), shown_units_ms);
}

const struct value_type value_time_ms = {.metavar = "TIME", .parse = time_ms_parse, .format = time_ms_format};

static char *time_us_parse(const struct option *o, void *field, const char *text) {
    return parse_number(o, field, text, "a time (as 500us, 2ms, 1s)", time_units_us, shown_units_us);
}

static void time_us_format(const struct option *o, const void *field, struct buf *out) {
    append_in_units(out, load(o, field), shown_units_us);
}

const struct value_type value_time_us = {.metavar = "TIME", .parse = time_us_parse, .format = time_us_format};

/* --- permissions --- */

static char *mode_parse(const struct option *o, void *field, const char *text) {
    struct slice digits = slice_of(text);
    if (slice_starts_with(digits, SLICE("0o"))) digits = slice_make(text + 2, digits.len - 2);
    mode_t mode = 0;
    bool is_valid = digits.len > 0 && digits.len <= 5;
    for (size_t i = 0; is_valid && i < digits.len; i++) {
        is_valid = digits.data[i] >= '0' && digits.data[i] <= '7';
        mode = mode * 8 + (mode_t)(digits.data[i] - '0');
    }
    if (!is_valid || mode > o->max) return mem_printf("'%s' is not an octal mode from 0 to 0777", text);
    *(mode_t *)field = mode;
    return NULL;
}

static void mode_format(const struct option *o UNUSED, const void *field, struct buf *out) {
    buf_printf(out, "%04o", (unsigned)*(const mode_t *)field);
}

const struct value_type value_mode = {.metavar = "MODE", .parse = mode_parse, .format = mode_format};

/* --- names --- */

static char *bool_parse(const struct option *o UNUSED, void *field, const char *text) {
    static const char *const names[][2] = {{"false", "true"}, {"no", "yes"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        for (int value = 0; value < 2; value++) {
            if (!slice_equal_nocase(slice_of(names[i][value]), slice_of(text))) continue;
            *(bool *)field = value;
            return NULL;
        }
    }
    return mem_printf("'%s' is neither 'true' nor 'false'", text);
}

static void bool_format(const struct option *o UNUSED, const void *field, struct buf *out) {
    buf_append_cstr(out, *(const bool *)field ? "true" : "false");
}

const struct value_type value_bool = {.is_flag = true, .parse = bool_parse, .format = bool_format};

static char *word_parse(const struct option *o, void *field, const char *text) {
    struct buf message = BUF_INIT;
    buf_printf(&message, "'%s' is none of", text);
    for (unsigned i = 0; o->words[i]; i++) {
        if (slice_equal_nocase(slice_of(o->words[i]), slice_of(text))) {
            store(o, field, i);
            buf_release(&message);
            return NULL;
        }
        buf_printf(&message, "%s '%s'", i ? "," : "", o->words[i]);
    }
    return buf_cstr(&message);
}

static void word_format(const struct option *o, const void *field, struct buf *out) {
    buf_append_cstr(out, o->words[load(o, field)]);
}

const struct value_type value_word = {.metavar = "WORD", .parse = word_parse, .format = word_format};
