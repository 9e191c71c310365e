/* The access log's way out: files, rotation, pipes that are slow, full or gone, several threads. */
#include "base/compiler.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/access_log.h"
#include "request_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static char directory[] = "/tmp/cserve-test-access-XXXXXX";
static char path[64], rotated[64];
static char error[512];
static struct request_fixture fixture;
static struct exchange exchange;
static const struct handler handler;

static void log_variable(void *ctx, struct exchange *x UNUSED, struct slice name, struct buf *out) {
    /* As the gateway may: a line of its own while ours is being made. */
    access_log_flush(ctx);
    buf_append_slice(out, name);
}

static int make_directory(void **state UNUSED) {
    signal(SIGPIPE, SIG_IGN);
    if (!mkdtemp(directory)) return -1;
    snprintf(path, sizeof path, "%s/access", directory);
    snprintf(rotated, sizeof rotated, "%s/access.1", directory);
    return 0;
}

static int remove_directory(void **state UNUSED) {
    return rmdir(directory);
}

static int set_up(void **state UNUSED) {
    fixture_init(&fixture, "GET", "/", "192.0.2.1");
    fixture_add(&fixture, "User-Agent", "tests");
    exchange = (struct exchange){.request = fixture.request, .response = {.status = 200, .sent_bytes = 5}};
    return 0;
}

static int tear_down(void **state UNUSED) {
    fixture_release(&fixture);
    unlink(path);
    unlink(rotated);
    return 0;
}

static struct access_log *open_log(const char *format) {
    struct access_log *log = access_log_open(path, format, error, sizeof error);
    assert_non_null(log);
    return log;
}

static size_t read_file(const char *name, char *data, size_t size) {
    int fd = open(name, O_RDONLY);
    assert_true(fd >= 0);
    size_t length = 0;
    ssize_t n;
    while ((n = read(fd, data + length, size - 1 - length)) > 0) length += (size_t)n;
    close(fd);
    data[length] = '\0';
    return length;
}

static void set_target(const char *target) {
    exchange.request.target = fixture_append(&fixture, slice_of(target));
    exchange.request.head = fixture.request.head;
}

static void lines_wait_for_the_flush(void **state UNUSED) {
    char text[4096];
    struct access_log *log = open_log("%(m)s %(s)s");
    assert_true(access_log_is_empty(log));
    access_log_flush(log);
    access_log_add(log, &exchange, &handler);
    assert_false(access_log_is_empty(log));
    assert_int_equal(read_file(path, text, sizeof text), 0);
    access_log_add(log, &exchange, &handler);
    access_log_flush(log);
    assert_true(access_log_is_empty(log));
    read_file(path, text, sizeof text);
    assert_string_equal(text, "GET 200\nGET 200\n");
    access_log_add(log, &exchange, &handler);
    access_log_free(log);
    read_file(path, text, sizeof text);
    assert_string_equal(text, "GET 200\nGET 200\nGET 200\n");
}

static void a_line_has_the_time_of_its_making(void **state UNUSED) {
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    setenv("TZ", "XXX-05:30", 1);
    tzset();
    char text[4096], month[4];
    struct access_log *log = open_log("combined");
    time_t before = time(NULL);
    access_log_add(log, &exchange, &handler);
    time_t after = time(NULL);
    access_log_free(log);
    unsetenv("TZ");
    tzset();
    read_file(path, text, sizeof text);
    struct tm tm = {0};
    int end = 0;
    assert_int_equal(
        sscanf(text, "192.0.2.1 - - [%2d/%3s/%4d:%2d:%2d:%2d +0530] \"GET / HTTP/1.1\" 200 5 \"-\" \"tests\"\n%n",
               &tm.tm_mday, month, &tm.tm_year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end),
        6);
    assert_int_equal((size_t)end, strlen(text));
    tm.tm_year -= 1900;
    while (strcmp(months[tm.tm_mon], month) != 0) tm.tm_mon++;
    time_t logged = timegm(&tm) - (5 * 60 + 30) * 60;
    assert_in_range(logged, before, after);
}

static void a_full_buffer_flushes_itself_in_whole_lines(void **state UNUSED) {
    static char text[256 * 1024];
    struct access_log *log = open_log("combined");
    size_t length = 0;
    for (int i = 0; i < 1000 && length == 0; i++) {
        access_log_add(log, &exchange, &handler);
        length = read_file(path, text, sizeof text);
    }
    assert_in_range(length, 32 * 1024, 33 * 1024);
    assert_int_equal(text[length - 1], '\n');
    assert_true(access_log_is_empty(log));
    access_log_free(log);
}

static void reopening_after_a_rotation(void **state UNUSED) {
    char text[4096];
    struct access_log *log = open_log("%(U)s");
    access_log_add(log, &exchange, &handler);
    assert_int_equal(rename(path, rotated), 0);
    assert_int_equal(access_log_reopen(log), 0);
    access_log_add(log, &exchange, &handler);
    access_log_add(log, &exchange, &handler);
    access_log_flush(log);
    read_file(rotated, text, sizeof text);
    assert_string_equal(text, "/\n");
    read_file(path, text, sizeof text);
    assert_string_equal(text, "/\n/\n");
    access_log_free(log);
}

static void a_failed_reopening_keeps_the_file(void **state UNUSED) {
    char text[4096];
    struct access_log *log = open_log("%(U)s");
    assert_int_equal(rename(path, rotated), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(access_log_reopen(log), -1);
    assert_int_equal(errno, EISDIR);
    assert_int_equal(rmdir(path), 0);
    access_log_add(log, &exchange, &handler);
    access_log_free(log);
    read_file(rotated, text, sizeof text);
    assert_string_equal(text, "/\n");
}

static void a_relative_path_survives_a_change_of_directory(void **state UNUSED) {
    char text[4096];
    int old = open(".", O_RDONLY | O_DIRECTORY);
    assert_int_equal(chdir(directory), 0);
    struct access_log *log = access_log_open("access", "%(U)s", error, sizeof error);
    assert_non_null(log);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rename(path, rotated), 0);
    assert_int_equal(access_log_reopen(log), 0);
    access_log_add(log, &exchange, &handler);
    access_log_free(log);
    assert_int_equal(fchdir(old), 0);
    close(old);
    read_file(path, text, sizeof text);
    assert_string_equal(text, "/\n");
}

static void what_cannot_be_opened_is_said(void **state UNUSED) {
    assert_null(access_log_open("/nonexistent/access", "combined", error, sizeof error));
    assert_non_null(strstr(error, "cannot open access log '/nonexistent/access': No such file or directory"));
    assert_null(access_log_open(path, "%(x)s", error, sizeof error));
    assert_non_null(strstr(error, "unknown atom '%(x)s'"));
    assert_int_equal(access(path, F_OK), -1);
}

static void a_hostile_line_is_cut(void **state UNUSED) {
    static char text[256 * 1024], target[20000];
    memset(target, '"', sizeof target - 1);
    set_target(target);
    struct access_log *log = open_log("%(r)s");
    access_log_add(log, &exchange, &handler);
    access_log_add(log, &exchange, &handler);
    access_log_free(log);
    size_t length = read_file(path, text, sizeof text);
    assert_int_equal(length, 2 * 32 * 1024);
    assert_memory_equal(text + length / 2 - 4, "...\n", 4);
    assert_memory_equal(text + length - 4, "...\n", 4);
    assert_ptr_equal(memchr(text, '\n', length), text + length / 2 - 1);
}

/* A reader that stopped: the caller goes on, the pipe holds whole lines, and what came too late is counted in the error
 * log. */
static void a_stuck_pipe_loses_lines_but_never_waits(void **state UNUSED) {
    static char text[512 * 1024];
    char errors[64];
    snprintf(errors, sizeof errors, "%s/errors", directory);
    assert_int_equal(log_open(errors), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    struct access_log *log = open_log("%(r)s");
    char target[64];
    unsigned sent = 0;
    for (; sent < 20000; sent++) {
        snprintf(target, sizeof target, "/%06u", sent);
        buf_reset(&fixture.head);
        exchange.request.method = fixture_append(&fixture, SLICE("GET"));
        set_target(target);
        access_log_add(log, &exchange, &handler);
    }
    assert_false(access_log_is_empty(log));
    access_log_flush(log);

    size_t length = 0;
    ssize_t n;
    while ((n = read(reader, text + length, sizeof text - length)) > 0 || !access_log_is_empty(log)) {
        if (n > 0) length += (size_t)n;
        access_log_flush(log);
    }
    static const char line[] = "GET /000000 HTTP/1.1\n";
    size_t size = sizeof line - 1, received = length / size;
    assert_int_equal(length % size, 0);
    assert_in_range(received, 4000, sent - 1);
    for (unsigned i = 0; i < received; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "GET /%06u HTTP/1.1\n", i);
        assert_memory_equal(text + i * size, expected, size);
    }
    close(reader);
    access_log_free(log);

    char report[64];
    snprintf(report, sizeof report, "did not take %u lines", (unsigned)(sent - received));
    read_file(errors, text, sizeof text);
    assert_non_null(strstr(text, report));
    assert_int_equal(log_open("-"), 0);
    unlink(errors);
}

static void a_reader_that_went_away_is_survived(void **state UNUSED) {
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    struct access_log *log = open_log("combined");
    close(reader);
    for (int i = 0; i < 2000; i++) access_log_add(log, &exchange, &handler);
    access_log_flush(log);
    assert_false(access_log_is_empty(log));
    reader = open(path, O_RDONLY | O_NONBLOCK);
    access_log_flush(log);
    char text[5000];
    assert_true(read(reader, text, sizeof text) > 0);
    assert_memory_equal(text, "192.0.2.1 - - [", 15);
    close(reader);
    access_log_free(log);
}

/* A disk that fills up in the middle of a line takes the rest of that line before anything else. */
static void a_full_disk_tears_no_line(void **state UNUSED) {
    static char text[256 * 1024];
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    struct access_log *log = open_log("%(r)s");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){10005, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 1000; i++) access_log_add(log, &exchange, &handler);
    access_log_flush(log);
    access_log_flush(log);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(read_file(path, text, sizeof text), 10005);
    assert_false(access_log_is_empty(log));
    access_log_free(log);
    static const char line[] = "GET / HTTP/1.1\n";
    assert_int_equal(read_file(path, text, sizeof text), 1000 * (sizeof line - 1));
    for (int i = 0; i < 1000; i++) assert_memory_equal(text + (sizeof line - 1) * (size_t)i, line, sizeof line - 1);
}

/* Standard output as a pipe: its own mode stays as others want it. */
static void standard_output_is_not_changed(void **state UNUSED) {
    int ends[2], saved = dup(1);
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    dup2(ends[1], 1);
    struct access_log *log = access_log_open("-", "%(m)s", error, sizeof error);
    bool is_nonblocking = fcntl(1, F_GETFL) & O_NONBLOCK;
    if (log) {
        access_log_add(log, &exchange, &handler);
        access_log_reopen(log);
        for (int i = 0; i < 50000; i++) access_log_add(log, &exchange, &handler);
        access_log_free(log);
    }
    dup2(saved, 1);
    close(saved);
    assert_non_null(log);
    assert_false(is_nonblocking);
    char text[8];
    assert_int_equal(read(ends[0], text, 8), 8);
    assert_memory_equal(text, "GET\nGET\n", 8);
    close(ends[0]);
    close(ends[1]);
}

/* A socket that keeps the bounds of each write shows them: whole lines, no more than a pipe takes at once. */
static void portions_are_whole_lines(void **state UNUSED) {
    int ends[2], saved = dup(1);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    fflush(stdout);
    dup2(ends[1], 1);
    struct access_log *log = access_log_open("-", "combined", error, sizeof error);
    for (int i = 0; log && i < 200; i++) access_log_add(log, &exchange, &handler);
    access_log_free(log);
    dup2(saved, 1);
    close(saved);
    close(ends[1]);
    assert_non_null(log);
    char text[8192];
    unsigned portions = 0, lines = 0;
    for (ssize_t n; (n = recv(ends[0], text, sizeof text, 0)) > 0; portions++) {
        assert_in_range(n, 1, PIPE_BUF);
        assert_int_equal(text[n - 1], '\n');
        for (ssize_t i = 0; i < n; i++) lines += text[i] == '\n';
    }
    assert_int_equal(lines, 200);
    assert_true(portions > 1);
    close(ends[0]);
}

static void a_variable_may_use_the_log_itself(void **state UNUSED) {
    char text[4096];
    struct access_log *log = open_log("%({a}e)s %(m)s %({b}e)s");
    struct handler chatty = {.ctx = log, .variable = log_variable};
    access_log_add(log, &exchange, &chatty);
    access_log_add(log, &exchange, &handler);
    access_log_free(log);
    read_file(path, text, sizeof text);
    assert_string_equal(text, "a GET b\n- GET -\n");
}

#define WRITERS    4
#define LINES_EACH 5000

static void *add_lines(void *arg) {
    for (int i = 0; i < LINES_EACH; i++) {
        access_log_add(arg, &exchange, &handler);
        if (i % 100 == 0) access_log_flush(arg);
    }
    return NULL;
}

static void threads_do_not_mix_their_lines(void **state UNUSED) {
    static char text[WRITERS * LINES_EACH * 20];
    pthread_t threads[WRITERS];
    struct access_log *log = open_log("%(r)s");
    for (int i = 0; i < WRITERS; i++) assert_int_equal(pthread_create(&threads[i], NULL, add_lines, log), 0);
    for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    access_log_free(log);
    static const char line[] = "GET / HTTP/1.1\n";
    assert_int_equal(read_file(path, text, sizeof text), WRITERS * LINES_EACH * (sizeof line - 1));
    for (int i = 0; i < WRITERS * LINES_EACH; i++)
        assert_memory_equal(text + (sizeof line - 1) * (size_t)i, line, sizeof line - 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(lines_wait_for_the_flush),
        TEST(a_line_has_the_time_of_its_making),
        TEST(a_full_buffer_flushes_itself_in_whole_lines),
        TEST(reopening_after_a_rotation),
        TEST(a_failed_reopening_keeps_the_file),
        TEST(a_relative_path_survives_a_change_of_directory),
        TEST(what_cannot_be_opened_is_said),
        TEST(a_hostile_line_is_cut),
        TEST(a_stuck_pipe_loses_lines_but_never_waits),
        TEST(a_reader_that_went_away_is_survived),
        TEST(a_full_disk_tears_no_line),
        TEST(standard_output_is_not_changed),
        TEST(portions_are_whole_lines),
        TEST(a_variable_may_use_the_log_itself),
        TEST(threads_do_not_mix_their_lines),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
