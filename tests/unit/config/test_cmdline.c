/* Arguments: every form of option, and what is said about the others. */
#include "config/cmdline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What the parser told, as text: "key(spelling)=value;", "help:value;", "!message;". */
static void on_value(void *context, const struct option *o, const char *spelling, const char *value) {
    buf_printf(context, "%s(%s)=%s;", o->key, spelling, value);
}

static void on_request(void *context, enum cmdline_request request, const char *value) {
    static const char *const names[] = {"help", "version", "generate"};
    buf_printf(context, "%s:%s;", names[request], value);
}

static void on_error(void *context, const char *message) {
    buf_printf(context, "!%s;", message);
}

static void assert_read(const char *expected, size_t count, const char *const *words) {
    static const struct cmdline_callbacks callbacks = {on_value, on_request, on_error};
    struct buf told = BUF_INIT;
    cmdline_parse(count, (char *const *)words, &callbacks, &told);
    assert_string_equal(buf_cstr(&told), expected);
    buf_release(&told);
}

#define ASSERT_READ(expected, ...) \
    assert_read(expected, ARRAY_LENGTH(((const char *[]){__VA_ARGS__})), (const char *[]){__VA_ARGS__})

static void test_values(void **state) {
    (void)state;
    assert_read("", 0, NULL);
    ASSERT_READ("workers(--workers)=4;", "--workers", "4");
    ASSERT_READ("workers(--workers)=4;", "--workers=4");
    ASSERT_READ("workers(-w)=4;", "-w", "4");
    ASSERT_READ("workers(-w)=4;", "-w4");
    ASSERT_READ("workers(-w)=4;", "-w=4");
    ASSERT_READ("raw_env(--env)=A=b=c;", "--env=A=b=c");
    ASSERT_READ("server_header(--server-header)=;", "--server-header=");
    ASSERT_READ("server_header(--server-header)=;", "--server-header", "");
    ASSERT_READ("accesslog(--access-logfile)=-;", "--access-logfile", "-");
    ASSERT_READ("bind(-b)=a:1;bind(-b)=b:2;", "-b", "a:1", "-bb:2");
}

static void test_flags(void **state) {
    (void)state;
    ASSERT_READ("daemon(-D)=true;workers(-w)=4;wsgi_app(application)=wsgi:app;", "-Dw4", "wsgi:app");
    ASSERT_READ("preload_app(--preload)=true;wsgi_app(application)=x;", "--preload", "x");
    ASSERT_READ("sendfile(--no-sendfile)=false;", "--no-sendfile");
    ASSERT_READ("sendfile(--sendfile)=off;", "--sendfile=off");
    ASSERT_READ("!--no-sendfile: takes no value, but has 'x';", "--no-sendfile=x");
    ASSERT_READ("!--no-workers: no such option; did you mean '--workers'?;", "--no-workers");
}

static void test_implied_value(void **state) {
    (void)state;
    ASSERT_READ("proxy_protocol(--proxy-protocol)=auto;wsgi_app(application)=wsgi;", "--proxy-protocol", "wsgi");
    ASSERT_READ("proxy_protocol(--proxy-protocol)=v2;wsgi_app(application)=wsgi;", "--proxy-protocol", "v2", "wsgi");
    ASSERT_READ("proxy_protocol(--proxy-protocol)=auto;", "--proxy-protocol");
    ASSERT_READ("proxy_protocol(--proxy-protocol)=x;", "--proxy-protocol=x");
}

static void test_application(void **state) {
    (void)state;
    ASSERT_READ("wsgi_app(application)=a:b;workers(-w)=2;", "a:b", "-w", "2");
    ASSERT_READ("wsgi_app(application)=-odd;", "--", "-odd");
    ASSERT_READ("wsgi_app(application)=a;!'b': a second application; one server serves one;wsgi_app(application)=b;",
                "a", "b");
}

static void test_requests(void **state) {
    (void)state;
    ASSERT_READ("help:;", "--help");
    ASSERT_READ("help:;", "-h");
    ASSERT_READ("version:;", "-v");
    ASSERT_READ("version:;", "--version");
    ASSERT_READ("generate:man;", "--generate=man");
    ASSERT_READ("generate:ini;", "--generate", "ini");
    ASSERT_READ("proc_name(-n)=--help;", "-n=--help");
}

static void test_mistakes(void **state) {
    (void)state;
    ASSERT_READ("!--workers: a value is missing;", "--workers");
    ASSERT_READ("!-w: a value is missing in front of '-D'; if that is the value, write '-w=-D';daemon(-D)=true;", "-w",
                "-D");
    ASSERT_READ("!--wrokers: no such option; did you mean '--workers'?;wsgi_app(application)=3;", "--wrokers", "3");
    ASSERT_READ("wsgi_app(application)=a;!--zzz: no such option; 'cserve --help' lists all;wsgi_app(application)=3;",
                "a", "--zzz", "3");
    ASSERT_READ("!--work: no such option; did you mean '--workers'?;", "--work=1");
    ASSERT_READ("!--zzz: no such option; 'cserve --help' lists all;", "--zzz=1");
    ASSERT_READ("!--graceful_timeout: no such option; did you mean '--graceful-timeout'?;", "--graceful_timeout=1");
    ASSERT_READ("!--spew: not offered: the stack of a hung request is logged when its timeout strikes;", "--spew");
    ASSERT_READ("!-z: no such option; 'cserve --help' lists all;daemon(-D)=true;", "-zw4", "-D");
    ASSERT_READ("!---: no such option; 'cserve --help' lists all;", "---");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),      cmocka_unit_test(test_flags),    cmocka_unit_test(test_implied_value),
        cmocka_unit_test(test_application), cmocka_unit_test(test_requests), cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
