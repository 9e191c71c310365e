/* The error log: its lines, its descriptor over reopening and theft, what happens to lines that nobody takes. */
#include "base/log.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/cserve-log-XXXXXX";
static char path[64], rotated[64];

static int set_up(void **state) {
    (void)state;
    snprintf(path, sizeof(path), "%s/log", directory);
    snprintf(rotated, sizeof(rotated), "%s/log.1", directory);
    log_set_process("master");
    log_set_level(LOG_LEVEL_INFO);
    return log_open(path);
}

static int tear_down(void **state) {
    (void)state;
    unlink(path);
    unlink(rotated);
    return 0;
}

static struct buf read_whole(const char *from) {
    struct buf text = BUF_INIT;
    int fd = open(from, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t length;
    do {
        buf_reserve(&text, 4096);
        length = read(fd, text.data + text.len, text.cap - text.len);
        if (length > 0) text.len += (size_t)length;
    } while (length > 0);
    close(fd);
    buf_cstr(&text);
    return text;
}

static void assert_matches(const char *text, const char *pattern) {
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int mismatch = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    if (mismatch) fail_msg("'%s' does not match '%s'", text, pattern);
}

static void assert_log_matches(const char *pattern) {
    struct buf text = read_whole(path);
    assert_matches(text.data, pattern);
    buf_release(&text);
}

#define STAMP "^\\[20[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3} [+-][0-9]{4}\\] "

static void test_line(void **state) {
    (void)state;
    errno = ENOENT;
    log_error("cannot bind '%s'", "127.0.0.1:80");
    assert_int_equal(errno, ENOENT);
    char pattern[256];
    snprintf(pattern, sizeof(pattern), STAMP "\\[master %d\\] \\[error\\] cannot bind '127\\.0\\.0\\.1:80'\n$",
             (int)getpid());
    assert_log_matches(pattern);
}

static void test_levels(void **state) {
    (void)state;
    log_debug("unseen");
    log_set_level(LOG_LEVEL_ERROR);
    assert_false(log_is_enabled(LOG_LEVEL_WARNING));
    log_warning("unseen");
    log_critical("seen");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("seen too");
    struct buf text = read_whole(path);
    assert_null(strstr(text.data, "unseen"));
    assert_non_null(strstr(text.data, "[critical] seen\n"));
    assert_non_null(strstr(text.data, "[debug] seen too\n"));
    buf_release(&text);
}

static void test_a_line_stays_a_line(void **state) {
    (void)state;
    log_info("a\nb\x1b[31m\x7f caf\xc3\xa9");
    assert_log_matches("\\[info\\] a\\\\x0ab\\\\x1b\\[31m\\\\x7f caf\xc3\xa9\n$");
}

static void test_long_line_is_cut(void **state) {
    (void)state;
    char text[10000];
    memset(text, '\n', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_info("%s", text);
    struct buf all = read_whole(path);
    assert_true(all.len <= 4096);
    assert_memory_equal(all.data + all.len - 4, "...\n", 4);
    buf_release(&all);
}

static void test_text(void **state) {
    (void)state;
    log_set_process("worker 3");
    log_write_text(LOG_LEVEL_ERROR, "exception in GET /", SLICE("Traceback:\n  File \"a\"\n\tx\r\nE: \x1b\n"));
    log_write_text(LOG_LEVEL_DEBUG, "not enabled", SLICE("x"));
    log_write_text(LOG_LEVEL_INFO, "empty", SLICE(""));
    assert_log_matches("\\[worker 3 [0-9]+\\] \\[error\\] exception in GET /\n"
                       "    Traceback:\n      File \"a\"\n    \tx\\\\x0d\n    E: \\\\x1b\n"
                       "\\[20.*\\[info\\] empty\n$");
}

static void test_reopen_keeps_the_number(void **state) {
    (void)state;
    int before = log_fd();
    assert_true(before >= 100);
    assert_true(fcntl(before, F_GETFD) & FD_CLOEXEC);
    log_info("first");
    assert_int_equal(rename(path, rotated), 0);
    log_info("second");
    assert_int_equal(log_reopen(), 0);
    assert_int_equal(log_fd(), before);
    log_info("third");
    struct buf old = read_whole(rotated), new = read_whole(path);
    assert_non_null(strstr(old.data, "first"));
    assert_non_null(strstr(old.data, "second"));
    assert_null(strstr(old.data, "third"));
    assert_non_null(strstr(new.data, "third"));
    buf_release(&old);
    buf_release(&new);
}

static void test_failed_open_keeps_the_old(void **state) {
    (void)state;
    char nowhere[96];
    snprintf(nowhere, sizeof(nowhere), "%s/none/log", directory);
    assert_int_equal(log_open(nowhere), -1);
    assert_int_equal(errno, ENOENT);
    log_info("still here");
    assert_log_matches("still here\n$");
}

/* An application closes every descriptor, and the log's number becomes a client's socket. */
static void test_theft(void **state) {
    (void)state;
    int stolen = log_fd(), pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(dup2(pair[0], stolen), stolen);
    log_info("not for clients");
    char byte;
    assert_int_equal(recv(pair[1], &byte, 1, MSG_DONTWAIT), -1);
    assert_log_matches("not for clients\n$");
    assert_int_not_equal(log_fd(), stolen);
    close(stolen);
    close(pair[0]);
    close(pair[1]);
}

static void test_closed(void **state) {
    (void)state;
    close(log_fd());
    log_info("back again");
    assert_log_matches("back again\n$");
}

/* In a child whose stderr is the writing end of a pipe; fills it without a reader, and must not stop. */
static void write_into_full_pipe(int pipe_end, int go_on) {
    alarm(30);
    dup2(pipe_end, STDERR_FILENO);
    close(pipe_end);
    if (log_open("-") < 0) _exit(1);
    for (int i = 0; i < 5000; i++) log_info("line %d of many that nobody reads, padded a little to be longer", i);
    if (fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK) _exit(2);
    char byte;
    if (read(go_on, &byte, 1) != 1) _exit(3);
    log_info("the reader is back");
    log_info("the last line");
    _exit(0);
}

static void test_full_pipe(void **state) {
    (void)state;
    int out[2], go_on[2];
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(go_on), 0);
    pid_t child = fork();
    if (child == 0) write_into_full_pipe(out[1], go_on[0]);
    close(out[1]);
    /* Read until it is empty, tell the child, read the rest. The pipe is full only when the child waits for us. */
    struct buf text = BUF_INIT;
    bool is_told = false;
    for (;;) {
        buf_reserve(&text, 65536);
        fd_set ready;
        FD_ZERO(&ready);
        FD_SET(out[0], &ready);
        struct timeval patience = {.tv_sec = 0, .tv_usec = 200 * 1000};
        if (select(out[0] + 1, &ready, NULL, NULL, &patience) == 0) {
            if (!is_told) assert_int_equal(write(go_on[1], "x", 1), 1);
            is_told = true;
            continue;
        }
        ssize_t length = read(out[0], text.data + text.len, 65536);
        if (length <= 0) break;
        text.len += (size_t)length;
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    buf_cstr(&text);
    assert_non_null(strstr(text.data, "line 0 of many"));
    assert_non_null(strstr(text.data, "the last line\n"));
    close(out[0]);
    close(go_on[0]);
    close(go_on[1]);
    buf_release(&text);
}

/* Lines without a reader are lost without SIGPIPE, and counted when a reader is there again. */
static void test_lost_lines_are_counted(void **state) {
    (void)state;
    int out[2];
    assert_int_equal(pipe(out), 0);
    pid_t child = fork();
    if (child == 0) {
        int filler = fcntl(out[1], F_GETFL);
        dup2(out[1], STDERR_FILENO);
        if (log_open("-") < 0) _exit(1);
        fcntl(out[1], F_SETFL, filler | O_NONBLOCK);
        char block[4096];
        memset(block, '.', sizeof(block));
        while (write(out[1], block, sizeof(block)) > 0) {
        }
        fcntl(out[1], F_SETFL, filler);
        log_info("lost");
        log_info("lost");
        while (read(out[0], block, sizeof(block)) == sizeof(block)) {
            struct timeval none = {0, 0};
            fd_set ready;
            FD_ZERO(&ready);
            FD_SET(out[0], &ready);
            if (select(out[0] + 1, &ready, NULL, NULL, &none) == 0) break;
        }
        log_info("taken");
        ssize_t length = read(out[0], block, sizeof(block) - 1);
        block[length > 0 ? length : 0] = '\0';
        if (!strstr(block, "taken\n")) _exit(2);
        if (!strstr(block, "[warning] 2 lines lost: the log did not take them\n")) _exit(3);
        close(out[0]);
        log_info("no reader, and no SIGPIPE");
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    close(out[0]);
    close(out[1]);
}

static void test_escape(void **state) {
    (void)state;
    char out[16];
    assert_string_equal(log_escape(out, sizeof(out), SLICE("plain text")), "plain text");
    assert_string_equal(log_escape(out, sizeof(out), SLICE("a\\\n\xff")), "a\\x5c\\x0a\\xff");
    assert_string_equal(log_escape(out, sizeof(out), SLICE("123456789012345")), "123456789012345");
    assert_string_equal(log_escape(out, sizeof(out), SLICE("1234567890123456")), "123456789012...");
    assert_string_equal(log_escape(out, sizeof(out), SLICE("1234567890\n1234")), "1234567890...");
    assert_string_equal(log_escape(out, 3, SLICE("1234")), "..");
    assert_string_equal(log_escape(out, 1, SLICE("1234")), "");
    assert_string_equal(log_escape(out, sizeof(out), SLICE("")), "");
}

static void test_die(void **state) {
    (void)state;
    int out[2];
    assert_int_equal(pipe(out), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(out[1], STDERR_FILENO);
        die(EXIT_APP, "cannot import '%s'", "wsgi");
    }
    close(out[1]);
    char text[128];
    ssize_t length = read(out[0], text, sizeof(text) - 1);
    text[length > 0 ? length : 0] = '\0';
    assert_string_equal(text, "cserve: cannot import 'wsgi'\n");
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 4);
    close(out[0]);
}

int main(void) {
    if (!mkdtemp(directory)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_levels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_line_stays_a_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_line_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reopen_keeps_the_number, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_open_keeps_the_old, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_theft, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_pipe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_lines_are_counted, set_up, tear_down),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_die),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(directory);
    return failed;
}
