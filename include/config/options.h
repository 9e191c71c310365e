/* THE table: one row for each setting. The ini reader, the variables, the command line, --help, --print-config and the
 * generated files all come from it; there is no other list of settings. */
#ifndef CSERVE_CONFIG_OPTIONS_H
#define CSERVE_CONFIG_OPTIONS_H

#include "config/value.h"

enum option_group {
    GROUP_APPLICATION,
    GROUP_SOCKETS,
    GROUP_WORKERS,
    GROUP_PROCESS,
    GROUP_CONNECTIONS,
    GROUP_LIMITS,
    GROUP_PROXIES,
    GROUP_LOGS,
    GROUP_HOOKS,
    GROUP_DEVELOPMENT,
    GROUP_GUNICORN,
    GROUP_COUNT
};

struct option {
    const char *key;     /* in the ini file; --key-with-dashes; CSERVE_KEY */
    char flag;           /* -f, or 0 */
    const char *aliases; /* Gunicorn's long flags without their dashes, separated by spaces; may be NULL */
    enum option_group group;
    const struct value_type *type;
    const char *metavar;  /* in place of the type's; may be NULL */
    size_t offset, width; /* of the field in struct settings */
    const char *standard; /* the default as text, parsed like user input; "" where nothing is set */
    const char *variable; /* a foreign variable that gives the default, as $PORT; NULL: none */
    const char *prefix;   /* of what that variable holds; may be NULL */
    const char *implied;  /* the value of the bare --flag where the type is no flag (--proxy-protocol); NULL: none */
    uint64_t min, max;    /* of numbers, in the unit of the field; max 0: no bound but the field's width */
    const char *const *words; /* of value_word, in the order of the enum; NULL ends them */
    bool is_reloadable;
    bool is_for_invocation; /* says what this one invocation does: not for the ini file */
    const char *help;       /* whole sentences */
};

/* A Gunicorn setting that does not exist here, and what to do instead. */
struct option_absent {
    const char *key;
    const char *reason;
};

extern const struct option options[];
extern const size_t options_count;

const char *option_group_title(enum option_group group);
/* By key; NULL if there is none. */
const struct option *option_find(struct slice key);
/* By long flag (`name` without "--": the key with dashes, or an alias), and by short flag. */
const struct option *option_find_flag(struct slice name);
const struct option *option_find_letter(char letter);
/* Why Gunicorn's setting of this key is not here; NULL if it is none of Gunicorn's. Dashes count as underscores. */
const char *option_absence(struct slice key);
/* The key nearest to a mistyped one; NULL if none is near. Dashes count as underscores. */
const char *option_nearest(struct slice key);

/* How many single-letter edits (insert, delete, replace, swap neighbours) turn a into b; at most `bound` + 1. */
unsigned edit_distance(struct slice a, struct slice b, unsigned bound);

/* The long flag of a key: its underscores as dashes. */
void option_append_flag(const struct option *o, struct buf *out);

static inline const char *option_metavar(const struct option *o) {
    return o->metavar ? o->metavar : o->type->metavar;
}

static inline void *option_field(const struct option *o, struct settings *s) {
    return (char *)s + o->offset;
}

static inline const void *option_field_of(const struct option *o, const struct settings *s) {
    return (const char *)s + o->offset;
}

#endif
