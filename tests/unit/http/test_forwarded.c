/* Who is believed what: scheme, prefix, and names with an underscore, from trusted and other peers. */
#include "base/compiler.h"
#include "http/forwarded.h"
#include "request_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define PROXY      "127.0.0.1"
#define STRANGER   "192.0.2.9"
#define FIELDS_MAX 8

static struct name_value scheme_items[] = {
    {"X-FORWARDED-PROTOCOL", "ssl"},
    {"X-FORWARDED-PROTO", "https"},
    {"X-FORWARDED-SSL", "on"},
};
static char *forwarder_items[] = {"SCRIPT_NAME", "PATH_INFO"};

static struct settings defaults(void) {
    static struct cidr localhost = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}, 128};
    return (struct settings){
        .forwarded_allow_ips = {.blocks = &localhost, .count = 1},
        .secure_scheme_headers = {scheme_items, ARRAY_LENGTH(scheme_items)},
        .forwarder_headers = {forwarder_items, ARRAY_LENGTH(forwarder_items)},
        .header_map = HEADER_MAP_DROP,
    };
}

struct field_text {
    const char *name;
    const char *value;
};

struct row {
    const char *peer; /* NULL: unix */
    struct field_text fields[FIELDS_MAX];
    const char *fault; /* NULL: none */
    bool is_https;
    const char *script_name;
    const char *left; /* the names that stay, a space behind each */
};

static void check_row(const struct row *row, const struct settings *s, const char *target) {
    struct request_fixture f;
    fixture_init(&f, "GET", target, row->peer);
    for (size_t i = 0; i < FIELDS_MAX && row->fields[i].name; i++)
        fixture_add(&f, row->fields[i].name, row->fields[i].value);

    const char *fault = forwarded_apply(&f.request, s, &f.peer);
    if (row->fault) {
        assert_non_null(fault);
        assert_string_equal(fault, row->fault);
    } else {
        assert_null(fault);
        assert_int_equal(f.request.is_https, row->is_https);
        assert_true(slice_equal(request_span(&f.request, f.request.script_name),
                                slice_of(row->script_name ? row->script_name : "")));
        struct buf left = BUF_INIT;
        for (uint32_t i = 0; i < f.request.field_count; i++) {
            buf_append_slice(&left, request_span(&f.request, f.request.fields[i].name));
            buf_append_char(&left, ' ');
        }
        assert_string_equal(buf_cstr(&left), row->left ? row->left : "");
        buf_release(&left);
    }
    fixture_release(&f);
}

#define CHECK_ROWS(rows, settings, target) \
    for (size_t row = 0; row < ARRAY_LENGTH(rows); row++) check_row(&(rows)[row], (settings), (target))

static void the_scheme_comes_from_trusted_peers_alone(void **state UNUSED) {
    static const struct row rows[] = {
        {PROXY, {{"Host", "x"}}, .left = "Host "},
        {PROXY, {{"Host", "x"}, {"X-Forwarded-Proto", "https"}}, .is_https = true, .left = "Host X-Forwarded-Proto "},
        {PROXY, {{"x-forwarded-proto", "https"}}, .is_https = true, .left = "x-forwarded-proto "},
        {PROXY, {{"X-Forwarded-Ssl", "on"}}, .is_https = true, .left = "X-Forwarded-Ssl "},
        {PROXY, {{"X-Forwarded-Protocol", "ssl"}}, .is_https = true, .left = "X-Forwarded-Protocol "},
        {NULL, {{"X-Forwarded-Proto", "https"}}, .is_https = true, .left = "X-Forwarded-Proto "},
        {STRANGER, {{"X-Forwarded-Proto", "https"}}, .left = "X-Forwarded-Proto "},
        {"2001:db8::1", {{"X-Forwarded-Ssl", "on"}}, .left = "X-Forwarded-Ssl "},
        {PROXY, {{"X-Forwarded-Proto", "http"}}, .left = "X-Forwarded-Proto "},
        {PROXY, {{"X-Forwarded-Proto", "HTTPS"}}, .left = "X-Forwarded-Proto "},
        {PROXY, {{"X-Forwarded-Proto", "https, http"}}, .left = "X-Forwarded-Proto "},
        {PROXY, {{"X-Forwarded-Proto", ""}}, .left = "X-Forwarded-Proto "},
        {PROXY,
         {{"X-Forwarded-Prot", "https"}, {"X-Forwarded-Protos", "https"}},
         .left = "X-Forwarded-Prot X-Forwarded-Protos "},
    };
    struct settings s = defaults();
    CHECK_ROWS(rows, &s, "/");
}

static void contradictions_are_refused_where_they_would_be_believed(void **state UNUSED) {
    static const struct row rows[] = {
        {PROXY, {{"X-Forwarded-Proto", "https"}, {"X-Forwarded-Ssl", "off"}}, .fault = "contradictory scheme headers"},
        {PROXY, {{"X-Forwarded-Proto", "http"}, {"X-Forwarded-Ssl", "on"}}, .fault = "contradictory scheme headers"},
        {PROXY,
         {{"X-Forwarded-Proto", "https"}, {"X-Forwarded-Proto", "http"}},
         .fault = "contradictory scheme headers"},
        {PROXY,
         {{"X-Forwarded-Proto", "https"}, {"X-Forwarded-Ssl", "on"}},
         .is_https = true,
         .left = "X-Forwarded-Proto X-Forwarded-Ssl "},
        {PROXY,
         {{"X-Forwarded-Proto", "http"}, {"X-Forwarded-Ssl", "off"}},
         .left = "X-Forwarded-Proto X-Forwarded-Ssl "},
        {STRANGER,
         {{"X-Forwarded-Proto", "https"}, {"X-Forwarded-Ssl", "off"}},
         .left = "X-Forwarded-Proto X-Forwarded-Ssl "},
    };
    struct settings s = defaults();
    CHECK_ROWS(rows, &s, "/");
}

static void names_with_an_underscore_are_dropped(void **state UNUSED) {
    static const struct row rows[] = {
        {STRANGER, {{"X_Forwarded_For", "x"}, {"Host", "h"}}, .left = "Host "},
        {STRANGER, {{"Host", "h"}, {"_", "x"}, {"A", "a"}, {"b_", "x"}, {"C", "c"}}, .left = "Host A C "},
        {PROXY, {{"X_Real_IP", "x"}, {"Accept", "h"}}, .left = "Accept "},
        {STRANGER, {{"SCRIPT_NAME", "/app"}, {"Host", "h"}}, .left = "Host "},
        {STRANGER, {{"PATH_INFO", "/x"}, {"Host", "h"}}, .left = "Host "},
        {PROXY, {{"PATH_INFO", "/x"}, {"Host", "h"}}, .left = "PATH_INFO Host "},
        {PROXY, {{"Path_Info", "/x"}, {"Host", "h"}}, .left = "Path_Info Host "},
        {PROXY, {{"X_Forwarded_Proto", "https"}}, .left = ""},
    };
    struct settings s = defaults();
    CHECK_ROWS(rows, &s, "/app/x");
}

static void or_refused(void **state UNUSED) {
    static const struct row rows[] = {
        {STRANGER, {{"Host", "h"}, {"X_Forwarded_For", "x"}}, .fault = "field name with an underscore"},
        {STRANGER, {{"SCRIPT_NAME", "/app"}}, .fault = "field name with an underscore"},
        {PROXY, {{"X_Real_IP", "x"}}, .fault = "field name with an underscore"},
        {PROXY, {{"SCRIPT_NAME", "/app"}, {"Host", "h"}}, .script_name = "/app", .left = "Host "},
        {PROXY, {{"X-Real-IP", "x"}, {"A-B", "c"}}, .left = "X-Real-IP A-B "},
    };
    struct settings s = defaults();
    s.header_map = HEADER_MAP_REFUSE;
    CHECK_ROWS(rows, &s, "/app/x");
}

static void the_prefix_is_whole_segments_of_the_path(void **state UNUSED) {
    static const struct row rows[] = {
        {PROXY, {{"A", "a"}, {"SCRIPT_NAME", "/app"}, {"B", "b"}}, .script_name = "/app", .left = "A B "},
        {PROXY, {{"script_name", "/app"}}, .script_name = "/app"},
        {NULL, {{"SCRIPT_NAME", "/app/sub"}}, .script_name = "/app/sub"},
        {PROXY, {{"SCRIPT_NAME", "/app/sub/page"}}, .script_name = "/app/sub/page"},
        {PROXY, {{"SCRIPT_NAME", "/app/"}}, .script_name = "/app"},
        {PROXY, {{"SCRIPT_NAME", "/"}}, .left = ""},
        {PROXY, {{"SCRIPT_NAME", ""}}, .left = ""},
        {PROXY, {{"SCRIPT_NAME", "/ap"}}, .fault = "SCRIPT_NAME is no prefix of the path"},
        {PROXY, {{"SCRIPT_NAME", "app"}}, .fault = "SCRIPT_NAME is no prefix of the path"},
        {PROXY, {{"SCRIPT_NAME", "/other"}}, .fault = "SCRIPT_NAME is no prefix of the path"},
        {PROXY, {{"SCRIPT_NAME", "/app/sub/page/more"}}, .fault = "SCRIPT_NAME is no prefix of the path"},
        {PROXY, {{"SCRIPT_NAME", "/app"}, {"SCRIPT_NAME", "/app"}}, .fault = "repeated SCRIPT_NAME"},
        {STRANGER, {{"SCRIPT_NAME", "/other"}}, .left = ""},
    };
    struct settings s = defaults();
    CHECK_ROWS(rows, &s, "/app/sub/page?q=/app");
}

static void a_list_of_forwarders_may_name_all_or_nobody(void **state UNUSED) {
    static const struct row all[] = {
        {PROXY, {{"X_Any", "x"}, {"SCRIPT_NAME", "/app"}}, .script_name = "/app", .left = "X_Any "},
        {STRANGER, {{"X_Any", "x"}}, .left = ""},
    };
    static const struct row none[] = {
        {PROXY, {{"SCRIPT_NAME", "/app"}, {"A", "a"}}, .left = "A "},
    };
    char *everything[] = {"*"};
    struct settings s = defaults();
    s.forwarder_headers = (struct string_list){everything, 1};
    CHECK_ROWS(all, &s, "/app");
    s.forwarder_headers = (struct string_list){NULL, 0};
    CHECK_ROWS(none, &s, "/app");
}

static void trust_may_be_given_to_all_or_to_nobody(void **state UNUSED) {
    static const struct row all[] = {
        {STRANGER, {{"X-Forwarded-Proto", "https"}}, .is_https = true, .left = "X-Forwarded-Proto "},
        {NULL, {{"X-Forwarded-Proto", "https"}}, .is_https = true, .left = "X-Forwarded-Proto "},
    };
    static const struct row nobody[] = {
        {PROXY, {{"X-Forwarded-Proto", "https"}}, .left = "X-Forwarded-Proto "},
        {NULL, {{"X-Forwarded-Proto", "https"}, {"SCRIPT_NAME", "/app"}}, .left = "X-Forwarded-Proto "},
    };
    struct settings s = defaults();
    s.forwarded_allow_ips = (struct address_set){.everyone = true};
    CHECK_ROWS(all, &s, "/app");
    s.forwarded_allow_ips = (struct address_set){.everyone = false};
    CHECK_ROWS(nobody, &s, "/app");
}

/* A name that has a number in field_names.h may be a scheme header as well. */
static void any_name_can_be_a_scheme_header(void **state UNUSED) {
    static struct name_value items[] = {{"Front-End-Https", "on"}, {"upgrade", "tls"}};
    static const struct row rows[] = {
        {PROXY, {{"FRONT-END-HTTPS", "on"}}, .is_https = true, .left = "FRONT-END-HTTPS "},
        {PROXY, {{"Upgrade", "tls"}}, .is_https = true, .left = "Upgrade "},
        {PROXY, {{"X-Forwarded-Proto", "https"}}, .left = "X-Forwarded-Proto "},
    };
    struct settings s = defaults();
    s.secure_scheme_headers = (struct name_value_list){items, ARRAY_LENGTH(items)};
    CHECK_ROWS(rows, &s, "/");
    s.secure_scheme_headers = (struct name_value_list){NULL, 0};
    check_row(&(struct row){PROXY, {{"Upgrade", "tls"}}, .left = "Upgrade "}, &s, "/");
}

/* Nothing of the request before may stay in a reused one. */
static void what_was_set_before_is_forgotten(void **state UNUSED) {
    struct settings s = defaults();
    struct request_fixture f;
    fixture_init(&f, "GET", "/app", STRANGER);
    f.request.is_https = true;
    f.request.script_name = f.request.path;
    assert_null(forwarded_apply(&f.request, &s, &f.peer));
    assert_false(f.request.is_https);
    assert_int_equal(f.request.script_name.length, 0);
    fixture_release(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_scheme_comes_from_trusted_peers_alone),
        cmocka_unit_test(contradictions_are_refused_where_they_would_be_believed),
        cmocka_unit_test(names_with_an_underscore_are_dropped),
        cmocka_unit_test(or_refused),
        cmocka_unit_test(the_prefix_is_whole_segments_of_the_path),
        cmocka_unit_test(a_list_of_forwarders_may_name_all_or_nobody),
        cmocka_unit_test(trust_may_be_given_to_all_or_to_nobody),
        cmocka_unit_test(any_name_can_be_a_scheme_header),
        cmocka_unit_test(what_was_set_before_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
