/* Deadlines, recycling and seats, on an arbiter without processes. */
#include "arbiter_fixture.h"

#define FOUR     "workers = 4\nbind = 127.0.0.1:0\n"
#define GRACE_MS 250

static void begin_request(struct arbiter *a, struct slot *s) {
    task_begin(&a->board->rows[s->index].activity.tasks[0], a->now_ms, SLICE("GET"), SLICE("/slow"), SLICE("HTTP/1.1"),
               SLICE(""));
}

static void end_request(struct arbiter *a, struct slot *s) {
    task_end(&a->board->rows[s->index].activity.tasks[0]);
}

static struct slot *seat(struct arbiter *a, unsigned number) {
    return seat_of(a, a->current, number);
}

/* ---- timeout ---- */

static void a_request_beyond_its_timeout_is_aborted_then_killed(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "timeout = 10\n");
    struct slot *s = seat(a, 2);
    (void)state;
    begin_request(a, s);
    turn_after(a, 10000 + GRACE_MS - 1);
    assert_int_equal(s->state, SLOT_READY);
    turn_after(a, 1);
    assert_int_equal(s->state, SLOT_ABORTING);
    assert_int_equal(signal_to(s), SIGABRT);
    assert_int_equal(signal_to(seat(a, 1)), 0);
    turn_after(a, SLOT_ABORT_GRACE_MS);
    assert_int_equal(s->state, SLOT_KILLED);
    assert_int_equal(signal_to(s), SIGKILL);
    slot_handle(s, SLOT_ON_EXITED, a->now_ms);
    turn_after(a, 0);
    assert_int_equal(s->state, SLOT_STARTING);
    arbiter_end(a);
}

static void requests_that_end_are_left_alone(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "timeout = 10\n");
    struct slot *s = seat(a, 2);
    (void)state;
    for (int i = 0; i < 5; i++) {
        begin_request(a, s);
        turn_after(a, 9000);
        end_request(a, s);
    }
    assert_int_equal(s->state, SLOT_READY);
    arbiter_end(a);
}

static void no_timeout_is_for_ever(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "timeout = 0\n");
    (void)state;
    begin_request(a, seat(a, 1));
    turn_after(a, 86400000);
    assert_int_equal(seat(a, 1)->state, SLOT_READY);
    assert_true(watch_next(a) == CLOCK_NEVER);
    arbiter_end(a);
}

static void the_loop_wakes_for_the_first_deadline_and_seldom_when_idle(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "timeout = 10\n");
    (void)state;
    assert_int_equal(watch_next(a), a->now_ms + 10000);
    begin_request(a, seat(a, 1));
    turn_after(a, 4000);
    begin_request(a, seat(a, 2));
    assert_int_equal(watch_next(a), a->now_ms + 6000 + GRACE_MS);
    arbiter_end(a);
}

static void a_retiring_worker_is_watched_too(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "timeout = 10\ngraceful_timeout = 60\n");
    struct slot *s = seat(a, 4);
    (void)state;
    begin_request(a, s);
    a->current->seats = 3;
    turn(a);
    assert_int_equal(s->state, SLOT_RETIRING);
    turn_after(a, 11000);
    assert_int_equal(s->state, SLOT_DYING);
    assert_int_equal(signal_to(s), SIGABRT);
    arbiter_end(a);
}

static void graceful_timeout_ends_a_worker_that_does_not(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "timeout = 0\ngraceful_timeout = 5\n");
    struct slot *s = seat(a, 4);
    (void)state;
    a->current->seats = 3;
    turn(a);
    turn_after(a, 4999);
    assert_int_equal(signal_to(s), SIGTERM);
    turn_after(a, 1);
    assert_int_equal(signal_to(s), SIGKILL);
    assert_int_equal(s->verdict, SLOT_KILLED_GRACEFUL_TIMEOUT);
    arbiter_end(a);
}

static void a_stopped_worker_is_aborted_even_when_idle(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "timeout = 10\n");
    struct slot *s = seat(a, 1);
    (void)state;
    s->stopped_ms = a->now_ms;
    turn_after(a, 10000 + GRACE_MS - 1);
    assert_int_equal(s->state, SLOT_READY);
    turn_after(a, 1);
    assert_int_equal(s->state, SLOT_ABORTING);
    assert_int_equal(seat(a, 2)->state, SLOT_READY);
    arbiter_end(a);
}

/* ---- time that nobody had ---- */

static void a_late_arbiter_gives_everybody_the_full_time_again(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "timeout = 10\n");
    struct slot *s = seat(a, 1);
    (void)state;
    begin_request(a, s);
    a->planned_ms = a->now_ms + 10000 + GRACE_MS;
    a->now_ms += 60000;
    watch_note_lateness(a);
    turn_after(a, 0);
    assert_int_equal(s->state, SLOT_READY);
    turn_after(a, 10000 + GRACE_MS);
    assert_int_equal(s->state, SLOT_ABORTING);
    arbiter_end(a);
}

static void an_arbiter_in_time_does_not(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "timeout = 10\n");
    (void)state;
    begin_request(a, seat(a, 1));
    a->planned_ms = a->now_ms + 10000 + GRACE_MS;
    a->now_ms = a->planned_ms + 900;
    watch_note_lateness(a);
    turn_after(a, 0);
    assert_int_equal(seat(a, 1)->state, SLOT_ABORTING);
    arbiter_end(a);
}

static void a_stopped_group_that_goes_on_is_late_too(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "timeout = 10\n");
    (void)state;
    begin_request(a, seat(a, 1));
    a->now_ms += 9999;
    watch_note_resumption(a);
    turn_after(a, 5000);
    assert_int_equal(seat(a, 1)->state, SLOT_READY);
    arbiter_end(a);
}

/* ---- recycling ---- */

static void the_replacement_is_ready_before_the_old_one_goes(void **state) {
    struct arbiter *a = serving_arbiter(FOUR);
    struct slot *old = seat(a, 3);
    (void)state;
    atomic_store(&a->board->rows[old->index].wants_recycling, 1);
    turn(a);
    turn(a);
    assert_int_equal(seating_count(a, a->current, SLOT_STARTING), 1);
    assert_int_equal(old->state, SLOT_READY);
    all_ready(a);
    assert_int_equal(old->state, SLOT_RETIRING);
    slot_handle(old, SLOT_ON_EXITED, a->now_ms);
    turn(a);
    assert_int_equal(seating_count_alive(a, a->current), 4);
    assert_int_equal(seating_count(a, a->current, SLOT_READY), 4);
    arbiter_end(a);
}

static void at_most_a_quarter_is_replaced_at_a_time(void **state) {
    struct arbiter *a = serving_arbiter("workers = 8\nbind = 127.0.0.1:0\nmax_worker_age = 100\n");
    (void)state;
    turn_after(a, 100000);
    turn(a);
    assert_int_equal(seating_count(a, a->current, SLOT_STARTING), 2);
    all_ready(a);
    turn(a);
    assert_int_equal(seating_count(a, a->current, SLOT_RETIRING), 2);
    assert_int_equal(seating_count(a, a->current, SLOT_STARTING), 0);
    for (unsigned i = 0; i < a->slots_used; i++)
        if (a->slots[i].state == SLOT_RETIRING) slot_handle(&a->slots[i], SLOT_ON_EXITED, a->now_ms);
    turn(a);
    turn(a);
    assert_int_equal(seating_count(a, a->current, SLOT_STARTING), 2);
    arbiter_end(a);
}

static void a_worker_that_dies_before_its_replacement_is_ready_leaves_it_the_seat(void **state) {
    struct arbiter *a = serving_arbiter(FOUR);
    struct slot *old = seat(a, 3);
    (void)state;
    atomic_store(&a->board->rows[old->index].wants_recycling, 1);
    turn(a);
    turn(a);
    slot_handle(old, SLOT_ON_EXITED, a->now_ms);
    turn(a);
    turn_after(a, 30000);
    assert_int_equal(seating_count_alive(a, a->current), 4);
    assert_int_equal(old->state, SLOT_EMPTY);
    arbiter_end(a);
}

static void age_is_a_deadline(void **state) {
    struct arbiter *a = serving_arbiter(FOUR "timeout = 0\nmax_worker_age = 100\n");
    (void)state;
    assert_int_equal(watch_next(a), seat(a, 1)->ready_ms + 100000);
    arbiter_end(a);
}

/* ---- seats ---- */

static void more_and_fewer_seats(void **state) {
    struct arbiter *a = serving_arbiter(FOUR);
    (void)state;
    a->current->seats = 6;
    turn(a);
    all_ready(a);
    assert_int_equal(seating_count(a, a->current, SLOT_READY), 6);
    a->current->seats = 2;
    turn(a);
    assert_int_equal(seating_count(a, a->current, SLOT_READY), 2);
    assert_int_equal(seating_count(a, a->current, SLOT_RETIRING), 4);
    assert_int_equal(seat(a, 1)->state, SLOT_READY);
    assert_int_equal(seat(a, 2)->state, SLOT_READY);
    arbiter_end(a);
}

static void a_dead_worker_is_replaced_in_its_seat(void **state) {
    struct arbiter *a = serving_arbiter(FOUR);
    struct slot *s = seat(a, 2);
    (void)state;
    a->now_ms += SLOT_YOUNG_MS;
    slot_handle(s, SLOT_ON_EXITED, a->now_ms);
    turn_after(a, 0);
    assert_int_equal(s->state, SLOT_STARTING);
    assert_int_equal(s->seat, 2);
    arbiter_end(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_beyond_its_timeout_is_aborted_then_killed),
        cmocka_unit_test(requests_that_end_are_left_alone),
        cmocka_unit_test(no_timeout_is_for_ever),
        cmocka_unit_test(the_loop_wakes_for_the_first_deadline_and_seldom_when_idle),
        cmocka_unit_test(a_retiring_worker_is_watched_too),
        cmocka_unit_test(graceful_timeout_ends_a_worker_that_does_not),
        cmocka_unit_test(a_stopped_worker_is_aborted_even_when_idle),
        cmocka_unit_test(a_late_arbiter_gives_everybody_the_full_time_again),
        cmocka_unit_test(an_arbiter_in_time_does_not),
        cmocka_unit_test(a_stopped_group_that_goes_on_is_late_too),
        cmocka_unit_test(the_replacement_is_ready_before_the_old_one_goes),
        cmocka_unit_test(at_most_a_quarter_is_replaced_at_a_time),
        cmocka_unit_test(a_worker_that_dies_before_its_replacement_is_ready_leaves_it_the_seat),
        cmocka_unit_test(age_is_a_deadline),
        cmocka_unit_test(more_and_fewer_seats),
        cmocka_unit_test(a_dead_worker_is_replaced_in_its_seat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
