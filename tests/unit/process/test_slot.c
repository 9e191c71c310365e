/* A worker's life: every event in every state, told from outside as next state and signal. */
#include "process/slot.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define NOW 100000
#define PID 4711

static int last_signal;
static pid_t last_pid;

static int note_signal(pid_t pid, int number) {
    last_pid = pid;
    last_signal = number;
    return 0;
}

static const struct settings settings = {.boot_timeout = 60000, .graceful_timeout = 30000, .timeout = 30000};

static struct slot slot_in(enum slot_state state) {
    struct slot s;
    slot_init(&s, 7, note_signal);
    s.settings = &settings;
    if (state == SLOT_EMPTY) return s;
    s.state = state;
    s.seat = 3;
    s.pid = state == SLOT_WAITING || state == SLOT_FORKING || state == SLOT_CANCELLED ? 0 : PID;
    s.spawned_ms = NOW - 20000;
    s.ready_ms = state == SLOT_STARTING ? 0 : NOW - 10000;
    s.due_ms = NOW + 5;
    return s;
}

/* What an event does; cells that are not written change nothing. */
struct outcome {
    bool is_written;
    enum slot_state next;
    int signal;
};

// clang-format off
static const struct outcome expected[SLOT_STATES][SLOT_EVENTS] = {
    [SLOT_EMPTY] = {
        [SLOT_ON_SEATED] = {true, SLOT_WAITING, 0},
    },
    [SLOT_WAITING] = {
        [SLOT_ON_ASKED] = {true, SLOT_FORKING, 0},
        [SLOT_ON_FORKED] = {true, SLOT_STARTING, 0},
        [SLOT_ON_RETIRE] = {true, SLOT_EMPTY, 0},
        [SLOT_ON_STOP] = {true, SLOT_EMPTY, 0},
    },
    [SLOT_FORKING] = {
        [SLOT_ON_FORKED] = {true, SLOT_STARTING, 0},
        [SLOT_ON_FORK_FAILED] = {true, SLOT_WAITING, 0},
        [SLOT_ON_RETIRE] = {true, SLOT_CANCELLED, 0},
        [SLOT_ON_STOP] = {true, SLOT_CANCELLED, 0},
        [SLOT_ON_DUE] = {true, SLOT_FORKING, 0},
    },
    [SLOT_CANCELLED] = {
        [SLOT_ON_DUE] = {true, SLOT_CANCELLED, 0},
        [SLOT_ON_FORKED] = {true, SLOT_DYING, 0},
        [SLOT_ON_FORK_FAILED] = {true, SLOT_EMPTY, 0},
    },
    [SLOT_STARTING] = {
        [SLOT_ON_READY] = {true, SLOT_READY, 0},
        [SLOT_ON_RETIRE] = {true, SLOT_RETIRING, SIGTERM},
        [SLOT_ON_STOP] = {true, SLOT_DYING, SIGKILL},
        [SLOT_ON_DUE] = {true, SLOT_ABORTING, SIGABRT},
        [SLOT_ON_EXITED] = {true, SLOT_WAITING, 0},
    },
    [SLOT_READY] = {
        [SLOT_ON_RETIRE] = {true, SLOT_RETIRING, SIGTERM},
        [SLOT_ON_STOP] = {true, SLOT_STOPPING, SIGQUIT},
        [SLOT_ON_HUNG] = {true, SLOT_ABORTING, SIGABRT},
        [SLOT_ON_EXITED] = {true, SLOT_WAITING, 0},
    },
    [SLOT_RETIRING] = {
        [SLOT_ON_RETIRE] = {true, SLOT_RETIRING, SIGTERM},
        [SLOT_ON_STOP] = {true, SLOT_STOPPING, SIGQUIT},
        [SLOT_ON_DUE] = {true, SLOT_DYING, SIGKILL},
        [SLOT_ON_HUNG] = {true, SLOT_DYING, SIGABRT},
        [SLOT_ON_EXITED] = {true, SLOT_EMPTY, 0},
    },
    [SLOT_STOPPING] = {
        [SLOT_ON_DUE] = {true, SLOT_DYING, SIGKILL},
        [SLOT_ON_EXITED] = {true, SLOT_EMPTY, 0},
    },
    [SLOT_ABORTING] = {
        [SLOT_ON_RETIRE] = {true, SLOT_DYING, 0},
        [SLOT_ON_STOP] = {true, SLOT_DYING, SIGKILL},
        [SLOT_ON_DUE] = {true, SLOT_KILLED, SIGKILL},
        [SLOT_ON_EXITED] = {true, SLOT_WAITING, 0},
    },
    [SLOT_KILLED] = {
        [SLOT_ON_RETIRE] = {true, SLOT_DYING, 0},
        [SLOT_ON_STOP] = {true, SLOT_DYING, 0},
        [SLOT_ON_EXITED] = {true, SLOT_WAITING, 0},
    },
    [SLOT_DYING] = {
        [SLOT_ON_STOP] = {true, SLOT_DYING, SIGKILL},
        [SLOT_ON_DUE] = {true, SLOT_DYING, SIGKILL},
        [SLOT_ON_EXITED] = {true, SLOT_EMPTY, 0},
    },
};
// clang-format on

static void every_cell_is_as_written(void **state) {
    (void)state;
    for (int from = 0; from < SLOT_STATES; from++) {
        for (int event = 0; event < SLOT_EVENTS; event++) {
            struct slot s = slot_in((enum slot_state)from);
            pid_t pid = s.pid;
            last_signal = 0;
            slot_handle(&s, (enum slot_event)event, NOW);
            struct outcome o = expected[from][event];
            if (!o.is_written) o.next = (enum slot_state)from;
            if (s.state != o.next || last_signal != o.signal)
                fail_msg("%s, event %d: became %s with signal %d, wanted %s with %d",
                         slot_state_name((enum slot_state)from), event, slot_state_name(s.state), last_signal,
                         slot_state_name(o.next), o.signal);
            if (o.signal) assert_int_equal(last_pid, pid);
        }
    }
}

static void what_means_nothing_changes_nothing(void **state) {
    (void)state;
    struct slot s = slot_in(SLOT_READY), before = s;
    slot_handle(&s, SLOT_ON_FORKED, NOW);
    slot_handle(&s, SLOT_ON_DUE, NOW);
    assert_memory_equal(&s, &before, sizeof(s));
}

static void a_given_up_slot_is_as_new(void **state) {
    (void)state;
    struct slot s = slot_in(SLOT_RETIRING), fresh;
    slot_init(&fresh, 7, note_signal);
    slot_handle(&s, SLOT_ON_EXITED, NOW);
    assert_memory_equal(&s, &fresh, sizeof(s));
}

static void deadlines_follow_the_settings(void **state) {
    (void)state;
    struct slot s = slot_in(SLOT_WAITING);
    slot_handle(&s, SLOT_ON_FORKED, NOW);
    assert_int_equal(s.due_ms, NOW + 60000);
    s = slot_in(SLOT_READY);
    slot_handle(&s, SLOT_ON_RETIRE, NOW);
    assert_int_equal(s.due_ms, NOW + 30000);
    s = slot_in(SLOT_READY);
    slot_handle(&s, SLOT_ON_HUNG, NOW);
    assert_int_equal(s.due_ms, NOW + SLOT_ABORT_GRACE_MS);
    s = slot_in(SLOT_READY);
    slot_handle(&s, SLOT_ON_STOP, NOW);
    assert_int_equal(s.due_ms, NOW + SLOT_STOP_GRACE_MS);
}

static void no_limit_is_no_deadline(void **state) {
    (void)state;
    static const struct settings unlimited = {0};
    struct slot s = slot_in(SLOT_READY);
    s.settings = &unlimited;
    slot_handle(&s, SLOT_ON_RETIRE, NOW);
    assert_true(s.due_ms == CLOCK_NEVER);
}

static void the_ledger_says_why(void **state) {
    (void)state;
    struct slot s = slot_in(SLOT_READY);
    slot_handle(&s, SLOT_ON_HUNG, NOW);
    slot_handle(&s, SLOT_ON_DUE, NOW + SLOT_ABORT_GRACE_MS);
    assert_int_equal(s.state, SLOT_KILLED);
    assert_int_equal(s.verdict, SLOT_KILLED_TIMEOUT);
    s = slot_in(SLOT_STARTING);
    slot_handle(&s, SLOT_ON_DUE, NOW);
    assert_int_equal(s.verdict, SLOT_KILLED_BOOT_TIMEOUT);
    s = slot_in(SLOT_RETIRING);
    slot_handle(&s, SLOT_ON_DUE, NOW);
    assert_int_equal(s.verdict, SLOT_KILLED_GRACEFUL_TIMEOUT);
    s = slot_in(SLOT_STOPPING);
    slot_handle(&s, SLOT_ON_DUE, NOW);
    assert_int_equal(s.verdict, SLOT_KILLED_STOP);
}

static void a_hung_worker_is_replaced_at_once(void **state) {
    (void)state;
    struct slot s = slot_in(SLOT_READY);
    s.ready_ms = NOW - 1;
    slot_handle(&s, SLOT_ON_HUNG, NOW);
    slot_handle(&s, SLOT_ON_EXITED, NOW + 10);
    assert_int_equal(s.state, SLOT_WAITING);
    assert_int_equal(s.due_ms, NOW + 10);
    assert_int_equal(s.pid, 0);
}

static void an_old_worker_is_replaced_at_once_a_young_one_later(void **state) {
    (void)state;
    struct slot s = slot_in(SLOT_READY);
    s.failures = 4;
    s.ready_ms = NOW - SLOT_YOUNG_MS;
    slot_handle(&s, SLOT_ON_EXITED, NOW);
    assert_int_equal(s.due_ms, NOW);
    assert_int_equal(s.failures, 0);
    s = slot_in(SLOT_READY);
    s.ready_ms = NOW - SLOT_YOUNG_MS + 1;
    slot_handle(&s, SLOT_ON_EXITED, NOW);
    assert_true(s.due_ms > NOW);
    assert_int_equal(s.failures, 1);
}

static void attempts_back_off(void **state) {
    (void)state;
    assert_int_equal(slot_back_off_ms(0), 0);
    uint64_t ceiling = 100;
    for (unsigned failures = 1; failures < 40; failures++) {
        for (int i = 0; i < 50; i++) assert_in_range(slot_back_off_ms(failures), ceiling / 2, ceiling);
        ceiling = ceiling * 2 > 30000 ? 30000 : ceiling * 2;
    }
}

static void a_cancelled_birth_ends_in_a_kill(void **state) {
    (void)state;
    struct slot s = slot_in(SLOT_FORKING);
    slot_handle(&s, SLOT_ON_RETIRE, NOW);
    s.pid = PID;
    last_signal = 0;
    slot_handle(&s, SLOT_ON_FORKED, NOW);
    assert_int_equal(last_signal, SIGKILL);
    slot_handle(&s, SLOT_ON_EXITED, NOW);
    assert_int_equal(s.state, SLOT_EMPTY);
}

static void who_is_active_and_who_alive(void **state) {
    (void)state;
    static const bool active[SLOT_STATES] = {false, true, true, false, true, true, false, false, true, true, false};
    static const bool alive[SLOT_STATES] = {false, false, true, true, true, true, true, true, true, true, true};
    for (int i = 0; i < SLOT_STATES; i++) {
        struct slot s = slot_in((enum slot_state)i);
        assert_int_equal(slot_is_active(&s), active[i]);
        assert_int_equal(slot_is_alive(&s), alive[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_is_as_written),
        cmocka_unit_test(what_means_nothing_changes_nothing),
        cmocka_unit_test(a_given_up_slot_is_as_new),
        cmocka_unit_test(deadlines_follow_the_settings),
        cmocka_unit_test(no_limit_is_no_deadline),
        cmocka_unit_test(the_ledger_says_why),
        cmocka_unit_test(a_hung_worker_is_replaced_at_once),
        cmocka_unit_test(an_old_worker_is_replaced_at_once_a_young_one_later),
        cmocka_unit_test(attempts_back_off),
        cmocka_unit_test(a_cancelled_birth_ends_in_a_kill),
        cmocka_unit_test(who_is_active_and_who_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
