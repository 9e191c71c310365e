/* The pidfile: the lock decides who lives, the file is whole, and nobody removes another's. */
#include "process/pidfile.h"

#include "base/compiler.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static char directory[64], path[96], error[256];

static int make_directory(void **state) {
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/cserve-pidfile-XXXXXX");
    if (!mkdtemp(directory)) return -1;
    snprintf(path, sizeof(path), "%s/pid", directory);
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    unlink(path);
    return rmdir(directory); /* fails if a temporary file was left */
}

static void write_file(const char *text) {
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static long number_in_file(void) {
    char text[32] = "";
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    return strtol(text, NULL, 10);
}

/* What taking the file says in a process of its own: 0 taken, 1 refused. */
static int take_in_child(void) {
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct pidfile p = PIDFILE_INIT;
        _exit(pidfile_take(&p, path, error, sizeof(error)) ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void it_holds_the_pid_while_it_is_taken(void **state) {
    struct pidfile p = PIDFILE_INIT;
    (void)state;
    assert_int_equal(pidfile_take(&p, path, error, sizeof(error)), 0);
    assert_int_equal(number_in_file(), getpid());
    pidfile_drop(&p);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_held_file_is_refused(void **state) {
    struct pidfile p = PIDFILE_INIT;
    (void)state;
    assert_int_equal(pidfile_take(&p, path, error, sizeof(error)), 0);
    assert_int_equal(take_in_child(), 1);
    assert_int_equal(number_in_file(), getpid());
    pidfile_drop(&p);
    assert_int_equal(take_in_child(), 0);
}

static void whatever_nobody_holds_is_replaced(void **state) {
    static const char *const contents[] = {"", "1\n", "garbage", "99999999999999999999\n", "-1\n"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(contents); i++) {
        struct pidfile p = PIDFILE_INIT;
        write_file(contents[i]);
        if (pidfile_take(&p, path, error, sizeof(error))) fail_msg("'%s' blocks: %s", contents[i], error);
        assert_int_equal(number_in_file(), getpid());
        pidfile_drop(&p);
    }
}

static void a_file_of_somebody_else_stays(void **state) {
    struct pidfile p = PIDFILE_INIT;
    (void)state;
    assert_int_equal(pidfile_take(&p, path, error, sizeof(error)), 0);
    assert_int_equal(unlink(path), 0);
    write_file("4711\n");
    pidfile_drop(&p);
    assert_int_equal(number_in_file(), 4711);
}

static void a_child_forgets_it_without_harm(void **state) {
    struct pidfile p = PIDFILE_INIT;
    int status;
    (void)state;
    assert_int_equal(pidfile_take(&p, path, error, sizeof(error)), 0);
    pid_t pid = fork();
    if (pid == 0) {
        pidfile_forget(&p);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(take_in_child(), 1);
    pidfile_drop(&p);
}

static void a_missing_directory_is_said(void **state) {
    struct pidfile p = PIDFILE_INIT;
    (void)state;
    assert_int_equal(pidfile_take(&p, "/nonexistent/directory/pid", error, sizeof(error)), -1);
    assert_non_null(strstr(error, "/nonexistent/directory/pid"));
}

static void a_link_is_not_followed(void **state) {
    char target[128];
    struct pidfile p = PIDFILE_INIT;
    (void)state;
    snprintf(target, sizeof(target), "%s/target", directory);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(pidfile_take(&p, path, error, sizeof(error)), -1);
    assert_int_equal(access(target, F_OK), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_holds_the_pid_while_it_is_taken, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(a_held_file_is_refused, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(whatever_nobody_holds_is_replaced, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(a_file_of_somebody_else_stays, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(a_child_forgets_it_without_harm, make_directory, remove_directory),
        cmocka_unit_test(a_missing_directory_is_said),
        cmocka_unit_test_setup_teardown(a_link_is_not_followed, make_directory, remove_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
