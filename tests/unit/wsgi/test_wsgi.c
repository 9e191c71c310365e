/* The gateway's insides that cannot be seen from outside at will: prepared environs beside environs that are made from
 * nothing, bodies that are let go by other threads, RequestTimeout. */
#include "../../../src/wsgi/environ.h"

#include "../../../src/wsgi/app_thread.h"
#include "../../../src/wsgi/input.h"
#include "../../../src/wsgi/kept.h"
#include "../../../src/wsgi/module.h"
#include "base/log.h"
#include "http/parser.h"
#include "wsgi/wsgi.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define ROUNDS     20000
#define FIELDS_MAX 32

static const char *const lines[] = {
    "GET / HTTP/1.1",
    "GET /a HTTP/1.1",
    "GET /a HTTP/1.0",
    "GET /%61?x=%20 HTTP/1.1",
    "GET /gr%C3%BC%C3%9Fe HTTP/1.1",
    "DELETE /a HTTP/1.1",
    "GET /app/x HTTP/1.1",
    "GET /app HTTP/1.1",
    "HEAD /a?b HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "POST / HTTP/1.1",
};

static const char *const blocks[] = {
    "Host: a\r\n",
    "Host: a\r\nUser-Agent: b\r\nAccept: */*\r\n",
    "Host: a:81\r\nCookie: a=1\r\nCookie: b=2\r\nX-Odd: 1\r\nx-odd: 2\r\n",
    "Host: [::1]:8\r\nX-Forwarded-Proto: https\r\n",
    "Host: a\r\nX-Umlaut: \xfc\r\nX-Empty:\r\nAccept: a\r\nAccept: b\r\n",
    "Host: a\r\nX-Forwarded-For: 192.0.2.1\r\nX-Request-ID: 7\r\nAuthorization: Basic x\r\n",
    "Host: a\r\nSCRIPT_NAME: /app\r\n",
    "Host: a\r\nSCRIPT_NAME: /app/\r\nX_Dropped: 1\r\n",
    "Host: a\r\nREMOTE_USER: b\r\n",
};

static struct name_value scheme_items[] = {{"X-FORWARDED-PROTO", "https"}};
static char script_name[] = "SCRIPT_NAME", remote_user[] = "REMOTE_USER",
            *forwarder_items[] = {script_name, remote_user};
static char server_header[] = "cserve";

static struct settings settings = {
    .threads = 1,
    .limit_request_line = 8190,
    .limit_request_fields = FIELDS_MAX,
    .limit_request_field_size = 8190,
    .limit_request_body = 1 << 20,
    .body_buffer = 1 << 16,
    .secure_scheme_headers = {scheme_items, ARRAY_LENGTH(scheme_items)},
    .forwarder_headers = {forwarder_items, ARRAY_LENGTH(forwarder_items)},
    .server_header = server_header,
};

static struct peer make_peer(const char *ip, uint16_t port, bool is_unix) {
    struct peer p = {.port = port, .is_unix = is_unix};
    if (is_unix) return p;
    p.text_len = (uint8_t)snprintf(p.text, sizeof(p.text), "%s", ip);
    memset(p.ip, 0, sizeof(p.ip));
    memcpy(p.ip, ip, strlen(ip) < sizeof(p.ip) ? strlen(ip) : sizeof(p.ip));
    return p;
}

struct parsed {
    struct parser parser;
    struct request request;
    struct field fields[FIELDS_MAX + 1];
    struct buf text;
};

/* False if the engine refuses it. */
static bool parse(struct parsed *p, const char *line, const char *block, const struct peer *peer,
                  const struct peer *local) {
    memset(p, 0, sizeof(*p));
    body_init(&p->request.body);
    buf_printf(&p->text, "%s\r\n%s\r\n", line, block);
    p->request.peer = peer;
    p->request.local = local;
    parser_start(&p->parser, &p->request, &settings, peer);
    p->request.head = p->text.data;
    parser_feed(&p->parser, p->text.data, p->text.len);
    return p->parser.state == PARSER_COMPLETE;
}

static void parsed_release(struct parsed *p) {
    parser_release(&p->parser);
    body_release(&p->request.body);
    buf_release(&p->text);
}

/* What an application may do to its own environ. */
static void spoil(PyObject *environ) {
    PyObject *text = PyUnicode_FromString("spoiled"), *keys = PyDict_Keys(environ);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(keys); i++)
        assert_int_equal(PyDict_SetItem(environ, PyList_GET_ITEM(keys, i), text), 0);
    assert_int_equal(PyDict_SetItemString(environ, "HTTP_SPOILED", text), 0);
    Py_DECREF(keys);
    Py_DECREF(text);
}

static void explain(PyObject *fast, PyObject *slow) {
    PyObject_Print(fast, stderr, 0);
    fprintf(stderr, "\n");
    PyObject_Print(slow, stderr, 0);
    fprintf(stderr, "\n");
}

static void compare_once(struct environ_maker *fast, struct call *call, unsigned choice, const struct peer *peer,
                         const struct peer *local) {
    struct parsed p;
    unsigned line = choice % ARRAY_LENGTH(lines), block = choice / 64 % ARRAY_LENGTH(blocks);
    if (parse(&p, lines[line], blocks[block], peer, local)) {
        struct environ_maker *slow = environ_maker_new();
        PyObject *expected = environ_make(slow, &p.request, NULL, call);
        p.request.block_serial = choice / 1024 % 2 ? block + 1 : 0;
        PyObject *environ = environ_make(fast, &p.request, NULL, call);
        assert_non_null(expected);
        assert_non_null(environ);
        int equal = PyObject_RichCompareBool(environ, expected, Py_EQ);
        if (equal != 1) explain(environ, expected);
        assert_int_equal(equal, 1);
        spoil(environ);
        Py_DECREF(environ);
        Py_DECREF(expected);
        environ_maker_free(slow);
    }
    parsed_release(&p);
}

static void test_prepared_environs_are_as_those_made_from_nothing(void **state) {
    (void)state;
    const struct peer locals[] = {make_peer("127.0.0.1", 8000, false), make_peer("0.0.0.0", 81, false),
                                  make_peer("", 0, true)};
    const struct peer peers[] = {make_peer("127.0.0.1", 4711, false), make_peer("127.0.0.1", 4712, false),
                                 make_peer("192.0.2.1", 4711, false), make_peer("", 0, true)};
    static struct cidr everyone;
    struct environ_maker *maker = environ_maker_new();
    struct call *calls[] = {call_new(), call_new()};
    unsigned seed = 1;
    settings.forwarded_allow_ips = (struct address_set){&everyone, 0, false};
    for (int i = 0; i < ROUNDS; i++) {
        settings.forwarded_allow_ips.everyone = rand_r(&seed) % 2;
        compare_once(maker, calls[rand_r(&seed) % 2], (unsigned)rand_r(&seed),
                     &peers[rand_r(&seed) % ARRAY_LENGTH(peers)], &locals[rand_r(&seed) % ARRAY_LENGTH(locals)]);
    }
    assert_true(calls[0]->templates > 0);
    environ_maker_free(maker);
    assert_int_equal(calls[0]->templates, 0);
    call_drop(calls[0]);
    call_drop(calls[1]);
}

static void test_a_function_that_is_kept_makes_a_new_call(void **state) {
    (void)state;
    struct call *call = call_new(), *same = call_finish(call);
    assert_ptr_equal(call, same);
    PyObject *kept = Py_NewRef(call->functions[CALL_CLIENT_GONE]);
    struct call *other = call_finish(call);
    assert_ptr_not_equal(call, other);
    PyObject *gone = PyObject_CallNoArgs(kept);
    assert_ptr_equal(gone, Py_True);
    Py_DECREF(gone);
    Py_DECREF(kept);
    call_drop(other);
}

static void *release_it(void *owner) {
    kept_release(NULL, owner);
    return NULL;
}

static void test_bodies_are_let_go_by_other_threads(void **state) {
    (void)state;
    PyObject *bytes = PyBytes_FromString("a body that nobody else has");
    Py_ssize_t before = Py_REFCNT(bytes);
    pthread_t threads[8];
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, release_it, kept_new(bytes)), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) pthread_join(threads[i], NULL);
    assert_int_equal(Py_REFCNT(bytes), before + 8);
    assert_true(kept_is_waiting());
    kept_collect();
    assert_false(kept_is_waiting());
    assert_int_equal(Py_REFCNT(bytes), before);
    Py_DECREF(bytes);
}

static void *interrupt(void *nothing) {
    wsgi_interrupt(3, 7);
    return nothing;
}

/* Runs code while another thread interrupts this one. True if it ended by itself. */
static bool run_interrupted(const char *code) {
    PyObject *names = PyDict_New();
    pthread_t thread;
    assert_int_equal(PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()), 0);
    assert_int_equal(pthread_create(&thread, NULL, interrupt, NULL), 0);
    PyObject *result = PyRun_String(code, Py_file_input, names, names);
    Py_BEGIN_ALLOW_THREADS pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS Py_XDECREF(result);
    Py_DECREF(names);
    return result != NULL;
}

static void test_a_request_can_be_interrupted_and_only_it(void **state) {
    (void)state;
    static const struct exchange late = {.thread = 3, .number = 7}, next = {.thread = 3, .number = 8};
    app_thread_begin_interruptible(&late);
    assert_false(run_interrupted("while True: pass"));
    assert_true(PyErr_ExceptionMatches(module_request_timeout()));
    PyErr_Clear();
    app_thread_end_interruptible(&late);

    assert_true(run_interrupted("for i in range(1000000): pass"));
    app_thread_begin_interruptible(&next);
    assert_true(run_interrupted("for i in range(1000000): pass"));
    app_thread_end_interruptible(&next);

    app_thread_begin_interruptible(&late);
    interrupt(NULL);
    app_thread_end_interruptible(&late); /* it ended before the exception came through */
    PyObject *names = PyDict_New();
    PyObject *result = PyRun_String("x = [i for i in range(10)]", Py_file_input, names, names);
    assert_non_null(result);
    Py_DECREF(result);
    Py_DECREF(names);
}

static int start(void **state) {
    (void)state;
    return wsgi_start(&settings);
}

static int stop(void **state) {
    (void)state;
    wsgi_stop();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prepared_environs_are_as_those_made_from_nothing),
        cmocka_unit_test(test_a_function_that_is_kept_makes_a_new_call),
        cmocka_unit_test(test_bodies_are_let_go_by_other_threads),
        cmocka_unit_test(test_a_request_can_be_interrupted_and_only_it),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
