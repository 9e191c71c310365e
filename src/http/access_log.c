/* The access log: lines gather in a buffer and leave together, whole.
 *
 * It must never wait for whoever reads it. A file takes everything at once (O_APPEND: workers share it). A pipe, a
 * terminal or a socket is used without blocking, in portions that the kernel takes whole or not at all, so lines of
 * several workers do not mix. What is not taken stays in the buffer; when that is full, new lines are dropped and
 * counted. */
#include "http/access_log.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/access_format.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLUSH_BYTES        (32 * 1024)
#define LINES_BYTES        (2 * FLUSH_BYTES)
#define REPORT_INTERVAL_MS 60000

/* Whole lines that wait to be written; the first may be the rest of one. The length changes after the bytes are
 * there. */
struct lines {
    char *data;
    _Atomic size_t length;
    size_t capacity;
};

enum destination_kind { DESTINATION_FILE, DESTINATION_STREAM, DESTINATION_SOCKET };

struct destination {
    enum destination_kind kind;
    int fd;
    bool must_poll; /* the descriptor may block, and is shared with others who want it so */
};

struct time_text {
    time_t second;
    size_t length;
    char text[64];
};

struct access_log {
    pthread_mutex_t lock; /* guards what follows */
    struct access_format *format;
    char *path; /* absolute, or "-" */
    struct destination destination;
    struct lines lines;
    struct buf line; /* the one being made */
    struct time_text time;
    uint64_t dropped;
    uint64_t reported_ms;
};

/* ---- lines ---- */

static void lines_init(struct lines *l) {
    l->data = mem_alloc(LINES_BYTES);
    l->capacity = LINES_BYTES;
    atomic_init(&l->length, 0);
}

static void lines_release(struct lines *l) {
    mem_free(l->data);
}

static size_t lines_length(const struct lines *l) {
    return atomic_load_explicit(&l->length, memory_order_acquire);
}

static bool lines_append(struct lines *l, const struct buf *line) {
    size_t length = lines_length(l);
    if (line->len > l->capacity - length) return false;
    memcpy(l->data + length, line->data, line->len);
    atomic_store_explicit(&l->length, length + line->len, memory_order_release);
    return true;
}

static void lines_consume(struct lines *l, size_t taken) {
    size_t rest = lines_length(l) - taken;
    memmove(l->data, l->data + taken, rest);
    atomic_store_explicit(&l->length, rest, memory_order_release);
}

static size_t lines_count(const struct lines *l) {
    size_t count = 0;
    const char *end = l->data + lines_length(l);
    for (const char *p = l->data; (p = memchr(p, '\n', (size_t)(end - p))); p++) count++;
    return count;
}

/* ---- where they go ---- */

/* A pipe or terminal that others share must keep its mode: opened anew it has one of its own, which is also
 * non-blocking. That may be forbidden (another user's pipe); then a look before each write has to do. */
static int standard_output_open(struct destination *d) {
    struct stat status;
    if (fstat(STDOUT_FILENO, &status) == -1) return -1;
    d->fd = -1;
    if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode))
        d->fd = open("/proc/self/fd/1", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    d->must_poll = d->fd == -1;
    if (d->fd == -1) d->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    return d->fd == -1 ? -1 : 0;
}

static int destination_open(struct destination *d, const char *path) {
    if (strcmp(path, "-") == 0) {
        if (standard_output_open(d) == -1) return -1;
    } else {
        d->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);
        d->must_poll = false;
        if (d->fd == -1) return -1;
    }
    struct stat status;
    d->kind = DESTINATION_FILE;
    if (fstat(d->fd, &status) == 0 && !S_ISREG(status.st_mode))
        d->kind = S_ISSOCK(status.st_mode) ? DESTINATION_SOCKET : DESTINATION_STREAM;
    return 0;
}

/* The longest write that does not tear a line: a file takes any; a pipe keeps PIPE_BUF bytes together (pipe(7)). */
static size_t destination_portion(const struct destination *d) {
    return d->kind == DESTINATION_FILE ? FLUSH_BYTES : PIPE_BUF;
}

static ssize_t destination_write(const struct destination *d, const char *data, size_t length) {
    ssize_t n;
    if (d->kind == DESTINATION_STREAM && d->must_poll) {
        struct pollfd room = {.fd = d->fd, .events = POLLOUT};
        if (poll(&room, 1, 0) != 1) return -1;
    }
    do {
        n = d->kind == DESTINATION_SOCKET ? send(d->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL)
                                          : write(d->fd, data, length);
    } while (n == -1 && errno == EINTR);
    return n;
}

/* ---- the log; its lock is held ---- */

/* Everything for a file, as many whole lines as stay together for anything else. */
static size_t next_portion(const struct access_log *log, size_t offset) {
    const char *data = log->lines.data + offset;
    size_t length = lines_length(&log->lines) - offset, bound = destination_portion(&log->destination);
    if (log->destination.kind == DESTINATION_FILE || length <= bound) return length;
    const char *end = memrchr(data, '\n', bound);
    return end ? (size_t)(end - data) + 1 : bound;
}

static void report_dropped(struct access_log *log) {
    if (log->dropped == 0) return;
    uint64_t now = clock_mono_ms();
    if (log->reported_ms && now - log->reported_ms < REPORT_INTERVAL_MS) return;
    log_warning("access log '%s' did not take %llu lines in time; they are lost", log->path,
                (unsigned long long)log->dropped);
    log->dropped = 0;
    log->reported_ms = now;
}

static void flush(struct access_log *log) {
    size_t length = lines_length(&log->lines), written = 0;
    while (written < length) {
        ssize_t n = destination_write(&log->destination, log->lines.data + written, next_portion(log, written));
        if (n <= 0) break;
        written += (size_t)n;
    }
    if (written == 0) return;
    lines_consume(&log->lines, written);
    report_dropped(log);
}

static void time_text_set(struct time_text *t, time_t now) {
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm;
    localtime_r(&now, &tm);
    long east = tm.tm_gmtoff / 60, distance = east < 0 ? -east : east;
    int length = snprintf(t->text, sizeof t->text, "[%02d/%s/%04d:%02d:%02d:%02d %c%02ld%02ld]", tm.tm_mday,
                          months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec, east < 0 ? '-' : '+',
                          distance / 60, distance % 60);
    t->length = (size_t)length;
    t->second = now;
}

static void line_make(struct access_log *log, struct exchange *x, struct slice variables) {
    time_t now = time(NULL);
    if (now != log->time.second) time_text_set(&log->time, now);
    struct access_line line = {
        .exchange = x, .time = slice_make(log->time.text, log->time.length), .variables = variables};
    buf_reset(&log->line);
    access_format_append(log->format, &line, &log->line);
    size_t bound = destination_portion(&log->destination);
    if (log->line.len >= bound) {
        log->line.len = bound - sizeof "...";
        BUF_APPEND_LITERAL(&log->line, "...");
    }
    buf_append_char(&log->line, '\n');
}

/* ---- the interface ---- */

/* So that reopening finds the same file after a change of directory. */
static char *absolute_path(const char *path) {
    char directory[PATH_MAX];
    if (strcmp(path, "-") == 0 || path[0] == '/' || !getcwd(directory, sizeof directory)) return mem_strdup(path);
    return mem_printf("%s/%s", directory, path);
}

struct access_log *access_log_open(const char *path, const char *format, char *error, size_t error_size) {
    struct access_format *compiled = access_format_new(format, error, error_size);
    if (!compiled) return NULL;
    struct destination destination;
    if (destination_open(&destination, path) == -1) {
        snprintf(error, error_size, "cannot open access log '%s': %s", path, strerror(errno));
        access_format_free(compiled);
        return NULL;
    }
    struct access_log *log = MEM_NEW(struct access_log);
    pthread_mutex_init(&log->lock, NULL);
    log->format = compiled;
    log->path = absolute_path(path);
    log->destination = destination;
    lines_init(&log->lines);
    buf_init(&log->line);
    return log;
}

int access_log_reopen(struct access_log *log) {
    if (strcmp(log->path, "-") == 0) {
        access_log_flush(log);
        return 0;
    }
    struct destination fresh;
    if (destination_open(&fresh, log->path) == -1) {
        int error = errno;
        access_log_flush(log);
        errno = error;
        return -1;
    }
    pthread_mutex_lock(&log->lock);
    flush(log);
    fd_close(&log->destination.fd);
    log->destination = fresh;
    pthread_mutex_unlock(&log->lock);
    return 0;
}

void access_log_free(struct access_log *log) {
    if (!log) return;
    flush(log);
    log->dropped += lines_count(&log->lines);
    log->reported_ms = 0;
    report_dropped(log);
    fd_close(&log->destination.fd);
    access_format_free(log->format);
    lines_release(&log->lines);
    buf_release(&log->line);
    mem_free(log->path);
    pthread_mutex_destroy(&log->lock);
    mem_free(log);
}

void access_log_add(struct access_log *log, struct exchange *x, const struct handler *handler) {
    /* Before the lock: the handler may wait for a thread that waits for ours. */
    struct buf variables = BUF_INIT;
    if (access_format_has_variables(log->format)) access_format_collect(log->format, x, handler, &variables);

    pthread_mutex_lock(&log->lock);
    line_make(log, x, buf_slice(&variables));
    bool is_kept = lines_append(&log->lines, &log->line);
    if (!is_kept || lines_length(&log->lines) >= FLUSH_BYTES) flush(log);
    if (!is_kept && !lines_append(&log->lines, &log->line)) log->dropped++;
    pthread_mutex_unlock(&log->lock);
    buf_release(&variables);
}

void access_log_flush(struct access_log *log) {
    if (access_log_is_empty(log)) return;
    pthread_mutex_lock(&log->lock);
    flush(log);
    pthread_mutex_unlock(&log->lock);
}

bool access_log_is_empty(const struct access_log *log) {
    return lines_length(&log->lines) == 0;
}
