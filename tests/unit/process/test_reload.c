/* Starts and reloads as transactions, on an arbiter without processes. */
#include "arbiter_fixture.h"

#define FOUR "workers = 4\nbind = 127.0.0.1:0\n"

/* ---- the first generation ---- */

static void all_seats_start_together(void **state) {
    struct arbiter *a = arbiter_with(FOUR);
    (void)state;
    turn(a);
    assert_int_equal(seating_count(a, a->current, SLOT_STARTING), 4);
    assert_false(a->is_up);
    report_ready(a, seat_of(a, a->current, 1));
    turn(a);
    assert_false(a->is_up);
    all_ready(a);
    turn(a);
    assert_true(a->is_up);
    assert_int_equal(a->current->phase, GENERATION_SERVING);
    arbiter_end(a);
}

static void the_first_workers_verdict_on_the_application_ends_the_start(void **state) {
    struct arbiter *a = arbiter_with(FOUR);
    (void)state;
    turn(a);
    struct slot *first = seat_of(a, a->current, 1);
    a->current->spokesman = first->index + 1;
    die_booting(a, first, EXIT_APP);
    assert_int_equal(a->ending, ARBITER_STOPS_QUICKLY);
    assert_int_equal(a->exit_status, EXIT_APP);
    arbiter_end(a);
}

static void a_silent_worker_waits_for_the_one_that_speaks(void **state) {
    struct arbiter *a = arbiter_with(FOUR);
    (void)state;
    turn(a);
    a->current->spokesman = seat_of(a, a->current, 1)->index + 1;
    die_booting(a, seat_of(a, a->current, 2), EXIT_APP);
    assert_int_equal(a->ending, ARBITER_GOES_ON);
    arbiter_end(a);
}

static void the_start_ends_when_nobody_could(void **state) {
    struct arbiter *a = arbiter_with(FOUR);
    (void)state;
    turn(a);
    a->current->spokesman = 1;
    for (unsigned seat = 1; seat <= 4; seat++) {
        assert_int_equal(a->ending, ARBITER_GOES_ON);
        die_booting(a, seat_of(a, a->current, seat), EXIT_BOOT);
    }
    assert_int_equal(a->ending, ARBITER_STOPS_QUICKLY);
    assert_int_equal(a->exit_status, EXIT_BOOT);
    arbiter_end(a);
}

static void one_that_cannot_does_not_stop_the_others(void **state) {
    struct arbiter *a = arbiter_with(FOUR);
    (void)state;
    turn(a);
    struct slot *bad = seat_of(a, a->current, 3);
    die_booting(a, bad, EXIT_BOOT);
    all_ready(a);
    assert_true(a->is_up);
    assert_int_equal(seating_count(a, a->current, SLOT_READY), 3);
    turn_after(a, 200);
    assert_int_equal(bad->state, SLOT_STARTING);
    arbiter_end(a);
}

static void a_failed_fork_is_tried_again(void **state) {
    struct arbiter *a = arbiter_with(FOUR);
    (void)state;
    fail_forks = 2;
    turn(a);
    assert_int_equal(a->ending, ARBITER_GOES_ON);
    assert_int_equal(seating_count(a, a->current, SLOT_WAITING), 2);
    turn_after(a, 200);
    assert_int_equal(seating_count(a, a->current, SLOT_STARTING), 4);
    arbiter_end(a);
}

/* ---- reloads ---- */

static void a_canary_goes_first_and_the_old_serve_until_all_are_ready(void **state) {
    struct arbiter *a = serving_arbiter(FOUR);
    struct generation *old = a->current;
    (void)state;
    reload_begin(a);
    turn(a);
    struct generation *fresh = a->candidate;
    assert_non_null(fresh);
    assert_int_equal(seating_count_alive(a, fresh), 1);
    all_ready(a);
    turn(a);
    assert_int_equal(seating_count_alive(a, fresh), 4);
    assert_int_equal(seating_count(a, old, SLOT_READY), 4);
    all_ready(a);
    assert_ptr_equal(a->current, fresh);
    assert_int_equal(seating_count(a, old, SLOT_RETIRING), 4);
    assert_int_equal(signal_to(seat_of(a, old, 1)), SIGTERM);
    assert_int_equal(atomic_load(&a->board->rows[seat_of(a, old, 1)->index].drain_mode), SERVER_DRAIN_RETIRE);
    arbiter_end(a);
}

static void the_old_generation_goes_with_its_last_worker(void **state) {
    struct arbiter *a = serving_arbiter(FOUR);
    struct generation *old = a->current;
    (void)state;
    reload_begin(a);
    turn(a);
    all_ready(a);
    turn(a);
    all_ready(a);
    for (unsigned seat = 1; seat <= 4; seat++) {
        assert_false(list_is_empty(&a->leaving));
        slot_handle(seat_of(a, old, seat), SLOT_ON_EXITED, a->now_ms);
        turn(a);
    }
    assert_true(list_is_empty(&a->leaving));
    arbiter_end(a);
}

static void assert_rolled_back(struct arbiter *a, struct generation *old) {
    assert_null(a->candidate);
    assert_ptr_equal(a->current, old);
    assert_int_equal(seating_count(a, old, SLOT_READY), 4);
    for (unsigned seat = 1; seat <= 4; seat++) assert_int_equal(signal_to(seat_of(a, old, seat)), 0);
    assert_int_equal(a->ending, ARBITER_GOES_ON);
}

static void a_canary_that_dies_rolls_back(void **state) {
    struct arbiter *a = serving_arbiter(FOUR);
    struct generation *old = a->current;
    (void)state;
    reload_begin(a);
    turn(a);
    die_booting(a, seat_of(a, a->candidate, 1), EXIT_APP);
    assert_rolled_back(a, old);
    turn(a);
    assert_true(list_is_empty(&a->leaving));
    arbiter_end(a);
}

static void a_canary_that_hangs_is_aborted_and_rolls_back(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "boot_timeout = 5\n");
    struct generation *old = a->current;
    (void)state;
    reload_begin(a);
    turn(a);
    struct slot *canary = seat_of(a, a->candidate, 1);
    turn_after(a, 5000);
    assert_int_equal(canary->state, SLOT_ABORTING);
    assert_int_equal(signal_to(canary), SIGABRT);
    turn_after(a, SLOT_ABORT_GRACE_MS);
    assert_int_equal(signal_to(canary), SIGKILL);
    die_booting(a, canary, EXIT_BOOT);
    assert_rolled_back(a, old);
    arbiter_end(a);
}

static void a_failure_among_the_rest_rolls_back_too(void **state) {
    struct arbiter *a = serving_arbiter(FOUR);
    struct generation *old = a->current;
    (void)state;
    reload_begin(a);
    turn(a);
    all_ready(a);
    turn(a);
    struct generation *fresh = a->candidate;
    die_booting(a, seat_of(a, fresh, 3), EXIT_BOOT);
    assert_rolled_back(a, old);
    /* The canary may have accepted a request already: it finishes. */
    assert_int_equal(signal_to(seat_of(a, fresh, 1)), SIGTERM);
    assert_int_equal(signal_to(seat_of(a, fresh, 2)), SIGKILL);
    arbiter_end(a);
}

static void bad_settings_change_nothing(void **state) {
    struct arbiter *a = serving_arbiter(FOUR);
    struct generation *old = a->current;
    (void)state;
    write_ini(FOUR "nonsense = 1\n");
    reload_begin(a);
    assert_rolled_back(a, old);
    write_ini(FOUR "bind = unix:/nonexistent/directory/s\n");
    reload_begin(a);
    assert_rolled_back(a, old);
    assert_int_equal(a->sockets.count, 1);
    write_ini(FOUR);
    reload_begin(a);
    assert_non_null(a->candidate);
    arbiter_end(a);
}

static void two_hangups_are_one_more_reload(void **state) {
    struct arbiter *a = serving_arbiter(FOUR);
    (void)state;
    reload_begin(a);
    struct generation *first = a->candidate;
    reload_begin(a);
    reload_begin(a);
    assert_ptr_equal(a->candidate, first);
    turn(a);
    die_booting(a, seat_of(a, first, 1), EXIT_APP);
    assert_null(a->candidate);
    turn(a);
    assert_non_null(a->candidate);
    assert_false(a->is_reload_wanted);
    arbiter_end(a);
}

/* ---- numbers and addresses over a reload ---- */

static void seats_survive_unless_the_setting_changes(void **state) {
    struct arbiter *a = serving_arbiter(FOUR);
    (void)state;
    a->current->seats = 6;
    reload_begin(a);
    assert_int_equal(a->candidate->seats, 6);
    turn(a);
    die_booting(a, seat_of(a, a->candidate, 1), EXIT_APP);
    write_ini("workers = 3\nbind = 127.0.0.1:0\n");
    reload_begin(a);
    assert_int_equal(a->candidate->seats, 3);
    arbiter_end(a);
}

static void an_address_that_stays_keeps_its_socket(void **state) {
    struct arbiter *a = serving_arbiter(FOUR);
    (void)state;
    write_ini(FOUR "bind = unix:@cserve-test-reload\n");
    reload_begin(a);
    assert_int_equal(a->candidate->sockets.count, 2);
    assert_ptr_equal(a->candidate->sockets.items[0], a->current->sockets.items[0]);
    assert_int_equal(a->sockets.count, 2);
    turn(a);
    die_booting(a, seat_of(a, a->candidate, 1), EXIT_APP);
    turn(a);
    assert_int_equal(a->sockets.count, 1);
    arbiter_end(a);
}

static void workers_of_an_address_that_goes_accept_what_is_queued(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "bind = unix:@cserve-test-reload\n");
    struct generation *old = a->current;
    (void)state;
    write_ini(FOUR);
    reload_begin(a);
    turn(a);
    all_ready(a);
    turn(a);
    all_ready(a);
    assert_int_equal(atomic_load(&a->board->rows[seat_of(a, old, 1)->index].drain_mode), SERVER_DRAIN_STOP);
    arbiter_end(a);
}

static void what_needs_a_restart_keeps_its_value(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "backlog = 100\n");
    (void)state;
    write_ini(FOUR "backlog = 200\ntimeout = 7\n");
    reload_begin(a);
    assert_int_equal(a->candidate->settings->backlog, 100);
    assert_int_equal(a->candidate->settings->timeout, 7000);
    arbiter_end(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_seats_start_together),
        cmocka_unit_test(the_first_workers_verdict_on_the_application_ends_the_start),
        cmocka_unit_test(a_silent_worker_waits_for_the_one_that_speaks),
        cmocka_unit_test(the_start_ends_when_nobody_could),
        cmocka_unit_test(one_that_cannot_does_not_stop_the_others),
        cmocka_unit_test(a_failed_fork_is_tried_again),
        cmocka_unit_test(a_canary_goes_first_and_the_old_serve_until_all_are_ready),
        cmocka_unit_test(the_old_generation_goes_with_its_last_worker),
        cmocka_unit_test(a_canary_that_dies_rolls_back),
        cmocka_unit_test(a_canary_that_hangs_is_aborted_and_rolls_back),
        cmocka_unit_test(a_failure_among_the_rest_rolls_back_too),
        cmocka_unit_test(bad_settings_change_nothing),
        cmocka_unit_test(two_hangups_are_one_more_reload),
        cmocka_unit_test(seats_survive_unless_the_setting_changes),
        cmocka_unit_test(an_address_that_stays_keeps_its_socket),
        cmocka_unit_test(workers_of_an_address_that_goes_accept_what_is_queued),
        cmocka_unit_test(what_needs_a_restart_keeps_its_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
