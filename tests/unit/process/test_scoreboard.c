/* The shared region: one for parent and child, the same for a later image, refused when it is laid out otherwise. */
#include "process/scoreboard.h"

#include "http/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static void a_child_writes_and_the_parent_reads(void **state) {
    int fd, status;
    struct scoreboard *board = scoreboard_new(&fd);
    (void)state;
    assert_non_null(board);
    row_reset(&board->rows[5], 2, 1, 1000);
    pid_t pid = fork();
    if (pid == 0) {
        atomic_store(&board->rows[5].stage, WORKER_READY);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(atomic_load(&board->rows[5].stage), WORKER_READY);
    scoreboard_free(board);
    close(fd);
}

static void a_new_worker_finds_nothing_of_the_last_one(void **state) {
    int fd;
    struct scoreboard *board = scoreboard_new(&fd);
    struct row *r = &board->rows[0];
    struct task_view view;
    (void)state;
    row_reset(r, 1, 1, 1000);
    atomic_store(&r->stage, WORKER_LEAVING);
    atomic_store(&r->wants_recycling, 1);
    atomic_store(&r->drain_mode, SERVER_DRAIN_STOP);
    task_begin(&r->activity.tasks[0], 1000, SLICE("GET"), SLICE("/"), SLICE("HTTP/1.1"), SLICE(""));
    row_reset(r, 3, 2, 2000);
    assert_int_equal(atomic_load(&r->stage), WORKER_BOOTING);
    assert_int_equal(atomic_load(&r->wants_recycling), 0);
    assert_int_equal(atomic_load(&r->drain_mode), SERVER_DRAIN_RETIRE);
    assert_int_equal(atomic_load(&r->seat), 3);
    assert_false(task_read(&r->activity.tasks[0], &view));
    scoreboard_free(board);
    close(fd);
}

static void a_later_image_maps_the_same_region(void **state) {
    int fd;
    struct scoreboard *board = scoreboard_new(&fd);
    (void)state;
    atomic_store(&board->rows[1023].pid, 4711);
    struct scoreboard *again = scoreboard_map(fd);
    assert_non_null(again);
    assert_int_equal(atomic_load(&again->rows[1023].pid), 4711);
    scoreboard_free(again);
    scoreboard_free(board);
    close(fd);
}

static void another_layout_is_refused(void **state) {
    int fd;
    struct scoreboard *board = scoreboard_new(&fd);
    (void)state;
    board->row_bytes++;
    assert_null(scoreboard_map(fd));
    assert_int_equal(errno, EPROTO);
    assert_int_equal(ftruncate(fd, 4096), 0);
    assert_null(scoreboard_map(fd));
    assert_int_equal(errno, EPROTO);
    munmap(board, sizeof(*board));
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_writes_and_the_parent_reads),
        cmocka_unit_test(a_new_worker_finds_nothing_of_the_last_one),
        cmocka_unit_test(a_later_image_maps_the_same_region),
        cmocka_unit_test(another_layout_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
