/* The error log. One line a call, written whole with one write(2):
 *
 *     [2026-11-24 10:06:39.123 +0000] [master 4711] [error] cannot bind '127.0.0.1:80': permission denied; ...
 *
 * The only global state besides the signal pipe. Never blocks for long: when the log's descriptor does not take a line
 * (disk full, reader stuck or gone) the line is dropped and counted, and the count is logged when lines are taken
 * again. Callable from any thread, not from a signal handler. Text from outside is escaped so that a line stays a
 * line. */
#ifndef CSERVE_BASE_LOG_H
#define CSERVE_BASE_LOG_H

#include "base/compiler.h"
#include "base/slice.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR, LOG_LEVEL_CRITICAL };

/* Opens `path` for appending ("-" is stderr) and makes it the log. The old one stays when it cannot be opened: -1 with
 * errno. */
int log_open(const char *path);
/* Opens the same path anew, after a rotation. Keeps the old descriptor on failure: -1 with errno. */
int log_reopen(void);
void log_set_level(enum log_level level);
bool log_is_enabled(enum log_level level);
/* The name between the brackets: "master", "worker 3". Copied, at most 31 bytes. */
void log_set_process(const char *name);
/* The descriptor behind the log: for faulthandler, capture_output. Owned by the log; it keeps its number over
 * log_reopen(). */
int log_fd(void);

void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
/* Several lines (a traceback) with one header line in front, in one write; text is written line by line, each
 * indented. */
void log_write_text(enum log_level level, const char *headline, struct slice text);

#define log_debug(...)    (log_is_enabled(LOG_LEVEL_DEBUG) ? log_write(LOG_LEVEL_DEBUG, __VA_ARGS__) : (void)0)
#define log_info(...)     log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...)  log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...)    log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_critical(...) log_write(LOG_LEVEL_CRITICAL, __VA_ARGS__)

/* Exit codes of the command, as documented. */
enum exit_code { EXIT_SETTINGS = 1, EXIT_BOOT = 3, EXIT_APP = 4, EXIT_DEAF = 71 /* server_lose_loop() */ };

/* "cserve: message" on stderr and exit(code). Only before the server is ready. */
noreturn void die(enum exit_code code, const char *format, ...) PRINTF_LIKE(2, 3);

/* Appends `s` with control bytes, backslashes and bytes above 0x7e as \xNN to `out` of `size` bytes, NUL-terminated,
 * cut with "..." when it does not fit. Returns out, for use in log arguments. */
char *log_escape(char *out, size_t size, struct slice s);

#endif
