/* Tasks: what is written is what is read, whole or not at all, also by another thread while it changes. */
#include "base/clock.h"
#include "base/mem.h"
#include "http/activity.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static struct activity *activity_new(void) {
    struct activity *a = aligned_alloc(64, sizeof *a);
    memset(a, 0xa5, sizeof *a);
    activity_reset(a);
    return a;
}

static void an_idle_task_reads_as_such(void **state UNUSED) {
    struct activity *a = activity_new();
    struct task_view view;
    assert_int_equal(a->requests, 0);
    assert_int_equal(a->connections, 0);
    for (int i = 0; i < ACTIVITY_TASKS; i++) assert_false(task_read(&a->tasks[i], &view));
    free(a);
}

static void a_task_reads_as_it_was_begun(void **state UNUSED) {
    struct activity *a = activity_new();
    struct task *t = &a->tasks[3];
    struct task_view view;
    task_begin(t, 4711, SLICE("GET"), SLICE("/a?b"), SLICE("HTTP/1.1"), SLICE("192.0.2.1"));
    assert_true(task_read(t, &view));
    assert_int_equal(view.started_ms, 4711);
    assert_int_equal(view.count, 1);
    assert_false(view.bytes_sent);
    assert_string_equal(view.method, "GET");
    assert_string_equal(view.target, "/a?b");
    assert_string_equal(view.protocol, "HTTP/1.1");
    assert_string_equal(view.peer, "192.0.2.1");

    t->bytes_sent = 1;
    assert_true(task_read(t, &view) && view.bytes_sent);
    task_end(t);
    assert_false(task_read(t, &view));

    task_begin(t, 4712, SLICE("PUT"), SLICE("/"), SLICE("HTTP/1.0"), SLICE(""));
    assert_true(task_read(t, &view));
    assert_int_equal(view.count, 2);
    assert_false(view.bytes_sent);
    assert_string_equal(view.target, "/");
    assert_string_equal(view.peer, "");
    free(a);
}

static void long_text_is_cut_visibly(void **state UNUSED) {
    struct activity *a = activity_new();
    struct task *t = &a->tasks[0];
    struct task_view view;
    char target[400];
    memset(target, 'x', sizeof target);

    task_begin(t, 1, SLICE("GET"), slice_make(target, sizeof t->target), SLICE("HTTP/1.1"), SLICE("::1"));
    assert_true(task_read(t, &view));
    assert_int_equal(strlen(view.target), sizeof t->target);
    assert_null(strchr(view.target, '.'));

    task_begin(t, 1, SLICE("SIXTEENCHARACTER"), slice_make(target, sizeof target), SLICE("HTTP/1.1"), SLICE("::1"));
    assert_true(task_read(t, &view));
    assert_int_equal(strlen(view.target), sizeof t->target);
    assert_string_equal(view.target + sizeof t->target - 3, "...");
    assert_string_equal(view.method, "SIXTEENCHARACTER");
    free(a);
}

/* A worker killed between two stores of task_begin(). */
static void a_writer_that_died_does_not_hold_the_reader(void **state UNUSED) {
    struct activity *a = activity_new();
    struct task *t = &a->tasks[0];
    struct task_view view;
    task_begin(t, 1, SLICE("GET"), SLICE("/"), SLICE("HTTP/1.1"), SLICE("::1"));
    t->sequence++;
    assert_false(task_read(t, &view));
    activity_reset(a);
    assert_false(task_read(t, &view));
    task_begin(t, 2, SLICE("GET"), SLICE("/"), SLICE("HTTP/1.1"), SLICE("::1"));
    assert_true(task_read(t, &view));
    assert_int_equal(view.count, 1);
    free(a);
}

#define DEADLINE_MS 20000

struct race {
    struct task *task;
    _Atomic bool is_over;
};

static void *write_tasks(void *arg) {
    struct race *race = arg;
    char text[40];
    for (unsigned i = 0; !race->is_over; i++) {
        memset(text, 'a' + (int)(i % 26), sizeof text);
        struct slice s = slice_make(text, sizeof text);
        task_begin(race->task, 1 + i % 26, slice_make(text, 8), s, slice_make(text, 8), s);
    }
    return NULL;
}

static void a_reader_never_sees_half_of_two_tasks(void **state UNUSED) {
    struct activity *a = activity_new();
    struct race race = {.task = &a->tasks[7]};
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, write_tasks, &race), 0);
    unsigned seen = 0;
    for (uint64_t end = clock_mono_ms() + DEADLINE_MS; seen < 2000 && clock_mono_ms() < end;) {
        struct task_view view;
        if (!task_read(race.task, &view)) continue;
        seen++;
        char c = (char)('a' + view.started_ms - 1);
        assert_int_equal(view.method[0], c);
        for (size_t k = 0; k < 40; k++) {
            assert_int_equal(view.target[k], c);
            assert_int_equal(view.peer[k], c);
        }
    }
    race.is_over = true;
    pthread_join(writer, NULL);
    assert_true(seen > 0);
    free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_task_reads_as_such),
        cmocka_unit_test(a_task_reads_as_it_was_begun),
        cmocka_unit_test(long_text_is_cut_visibly),
        cmocka_unit_test(a_writer_that_died_does_not_hold_the_reader),
        cmocka_unit_test(a_reader_never_sees_half_of_two_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
