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

#define FLUSH_BYTES        (UNWRITTEN_BYTES / 2)
#define REPORT_INTERVAL_MS 60000

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
    struct unwritten *lines;
    bool owns_lines;
    struct buf line; /* the one being made */
    struct time_text time;
    uint64_t dropped;
    uint64_t reported_ms;
};

/* ---- lines ---- */

struct range {
    size_t first, end;
};

/* Of shared memory anything may be read. */
static struct range lines_range(const struct unwritten *l) {
    uint64_t word = atomic_load_explicit(&l->span, memory_order_acquire);
    struct range s = {(size_t)(word >> 32), (size_t)(word & UINT32_MAX)};
    return s.first <= s.end && s.end <= UNWRITTEN_BYTES ? s : (struct range){0, 0};
}

static void lines_set(struct unwritten *l, size_t first, size_t end) {
    if (first == end) first = end = 0;
    atomic_store_explicit(&l->span, (uint64_t)first << 32 | end, memory_order_release);
}

static size_t lines_length(const struct unwritten *l) {
    struct range s = lines_range(l);
    return s.end - s.first;
}

/* To the front; a worker that dies meanwhile loses them, with a reader that did not take them in time anyway. */
static void lines_compact(struct unwritten *l) {
    struct range s = lines_range(l);
    lines_set(l, 0, 0);
    memmove(l->text, l->text + s.first, s.end - s.first);
    lines_set(l, 0, s.end - s.first);
}

static bool lines_append(struct unwritten *l, const struct buf *line) {
    struct range s = lines_range(l);
    if (line->len > UNWRITTEN_BYTES - s.end && s.first) {
        lines_compact(l);
        s = lines_range(l);
    }
    if (line->len > UNWRITTEN_BYTES - s.end) return false;
    memcpy(l->text + s.end, line->data, line->len);
    lines_set(l, s.first, s.end + line->len);
    return true;
}

static void lines_consume(struct unwritten *l, size_t taken) {
    struct range s = lines_range(l);
    lines_set(l, s.first + taken, s.end);
}

static size_t lines_count(const struct unwritten *l) {
    struct range s = lines_range(l);
    size_t count = 0;
    const char *end = l->text + s.end;
    for (const char *p = l->text + s.first; (p = memchr(p, '\n', (size_t)(end - p))); p++) count++;
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
static size_t next_portion(const struct destination *d, const char *data, size_t length) {
    size_t bound = destination_portion(d);
    if (d->kind == DESTINATION_FILE || length <= bound) return length;
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

static size_t write_lines(const struct destination *d, struct unwritten *lines) {
    struct range s = lines_range(lines);
    size_t written = 0;
    while (s.first + written < s.end) {
        const char *data = lines->text + s.first + written;
        ssize_t n = destination_write(d, data, next_portion(d, data, s.end - s.first - written));
        if (n <= 0) break;
        written += (size_t)n;
    }
    if (written) lines_consume(lines, written);
    return written;
}

static void flush(struct access_log *log) {
    if (write_lines(&log->destination, log->lines)) report_dropped(log);
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
    log->lines = MEM_NEW(struct unwritten);
    log->owns_lines = true;
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
    log->dropped += lines_count(log->lines);
    log->reported_ms = 0;
    report_dropped(log);
    fd_close(&log->destination.fd);
    access_format_free(log->format);
    if (log->owns_lines) mem_free(log->lines);
    buf_release(&log->line);
    mem_free(log->path);
    pthread_mutex_destroy(&log->lock);
    mem_free(log);
}

void access_log_keep_in(struct access_log *log, struct unwritten *lines) {
    if (log->owns_lines) mem_free(log->lines);
    log->lines = lines;
    log->owns_lines = false;
}

void access_log_write_rest(struct access_log *log, struct unwritten *lines) {
    pthread_mutex_lock(&log->lock);
    write_lines(&log->destination, lines);
    log->dropped += lines_count(lines);
    lines_set(lines, 0, 0);
    pthread_mutex_unlock(&log->lock);
}

void access_log_add(struct access_log *log, struct exchange *x, const struct handler *handler) {
    /* Before the lock: the handler may wait for a thread that waits for ours. */
    struct buf variables = BUF_INIT;
    if (access_format_has_variables(log->format)) access_format_collect(log->format, x, handler, &variables);

    pthread_mutex_lock(&log->lock);
    line_make(log, x, buf_slice(&variables));
    bool is_kept = lines_append(log->lines, &log->line);
    if (!is_kept || lines_length(log->lines) >= FLUSH_BYTES) flush(log);
    if (!is_kept && !lines_append(log->lines, &log->line)) log->dropped++;
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
    return lines_length(log->lines) == 0;
}
