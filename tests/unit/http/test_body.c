/* Bodies in memory, in a file, and on the way from one to the other. */
#include "base/mem.h"
#include "http/body.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static char spool[] = "/tmp/cserve-test-body-XXXXXX";

static int make_spool(void **state UNUSED) {
    return mkdtemp(spool) ? 0 : -1;
}

static int remove_spool(void **state UNUSED) {
    return rmdir(spool); /* fails if a file was left behind */
}

static void assert_content(const struct body *b, const char *expected, size_t length) {
    assert_int_equal(b->length, length);
    char *read = mem_alloc(length + 1);
    for (size_t step = 1; step < length + 8; step = step * 3 + 1) {
        size_t offset = 0;
        ssize_t n;
        while ((n = body_read(b, offset, read + offset, step < length + 1 - offset ? step : length + 1 - offset)) > 0)
            offset += (size_t)n;
        assert_int_equal(n, 0);
        assert_int_equal(offset, length);
        assert_memory_equal(read, expected, length);
    }
    mem_free(read);
}

static void small_bodies_stay_in_memory(void **state UNUSED) {
    struct body b;
    body_init(&b);
    assert_content(&b, "", 0);
    assert_int_equal(body_append(&b, "hello ", 6, 11, spool), 0);
    assert_int_equal(body_append(&b, "world", 5, 11, spool), 0);
    assert_int_equal(b.file_fd, -1);
    assert_content(&b, "hello world", 11);
    char rest[4];
    assert_int_equal(body_read(&b, 9, rest, sizeof rest), 2);
    assert_int_equal(body_read(&b, 11, rest, sizeof rest), 0);
    assert_int_equal(body_read(&b, UINT64_MAX, rest, sizeof rest), 0);
    body_release(&b);
    buf_release(&b.memory);
}

static void one_byte_beyond_the_bound_goes_to_a_nameless_file(void **state UNUSED) {
    struct body b;
    body_init(&b);
    assert_int_equal(body_append(&b, "hello world", 11, 11, spool), 0);
    assert_int_equal(body_append(&b, "!", 1, 11, spool), 0);
    assert_int_not_equal(b.file_fd, -1);
    assert_int_equal(b.memory.len, 0);
    struct stat status;
    assert_int_equal(fstat(b.file_fd, &status), 0);
    assert_int_equal(status.st_nlink, 0);
    assert_int_equal(status.st_size, 12);
    assert_content(&b, "hello world!", 12);
    assert_int_equal(body_append(&b, "?", 1, 11, spool), 0);
    assert_content(&b, "hello world!?", 13);
    char byte;
    assert_int_equal(body_read(&b, 13, &byte, 1), 0);
    body_release(&b);
    assert_int_equal(b.file_fd, -1);
    assert_int_equal(b.length, 0);
    assert_int_equal(body_append(&b, "again", 5, 11, spool), 0);
    assert_int_equal(b.file_fd, -1);
    assert_content(&b, "again", 5);
    body_release(&b);
    buf_release(&b.memory);
}

static void no_memory_at_all_is_a_bound_too(void **state UNUSED) {
    struct body b;
    body_init(&b);
    assert_int_equal(body_append(&b, "x", 1, 0, spool), 0);
    assert_int_not_equal(b.file_fd, -1);
    assert_content(&b, "x", 1);
    body_release(&b);
    assert_null(b.memory.data);
}

static void a_big_piece_goes_straight_to_the_file(void **state UNUSED) {
    size_t length = 3 * 1024 * 1024;
    char *data = mem_alloc(length);
    for (size_t i = 0; i < length; i++) data[i] = (char)(i * 7 + i / 251);
    struct body b;
    body_init(&b);
    for (size_t offset = 0; offset < length; offset += length / 3)
        assert_int_equal(body_append(&b, data + offset, length / 3, 65536, spool), 0);
    assert_true(b.memory.cap <= 65536);
    assert_content(&b, data, length);
    body_release(&b);
    buf_release(&b.memory);
    mem_free(data);
}

static void memory_is_kept_for_the_next_body_within_reason(void **state UNUSED) {
    static char data[200 * 1024];
    struct body b;
    body_init(&b);
    assert_int_equal(body_append(&b, data, 1000, 1 << 20, spool), 0);
    size_t cap = b.memory.cap;
    body_release(&b);
    assert_int_equal(b.memory.cap, cap);
    assert_int_equal(body_append(&b, data, sizeof data, 1 << 20, spool), 0);
    assert_int_equal(b.file_fd, -1);
    body_release(&b);
    assert_int_equal(b.memory.cap, 0);
}

static void a_missing_directory_is_an_error_and_keeps_what_is_there(void **state UNUSED) {
    struct body b;
    body_init(&b);
    assert_int_equal(body_append(&b, "12345", 5, 5, "/nonexistent/spool"), 0);
    assert_int_equal(body_append(&b, "6", 1, 5, "/nonexistent/spool"), -1);
    assert_int_equal(errno, ENOENT);
    assert_content(&b, "12345", 5);
    body_release(&b);
    buf_release(&b.memory);
}

static void a_full_disk_is_an_error_and_keeps_the_length(void **state UNUSED) {
    static char data[64 * 1024];
    struct rlimit old, small = {0};
    struct body b;
    body_init(&b);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){96 * 1024, old.rlim_max};
    assert_int_equal(body_append(&b, data, sizeof data, 1000, spool), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int result = body_append(&b, data, sizeof data, 1000, spool), error = errno;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(result, -1);
    assert_int_equal(error, EFBIG);
    assert_content(&b, data, sizeof data);
    body_release(&b);
    buf_release(&b.memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_bodies_stay_in_memory),
        cmocka_unit_test(one_byte_beyond_the_bound_goes_to_a_nameless_file),
        cmocka_unit_test(no_memory_at_all_is_a_bound_too),
        cmocka_unit_test(a_big_piece_goes_straight_to_the_file),
        cmocka_unit_test(memory_is_kept_for_the_next_body_within_reason),
        cmocka_unit_test(a_missing_directory_is_an_error_and_keeps_what_is_there),
        cmocka_unit_test(a_full_disk_is_an_error_and_keeps_the_length),
    };
    return cmocka_run_group_tests(tests, make_spool, remove_spool);
}
