/* Listening sockets: what is replaced, what is left alone, and what is taken over. */
#include "base/compiler.h"
#include "base/fd.h"
#include "io/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static char directory[64];
static char path[96];
static char error[512];

static const struct listener_options options = {
    .backlog = 16, .socket_mode = 0640, .socket_owner = (uid_t)-1, .socket_group = (gid_t)-1};

static int make_directory(void **state) {
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/cserve-listener-XXXXXX");
    if (!mkdtemp(directory)) return -1;
    snprintf(path, sizeof(path), "%s/s", directory);
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    unlink(path);
    return rmdir(directory);
}

static struct address parsed(const char *text) {
    struct address a;
    const char *fault = address_parse(text, &a);
    if (fault) fail_msg("'%s': %s", text, fault);
    return a;
}

static struct address unix_address(void) {
    char text[128];
    snprintf(text, sizeof(text), "unix:%s", path);
    return parsed(text);
}

static struct listener *opened(const struct address *a) {
    struct listener *l = listener_open(a, &options, error, sizeof(error));
    if (!l) fail_msg("%s", error);
    return l;
}

static int connected(const struct sockaddr *name, socklen_t length) {
    int fd = socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!connect(fd, name, length)) return fd;
    close(fd);
    return -1;
}

static void a_tcp_port_of_the_kernels_choice(void **state) {
    struct address a = parsed("127.0.0.1:0");
    struct sockaddr_in name;
    socklen_t length = sizeof(name);
    (void)state;
    struct listener *l = opened(&a);
    assert_true(l->local.port > 0);
    assert_int_equal(getsockname(l->fd, (void *)&name, &length), 0);
    int fd = connected((void *)&name, length);
    assert_true(fd >= 0);
    assert_true(fcntl(l->fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(l->fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    listener_free(l, true);
}

static void a_port_in_use_is_refused(void **state) {
    struct address a = parsed("127.0.0.1:0");
    char text[32];
    (void)state;
    struct listener *l = opened(&a);
    snprintf(text, sizeof(text), "127.0.0.1:%u", l->local.port);
    struct address again = parsed(text);
    assert_null(listener_open(&again, &options, error, sizeof(error)));
    assert_int_equal(errno, EADDRINUSE);
    assert_non_null(strstr(error, text));
    listener_free(l, true);
}

static void a_unix_socket_has_its_mode_and_goes_with_its_listener(void **state) {
    struct address a = unix_address();
    struct stat file;
    (void)state;
    struct listener *l = opened(&a);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0640);
    assert_true(l->local.is_unix);
    listener_free(l, true);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_dead_socket_is_replaced(void **state) {
    struct address a = unix_address();
    (void)state;
    listener_free(opened(&a), false);
    assert_int_equal(access(path, F_OK), 0);
    struct listener *l = opened(&a);
    int fd = connected(&a.name.any, a.length);
    assert_true(fd >= 0);
    close(fd);
    listener_free(l, true);
}

static void a_live_socket_is_not_stolen(void **state) {
    struct address a = unix_address();
    (void)state;
    struct listener *l = opened(&a);
    assert_null(listener_open(&a, &options, error, sizeof(error)));
    assert_int_equal(errno, EADDRINUSE);
    int fd = connected(&a.name.any, a.length);
    assert_true(fd >= 0);
    close(fd);
    listener_free(l, true);
}

static void a_file_that_is_no_socket_is_left_alone(void **state) {
    struct address a = unix_address();
    (void)state;
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "data", 4), 4);
    close(fd);
    assert_null(listener_open(&a, &options, error, sizeof(error)));
    struct stat file;
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_size, 4);
}

static void somebody_elses_file_is_not_removed(void **state) {
    struct address a = unix_address();
    (void)state;
    struct listener *l = opened(&a);
    assert_int_equal(unlink(path), 0);
    struct listener *other = opened(&a);
    listener_free(l, true);
    assert_int_equal(access(path, F_OK), 0);
    listener_free(other, true);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_missing_directory_is_an_error_at_once(void **state) {
    struct address a = parsed("unix:/nonexistent/directory/s");
    struct listener_options patient = options;
    (void)state;
    patient.patience_ms = 60000;
    assert_null(listener_open(&a, &patient, error, sizeof(error)));
    assert_non_null(strstr(error, "directory"));
}

/* A connection attempt that does not wait; the descriptor. */
static int begin_connecting(const struct sockaddr *name, socklen_t length) {
    int fd = socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(connect(fd, name, length) == 0 || errno == EINPROGRESS || errno == ENOENT);
    return fd;
}

static bool is_connected(int fd) {
    struct pollfd watched = {.fd = fd, .events = POLLOUT};
    return poll(&watched, 1, 100) == 1 && watched.revents == POLLOUT;
}

static void a_socket_that_refuses_more_still_gives_what_is_queued(void **state) {
    struct address a = parsed("127.0.0.1:0");
    struct sockaddr_in name;
    socklen_t length = sizeof(name);
    (void)state;
    struct listener *l = opened(&a);
    assert_int_equal(getsockname(l->fd, (void *)&name, &length), 0);
    int before = connected((void *)&name, length);
    listener_refuse_more(l);
    int after = begin_connecting((void *)&name, length);
    assert_false(is_connected(after));
    int accepted = accept(l->fd, NULL, NULL);
    assert_true(accepted >= 0);
    assert_int_equal(write(before, "x", 1), 1);
    assert_true(is_connected(accepted));
    assert_int_equal(accept(l->fd, NULL, NULL), -1);
    assert_true(listener_admit_again(l));
    int again = connected((void *)&name, length);
    assert_true(again >= 0);
    close(before);
    close(after);
    close(accepted);
    close(again);
    listener_free(l, true);
}

static void a_unix_socket_that_refuses_more_has_no_file(void **state) {
    struct address a = unix_address();
    (void)state;
    struct listener *l = opened(&a);
    int before = connected(&a.name.any, a.length);
    listener_refuse_more(l);
    assert_int_equal(access(path, F_OK), -1);
    int accepted = accept(l->fd, NULL, NULL);
    assert_true(accepted >= 0);
    assert_false(listener_admit_again(l));
    close(before);
    close(accepted);
    listener_free(l, true);
}

static void a_foreign_socket_goes_on(void **state) {
    struct address a = parsed("127.0.0.1:0");
    struct sockaddr_in name;
    socklen_t length = sizeof(name);
    (void)state;
    struct listener *l = opened(&a);
    assert_int_equal(getsockname(l->fd, (void *)&name, &length), 0);
    l->is_foreign = true;
    listener_refuse_more(l);
    int fd = connected((void *)&name, length);
    assert_true(fd >= 0);
    close(fd);
    listener_free(l, true);
}

static void an_abstract_socket_leaves_no_file(void **state) {
    char text[64];
    (void)state;
    snprintf(text, sizeof(text), "unix:@cserve-test-%d", getpid());
    struct address a = parsed(text);
    struct listener *l = opened(&a);
    int fd = connected(&a.name.any, a.length);
    assert_true(fd >= 0);
    close(fd);
    assert_true(listener_is_bound_to(l->fd, &a));
    listener_free(l, true);
}

static void an_inherited_socket_is_taken_over(void **state) {
    struct address a = parsed("127.0.0.1:0");
    char text[32];
    (void)state;
    struct listener *l = opened(&a);
    snprintf(text, sizeof(text), "fd://%d", l->fd);
    struct address inherited = parsed(text);
    struct listener *adopted = opened(&inherited);
    assert_int_equal(adopted->fd, l->fd);
    assert_int_equal(adopted->local.port, l->local.port);
    snprintf(text, sizeof(text), "127.0.0.1:%u", l->local.port);
    struct address exact = parsed(text), other = parsed("127.0.0.1:1");
    assert_true(listener_is_bound_to(l->fd, &exact));
    assert_false(listener_is_bound_to(l->fd, &other));
    l->fd = -1;
    listener_free(l, true);
    listener_free(adopted, true);
}

static void what_does_not_listen_is_not_taken_over(void **state) {
    struct address a = parsed("fd://987");
    int ends[2];
    (void)state;
    assert_null(listener_adopt(987, &a, error, sizeof(error)));
    assert_int_equal(fd_pipe(ends), 0);
    assert_null(listener_adopt(ends[0], &a, error, sizeof(error)));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_null(listener_adopt(fd, &a, error, sizeof(error)));
    int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    assert_null(listener_adopt(datagrams, &a, error, sizeof(error)));
    close(ends[0]);
    close(ends[1]);
    close(fd);
    close(datagrams);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tcp_port_of_the_kernels_choice),
        cmocka_unit_test(a_port_in_use_is_refused),
        cmocka_unit_test_setup_teardown(a_unix_socket_has_its_mode_and_goes_with_its_listener, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_dead_socket_is_replaced, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(a_live_socket_is_not_stolen, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_socket_is_left_alone, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(somebody_elses_file_is_not_removed, make_directory, remove_directory),
        cmocka_unit_test(a_missing_directory_is_an_error_at_once),
        cmocka_unit_test(a_socket_that_refuses_more_still_gives_what_is_queued),
        cmocka_unit_test_setup_teardown(a_unix_socket_that_refuses_more_has_no_file, make_directory, remove_directory),
        cmocka_unit_test(a_foreign_socket_goes_on),
        cmocka_unit_test(an_abstract_socket_leaves_no_file),
        cmocka_unit_test(an_inherited_socket_is_taken_over),
        cmocka_unit_test(what_does_not_listen_is_not_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
