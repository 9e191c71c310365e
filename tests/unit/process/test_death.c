/* The cause of a death in words, from wait status, ledger and row. */
#include "process/death.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define EXITED(code)   ((code) << 8)
#define KILLED(number) (number)
#define DUMPED(number) ((number) | 0x80)

static const struct settings settings = {.boot_timeout = 60000, .graceful_timeout = 30000};

struct row_of_death {
    struct death death;
    const char *words;
};

static void the_words_fit_the_facts(void **state) {
    static const struct row_of_death rows[] = {
        {{EXITED(0), SLOT_NOT_KILLED, &settings, true, false}, "exited with status 0"},
        {{EXITED(3), SLOT_NOT_KILLED, &settings, true, false}, "exited with status 3"},
        {{EXITED(3), SLOT_NOT_KILLED, &settings, false, false}, "exited with status 3 before it was ready"},
        {{KILLED(SIGTERM), SLOT_NOT_KILLED, &settings, true, false}, "killed by SIGTERM"},
        {{DUMPED(SIGSEGV), SLOT_NOT_KILLED, &settings, true, false}, "killed by SIGSEGV, core dumped"},
        {{KILLED(SIGKILL), SLOT_NOT_KILLED, &settings, true, false}, "killed by SIGKILL"},
        {{KILLED(SIGKILL), SLOT_NOT_KILLED, &settings, true, true}, "killed by the kernel for memory"},
        {{KILLED(SIGABRT), SLOT_KILLED_TIMEOUT, &settings, true, false}, "killed by cserve: timeout"},
        {{DUMPED(SIGABRT), SLOT_KILLED_TIMEOUT, &settings, true, false}, "killed by cserve: timeout"},
        {{KILLED(SIGKILL), SLOT_KILLED_TIMEOUT, &settings, true, false}, "killed by cserve: timeout"},
        {{KILLED(SIGABRT), SLOT_NOT_KILLED, &settings, true, false}, "killed by SIGABRT"},
        {{KILLED(SIGKILL), SLOT_KILLED_BOOT_TIMEOUT, &settings, false, false},
         "killed by cserve: not ready within boot_timeout, 60 s"},
        {{KILLED(SIGKILL), SLOT_KILLED_GRACEFUL_TIMEOUT, &settings, true, false},
         "killed by cserve: not done within graceful_timeout, 30 s"},
        {{KILLED(SIGKILL), SLOT_KILLED_STOP, &settings, true, false}, "killed by cserve: it did not stop at once"},
        {{KILLED(SIGKILL), SLOT_KILLED_STOP, &settings, false, false}, "killed by cserve: it is no longer wanted"},
        /* It died of something else before our signal arrived. */
        {{EXITED(1), SLOT_KILLED_TIMEOUT, &settings, true, false}, "exited with status 1"},
        {{KILLED(SIGSEGV), SLOT_KILLED_TIMEOUT, &settings, true, false}, "killed by SIGSEGV"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        char words[128];
        death_describe(&rows[i].death, words, sizeof(words));
        assert_string_equal(words, rows[i].words);
    }
}

static void begin(struct row *r, unsigned thread, const char *target, uint64_t now_ms) {
    task_begin(&r->activity.tasks[thread], now_ms, SLICE("GET"), slice_of(target), SLICE("HTTP/1.1"),
               SLICE("192.0.2.1"));
}

static void running_requests_are_named(void **state) {
    struct row *r = calloc(1, sizeof(*r));
    char words[512];
    (void)state;
    death_describe_tasks(r, 8, 5000, words, sizeof(words));
    assert_string_equal(words, "");
    begin(r, 0, "/export", 1000);
    death_describe_tasks(r, 8, 42000, words, sizeof(words));
    assert_string_equal(words, " while in the application: GET /export, 41.0 s");
    begin(r, 3, "/b", 41500);
    death_describe_tasks(r, 8, 42000, words, sizeof(words));
    assert_string_equal(words, " while in the application: GET /export, 41.0 s; GET /b, 0.5 s");
    begin(r, 4, "/c", 42000);
    begin(r, 5, "/d", 42000);
    begin(r, 6, "/e", 42000);
    death_describe_tasks(r, 8, 42000, words, sizeof(words));
    assert_string_equal(words,
                        " while in the application: GET /export, 41.0 s; GET /b, 0.5 s; GET /c, 0.0 s; and 2 more");
    for (unsigned i = 0; i < 8; i++) task_end(&r->activity.tasks[i]);
    death_describe_tasks(r, 8, 42000, words, sizeof(words));
    assert_string_equal(words, "");
    free(r);
}

static void a_small_buffer_cuts_and_no_more(void **state) {
    struct row *r = calloc(1, sizeof(*r));
    char words[24];
    (void)state;
    for (unsigned i = 0; i < 8; i++) begin(r, i, "/a/rather/long/path", 1000);
    death_describe_tasks(r, 8, 2000, words, sizeof(words));
    assert_true(strlen(words) < sizeof(words));
    free(r);
}

/* A file stands in for the control group's. */
static struct oom_watch watch_of(const char *text) {
    char name[] = "/tmp/cserve-oom-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return (struct oom_watch){.fd = fd, .count = 1};
}

static void kernel_kills_are_claimed_once_each(void **state) {
    struct oom_watch w = watch_of("low 0\noom 9\noom_kill 1\n");
    (void)state;
    assert_false(oom_watch_claim(&w, 50000));
    assert_int_equal(pwrite(w.fd, "low 0\noom 9\noom_kill 3\n", 23, 0), 23);
    assert_true(oom_watch_claim(&w, 50000));
    assert_true(oom_watch_claim(&w, 50000));
    assert_false(oom_watch_claim(&w, 50000));
    oom_watch_stop(&w);
    assert_false(oom_watch_claim(&w, 50000));
}

static void an_old_kill_of_somebody_else_explains_nothing(void **state) {
    struct oom_watch w = watch_of("low 0\noom 9\noom_kill 2\n");
    (void)state;
    oom_watch_look(&w, 50000);
    oom_watch_look(&w, 60000);
    assert_int_equal(w.unclaimed, 1);
    assert_false(oom_watch_claim(&w, 60001));
    oom_watch_stop(&w);
}

static void a_group_that_is_gone_is_not_watched(void **state) {
    struct oom_watch w = watch_of("");
    (void)state;
    oom_watch_look(&w, 50000);
    assert_int_equal(w.fd, -1);
    assert_false(oom_watch_claim(&w, 50000));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_words_fit_the_facts),
        cmocka_unit_test(running_requests_are_named),
        cmocka_unit_test(a_small_buffer_cuts_and_no_more),
        cmocka_unit_test(kernel_kills_are_claimed_once_each),
        cmocka_unit_test(an_old_kill_of_somebody_else_explains_nothing),
        cmocka_unit_test(a_group_that_is_gone_is_not_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
