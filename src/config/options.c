/* The options table. To add a setting: a field in config/settings.h, a row here, `make docs`. Defaults are text and go
 * through the same parser as what users write, so a default that could not be written in a file cannot exist. */
#include "config/options.h"

#include <stddef.h>

#define FIELD(name) \
    .key = #name, .offset = offsetof(struct settings, name), .width = sizeof(((struct settings *)NULL)->name)
#define RELOADABLE .is_reloadable = true

enum { SECOND = 1000, HOUR = 3600 * SECOND, DAY = 24 * HOUR, MEBIBYTE = 1 << 20 };

static const char *const level_words[] = {"debug", "info", "warning", "error", "critical", NULL};
static const char *const header_map_words[] = {"drop", "refuse", NULL};
static const char *const proxy_protocol_words[] = {"off", "v1", "v2", "auto", NULL};
static const char *const worker_class_words[] = {"sync", "gthread", NULL};

const struct option options[] = {
    /* --- application --- */
    {FIELD(wsgi_app), .group = GROUP_APPLICATION, .type = &value_application, .standard = "", RELOADABLE,
     .help =
         "The application: 'module:callable', 'module' for 'module:application', or 'module:factory(arguments)'. On the command "
         "line it may stand alone, without a flag."},
    {FIELD(config), .flag = 'c', .group = GROUP_APPLICATION, .type = &value_path, .metavar = "FILE", .standard = "",
     .is_for_invocation = true,
     .help =
         "Read settings from this ini file: its section [cserve] holds the keys of this list, [env] the application's environment. "
         "./cserve.ini is read if it is there and no other file is named."},
    {FIELD(check_config), .group = GROUP_APPLICATION, .type = &value_bool, .standard = "false",
     .is_for_invocation = true,
     .help =
         "Check the settings, import the application, and exit: 0 if all is well, 1 for the settings, 4 for the application."},
    {FIELD(print_config), .group = GROUP_APPLICATION, .type = &value_bool, .standard = "false",
     .is_for_invocation = true, .help = "Print the settings in effect, each with its origin, and exit."},
    {FIELD(chdir), .group = GROUP_APPLICATION, .type = &value_path, .metavar = "DIR", .standard = "", RELOADABLE,
     .help =
         "Change to this directory before the application is imported, and put it first on sys.path. The current directory unless "
         "set."},
    {FIELD(pythonpath), .group = GROUP_APPLICATION, .type = &value_path_list, .metavar = "DIR", .standard = "",
     RELOADABLE, .help = "Directories to add to sys.path."},
    {FIELD(virtualenv), .group = GROUP_APPLICATION, .type = &value_path, .metavar = "DIR", .standard = "",
     .variable = "VIRTUAL_ENV",
     .help =
         "The virtual environment whose packages the application sees. Unless set: the one that is active, else the one that cserve is "
         "installed in."},
    {FIELD(python_optimize), .group = GROUP_APPLICATION, .type = &value_number, .standard = "0", .max = 2,
     .help = "As PYTHONOPTIMIZE: 1 removes assertions, 2 docstrings too."},
    {FIELD(python_unbuffered), .group = GROUP_APPLICATION, .type = &value_bool, .standard = "false",
     .help = "As PYTHONUNBUFFERED: what the application prints is written at once."},
    {FIELD(warnings), .group = GROUP_APPLICATION, .type = &value_list, .metavar = "FILTER", .standard = "",
     .help = "Python's warning filters, as after python -W: 'error', 'ignore::DeprecationWarning'."},
    {FIELD(raw_env), .flag = 'e', .aliases = "env", .group = GROUP_APPLICATION, .type = &value_environment,
     .standard = "", RELOADABLE,
     .help =
         "A variable NAME=VALUE for the application's environment; repeatable. In the file, the section [env] is the handier place."},
    {FIELD(preload_app), .aliases = "preload", .group = GROUP_APPLICATION, .type = &value_bool, .standard = "false",
     RELOADABLE,
     .help =
         "Import the application once, in a process of its own, and fork the workers from there: less memory, faster starts. A reload "
         "still serves new code."},

    /* --- sockets --- */
    {FIELD(bind), .flag = 'b', .group = GROUP_SOCKETS, .type = &value_list, .metavar = "ADDRESS",
     .standard = "127.0.0.1:8000", .variable = "PORT", .prefix = "0.0.0.0:", RELOADABLE,
     .help = "Where to listen: HOST:PORT, [IPV6]:PORT, :PORT, unix:/path, unix:@abstract or fd://N; repeatable."},
    {FIELD(backlog), .group = GROUP_SOCKETS, .type = &value_number, .standard = "2048", .min = 1, .max = 1 << 20,
     .help = "Connections that may wait to be accepted; the system's net.core.somaxconn bounds it."},
    {FIELD(socket_mode), .group = GROUP_SOCKETS, .type = &value_mode, .standard = "0660", .max = 0777,
     .help = "Permissions of unix sockets."},
    {FIELD(socket_owner), .group = GROUP_SOCKETS, .type = &value_user, .standard = "",
     .help = "Owner of unix sockets; the process's user unless set."},
    {FIELD(socket_group), .group = GROUP_SOCKETS, .type = &value_group, .standard = "",
     .help = "Group of unix sockets; the process's group unless set."},

    /* --- workers --- */
    {FIELD(workers), .flag = 'w', .group = GROUP_WORKERS, .type = &value_workers, .standard = "auto",
     .variable = "WEB_CONCURRENCY", .min = 1, .max = 1024, RELOADABLE,
     .help =
         "Number of worker processes. 'auto' is twice the usable CPUs plus one; affinity and the control group's quota count."},
    {FIELD(threads), .group = GROUP_WORKERS, .type = &value_number, .standard = "1", .min = 1, .max = 1024, RELOADABLE,
     .help = "Application threads in each worker."},
    {FIELD(worker_connections), .group = GROUP_WORKERS, .type = &value_number, .standard = "10000", .min = 1,
     .max = 1 << 20, RELOADABLE,
     .help =
         "Open connections in each worker, bounded by the limit of descriptors. At the bound the connection that has been idle "
         "longest is closed first."},
    {FIELD(max_requests), .group = GROUP_WORKERS, .type = &value_number, .standard = "0", RELOADABLE,
     .help =
         "Replace a worker after so many requests; 0 for never. Its replacement is ready first, and no more than a quarter of the "
         "workers are replaced at a time."},
    {FIELD(max_requests_jitter), .group = GROUP_WORKERS, .type = &value_number, .standard = "0", RELOADABLE,
     .help = "Add a random number up to this to max_requests, so that workers do not fall due together."},
    {FIELD(max_worker_age), .group = GROUP_WORKERS, .type = &value_time_ms, .standard = "0", RELOADABLE,
     .help = "Replace a worker after this time; 0 for never."},
    {FIELD(max_worker_memory), .group = GROUP_WORKERS, .type = &value_size, .standard = "0", RELOADABLE,
     .help = "Replace a worker whose share of memory (proportional set size) is above this; 0 for never."},
    {FIELD(timeout), .flag = 't', .group = GROUP_WORKERS, .type = &value_time_ms, .standard = "30", .max = DAY,
     RELOADABLE,
     .help =
         "Longest time in the application for one request; beyond it the worker logs its Python stack, is killed and replaced. 0 for no "
         "limit."},
    {FIELD(graceful_timeout), .group = GROUP_WORKERS, .type = &value_time_ms, .standard = "30", .max = DAY, RELOADABLE,
     .help = "Time for running requests to end when a worker stops, reloads or is replaced."},
    {FIELD(boot_timeout), .group = GROUP_WORKERS, .type = &value_time_ms, .standard = "60", .max = DAY, RELOADABLE,
     .help = "A worker must have imported the application and be ready within this time; 0 for no limit."},
    {FIELD(handover_delay), .group = GROUP_WORKERS, .type = &value_time_us, .standard = "2ms",
     .max = 60UL * 1000 * SECOND, RELOADABLE,
     .help =
         "When all threads of a worker have been busy for this long, its waiting requests move to idle workers; 0 for never."},

    /* --- process --- */
    {FIELD(daemon), .flag = 'D', .group = GROUP_PROCESS, .type = &value_bool, .standard = "false",
     .help =
         "Run in the background. The command returns when the service answers, or with the reason why it does not."},
    {FIELD(pidfile), .flag = 'p', .aliases = "pid", .group = GROUP_PROCESS, .type = &value_path, .metavar = "FILE",
     .standard = "",
     .help = "Write the master's process id to this file. If the process named in it lives, the start is refused."},
    {FIELD(user), .flag = 'u', .group = GROUP_PROCESS, .type = &value_user, .standard = "",
     .help = "Workers run as this user, by name or number."},
    {FIELD(group), .flag = 'g', .group = GROUP_PROCESS, .type = &value_group, .standard = "",
     .help = "Workers run with this group, by name or number."},
    {FIELD(initgroups), .group = GROUP_PROCESS, .type = &value_bool, .standard = "true",
     .help = "Give workers all groups of their user, too."},
    {FIELD(umask), .flag = 'm', .group = GROUP_PROCESS, .type = &value_mode, .standard = "0022", .max = 0777,
     .help = "File mode bits that files of workers never get."},
    {FIELD(proc_name), .flag = 'n', .aliases = "name", .group = GROUP_PROCESS, .type = &value_string, .metavar = "NAME",
     .standard = "",
     .help = "What ps(1) shows between the brackets of 'cserve: master [...]'; the application unless set."},

    /* --- connections --- */
    {FIELD(keepalive), .aliases = "keep-alive", .group = GROUP_CONNECTIONS, .type = &value_time_ms, .standard = "75",
     .max = DAY, RELOADABLE,
     .help =
         "How long a connection may be idle between two requests; 0 closes it after each answer. Let it be longer than the proxy's, so "
         "that the proxy closes first."},
    {FIELD(header_timeout), .group = GROUP_CONNECTIONS, .type = &value_time_ms, .standard = "15", .max = DAY,
     RELOADABLE, .help = "From a request's first byte to the end of its head; then 408. 0 for no limit."},
    {FIELD(body_timeout), .group = GROUP_CONNECTIONS, .type = &value_time_ms, .standard = "30", .max = DAY, RELOADABLE,
     .help = "Time without progress in a request's body; then 408. 0 for no limit."},
    {FIELD(send_timeout), .group = GROUP_CONNECTIONS, .type = &value_time_ms, .standard = "30", .max = DAY, RELOADABLE,
     .help = "Time without progress in sending an answer; then the connection is closed. 0 for no limit."},

    /* --- limits --- */
    {FIELD(limit_request_line), .group = GROUP_LIMITS, .type = &value_size, .standard = "8190", .min = 64,
     .max = MEBIBYTE, RELOADABLE, .help = "Longest request line; then 414."},
    {FIELD(limit_request_fields), .group = GROUP_LIMITS, .type = &value_number, .standard = "100", .min = 1,
     .max = 32768, RELOADABLE, .help = "Most header fields; then 431."},
    {FIELD(limit_request_field_size), .aliases = "limit-request-field_size", .group = GROUP_LIMITS, .type = &value_size,
     .standard = "8190", .min = 64, .max = MEBIBYTE, RELOADABLE,
     .help = "Longest header field; then 431, and the log names the field."},
    {FIELD(limit_request_body), .group = GROUP_LIMITS, .type = &value_size, .standard = "1g", RELOADABLE,
     .help = "Largest request body; then 413. 0 for no limit."},
    {FIELD(body_buffer), .group = GROUP_LIMITS, .type = &value_size, .standard = "64k", .max = 1024UL * MEBIBYTE,
     RELOADABLE, .help = "A request body up to this size stays in memory; a larger one goes to a file in spool_dir."},
    {FIELD(response_buffer), .group = GROUP_LIMITS, .type = &value_size, .standard = "1m", .min = 4096,
     .max = 1024UL * MEBIBYTE, RELOADABLE,
     .help =
         "What a slow reader has not taken of an answer waits in memory up to this size, then in a file in spool_dir."},
    {FIELD(response_spool), .group = GROUP_LIMITS, .type = &value_size, .standard = "1g", RELOADABLE,
     .help = "Largest such file; beyond it the application waits for the reader."},
    {FIELD(spool_dir), .group = GROUP_LIMITS, .type = &value_path, .metavar = "DIR", .standard = "/tmp",
     .variable = "TMPDIR", RELOADABLE,
     .help =
         "Directory of the temporary files for large bodies and answers; they have no name there and vanish with the process."},
    {FIELD(sendfile), .group = GROUP_LIMITS, .type = &value_bool, .standard = "true", RELOADABLE,
     .help = "Send files of wsgi.file_wrapper with sendfile(2)."},

    /* --- proxies --- */
    {FIELD(forwarded_allow_ips), .group = GROUP_PROXIES, .type = &value_addresses, .standard = "127.0.0.1, ::1",
     .variable = "FORWARDED_ALLOW_IPS", RELOADABLE,
     .help =
         "Proxies whose forwarding headers are believed: addresses, blocks as 10.0.0.0/8, or '*' for everyone. Peers on unix sockets "
         "are believed unless the list is empty."},
    {FIELD(secure_scheme_headers), .group = GROUP_PROXIES, .type = &value_name_values,
     .standard = "X-Forwarded-Proto:https, X-Forwarded-Protocol:ssl, X-Forwarded-Ssl:on", RELOADABLE,
     .help =
         "Header fields and values by which a trusted proxy says that the request came over https; contradicting ones are refused "
         "with 400."},
    {FIELD(forwarder_headers), .group = GROUP_PROXIES, .type = &value_list, .metavar = "NAME",
     .standard = "SCRIPT_NAME, PATH_INFO", RELOADABLE,
     .help = "Header fields with an underscore in their name that are believed when they come from a trusted proxy."},
    {FIELD(header_map), .group = GROUP_PROXIES, .type = &value_word, .words = header_map_words, .standard = "drop",
     RELOADABLE,
     .help = "What happens to other header fields with an underscore: they are dropped, or the request is refused."},
    {FIELD(proxy_protocol), .group = GROUP_PROXIES, .type = &value_word, .words = proxy_protocol_words,
     .standard = "off", .implied = "auto", RELOADABLE,
     .help = "Expect the PROXY protocol in front of each connection from proxy_allow_ips."},
    {FIELD(proxy_allow_ips), .aliases = "proxy-allow-from", .group = GROUP_PROXIES, .type = &value_addresses,
     .standard = "127.0.0.1, ::1", RELOADABLE,
     .help = "Proxies that may speak the PROXY protocol: addresses, blocks, or '*'."},

    /* --- answers and logs --- */
    {FIELD(server_header), .group = GROUP_LOGS, .type = &value_text, .standard = "cserve", RELOADABLE,
     .help = "Value of the Server header field; empty leaves it out. The application's own wins."},
    {FIELD(accesslog), .aliases = "access-logfile", .group = GROUP_LOGS, .type = &value_path, .metavar = "FILE",
     .standard = "", RELOADABLE, .help = "Write a line for each answer to this file; '-' is stdout. None unless set."},
    {FIELD(access_log_format), .aliases = "access-logformat", .group = GROUP_LOGS, .type = &value_string,
     .metavar = "FORMAT", .standard = "combined", RELOADABLE,
     .help =
         "What such a line holds, in Gunicorn's atoms (%(h)s, %(r)s, ...). 'combined' is Gunicorn's default, 'common' the same without "
         "referer and agent."},
    {FIELD(errorlog), .aliases = "error-logfile log-file", .group = GROUP_LOGS, .type = &value_path, .metavar = "FILE",
     .standard = "-", RELOADABLE, .help = "The log of the server and of wsgi.errors; '-' is stderr."},
    {FIELD(loglevel), .aliases = "log-level", .group = GROUP_LOGS, .type = &value_word, .words = level_words,
     .standard = "info", RELOADABLE, .help = "The least important messages that are logged."},
    {FIELD(capture_output), .group = GROUP_LOGS, .type = &value_bool, .standard = "false", RELOADABLE,
     .help = "Send what the application writes to stdout and stderr to the errorlog."},

    /* --- hooks --- */
    {FIELD(hooks), .group = GROUP_HOOKS, .type = &value_string, .metavar = "MODULE", .standard = "", RELOADABLE,
     .help =
         "Python module with functions that have Gunicorn's names (post_fork, pre_request, worker_exit, ...); those that it has are called."},
    {FIELD(exec_when_ready), .group = GROUP_HOOKS, .type = &value_string, .metavar = "COMMAND", .standard = "",
     RELOADABLE, .help = "Command that the master runs when the first workers are ready."},
    {FIELD(exec_on_reload), .group = GROUP_HOOKS, .type = &value_string, .metavar = "COMMAND", .standard = "",
     RELOADABLE, .help = "Command that the master runs after a reload."},
    {FIELD(exec_on_worker_exit), .group = GROUP_HOOKS, .type = &value_string, .metavar = "COMMAND", .standard = "",
     RELOADABLE, .help = "Command that the master runs when a worker has ended."},
    {FIELD(exec_on_exit), .group = GROUP_HOOKS, .type = &value_string, .metavar = "COMMAND", .standard = "", RELOADABLE,
     .help = "Command that the master runs when it ends."},

    /* --- development --- */
    {FIELD(reload), .group = GROUP_DEVELOPMENT, .type = &value_bool, .standard = "false",
     .help = "Reload when a file changes that the application imported. Not together with daemon."},
    {FIELD(reload_extra_files), .aliases = "reload-extra-file", .group = GROUP_DEVELOPMENT, .type = &value_path_list,
     .metavar = "FILE", .standard = "", .help = "More files whose change reloads."},

    /* --- Gunicorn's --- */
    {.key = "worker_class",
     .flag = 'k',
     .group = GROUP_GUNICORN,
     .type = &value_ignored,
     .metavar = "CLASS",
     .words = worker_class_words,
     .standard = "",
     .help = "Accepted for 'sync' and 'gthread' and ignored: one kind of worker does what both do."},
    {.key = "worker_tmp_dir",
     .group = GROUP_GUNICORN,
     .type = &value_ignored,
     .metavar = "DIR",
     .standard = "",
     .help = "Accepted and ignored: there is no heartbeat file."},
};

const size_t options_count = ARRAY_LENGTH(options);
