/* The access log: Gunicorn's format language compiled once, a line for each response. */
#ifndef CSERVE_HTTP_ACCESS_LOG_H
#define CSERVE_HTTP_ACCESS_LOG_H

#include "http/activity.h"
#include "http/handler.h"

struct access_log;

/* Compiles `format` ("combined" is Gunicorn's default format; "common" without referer and agent) and opens `path` ("-"
 * is stdout). NULL with a message in `error`. */
struct access_log *access_log_open(const char *path, const char *format, char *error, size_t error_size);
/* Writes what is buffered and opens the path anew; keeps the old file on failure. -1 with errno. */
int access_log_reopen(struct access_log *log);
void access_log_free(struct access_log *log);
/* What is buffered lies in `lines` from now on, which must live as long as the log: shared memory, for whoever buries
 * the process. Before the first line. */
void access_log_keep_in(struct access_log *log, struct unwritten *lines);
/* Writes what a process that died has left in `lines`. */
void access_log_write_rest(struct access_log *log, struct unwritten *lines);
/* Appends the line for a finished exchange. `variable` may be NULL. Thread-safe; buffers. */
void access_log_add(struct access_log *log, struct exchange *x, const struct handler *handler);
/* Writes what is buffered with one write(2); lines are whole. Dropped and counted if the descriptor does not take
 * them. */
void access_log_flush(struct access_log *log);
bool access_log_is_empty(const struct access_log *log);

#endif
