/* How a setting's text becomes a field of struct settings and text again. One constant object for each type; a type
 * knows nothing of files, variables or the command line. For every value v: parsing the format of v gives v. */
#ifndef CSERVE_CONFIG_VALUE_H
#define CSERVE_CONFIG_VALUE_H

#include "config/settings.h"

struct option;

struct value_type {
    const char *metavar; /* what stands for a value in the help: "N", "PATH" */
    bool is_list;        /* parse() appends: a repeated key adds to what is there */
    bool is_flag;        /* may be given on the command line without a value, for "true" */
    /* Parses `text` into `field`, which is zeroed or holds an older value. NULL, or a message without a place that the
     * caller frees
     * ("'x' is not a number from 1 to 9"); the field is unchanged then, but for a list's items before the bad one. */
    char *(*parse)(const struct option *o, void *field, const char *text);
    void (*format)(const struct option *o, const void *field, struct buf *out);
    /* Frees what the field owns and zeroes it; NULL: it owns nothing. */
    void (*release)(void *field);
};

/* value_number.c */
extern const struct value_type value_bool;
extern const struct value_type value_number;
extern const struct value_type value_size;    /* k, m, g: powers of 1024 */
extern const struct value_type value_time_ms; /* ms, s, m, h; a plain number is seconds */
extern const struct value_type value_time_us; /* us too */
extern const struct value_type value_mode;    /* octal */
extern const struct value_type value_workers; /* a number, or `auto` */
extern const struct value_type value_word;    /* an enum whose names are the option's words */

/* value_text.c */
extern const struct value_type value_string; /* "" is not set */
extern const struct value_type value_text;   /* "" is a value */
extern const struct value_type value_path;   /* made absolute against the current directory; "-" and "syslog:" stay */
extern const struct value_type value_application;
extern const struct value_type value_list;
extern const struct value_type value_path_list;
extern const struct value_type
    value_environment; /* K=V; a later value of K replaces the earlier one; formatted one a line */
extern const struct value_type value_ignored; /* Gunicorn's, accepted without effect */

/* value_set.c */
extern const struct value_type value_user;
extern const struct value_type value_group;
extern const struct value_type value_addresses;
extern const struct value_type value_name_values;

void string_list_append(struct string_list *list, const char *item, size_t length);
void string_list_release(struct string_list *list);

/* Calls `add` for each trimmed item between the commas of `text`, until one gives a message. Empty items are
 * skipped. */
char *value_each_item(const char *text, char *(*add)(void *field, struct slice item), void *field);

#endif
