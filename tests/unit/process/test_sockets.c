/* Listening sockets over generations: shared, inherited, closed with their last user. */
#include "process/sockets.h"

#include "base/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static char error[512];

static struct settings *settings_for(const char *first, const char *second) {
    struct buf errors = BUF_INIT, notes = BUF_INIT;
    char *argv[] = {"cserve", "app", "-b", (char *)first, "-b", (char *)second, NULL};
    int argc = second ? 6 : first ? 4 : 2;
    struct settings *s = settings_load(argc, argv, &errors, &notes);
    if (!s) fail_msg("%s", buf_cstr(&errors));
    buf_release(&errors);
    buf_release(&notes);
    return s;
}

static struct socket_set opened(struct sockets *s, const char *first, const char *second) {
    struct settings *settings = settings_for(first, second);
    struct socket_set set;
    if (sockets_open(s, settings, 0, &set, error, sizeof(error))) fail_msg("%s", error);
    settings_free(settings);
    return set;
}

static bool is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

static void generations_share_by_address(void **state) {
    struct sockets s;
    (void)state;
    sockets_init(&s);
    struct socket_set a = opened(&s, "127.0.0.1:0", "unix:@cserve-test-sockets");
    struct socket_set b = opened(&s, "127.0.0.1:0", NULL);
    assert_int_equal(s.count, 2);
    assert_true(socket_set_is_within(&b, &a));
    assert_false(socket_set_is_within(&a, &b));
    int stays = b.items[0]->fd, goes = a.items[1]->fd;
    sockets_release(&s, &a, true);
    assert_true(is_open(stays));
    assert_false(is_open(goes));
    sockets_release(&s, &b, true);
    assert_false(is_open(stays));
    assert_int_equal(s.count, 0);
    sockets_forget(&s);
}

static void an_address_named_twice_is_one_socket(void **state) {
    struct sockets s;
    (void)state;
    sockets_init(&s);
    struct socket_set a = opened(&s, "unix:@cserve-test-sockets", "unix:@cserve-test-sockets");
    assert_int_equal(a.count, 1);
    sockets_release(&s, &a, true);
    assert_int_equal(s.count, 0);
    sockets_forget(&s);
}

static void a_failure_leaves_nothing_open(void **state) {
    struct sockets s;
    struct socket_set set;
    (void)state;
    sockets_init(&s);
    struct settings *settings = settings_for("unix:@cserve-test-sockets", "unix:/nonexistent/directory/s");
    assert_int_equal(sockets_open(&s, settings, 0, &set, error, sizeof(error)), -1);
    assert_int_equal(s.count, 0);
    settings_free(settings);
    sockets_forget(&s);
}

static int listening_socket(const char *text) {
    struct listener_options options = {
        .backlog = 5, .socket_mode = 0600, .socket_owner = (uid_t)-1, .socket_group = (gid_t)-1};
    struct address a;
    assert_null(address_parse(text, &a));
    struct listener *l = listener_open(&a, &options, error, sizeof(error));
    assert_non_null(l);
    int fd = dup(l->fd);
    listener_free(l, false);
    return fd;
}

static void inherited_descriptors_stand_for_the_default_address(void **state) {
    struct sockets s;
    char text[24];
    (void)state;
    sockets_init(&s);
    int first = listening_socket("127.0.0.1:0"), second = listening_socket("127.0.0.1:0");
    sockets_add_inherited(&s, first, NULL);
    sockets_add_inherited(&s, second, NULL);
    struct socket_set a = opened(&s, NULL, NULL);
    assert_int_equal(a.count, 2);
    assert_int_equal(a.items[0]->fd, first);
    snprintf(text, sizeof(text), "fd://%d", second);
    assert_string_equal(a.items[1]->address.text, text);
    struct socket_set b = opened(&s, NULL, NULL);
    assert_true(socket_set_is_within(&b, &a) && socket_set_is_within(&a, &b));
    sockets_release(&s, &a, true);
    assert_true(is_open(first));
    sockets_release(&s, &b, true);
    sockets_forget(&s);
}

static void an_inherited_descriptor_is_found_by_its_address(void **state) {
    struct sockets s;
    (void)state;
    sockets_init(&s);
    int fd = listening_socket("unix:@cserve-test-inherited");
    sockets_add_inherited(&s, fd, NULL);
    struct socket_set a = opened(&s, "unix:@cserve-test-inherited", NULL);
    assert_int_equal(a.items[0]->fd, fd);
    sockets_release(&s, &a, true);
    sockets_forget(&s);
}

static void only_what_came_from_the_store_is_given_back(void **state) {
    struct sockets s;
    (void)state;
    sockets_init(&s);
    log_set_level((enum log_level)(LOG_LEVEL_CRITICAL + 1));
    int stored = listening_socket("unix:@cserve-test-stored"), unit = listening_socket("unix:@cserve-test-unit"),
        gone = listening_socket("unix:@cserve-test-gone");
    sockets_add_inherited(&s, stored, "listener-unix-@cserve-test-stored");
    sockets_add_inherited(&s, unit, "web");
    sockets_add_inherited(&s, gone, "listener-unix-@cserve-test-gone");
    struct socket_set a = opened(&s, "unix:@cserve-test-stored", NULL);
    assert_true(s.items[0].is_stored);
    sockets_give_back(&s);
    assert_true(is_open(stored) && is_open(unit));
    assert_false(is_open(gone));
    sockets_release(&s, &a, true);
    sockets_forget(&s);
    close(unit);
}

static void the_variables_are_for_this_process_alone(void **state) {
    struct sockets s;
    char pid[16];
    (void)state;
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_PID", "1", 1);
    sockets_init(&s);
    sockets_inherit(&s);
    assert_int_equal(s.inherited_count, 0);
    assert_null(getenv("LISTEN_FDS"));
    setenv("LISTEN_FDS", "2", 1);
    snprintf(pid, sizeof(pid), "%d", getpid());
    setenv("LISTEN_PID", pid, 1);
    sockets_inherit(&s);
    assert_int_equal(s.inherited_count, 2);
    assert_int_equal(s.inherited[0].fd, 3);
    sockets_forget(&s);
}

static void a_child_keeps_its_generations_sockets_alone(void **state) {
    struct sockets s;
    (void)state;
    sockets_init(&s);
    struct socket_set a = opened(&s, "127.0.0.1:0", "unix:@cserve-test-sockets");
    struct socket_set b = opened(&s, "127.0.0.1:0", NULL);
    int foreign = a.items[1]->fd;
    sockets_close_others(&s, &b);
    assert_true(is_open(b.items[0]->fd));
    assert_false(is_open(foreign));
    sockets_release(&s, &a, true);
    sockets_release(&s, &b, true);
    sockets_forget(&s);
}

int main(void) {
    unsetenv("PORT");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generations_share_by_address),
        cmocka_unit_test(an_address_named_twice_is_one_socket),
        cmocka_unit_test(a_failure_leaves_nothing_open),
        cmocka_unit_test(inherited_descriptors_stand_for_the_default_address),
        cmocka_unit_test(an_inherited_descriptor_is_found_by_its_address),
        cmocka_unit_test(only_what_came_from_the_store_is_given_back),
        cmocka_unit_test(the_variables_are_for_this_process_alone),
        cmocka_unit_test(a_child_keeps_its_generations_sockets_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
