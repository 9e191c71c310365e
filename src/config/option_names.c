/* Finding a row of the table by what a user wrote, and what a user meant. Speed is no concern: it happens while
 * settings are read. Must never guess on the user's behalf: a near name is for a message only. */
#include "config/options.h"

const char *option_group_title(enum option_group group) {
    static const char *const titles[GROUP_COUNT] = {
        "Application",
        "Sockets",
        "Workers",
        "Process",
        "Connections",
        "Limits",
        "Proxies",
        "Answers and logs",
        "Hooks",
        "Development",
        "Accepted from Gunicorn without effect",
    };
    return titles[group];
}

static char undashed(char c) {
    return c == '-' ? '_' : c;
}

static bool is_same_name(struct slice a, struct slice b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++)
        if (undashed(a.data[i]) != undashed(b.data[i])) return false;
    return true;
}

const struct option *option_find(struct slice key) {
    for (size_t i = 0; i < options_count; i++)
        if (slice_equal(slice_of(options[i].key), key)) return &options[i];
    return NULL;
}

static bool has_alias(const struct option *o, struct slice name) {
    struct slice rest = o->aliases ? slice_of(o->aliases) : slice_make(NULL, 0), alias;
    while (slice_next(&rest, ' ', &alias))
        if (slice_equal(alias, name)) return true;
    return false;
}

const struct option *option_find_flag(struct slice name) {
    for (size_t i = 0; i < options_count; i++) {
        if (has_alias(&options[i], name)) return &options[i];
        if (slice_find(name, '_') == name.len && is_same_name(slice_of(options[i].key), name)) return &options[i];
    }
    return NULL;
}

const struct option *option_find_letter(char letter) {
    for (size_t i = 0; i < options_count; i++)
        if (letter && options[i].flag == letter) return &options[i];
    return NULL;
}

const char *option_absence(struct slice key) {
    static const char no_tls[] = "TLS ends at the proxy in front; see conf/nginx.conf";
    static const struct option_absent absent[] = {
        {"certfile", no_tls},
        {"keyfile", no_tls},
        {"ca_certs", no_tls},
        {"ciphers", no_tls},
        {"ssl_version", no_tls},
        {"cert_reqs", no_tls},
        {"do_handshake_on_connect", no_tls},
        {"suppress_ragged_eofs", no_tls},
        {"spew", "the stack of a hung request is logged when its timeout strikes"},
        {"tmp_upload_dir", "large request bodies go to spool_dir"},
        {"logger_class", "the logs are written by the server itself; see errorlog and accesslog"},
        {"reuse_port", "all workers share the listeners, and only an idle worker accepts"},
        {"enable_stdio_inheritance", "see capture_output"},
        {"strip_header_spaces", "malformed headers are always refused"},
        {"casefold_http_method", "methods are case-sensitive in HTTP"},
        {"permit_unconventional_http_method", "methods are checked as HTTP defines them"},
        {"permit_unconventional_http_version", "versions are checked as HTTP defines them"},
        {"permit_obsolete_folding", "malformed headers are always refused"},
        {"paste", "give a WSGI application as 'module:callable'"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(absent); i++)
        if (is_same_name(slice_of(absent[i].key), key)) return absent[i].reason;
    return NULL;
}

static unsigned min_of(unsigned a, unsigned b) {
    return a < b ? a : b;
}

unsigned edit_distance(struct slice a, struct slice b, unsigned bound) {
    enum { LONGEST = 63 };
    if (a.len > LONGEST || b.len > LONGEST) return bound + 1;
    /* Optimal string alignment: three rows of the usual table, `two_up` for swapped neighbours. */
    unsigned rows[3][LONGEST + 1];
    unsigned *two_up = rows[0], *up = rows[1], *row = rows[2];
    for (unsigned j = 0; j <= b.len; j++) up[j] = two_up[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        row[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            char x = undashed(ascii_lower(a.data[i - 1])), y = undashed(ascii_lower(b.data[j - 1]));
            row[j] = min_of(min_of(up[j], row[j - 1]) + 1, up[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == undashed(ascii_lower(b.data[j - 2])) &&
                y == undashed(ascii_lower(a.data[i - 2])))
                row[j] = min_of(row[j], two_up[j - 2] + 1);
        }
        unsigned *oldest = two_up;
        two_up = up;
        up = row;
        row = oldest;
    }
    return min_of(up[b.len], bound + 1);
}

/* The smaller of *best and the distance of `name`; true if `name` is the nearer one. */
static bool is_nearer(struct slice key, struct slice name, unsigned *best) {
    unsigned distance = *best ? edit_distance(key, name, *best - 1) : 1;
    if (distance >= *best) return false;
    *best = distance;
    return true;
}

/* The first key that begins with `key`: an abbreviation. */
static const char *longer_name(struct slice key) {
    for (size_t i = 0; i < options_count && key.len > 2; i++) {
        struct slice name = slice_of(options[i].key);
        if (name.len > key.len && is_same_name(slice_make(name.data, key.len), key)) return options[i].key;
    }
    return NULL;
}

const char *option_nearest(struct slice key) {
    /* Beyond a third of the letters it is another word. */
    unsigned best = (unsigned)(key.len < 6 ? 2 : key.len / 3) + 1;
    const char *nearest = NULL;
    for (size_t i = 0; i < options_count; i++) {
        const struct option *o = &options[i];
        if (is_nearer(key, slice_of(o->key), &best)) nearest = o->key;
        struct slice rest = o->aliases ? slice_of(o->aliases) : slice_make(NULL, 0), alias;
        while (slice_next(&rest, ' ', &alias))
            if (is_nearer(key, alias, &best)) nearest = o->key;
    }
    return nearest ? nearest : longer_name(key);
}

void option_append_flag(const struct option *o, struct buf *out) {
    BUF_APPEND_LITERAL(out, "--");
    for (const char *next = o->key; *next; next++) buf_append_char(out, *next == '_' ? '-' : *next);
}
