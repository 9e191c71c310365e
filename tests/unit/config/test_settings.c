/* Layers, origins, checks: settings as a whole, in a directory and an environment of the test's own. */
#include "config/settings.h"

#include "base/mem.h"
#include "config/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/cserve-settings-XXXXXX";

struct loaded {
    struct settings *s;
    struct buf errors, notes;
};

static struct loaded load(int count, const char *const *words) {
    const char *argv[32] = {"cserve"};
    for (int i = 0; i < count; i++) argv[i + 1] = words[i];
    struct loaded l = {NULL, BUF_INIT, BUF_INIT};
    l.s = settings_load(count + 1, (char **)argv, &l.errors, &l.notes);
    buf_cstr(&l.errors);
    buf_cstr(&l.notes);
    if (!l.s != (l.errors.len > 0)) fail_msg("settings %p, and errors '%s'", (void *)l.s, l.errors.data);
    return l;
}

#define LOAD(...) load((int)ARRAY_LENGTH(((const char *[]){__VA_ARGS__})), (const char *[]){__VA_ARGS__})

static void loaded_release(struct loaded *l) {
    settings_free(l->s);
    buf_release(&l->errors);
    buf_release(&l->notes);
}

static void assert_loaded(const struct loaded *l) {
    if (!l->s) fail_msg("%s", l->errors.data);
}

static const char *origin(const struct loaded *l, const char *key) {
    return settings_origin(l->s, option_find(slice_of(key)));
}

static void put(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int set_up(void **state) {
    (void)state;
    clearenv();
    memcpy(directory + sizeof(directory) - 7, "XXXXXX", 6);
    return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    char *command = mem_printf("/bin/rm -r %s", directory);
    int status = chdir("/") || system(command);
    mem_free(command);
    return status;
}

/* --- what is taken --- */

static void test_defaults(void **state) {
    (void)state;
    struct loaded l = LOAD("wsgi:app");
    assert_loaded(&l);
    assert_string_equal(l.s->wsgi_app, "wsgi:app");
    assert_string_equal(l.s->proc_name, "wsgi:app");
    assert_string_equal(l.s->chdir, directory);
    assert_null(l.s->config);
    assert_int_equal(l.s->bind.count, 1);
    assert_string_equal(l.s->bind.items[0], "127.0.0.1:8000");
    assert_true(l.s->workers >= 3);
    assert_int_equal(l.s->timeout, 30000);
    assert_int_equal(l.s->keepalive, 75000);
    assert_int_equal(l.s->handover_delay, 2000);
    assert_int_equal(l.s->socket_mode, 0660);
    assert_int_equal(l.s->limit_request_body, 1 << 30);
    assert_true(l.s->user == UID_UNSET && l.s->group == GID_UNSET && l.s->socket_owner == UID_UNSET &&
                l.s->socket_group == GID_UNSET);
    assert_null(l.s->user_name);
    assert_string_equal(l.s->server_header, "cserve");
    assert_string_equal(l.s->errorlog, "-");
    assert_null(l.s->accesslog);
    assert_string_equal(l.s->spool_dir, "/tmp");
    assert_true(l.s->sendfile && l.s->initgroups && !l.s->daemon);
    assert_int_equal(l.s->forwarded_allow_ips.count, 2);
    assert_int_equal(l.s->secure_scheme_headers.count, 3);
    assert_int_equal(l.s->forwarder_headers.count, 2);
    assert_int_equal(l.s->loglevel, LOG_LEVEL_INFO);
    assert_string_equal(origin(&l, "timeout"), "default");
    assert_string_equal(origin(&l, "wsgi_app"), "command line application");
    assert_int_equal(l.notes.len, 0);
    loaded_release(&l);
}

static void test_layers(void **state) {
    (void)state;
    put("c.ini",
        "wsgi_app = file:app\nworkers = 2\n[cserve]\nthreads = 2\ntimeout = 2\nkeepalive = 2\nbind = file:1, file:2\n  file:3\n");
    setenv("CSERVE_THREADS", "3", 1);
    setenv("CSERVE_TIMEOUT", "3", 1);
    setenv("CSERVE_KEEPALIVE", "3", 1);
    setenv("CSERVE_CMD_ARGS", "-t 4 --keep-alive=4 -n 'a name'", 1);
    struct loaded l = LOAD("-c", "c.ini", "--keep-alive", "5");
    assert_loaded(&l);
    assert_string_equal(l.s->wsgi_app, "file:app");
    assert_int_equal(l.s->workers, 2);
    assert_int_equal(l.s->threads, 3);
    assert_int_equal(l.s->timeout, 4000);
    assert_int_equal(l.s->keepalive, 5000);
    assert_string_equal(l.s->proc_name, "a name");
    assert_int_equal(l.s->bind.count, 3);
    assert_string_equal(origin(&l, "wsgi_app"), "c.ini:1");
    assert_string_equal(origin(&l, "bind"), "c.ini:7");
    assert_string_equal(origin(&l, "threads"), "variable CSERVE_THREADS");
    assert_string_equal(origin(&l, "timeout"), "-t in CSERVE_CMD_ARGS");
    assert_string_equal(origin(&l, "keepalive"), "command line --keep-alive");
    char *path = mem_printf("%s/c.ini", directory);
    assert_string_equal(l.s->config, path);
    mem_free(path);
    loaded_release(&l);
    /* A list of a stronger layer replaces the weaker one's, and adds up within its own. */
    l = LOAD("-c", "c.ini", "-b", "a:1", "--bind", "b:2,c:3");
    assert_loaded(&l);
    assert_int_equal(l.s->bind.count, 3);
    assert_string_equal(l.s->bind.items[0], "a:1");
    assert_string_equal(l.s->bind.items[2], "c:3");
    loaded_release(&l);
}

static void test_usual_file(void **state) {
    (void)state;
    put("cserve.ini", "workers = 7\n");
    put("other.ini", "threads = 7\n");
    struct loaded l = LOAD("x");
    assert_int_equal(l.s->workers, 7);
    assert_string_equal(origin(&l, "workers"), "./cserve.ini:1");
    char *path = mem_printf("%s/cserve.ini", directory);
    assert_string_equal(l.s->config, path);
    mem_free(path);
    loaded_release(&l);
    setenv("CSERVE_CONFIG", "other.ini", 1);
    l = LOAD("x");
    assert_int_not_equal(l.s->workers, 7);
    assert_int_equal(l.s->threads, 7);
    loaded_release(&l);
}

static void test_foreign_variables(void **state) {
    (void)state;
    setenv("PORT", "5000", 1);
    setenv("WEB_CONCURRENCY", "6", 1);
    setenv("FORWARDED_ALLOW_IPS", "*", 1);
    setenv("TMPDIR", directory, 1);
    setenv("VIRTUAL_ENV", "/nonexistent", 1);
    struct loaded l = LOAD("x");
    assert_loaded(&l);
    assert_string_equal(l.s->bind.items[0], "0.0.0.0:5000");
    assert_int_equal(l.s->workers, 6);
    assert_true(l.s->forwarded_allow_ips.everyone);
    assert_string_equal(l.s->spool_dir, directory);
    assert_string_equal(origin(&l, "bind"), "variable PORT");
    assert_null(l.s->virtualenv);
    assert_non_null(strstr(l.notes.data, "VIRTUAL_ENV: there is no '/nonexistent', ignored\n"));
    loaded_release(&l);
    setenv("WEB_CONCURRENCY", "many", 1);
    setenv("PORT", "", 1);
    setenv("VIRTUAL_ENV", directory, 1);
    l = LOAD("x", "-w2");
    assert_loaded(&l);
    assert_string_equal(l.s->bind.items[0], "127.0.0.1:8000");
    assert_string_equal(l.s->virtualenv, directory);
    loaded_release(&l);
    l = LOAD("x");
    assert_string_equal(l.errors.data, "WEB_CONCURRENCY: workers: 'many' is not 'auto' or a number from 1 to 1024\n");
    loaded_release(&l);
}

static void test_environment_adds_up(void **state) {
    (void)state;
    put("c.ini",
        "raw_env = A=1, 2\n  B=2\nraw_env = C=3\n[env]\nD = 4 = x\nE = one\n   two\nF = \\\n  joined\nA = 5\n");
    struct loaded l = LOAD("-c", "c.ini", "-e", "D=6", "--env", "G=7", "x");
    assert_loaded(&l);
    static const char *const expected[] = {"A=5", "B=2", "C=3", "D=6", "E=one\ntwo", "F=joined", "G=7"};
    assert_int_equal(l.s->raw_env.count, ARRAY_LENGTH(expected));
    for (size_t i = 0; i < ARRAY_LENGTH(expected); i++) assert_string_equal(l.s->raw_env.items[i], expected[i]);
    loaded_release(&l);
}

static void test_accounts(void **state) {
    (void)state;
    struct loaded l = LOAD("x", "-u", "root", "-g", "0");
    assert_loaded(&l);
    assert_int_equal(l.s->user, 0);
    assert_string_equal(l.s->user_name, "root");
    loaded_release(&l);
    l = LOAD("x", "-u", "3999999999");
    assert_loaded(&l);
    assert_null(l.s->user_name);
    loaded_release(&l);
}

/* A Gunicorn command line works as it stands. */
static void test_gunicorn(void **state) {
    (void)state;
    struct loaded l = LOAD("--worker-class", "gthread", "--worker-tmp-dir", "/dev/shm", "--preload", "--pid", "p",
                           "--name", "n", "--no-sendfile", "--log-level", "debug", "--access-logfile", "-",
                           "--log-file", "e.log", "--keep-alive", "5", "--proxy-protocol", "a:b");
    assert_loaded(&l);
    assert_true(l.s->preload_app && !l.s->sendfile);
    assert_int_equal(l.s->proxy_protocol, PROXY_AUTO);
    assert_string_equal(l.s->wsgi_app, "a:b");
    assert_non_null(
        strstr(l.notes.data, "command line --worker-class: worker_class is accepted as Gunicorn's and ignored\n"));
    assert_non_null(strstr(l.notes.data, "worker_tmp_dir is accepted"));
    char *path = mem_printf("%s/e.log", directory);
    assert_string_equal(l.s->errorlog, path);
    mem_free(path);
    loaded_release(&l);
}

static void test_kubernetes(void **state) {
    (void)state;
    setenv("CSERVE_PORT_8000_TCP", "tcp://10.0.0.1:8000", 1);
    setenv("CSERVE_PORT", "tcp://10.0.0.1:8000", 1);
    setenv("CSERVE_SERVICE_HOST", "10.0.0.1", 1);
    struct loaded l = LOAD("x");
    assert_loaded(&l);
    assert_non_null(strstr(l.notes.data, "CSERVE_SERVICE_HOST: taken for a variable of Kubernetes, ignored\n"));
    loaded_release(&l);
}

/* --- what is refused --- */

static void assert_errors(struct loaded l, const char *expected) {
    assert_null(l.s);
    assert_string_equal(l.errors.data, expected);
    loaded_release(&l);
}

static void test_all_mistakes_at_once(void **state) {
    (void)state;
    put("c.ini",
        "wrokers = 2\nthreads = x\n[cserev]\na=1\n[cserve]\nthreads = 3\ncertfile = x\nxyzzy = 1\n  more\nconfig = y\nbacklog\n[]\n");
    setenv("CSERVE_WORKRES", "2", 1);
    setenv("CSERVE_TIMEOUT", "soon", 1);
    assert_errors(LOAD("-c", "c.ini", "--thraeds=2", "wsgi.py"),
                  "--thraeds: no such option; did you mean '--threads'?\n"
                  "CSERVE_WORKRES: no setting has this name; did you mean 'CSERVE_WORKERS'?\n"
                  "c.ini:1: unknown setting 'wrokers'; did you mean 'workers'?\n"
                  "c.ini:3: unknown section '[cserev]'; did you mean '[cserve]'? There are [cserve] and [env]\n"
                  "c.ini:6: 'threads' is set again; it was set in line 2\n"
                  "c.ini:7: 'certfile' is not offered: TLS ends at the proxy in front; see conf/nginx.conf\n"
                  "c.ini:8: unknown setting 'xyzzy'; docs/settings.md lists all\n"
                  "c.ini:10: 'config' is for the command line, not for a file\n"
                  "c.ini:11: 'backlog' is neither 'key = value' nor '[section]'\n"
                  "c.ini:12: unknown section '[]'; did you mean '[env]'? There are [cserve] and [env]\n"
                  "c.ini:2: threads: 'x' is not a number from 1 to 1024\n"
                  "CSERVE_TIMEOUT: timeout: 'soon' is not a time (as 30, 500ms, 5m, 1h) from 0 to 86400s\n"
                  "application: wsgi_app: 'wsgi.py' is a path, not a module; write 'wsgi' or 'wsgi:application'\n");
}

static void test_lists_name_their_line(void **state) {
    (void)state;
    put("c.ini", "forwarded_allow_ips =\n  10.0.0.1,\n\n  ; the next one is wrong\n  10.0.0.300\n");
    assert_errors(LOAD("-c", "c.ini", "x"),
                  "c.ini:5: forwarded_allow_ips: '10.0.0.300' is not an address, a block as 10.0.0.0/8, or '*'\n");
}

static void test_indented_settings(void **state) {
    (void)state;
    static const char told[] =
        "the line is indented, so it would continue the value above; remove the spaces in front of it\n";
    put("c.ini", "chdir = /\n  workers = 2\n[env]\nA = 1\n  B = 2\n  x = kept\n");
    char *expected = mem_printf("c.ini:2: %sc.ini:5: %s", told, told);
    assert_errors(LOAD("-c", "c.ini", "x"), expected);
    mem_free(expected);
}

static void test_files(void **state) {
    (void)state;
    assert_errors(LOAD("-c", "none.ini", "x"), "cannot read the settings in 'none.ini': No such file or directory\n");
    assert_errors(LOAD("-c", "/", "x"), "cannot read the settings in '/': Is a directory\n");
    assert_errors(LOAD("-c", "gunicorn.conf.py", "x"),
                  "'gunicorn.conf.py' is Python; settings are read from ini files\n");
    put("c.ini", "pidfile = a\x01z\n");
    assert_errors(LOAD("-c", "c.ini", "x"), "c.ini:1: byte 12 of the line is the control byte 0x01\n");
    if (geteuid() == 0) return; /* root reads everything */
    assert_int_equal(chmod("c.ini", 0), 0);
    assert_errors(LOAD("-c", "c.ini", "x"), "cannot read the settings in 'c.ini': Permission denied\n");
}

static void test_arguments_variable(void **state) {
    (void)state;
    setenv("CSERVE_CMD_ARGS", "-w '2", 1);
    assert_errors(LOAD("x"), "CSERVE_CMD_ARGS: '-w '2' has a quote that is not closed\n");
    setenv("CSERVE_CMD_ARGS", "--wrokers 2 --help -t x", 1);
    assert_errors(LOAD("x"),
                  "CSERVE_CMD_ARGS: --wrokers: no such option; did you mean '--workers'?\n"
                  "CSERVE_CMD_ARGS: help and version are for the command line\n"
                  "-t in CSERVE_CMD_ARGS: timeout: 'x' is not a time (as 30, 500ms, 5m, 1h) from 0 to 86400s\n");
}

static void test_a_message_stays_a_line(void **state) {
    (void)state;
    assert_errors(LOAD("x", "-w", "1\n2\x1b"),
                  "-w: workers: '1\\x0a2\\x1b' is not 'auto' or a number from 1 to 1024\n");
}

static void test_checks(void **state) {
    (void)state;
    static const char missing[] =
        "no application is given; name it behind the options, as in 'cserve wsgi:app', or set wsgi_app\n";
    assert_errors(load(0, NULL), missing);
    assert_errors(LOAD("--check-config"), missing);
    assert_errors(LOAD("x", "--chdir", "/none"), "command line --chdir: chdir '/none': No such file or directory\n");
    assert_errors(LOAD("x", "--chdir", "/dev/null"), "command line --chdir: chdir '/dev/null': Not a directory\n");
    assert_errors(LOAD("x", "--spool-dir", "/none"),
                  "command line --spool-dir: spool_dir '/none': No such file or directory\n");
    assert_errors(LOAD("x", "--virtualenv", "/none"),
                  "command line --virtualenv: virtualenv '/none': No such file or directory\n");
    assert_errors(LOAD("x", "-p", "/none/pid"),
                  "command line -p: the directory of pidfile '/none/pid': No such file or directory\n");
    assert_errors(
        LOAD("x", "--reload", "-D"),
        "command line --reload: reload is for development and does not go together with daemon (command line -D)\n");
    assert_errors(LOAD("x", "-b", ""), "command line -b: bind is empty; give at least one address\n");
    assert_errors(LOAD("x", "--accesslog=syslog:"),
                  "command line --accesslog: accesslog cannot be 'syslog:'; give a path, or '-'\n");
    assert_errors(LOAD("x", "-u", "nobody-here"), "-u: user: there is no user 'nobody-here'\n");
    assert_errors(
        LOAD("x", "-k", "gevent"),
        "-k: worker_class: 'gevent' is not offered: one kind of worker does what 'sync' and 'gthread' do; leave it out\n");
}

static void test_checks_that_pass(void **state) {
    (void)state;
    struct loaded l = LOAD("--print-config");
    assert_loaded(&l);
    loaded_release(&l);
    l = LOAD("x", "-p", "/cserve.pid", "--spool-dir", ".", "-D", "--max-requests-jitter", "5");
    assert_loaded(&l);
    assert_non_null(
        strstr(l.notes.data, "default: errorlog '-' is lost in a daemon, which has no terminal; give a path\n"));
    assert_non_null(strstr(l.notes.data, "max_requests_jitter does nothing without max_requests\n"));
    assert_string_equal(l.s->spool_dir, directory);
    loaded_release(&l);
    settings_free(NULL);
}

static void test_unwritable_spool_dir(void **state) {
    (void)state;
    if (geteuid() == 0) return; /* root writes everywhere */
    assert_int_equal(mkdir("spool", 0500), 0);
    struct loaded l = LOAD("x", "--spool-dir", "spool");
    assert_null(l.s);
    assert_non_null(strstr(l.errors.data, "cannot write to spool_dir"));
    loaded_release(&l);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_layers),
        TEST(test_usual_file),
        TEST(test_foreign_variables),
        TEST(test_environment_adds_up),
        TEST(test_accounts),
        TEST(test_gunicorn),
        TEST(test_kubernetes),
        TEST(test_all_mistakes_at_once),
        TEST(test_lists_name_their_line),
        TEST(test_indented_settings),
        TEST(test_files),
        TEST(test_arguments_variable),
        TEST(test_a_message_stays_a_line),
        TEST(test_checks),
        TEST(test_checks_that_pass),
        TEST(test_unwritable_spool_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
