/* The settings of one generation: one plain struct, filled by the options table, read-only from then on.
 *
 * Field names are the ini keys (docs/settings.md says what each means). Times are milliseconds, sizes bytes, 0 is
 * "none" or "no limit" where docs/settings.md says so. Strings are NUL-terminated and owned by the settings; NULL means
 * not set. */
#ifndef CSERVE_CONFIG_SETTINGS_H
#define CSERVE_CONFIG_SETTINGS_H

#include "base/buf.h"
#include "base/log.h"

#include <sys/types.h>

struct string_list {
    char **items;
    size_t count;
};

/* Addresses that are believed: CIDR blocks of either family, everyone, and unix-socket peers. */
struct cidr {
    unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned prefix;           /* bits of `address` that count, 0 to 128 */
};

struct address_set {
    struct cidr *blocks;
    size_t count;
    bool everyone;
};

/* NAME:VALUE pairs of secure_scheme_headers; values compare as they are, names without case. */
struct name_value {
    char *name;
    char *value;
};

struct name_value_list {
    struct name_value *items;
    size_t count;
};

enum header_map { HEADER_MAP_DROP, HEADER_MAP_REFUSE };
enum proxy_protocol { PROXY_OFF, PROXY_V1, PROXY_V2, PROXY_AUTO };

#define UID_UNSET ((uid_t)UINT32_MAX)
#define GID_UNSET ((gid_t)UINT32_MAX)

struct settings {
    /* application */
    char *wsgi_app;
    char *config; /* path of the ini file that was read, NULL if none */
    bool check_config;
    bool print_config;
    char *chdir; /* absolute */
    struct string_list pythonpath;
    char *virtualenv;
    int python_optimize;
    bool python_unbuffered;
    struct string_list warnings;
    struct string_list raw_env; /* K=V, section [env] included */
    bool preload_app;

    /* sockets */
    struct string_list bind;
    int backlog;
    mode_t socket_mode;
    uid_t socket_owner; /* UID_UNSET */
    gid_t socket_group; /* GID_UNSET */

    /* workers */
    int workers; /* `auto` is resolved */
    int threads;
    int worker_connections;
    uint64_t max_requests;
    uint64_t max_requests_jitter;
    uint64_t max_worker_age;    /* ms */
    uint64_t max_worker_memory; /* bytes */
    uint64_t timeout;           /* ms */
    uint64_t graceful_timeout;  /* ms */
    uint64_t boot_timeout;      /* ms */
    uint64_t handover_delay;    /* us: the one time finer than a millisecond; 0 = never */

    /* process */
    bool daemon;
    char *pidfile;
    uid_t user;      /* UID_UNSET: stay */
    gid_t group;     /* GID_UNSET: stay */
    char *user_name; /* for initgroups(3); NULL if the user was given by number and has no entry */
    bool initgroups;
    mode_t umask;
    char *proc_name; /* between the brackets of the process title; wsgi_app unless set */

    /* connections */
    uint64_t keepalive;      /* ms */
    uint64_t header_timeout; /* ms */
    uint64_t body_timeout;   /* ms */
    uint64_t send_timeout;   /* ms */

    /* limits */
    size_t limit_request_line;
    size_t limit_request_fields;
    size_t limit_request_field_size;
    uint64_t limit_request_body;
    size_t body_buffer;
    size_t response_buffer;
    uint64_t response_spool;
    char *spool_dir;
    bool sendfile;

    /* proxies */
    struct address_set forwarded_allow_ips;
    struct name_value_list secure_scheme_headers;
    struct string_list forwarder_headers;
    enum header_map header_map;
    enum proxy_protocol proxy_protocol;
    struct address_set proxy_allow_ips;

    /* answers and logs */
    char *server_header; /* "" leaves the field out */
    char *accesslog;     /* NULL: none; "-": stdout */
    char *access_log_format;
    char *errorlog;
    enum log_level loglevel;
    bool capture_output;

    /* hooks */
    char *hooks; /* Python module */
    char *exec_when_ready;
    char *exec_on_reload;
    char *exec_on_worker_exit;
    char *exec_on_exit;

    /* development */
    bool reload;
    struct string_list reload_extra_files;

    struct setting_origins *origins; /* where each value came from, for describe.h */
};

/* Reads everything anew in the order default < ini < CSERVE_* variables < CSERVE_CMD_ARGS < command line, and checks it
 * as a whole.
 *
 * argv is the command line of the process; argv[0] is skipped. Returns NULL after writing every error, one a line, into
 * `errors`: each names its place (file:line, variable or option), the text and the nearest valid name. Warnings and
 * notes (an ignored worker_class) go to `notes`, one a line, also on success. Does not log and does not change the
 * process: the caller does both. */
struct settings *settings_load(int argc, char **argv, struct buf *errors, struct buf *notes);
void settings_free(struct settings *s);

struct option;

/* Where the value of a setting came from: "default", "conf.ini:3", "variable CSERVE_WORKERS", "command line
 * --workers". */
const char *settings_origin(const struct settings *s, const struct option *o);
/* Was it written by a user, anywhere? */
bool settings_is_explicit(const struct settings *s, const struct option *o);

/* Does `peer` (16 bytes, IPv4 mapped) belong to the set? NULL is a unix-socket peer: always a member unless the set is
 * empty. */
bool address_set_has(const struct address_set *set, const unsigned char peer[16]);

/* The command line's requests that need no server. True if it was one and has been answered on stdout: --help,
 * --version (the caller gives the text after "cserve VERSION"), and --generate=ini|markdown|man for the build. */
bool settings_answer_early(int argc, char **argv, const char *version_details);

#endif
