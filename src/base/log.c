/* The error log: a line is put together on the stack and leaves in one write(2), so lines of several processes and
 * threads do not mix, and no lock exists that a fork could leave taken.
 *
 * The descriptor is a private one with a high number, so that nothing an application does to 0, 1 and 2 reaches it. It
 * may still be closed by an application that closes everything, and its number be a client's socket by the next line:
 * so each write first asks fstat(2) whether the descriptor is still the file that was opened, and opens the path anew
 * when it is not.
 *
 * Must never wait: a pipe or terminal is asked with poll(2) whether it takes a line (O_NONBLOCK would change the
 * description for everyone who shares it), and what it does not take is lost and counted. */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PRIVATE_FD = 100,   /* the log's number is not below */
    LINE_BYTES = 4096,  /* PIPE_BUF: what a pipe takes whole or not at all (pipe(7)) */
    HEADER_BYTES = 128, /* time, process, level */
    ESCAPED_BYTES = 4,  /* \xNN */
    REPORT_MS = 60 * 1000,
};

static struct {
    int fd;
    char *path; /* NULL before log_open() */
    dev_t device;
    ino_t inode;
    mode_t type;
    atomic_int level;
    char process[32];
    atomic_ullong lost;
    atomic_ullong reported_ms; /* when the last count of lost lines was logged */
    atomic_bool is_torn;       /* a line was written in part: the next one begins with a line feed */
} log_state = {.fd = STDERR_FILENO, .type = S_IFIFO, .level = LOG_LEVEL_INFO, .process = "main"};

static const char *const level_names[] = {"debug", "info", "warning", "error", "critical"};

static bool is_stderr(const char *path) {
    return strcmp(path, "-") == 0;
}

/* Out of the way of the numbers that an application closes or counts on; below PRIVATE_FD only where the descriptor
 * limit is that low. */
static int duplicate_privately(int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, PRIVATE_FD);
    return copy < 0 && errno == EINVAL ? fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : copy;
}

static int open_path(const char *path) {
    if (is_stderr(path)) return duplicate_privately(STDERR_FILENO);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0) return -1;
    int private_fd = duplicate_privately(fd);
    fd_close(&fd);
    return private_fd;
}

/* Is `fd` still the file that was opened, and not what somebody opened after closing it? */
static bool is_the_log(int fd) {
    struct stat file;
    return fstat(fd, &file) == 0 && file.st_dev == log_state.device && file.st_ino == log_state.inode;
}

/* Makes `fd` the log, under the number the log has had so far if that is still the log's to keep. */
static int adopt(int fd) {
    struct stat file;
    if (fstat(fd, &file) < 0) goto failed;
    if (log_state.path && is_the_log(log_state.fd)) {
        if (dup3(fd, log_state.fd, O_CLOEXEC) < 0) goto failed;
        fd_close(&fd);
    } else {
        log_state.fd = fd;
    }
    log_state.device = file.st_dev;
    log_state.inode = file.st_ino;
    log_state.type = file.st_mode & S_IFMT;
    return 0;
failed:
    fd_close(&fd);
    return -1;
}

int log_open(const char *path) {
    int fd = open_path(path);
    if (fd < 0 || adopt(fd) < 0) return -1;
    char *old = log_state.path;
    log_state.path = mem_strdup(path);
    mem_free(old);
    return 0;
}

int log_reopen(void) {
    if (!log_state.path || is_stderr(log_state.path)) return 0;
    int fd = open_path(log_state.path);
    return fd < 0 ? -1 : adopt(fd);
}

void log_set_level(enum log_level level) {
    atomic_store_explicit(&log_state.level, (int)level, memory_order_relaxed);
}

bool log_is_enabled(enum log_level level) {
    return (int)level >= atomic_load_explicit(&log_state.level, memory_order_relaxed);
}

void log_set_process(const char *name) {
    snprintf(log_state.process, sizeof(log_state.process), "%s", name);
}

int log_fd(void) {
    return log_state.fd;
}

/* --- writing --- */

static bool takes_more(void) {
    if (log_state.type == S_IFREG) return true;
    struct pollfd ready = {.fd = log_state.fd, .events = POLLOUT};
    return poll(&ready, 1, 0) == 1 && ready.revents == POLLOUT;
}

/* Somebody closed the log's descriptor: take another one. The application may have put something else in stderr's
 * place. */
static int recover(void) {
    int fd = open_path(log_state.path);
    if (fd < 0) return -1;
    if (is_stderr(log_state.path) && !is_the_log(fd)) {
        fd_close(&fd);
        return -1;
    }
    return adopt(fd);
}

/* True if all of it went through. */
static bool emit(const char *data, size_t len) {
    if (log_state.path && !is_the_log(log_state.fd) && recover() < 0) return false;
    if (!takes_more()) return false;
    ssize_t written;
    do {
        written = log_state.type == S_IFSOCK ? send(log_state.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                             : write(log_state.fd, data, len);
    } while (written < 0 && errno == EINTR);
    if (written > 0 && (size_t)written < len) atomic_store(&log_state.is_torn, true);
    return written == (ssize_t)len;
}

static size_t format_header(char *out, size_t size, enum log_level level) {
    uint64_t now_us = clock_wall_us();
    struct tm t;
    clock_local((time_t)(now_us / 1000000), &t);
    long offset = t.tm_gmtoff / 60;
    int len =
        snprintf(out, size, "%s[%04d-%02d-%02d %02d:%02d:%02d.%03u %c%02ld%02ld] [%s %d] [%s] ",
                 atomic_exchange(&log_state.is_torn, false) ? "\n" : "", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday,
                 t.tm_hour, t.tm_min, t.tm_sec, (unsigned)(now_us / 1000 % 1000), offset < 0 ? '-' : '+',
                 labs(offset) / 60, labs(offset) % 60, log_state.process, (int)getpid(), level_names[level]);
    return (size_t)len < size ? (size_t)len : size - 1;
}

/* Lines were lost and one has gone through again: say how many, at most once a minute. */
static void report_lost(void) {
    if (LIKELY(!atomic_load_explicit(&log_state.lost, memory_order_relaxed))) return;
    unsigned long long now = clock_mono_ms(), before = atomic_load(&log_state.reported_ms);
    if (before && now - before < REPORT_MS) return;
    if (!atomic_compare_exchange_strong(&log_state.reported_ms, &before, now)) return;
    unsigned long long lost = atomic_exchange(&log_state.lost, 0);
    char line[HEADER_BYTES + 64];
    size_t len = format_header(line, HEADER_BYTES, LOG_LEVEL_WARNING);
    len += (size_t)snprintf(line + len, sizeof(line) - len, "%llu lines lost: the log did not take them\n", lost);
    if (!emit(line, len)) atomic_fetch_add(&log_state.lost, lost);
}

static void emit_line(const char *data, size_t len) {
    if (emit(data, len)) report_lost();
    else atomic_fetch_add_explicit(&log_state.lost, 1, memory_order_relaxed);
}

/* Writes one byte as itself or as \xNN; returns how many bytes that took, at most ESCAPED_BYTES. */
static size_t put_byte(char *out, unsigned char c, bool escaped) {
    static const char hex[] = "0123456789abcdef";
    out[0] = (char)c;
    if (!escaped) return 1;
    const char escape[ESCAPED_BYTES] = {'\\', 'x', hex[c >> 4], hex[c & 15]};
    memcpy(out, escape, sizeof(escape));
    return sizeof(escape);
}

static bool is_control(unsigned char c) {
    return c < 0x20 || c == 0x7f;
}

/* Copies text with control bytes escaped, other bytes as they are (paths are UTF-8); cuts it with "..." at `size`. */
static size_t append_clean(char *out, size_t size, const char *text) {
    size_t len = 0;
    for (const unsigned char *next = (const unsigned char *)text; *next; next++) {
        if (len + ESCAPED_BYTES + 3 > size) {
            memcpy(out + len, "...", 3);
            return len + 3;
        }
        len += put_byte(out + len, *next, is_control(*next));
    }
    return len;
}

void log_write(enum log_level level, const char *format, ...) {
    if (!log_is_enabled(level)) return;
    int saved = errno;
    char text[LINE_BYTES], line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    size_t len = format_header(line, HEADER_BYTES, level);
    len += append_clean(line + len, sizeof(line) - len - 1, text);
    line[len++] = '\n';
    emit_line(line, len);
    errno = saved;
}

/* --- several lines --- */

/* As much of `s` as one write may carry: whole lines up to LINE_BYTES where a reader could be slow, else all. */
static size_t chunk_length(struct slice s) {
    if (log_state.type == S_IFREG || s.len <= LINE_BYTES) return s.len;
    const char *end = memrchr(s.data, '\n', LINE_BYTES);
    return end ? (size_t)(end - s.data) + 1 : LINE_BYTES;
}

static void append_indented(struct buf *out, struct slice line) {
    BUF_APPEND_LITERAL(out, "    ");
    buf_reserve(out, line.len * ESCAPED_BYTES);
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.data[i];
        out->len += put_byte(out->data + out->len, c, is_control(c) && c != '\t');
    }
    buf_append_char(out, '\n');
}

void log_write_text(enum log_level level, const char *headline, struct slice text) {
    if (!log_is_enabled(level)) return;
    int saved = errno;
    struct buf out = BUF_INIT;
    buf_reserve(&out, LINE_BYTES);
    out.len = format_header(out.data, HEADER_BYTES, level);
    out.len += append_clean(out.data + out.len, out.cap - out.len - 1, headline);
    buf_append_char(&out, '\n');
    if (text.len && text.data[text.len - 1] == '\n') text.len--;
    struct slice line;
    while (text.len && slice_next(&text, '\n', &line)) append_indented(&out, line);

    struct slice rest = buf_slice(&out);
    while (rest.len) {
        size_t len = chunk_length(rest);
        emit_line(rest.data, len);
        rest = slice_make(rest.data + len, rest.len - len);
    }
    buf_release(&out);
    errno = saved;
}

void die(enum exit_code code, const char *format, ...) {
    char line[LINE_BYTES];
    size_t len = (size_t)snprintf(line, sizeof(line), "cserve: ");
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(line + len, sizeof(line) - len, format, arguments);
    va_end(arguments);
    len += more < 0 ? 0 : (size_t)more;
    if (len > sizeof(line) - 1) len = sizeof(line) - 1;
    line[len++] = '\n';
    fd_write_all(STDERR_FILENO, line, len);
    exit(code);
}

char *log_escape(char *out, size_t size, struct slice s) {
    size_t len = 0, cut = 0; /* where dots would still fit */
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        bool is_plain = c >= 0x20 && c < 0x7f && c != '\\';
        if (len + 3 < size) cut = len;
        if (len + (is_plain ? 1 : ESCAPED_BYTES) < size) {
            len += put_byte(out + len, c, !is_plain);
            continue;
        }
        for (len = cut; len < cut + 3 && len + 1 < size; len++) out[len] = '.';
        break;
    }
    out[len] = '\0';
    return out;
}
