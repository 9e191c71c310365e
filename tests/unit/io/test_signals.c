/* The self-pipe: signals arrive as numbers, in order, and in the process that they were sent to. */
#include "io/signals.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static const int numbers[] = {SIGUSR1, SIGUSR2, SIGHUP};

static int start(void **state) {
    (void)state;
    return signals_start(numbers, 3);
}

static int stop(void **state) {
    (void)state;
    signals_stop();
    return 0;
}

static void numbers_come_in_the_order_of_the_signals(void **state) {
    (void)state;
    raise(SIGUSR2);
    raise(SIGUSR1);
    raise(SIGUSR2);
    assert_int_equal(signals_next(), SIGUSR2);
    assert_int_equal(signals_next(), SIGUSR1);
    assert_int_equal(signals_next(), SIGUSR2);
    assert_int_equal(signals_next(), 0);
}

static void the_descriptor_becomes_readable(void **state) {
    (void)state;
    struct pollfd watched = {.fd = signals_fd(), .events = POLLIN};
    assert_int_equal(poll(&watched, 1, 0), 0);
    raise(SIGHUP);
    assert_int_equal(poll(&watched, 1, 0), 1);
    assert_int_equal(signals_next(), SIGHUP);
}

static void a_flood_neither_blocks_nor_is_lost_altogether(void **state) {
    (void)state;
    for (int i = 0; i < 100000; i++) raise(SIGUSR1);
    int count = 0;
    while (signals_next()) count++;
    assert_in_range(count, 1, 100000);
}

static void a_child_has_a_pipe_of_its_own(void **state) {
    (void)state;
    sigset_t mask;
    int status;
    signals_block(&mask);
    pid_t pid = fork();
    if (pid == 0) {
        signals_stop();
        if (signals_start(numbers, 3)) _exit(1);
        raise(SIGUSR1); /* blocked: pending until the mask is back */
        signals_restore(&mask);
        _exit(signals_next() == SIGUSR1 && signals_next() == 0 ? 0 : 2);
    }
    signals_restore(&mask);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(signals_next(), 0);
}

static void stopping_puts_the_default_back(void **state) {
    (void)state;
    struct sigaction action;
    signals_stop();
    assert_int_equal(signals_fd(), -1);
    assert_int_equal(signals_next(), 0);
    assert_int_equal(sigaction(SIGHUP, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_DFL);
}

static void a_signal_that_cannot_be_taken_is_an_error(void **state) {
    (void)state;
    const int wrong[] = {SIGUSR1, SIGKILL};
    assert_int_equal(signals_start(wrong, 2), -1);
    assert_int_equal(signals_fd(), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers_come_in_the_order_of_the_signals, start, stop),
        cmocka_unit_test_setup_teardown(the_descriptor_becomes_readable, start, stop),
        cmocka_unit_test_setup_teardown(a_flood_neither_blocks_nor_is_lost_altogether, start, stop),
        cmocka_unit_test_setup_teardown(a_child_has_a_pipe_of_its_own, start, stop),
        cmocka_unit_test_setup_teardown(stopping_puts_the_default_back, start, stop),
        cmocka_unit_test_setup_teardown(a_signal_that_cannot_be_taken_is_an_error, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
