/* Ini files, line by line, each with its exact number. The grammar is inih's: [section], key = value or key: value,
 * comments from ';' or '#' at the start of a line or from ';' behind a space, indented lines continue the value above.
 * Besides, a line that ends in '\' is joined with the next one. Nothing is cut or skipped silently. */
#ifndef CSERVE_CONFIG_INIFILE_H
#define CSERVE_CONFIG_INIFILE_H

#include "base/buf.h"

/* A larger file is no ini file. */
enum { INIFILE_MAX_BYTES = 1 << 20 };

struct ini_value {
    const char *section; /* "" in front of the first section */
    const char *key;
    const char *value;
    unsigned line;
    bool is_continuation; /* an indented line that belongs to the key above */
};

struct ini_callbacks {
    void (*on_section)(void *context, unsigned line, const char *name);
    void (*on_value)(void *context, const struct ini_value *value);
    /* `message` lacks the place. */
    void (*on_error)(void *context, unsigned line, const char *message);
    /* Is this indented line meant as a setting or a section of its own? */
    bool (*is_own_line)(void *context, const char *section, struct slice text);
};

/* "inih 55". */
const char *inifile_version(void);
/* Reads the file whole. -1 with errno; EFBIG beyond INIFILE_MAX_BYTES. */
int inifile_load(const char *path, struct buf *text);
void inifile_parse(struct slice text, const struct ini_callbacks *callbacks, void *context);

#endif
