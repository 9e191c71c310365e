/* Descriptors: flags, pipes, whole writes, files without a name, the standard three, the limit. */
#include "base/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_close(void **state) {
    (void)state;
    int fd = open("/dev/null", O_RDONLY), copy = fd;
    errno = EAGAIN;
    fd_close(&fd);
    assert_int_equal(fd, -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fcntl(copy, F_GETFD), -1);
    errno = 0;
    fd_close(&fd);
    assert_int_equal(errno, 0);
}

static void test_flags(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(fd_pipe(ends), 0);
    for (int i = 0; i < 2; i++) {
        assert_true(fcntl(ends[i], F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(ends[i], F_GETFL) & O_NONBLOCK);
    }
    assert_int_equal(fd_set_cloexec(ends[0], false), 0);
    assert_int_equal(fd_set_nonblock(ends[0], false), 0);
    assert_false(fcntl(ends[0], F_GETFD) & FD_CLOEXEC);
    assert_false(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
    assert_int_equal(fd_set_cloexec(ends[0], true), 0);
    assert_int_equal(fd_set_nonblock(ends[0], true), 0);
    assert_true(fcntl(ends[0], F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
    fd_close(&ends[0]);
    fd_close(&ends[1]);
    assert_int_equal(fd_set_cloexec(-1, true), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(fd_set_nonblock(-1, true), -1);
}

static void test_write_all(void **state) {
    (void)state;
    /* More than a pipe holds, so that write(2) must be repeated while the child reads. */
    enum { BYTES = 1 << 20 };
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[1]);
        char part[8192];
        size_t sum = 0;
        ssize_t got;
        while ((got = read(ends[0], part, sizeof(part))) > 0) sum += (size_t)got;
        _exit(sum == BYTES ? 0 : 1);
    }
    close(ends[0]);
    char *data = calloc(1, BYTES);
    assert_int_equal(fd_write_all(ends[1], data, BYTES), 0);
    free(data);
    close(ends[1]);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(fd_write_all(-1, "x", 1), -1);
    assert_int_equal(errno, EBADF);
}

static void test_temporary(void **state) {
    (void)state;
    char dir[] = "/tmp/cserve-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    int fd = fd_open_temporary(dir);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    struct stat info;
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(info.st_nlink, 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(fd_write_all(fd, "abc", 3), 0);
    char back[3];
    assert_int_equal(pread(fd, back, 3, 0), 3);
    assert_memory_equal(back, "abc", 3);
    fd_close(&fd);
    /* Empty again: else rmdir(2) fails. */
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(fd_open_temporary(dir), -1);
    assert_int_equal(errno, ENOENT);
}

static void test_standard(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        close(0);
        close(2);
        if (fd_ensure_standard() < 0) _exit(1);
        struct stat null, info;
        if (stat("/dev/null", &null) < 0) _exit(2);
        for (int fd = 0; fd <= 2; fd += 2)
            if (fstat(fd, &info) < 0 || info.st_rdev != null.st_rdev) _exit(3);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

static void test_limit(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit;
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = 64;
        setrlimit(RLIMIT_NOFILE, &limit);
        if (fd_limit(false) != 64) _exit(1);
        size_t raised = fd_limit(true);
        if (raised != limit.rlim_max && raised != 1 << 20) _exit(2);
        if (fd_limit(false) != raised) _exit(3);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close),     cmocka_unit_test(test_flags),    cmocka_unit_test(test_write_all),
        cmocka_unit_test(test_temporary), cmocka_unit_test(test_standard), cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
