/* The service manager's side of the protocol, on a socket of ours. */
#include "process/notify.h"

#include "base/fd.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static int manager = -1;

static int listen_as_manager(void **state) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    char text[80];
    (void)state;
    snprintf(text, sizeof(text), "@cserve-notify-%d", getpid());
    memcpy(name.sun_path + 1, text + 1, strlen(text) - 1);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setenv("NOTIFY_SOCKET", text, 1);
    return bind(manager, (void *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text)));
}

static int stop_listening(void **state) {
    (void)state;
    fd_close(&manager);
    unsetenv("NOTIFY_SOCKET");
    return 0;
}

static void assert_heard(const char *wanted) {
    char text[600] = "";
    assert_true(recv(manager, text, sizeof(text) - 1, 0) >= 0);
    assert_string_equal(text, wanted);
}

static void messages_arrive(void **state) {
    struct notify n;
    (void)state;
    notify_start(&n);
    assert_null(getenv("NOTIFY_SOCKET"));
    notify_send(&n, "READY=1\nSTATUS=%d workers", 4);
    assert_heard("READY=1\nSTATUS=4 workers");
    notify_restore_environment(&n);
    assert_non_null(getenv("NOTIFY_SOCKET"));
    notify_stop(&n);
}

static void without_a_manager_nothing_happens(void **state) {
    struct notify n;
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    notify_start(&n);
    assert_int_equal(n.fd, -1);
    assert_int_equal(n.watchdog_ms, 0);
    notify_send(&n, "READY=1");
    notify_store_fd(&n, 0, "x");
    notify_stop(&n);
}

static void the_watchdog_is_fed_twice_a_period(void **state) {
    struct notify n;
    char pid[16];
    (void)state;
    setenv("WATCHDOG_USEC", "3000000", 1);
    snprintf(pid, sizeof(pid), "%d", getpid());
    setenv("WATCHDOG_PID", pid, 1);
    notify_start(&n);
    assert_int_equal(n.watchdog_ms, 1500);
    assert_null(getenv("WATCHDOG_USEC"));
    notify_stop(&n);
}

static void somebody_elses_watchdog_is_not_ours(void **state) {
    struct notify n;
    (void)state;
    setenv("WATCHDOG_USEC", "3000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    notify_start(&n);
    assert_int_equal(n.watchdog_ms, 0);
    notify_stop(&n);
}

static void descriptors_travel(void **state) {
    struct notify n;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    char text[128] = "";
    struct iovec part = {.iov_base = text, .iov_len = sizeof(text) - 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    int fd;
    (void)state;
    notify_start(&n);
    notify_store_fd(&n, STDERR_FILENO, "listener");
    assert_true(recvmsg(manager, &message, MSG_CMSG_CLOEXEC) > 0);
    assert_string_equal(text, "FDSTORE=1\nFDNAME=listener");
    assert_int_equal(control.header.cmsg_type, SCM_RIGHTS);
    memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
    assert_true(fcntl(fd, F_GETFD) >= 0);
    close(fd);
    notify_stop(&n);
}

static void a_manager_that_does_not_read_does_not_block(void **state) {
    struct notify n;
    (void)state;
    notify_start(&n);
    for (int i = 0; i < 10000; i++) notify_send(&n, "WATCHDOG=1");
    notify_stop(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_arrive, listen_as_manager, stop_listening),
        cmocka_unit_test(without_a_manager_nothing_happens),
        cmocka_unit_test_setup_teardown(the_watchdog_is_fed_twice_a_period, listen_as_manager, stop_listening),
        cmocka_unit_test_setup_teardown(somebody_elses_watchdog_is_not_ours, listen_as_manager, stop_listening),
        cmocka_unit_test_setup_teardown(descriptors_travel, listen_as_manager, stop_listening),
        cmocka_unit_test_setup_teardown(a_manager_that_does_not_read_does_not_block, listen_as_manager, stop_listening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
