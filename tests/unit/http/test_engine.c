/* The whole engine without Python: real sockets, an echo handler, one application thread or several. */
#include "base/mem.h"
#include "http/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// clang-format off
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define THREADS_MAX 8

struct fixture {
    struct settings settings;
    struct listener listener;
    struct listener *listeners[1];
    struct activity *activity;
    struct server *server;
    struct loop_source stop;
    struct loop_source hurry;
    pthread_t threads[THREADS_MAX];
    unsigned thread_count;
    _Atomic unsigned served;
    struct handler handler;
    _Atomic bool retires;
    _Atomic bool has_siblings;
    int gate; /* eventfd: "/slow" waits for it */
};

/* Answers "METHOD PATH QUERY BODY" so that a test sees what the engine made of the bytes. */
static void echo(void *ctx, struct exchange *x) {
    struct fixture *f = ctx;
    const struct request *r = &x->request;
    struct buf text = BUF_INIT;
    f->served++;
    if (slice_equal(request_span(r, r->path), SLICE("/nap"))) usleep(5000);
    if (slice_equal(request_span(r, r->path), SLICE("/slow"))) {
        uint64_t count;
        assert_int_equal(read(f->gate, &count, sizeof count), sizeof count);
    }
    buf_append_slice(&text, request_span(r, r->method));
    buf_append_char(&text, ' ');
    buf_append_slice(&text, request_span(r, r->path));
    buf_append_char(&text, ' ');
    buf_append_slice(&text, request_span(r, r->query));
    buf_append_char(&text, ' ');
    buf_reserve(&text, (size_t)r->body.length);
    text.len += (size_t)body_read(&r->body, 0, text.data + text.len, (size_t)r->body.length);
    assert_null(response_start(x, SLICE("200 OK")));
    assert_null(response_add(x, SLICE("Content-Type"), SLICE("text/plain")));
    if (slice_equal(request_span(r, r->path), SLICE("/chunks"))) {
        for (size_t i = 0; i < text.len; i++) response_body(x, text.data + i, 1, NULL);
    } else {
        response_set_length(x, text.len);
        response_body(x, text.data, text.len, NULL);
    }
    response_finish(x);
    buf_release(&text);
}

static void on_stop(struct loop_source *source, uint32_t events) {
    struct fixture *f = CONTAINER_OF(source, struct fixture, stop);
    (void)events;
    server_drain(f->server, f->retires ? SERVER_DRAIN_RETIRE : SERVER_DRAIN_STOP);
}

/* Retires no longer: everybody stops. */
static void on_hurry(struct loop_source *source, uint32_t events) {
    struct fixture *f = CONTAINER_OF(source, struct fixture, hurry);
    (void)events;
    server_drain(f->server, SERVER_DRAIN_STOP);
}

struct runner {
    struct fixture *fixture;
    unsigned index;
};

static void *run(void *arg) {
    struct runner *r = arg;
    server_run(r->fixture->server, r->index);
    mem_free(r);
    return NULL;
}

static void open_listener(struct fixture *f) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof a;
    f->listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener.fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(f->listener.fd, 64), 0);
    assert_int_equal(getsockname(f->listener.fd, (struct sockaddr *)&a, &length), 0);
    f->listener.local.port = ntohs(a.sin_port);
    f->listeners[0] = &f->listener;
}

static const struct settings DEFAULTS = {
    .threads = 1,
    .worker_connections = 1000,
    .keepalive = 60000,
    .header_timeout = 15000,
    .body_timeout = 15000,
    .send_timeout = 15000,
    .limit_request_line = 8190,
    .limit_request_fields = 100,
    .limit_request_field_size = 8190,
    .limit_request_body = 1 << 20,
    .body_buffer = 4096,
    .response_buffer = 1 << 20,
    .response_spool = 1 << 20,
    .spool_dir = "/tmp",
    .server_header = "cserve",
    .handover_delay = 2000,
};

static void start_thread(struct fixture *f) {
    struct runner *r = MEM_NEW(struct runner);
    *r = (struct runner){f, f->thread_count};
    assert_int_equal(pthread_create(&f->threads[f->thread_count++], NULL, run, r), 0);
}

static struct fixture *start_beside(struct settings settings, unsigned threads, const int handover[2]) {
    struct fixture *f = MEM_NEW(struct fixture);
    f->settings = settings;
    open_listener(f);
    f->activity = MEM_NEW(struct activity);
    f->gate = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    f->handler = (struct handler){.ctx = f, .serve = echo};
    f->has_siblings = handover[0] >= 0;
    struct server_config config = {.settings = &f->settings,
                                   .listeners = f->listeners,
                                   .listener_count = 1,
                                   .handler = &f->handler,
                                   .activity = f->activity,
                                   .handover_give_fd = handover[0],
                                   .handover_take_fd = handover[1],
                                   .has_siblings = &f->has_siblings};
    f->server = server_new(&config);
    assert_non_null(f->server);
    f->stop = (struct loop_source){.fd = eventfd(0, EFD_CLOEXEC), .on_event = on_stop};
    assert_int_equal(server_watch(f->server, &f->stop, EPOLLIN | EPOLLONESHOT), 0);
    f->hurry = (struct loop_source){.fd = eventfd(0, EFD_CLOEXEC), .on_event = on_hurry};
    assert_int_equal(server_watch(f->server, &f->hurry, EPOLLIN | EPOLLONESHOT), 0);
    while (f->thread_count < threads) start_thread(f);
    return f;
}

static struct fixture *start_with(struct settings settings, unsigned threads) {
    return start_beside(settings, threads, (const int[2]){-1, -1});
}

static struct fixture *start(void) {
    return start_with(DEFAULTS, 1);
}

static void ring(int event_fd) {
    uint64_t one = 1;
    assert_int_equal(write(event_fd, &one, sizeof one), sizeof one);
}

static void stop(struct fixture *f) {
    ring(f->stop.fd);
    for (unsigned i = 0; i < f->thread_count; i++) pthread_join(f->threads[i], NULL);
    server_free(f->server);
    close(f->stop.fd);
    close(f->hurry.fd);
    close(f->gate);
    close(f->listener.fd);
    mem_free(f->activity);
    mem_free(f);
}

static int dial(struct fixture *f) {
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(f->listener.local.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    struct timeval patience = {20, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static void say(int fd, struct slice text) {
    assert_int_equal(send(fd, text.data, text.len, MSG_NOSIGNAL), text.len);
}

/* Everything until the other side closes. */
static struct buf hear_all(int fd) {
    struct buf b = BUF_INIT;
    for (;;) {
        buf_reserve(&b, 4096);
        ssize_t n = recv(fd, b.data + b.len, 4096, 0);
        assert_true(n >= 0);
        if (n == 0) break;
        b.len += (size_t)n;
    }
    buf_cstr(&b);
    return b;
}

static unsigned count(const struct buf *b, const char *text) {
    unsigned n = 0;
    for (const char *at = b->data; (at = strstr(at, text)); at += strlen(text)) n++;
    return n;
}

static void expect(struct fixture *f, struct slice request, const char *wanted) {
    int fd = dial(f);
    say(fd, request);
    struct buf answer = hear_all(fd);
    if (!strstr(answer.data, wanted))
        fail_msg("no '%s' in the answer to '%.*s': %s", wanted, SLICE_ARG(request), answer.data);
    buf_release(&answer);
    close(fd);
}

static void answers_a_get(void **state) {
    (void)state;
    struct fixture *f = start();
    expect(f, SLICE("GET /a?b=c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "\r\n\r\nGET /a b=c ");
    expect(f, SLICE("GET / HTTP/1.0\r\n\r\n"), "Connection: close\r\n");
    expect(f, SLICE("BREW /pot HTTP/1.0\r\n\r\n"), "BREW /pot");
    stop(f);
}

static void pipelined_answers_keep_their_order(void **state) {
    (void)state;
    struct fixture *f = start();
    int fd = dial(f);
    say(fd,
        SLICE(
            "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: x\r\nConnection: "
            "close\r\n\r\nGET /never HTTP/1.1\r\nHost: x\r\n\r\n"));
    struct buf answer = hear_all(fd);
    assert_int_equal(count(&answer, "HTTP/1.1 200 OK"), 3);
    char *first = strstr(answer.data, "GET /1"), *second = strstr(answer.data, "POST /2  abc"),
         *third = strstr(answer.data, "GET /3");
    assert_true(first && second && third && first < second && second < third);
    assert_int_equal(f->served, 3);
    buf_release(&answer);
    close(fd);
    stop(f);
}

/* Whatever the split, the outcome is the same. */
static void every_split_gives_the_same_answer(void **state) {
    (void)state;
    static const char request[] =
        "POST /chunks?x HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nX-Empty:\r\n\r\n"
        "5;name=value\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nX-Trailer: yes\r\n\r\n";
    struct fixture *f = start();
    for (size_t at = 1; at < sizeof request - 1; at++) {
        int fd = dial(f);
        say(fd, slice_make(request, at));
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, 1, at % 16 == 0); /* gives the server a chance to see the first part alone */
        say(fd, slice_make(request + at, sizeof request - 1 - at));
        struct buf answer = hear_all(fd);
        assert_int_equal(count(&answer, "Transfer-Encoding: chunked"), 1);
        assert_int_equal(count(&answer, "1\r\nw\r\n1\r\no\r\n1\r\nr\r\n1\r\nl\r\n1\r\nd\r\n0\r\n\r\n"), 1);
        buf_release(&answer);
        close(fd);
    }
    int fd = dial(f);
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
    for (size_t at = 0; at < sizeof request - 1; at++) say(fd, slice_make(request + at, 1));
    struct buf answer = hear_all(fd);
    assert_int_equal(count(&answer, "0\r\n\r\n"), 1);
    buf_release(&answer);
    close(fd);
    stop(f);
}

static void refuses_what_could_be_read_otherwise(void **state) {
    (void)state;
    static const struct {
        const char *request, *status;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"},
        {"GET /\r\n\r\n", "400"},
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        {"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "501"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "501"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", "400"},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", "413"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n", "413"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", "417"},
        {"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        {"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        {"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    };
    struct fixture *f = start();
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "HTTP/1.1 %s ", cases[i].status);
        expect(f, slice_of(cases[i].request), wanted);
    }
    assert_int_equal(f->served, 0);
    stop(f);
}

static void limits_answer_before_the_rest_is_read(void **state) {
    (void)state;
    struct fixture *f = start();
    struct buf text = BUF_INIT;
    BUF_APPEND_LITERAL(&text, "GET /");
    for (int i = 0; i < 9000; i++) buf_append_char(&text, 'a');
    expect(f, buf_slice(&text), "HTTP/1.1 414 ");
    buf_reset(&text);
    BUF_APPEND_LITERAL(&text, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    for (int i = 0; i < 9000; i++) buf_append_char(&text, 'a');
    expect(f, buf_slice(&text), "HTTP/1.1 431 ");
    buf_reset(&text);
    BUF_APPEND_LITERAL(&text, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 100; i++) BUF_APPEND_LITERAL(&text, "X: y\r\n");
    expect(f, buf_slice(&text), "HTTP/1.1 431 ");
    buf_reset(&text);
    BUF_APPEND_LITERAL(&text, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;");
    for (int i = 0; i < 2000; i++) buf_append_char(&text, 'a');
    expect(f, buf_slice(&text), "HTTP/1.1 400 ");
    buf_release(&text);
    assert_int_equal(f->served, 0);
    stop(f);
}

static void large_bodies_go_through_a_file(void **state) {
    (void)state;
    struct fixture *f = start();
    struct buf text = BUF_INIT;
    size_t length = 1 << 20;
    buf_printf(&text, "PUT /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", length);
    for (size_t i = 0; i < length; i++) buf_append_char(&text, (char)('a' + i % 23));
    int fd = dial(f);
    say(fd, buf_slice(&text));
    struct buf answer = hear_all(fd);
    struct slice body = slice_make(text.data + text.len - length, length);
    assert_true(answer.len > length);
    assert_true(slice_equal(slice_make(answer.data + answer.len - length, length), body));
    buf_release(&answer);
    buf_release(&text);
    close(fd);
    stop(f);
}

static void threads_share_the_loop(void **state) {
    (void)state;
    struct settings settings = DEFAULTS;
    settings.threads = THREADS_MAX;
    struct fixture *f = start_with(settings, THREADS_MAX);
    int fds[32];
    for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) fds[i] = dial(f);
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) say(fds[i], SLICE("GET /t HTTP/1.1\r\nHost: x\r\n\r\n"));
        for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) {
            char text[512] = "";
            size_t got = 0;
            while (!strstr(text, "GET /t  ")) {
                ssize_t n = recv(fds[i], text + got, sizeof text - 1 - got, 0);
                assert_true(n > 0);
                got += (size_t)n;
                text[got] = 0;
            }
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) close(fds[i]);
    assert_int_equal(f->served, 50 * ARRAY_LENGTH(fds));
    stop(f);
}

/* For so many "/slow" requests. */
static void open_gate(struct fixture *f, uint64_t count) {
    assert_int_equal(write(f->gate, &count, sizeof count), sizeof count);
}

static void expect_on(int fd, struct slice request, const char *wanted) {
    char text[4096] = "";
    size_t got = 0;
    if (request.len) say(fd, request);
    while (!strstr(text, wanted)) {
        ssize_t n = recv(fd, text + got, sizeof text - 1 - got, 0);
        if (n <= 0) fail_msg("no '%s' in '%s': %s", wanted, text, n ? strerror(errno) : "closed");
        got += (size_t)n;
        text[got] = 0;
    }
}

#define GET(path) SLICE("GET " path " HTTP/1.1\r\nHost: x\r\n\r\n")

static void a_request_behind_a_slow_one_is_answered_by_a_sibling(void **state) {
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    struct fixture *busy = start_beside(DEFAULTS, 1, pair), *idle = start_beside(DEFAULTS, 1, pair);
    int slow = dial(busy), quick = dial(busy), upload = dial(busy);
    expect_on(slow, GET("/first"), "GET /first  ");
    expect_on(quick, GET("/first"), "GET /first  ");
    say(slow, GET("/slow"));
    while (atomic_load(&busy->served) + atomic_load(&idle->served) < 3) usleep(100);
    struct fixture *stuck = busy->served == 3 ? busy : idle;
    unsigned stuck_served = stuck->served;
    for (int i = 0; i < 20; i++) expect_on(quick, GET("/quick"), "GET /quick  ");
    expect_on(
        upload,
        SLICE(
            "POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n"),
        "GET /next  ");
    assert_int_equal(stuck->served, stuck_served);
    open_gate(stuck, 1);
    expect_on(slow, SLICE(""), "GET /slow  ");
    expect_on(slow, GET("/last"), "GET /last  ");
    close(slow);
    close(quick);
    close(upload);
    stop(busy);
    stop(idle);
    close(pair[0]);
    close(pair[1]);
}

/* As at the start of a worker whose first request comes before its last thread. */
static void a_thread_that_comes_while_the_courier_leads_takes_new_connections(void **state) {
    (void)state;
    struct fixture *f = start();
    int slow = dial(f), refused = dial(f);
    expect_on(refused, GET("/first"), "GET /first  ");
    say(slow, GET("/slow"));
    while (atomic_load(&f->served) < 2) usleep(100);
    expect_on(refused, SLICE("GET / HTTP/1.1\r\n\r\n"), "400 Bad Request"); /* the courier says that: it leads */
    start_thread(f);
    expect(f, SLICE("GET /new HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "GET /new  ");
    open_gate(f, 1);
    expect_on(slow, SLICE(""), "GET /slow  ");
    close(slow);
    close(refused);
    stop(f);
}

/* Two requests in one batch of events: the first keeps the only thread, the second must not wait for it. */
static void what_came_together_with_a_slow_request_does_not_wait_for_it(void **state) {
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    struct settings settings = DEFAULTS;
    settings.handover_delay = 50000;
    struct fixture *busy = start_beside(settings, 1, pair);
    int nap = dial(busy), slow = dial(busy), quick = dial(busy);
    expect_on(slow, GET("/first"), "GET /first  ");
    expect_on(quick, GET("/first"), "GET /first  ");
    struct fixture *idle = start_beside(settings, 1, pair);
    unsigned served = busy->served;
    say(nap, GET("/nap"));
    while (busy->served == served) usleep(100);
    say(slow, GET("/slow"));
    say(quick, GET("/quick"));
    expect_on(quick, SLICE(""), "GET /quick  ");
    open_gate(busy, 1);
    open_gate(idle, 1);
    expect_on(slow, SLICE(""), "GET /slow  ");
    close(nap);
    close(slow);
    close(quick);
    stop(busy);
    stop(idle);
    close(pair[0]);
    close(pair[1]);
}

#define CLIENTS  12
#define REQUESTS 120

struct client {
    pthread_t thread;
    int fd;
    unsigned seed;
    bool pipelines;        /* two at a time */
    _Atomic bool *goes_on; /* beyond REQUESTS; NULL: no */
    unsigned asked, answered;
};

/* A fifth of the requests are slow, and each has a number of its own. */
static void append_request(struct client *client, struct buf *request, char *wanted, size_t size) {
    bool naps = rand_r(&client->seed) % 5 == 0;
    buf_printf(request, "GET %s?%u HTTP/1.1\r\nHost: x\r\n\r\n", naps ? "/nap" : "/quick", client->seed);
    snprintf(wanted, size, "\r\n\r\nGET %s %u ", naps ? "/nap" : "/quick", client->seed);
    client->asked++;
}

/* Asks once or twice at once; the answers must be those to its own requests, in their order. */
static bool converse(struct client *client) {
    char wanted[2][64], text[2048] = "";
    unsigned count = client->pipelines ? 2 : 1;
    struct buf request = BUF_INIT;
    for (unsigned i = 0; i < count; i++) append_request(client, &request, wanted[i], sizeof wanted[i]);
    bool is_sent = send(client->fd, request.data, request.len, MSG_NOSIGNAL) == (ssize_t)request.len;
    buf_release(&request);
    const char *from = text;
    size_t got = 0;
    for (unsigned i = 0; is_sent && i < count;) {
        const char *found = strstr(from, wanted[i]);
        if (found) {
            from = found + 1;
            client->answered++;
            i++;
            continue;
        }
        ssize_t n = recv(client->fd, text + got, sizeof text - 1 - got, 0);
        if (n <= 0) return false;
        got += (size_t)n;
        text[got] = 0;
    }
    return is_sent;
}

static void *run_client(void *arg) {
    struct client *client = arg;
    while (client->asked < REQUESTS || (client->goes_on && *client->goes_on))
        if (!converse(client)) break;
    return NULL;
}

static void start_client(struct client *client, struct fixture *server, unsigned seed) {
    client->fd = dial(server);
    client->seed = seed;
    assert_int_equal(pthread_create(&client->thread, NULL, run_client, client), 0);
}

static void end_client(struct client *client) {
    pthread_join(client->thread, NULL);
    assert_true(client->asked >= REQUESTS);
    assert_int_equal(client->answered, client->asked);
    close(client->fd);
}

static void retire(struct fixture *f) {
    f->retires = true;
    stop(f);
}

static void retiring_servers_lose_no_connection(void **state) {
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    struct settings settings = DEFAULTS;
    settings.threads = 2;
    struct fixture *servers[] = {start_beside(settings, 2, pair), start_beside(settings, 2, pair)};
    struct client clients[CLIENTS] = {0};
    for (unsigned i = 0; i < CLIENTS; i++) start_client(&clients[i], servers[i % 2], i + 1);
    for (unsigned round = 0; round < 6; round++) {
        struct fixture *next = start_beside(settings, 2, pair);
        unsigned enough = servers[round % 2]->served + 20;
        for (int i = 0; i < 2000 && servers[round % 2]->served < enough; i++) usleep(1000);
        retire(servers[round % 2]);
        servers[round % 2] = next;
    }
    for (unsigned i = 0; i < CLIENTS; i++) end_client(&clients[i]);
    stop(servers[0]);
    stop(servers[1]);
    close(pair[0]);
    close(pair[1]);
}

#define HUNG 4

/* Many threads in three servers; requests that hang until they are answered with 504; then servers that retire and are
 * replaced: all the while clients that talk to whoever has their connection. */
static void many_threads_hang_retire_and_hand_over_at_once(void **state) {
    (void)state;
    int pair[2], hung[HUNG];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    struct settings settings = DEFAULTS;
    settings.threads = THREADS_MAX;
    settings.timeout = 3000; /* longer than a nap takes on the busiest machine */
    settings.handover_delay = 1000;
    struct fixture *servers[3];
    _Atomic bool goes_on = true;
    struct client clients[CLIENTS] = {0};
    for (unsigned i = 0; i < ARRAY_LENGTH(servers); i++) servers[i] = start_beside(settings, THREADS_MAX, pair);
    for (unsigned i = 0; i < HUNG; i++) {
        hung[i] = dial(servers[i % ARRAY_LENGTH(servers)]);
        say(hung[i], GET("/slow"));
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].pipelines = i % 2;
        clients[i].goes_on = &goes_on;
        start_client(&clients[i], servers[i % ARRAY_LENGTH(servers)], i + 1);
    }
    for (unsigned i = 0; i < HUNG; i++) {
        struct buf answer = hear_all(hung[i]);
        assert_int_equal(count(&answer, "HTTP/1.1 "), 1);
        assert_int_equal(count(&answer, "HTTP/1.1 504 Gateway Timeout"), 1);
        buf_release(&answer);
        close(hung[i]);
    }
    for (unsigned round = 0; round < 9; round++) {
        struct fixture **leaving = &servers[round % ARRAY_LENGTH(servers)],
                       *next = start_beside(settings, THREADS_MAX, pair);
        open_gate(*leaving, HUNG);
        retire(*leaving);
        *leaving = next;
    }
    goes_on = false;
    for (unsigned i = 0; i < CLIENTS; i++) end_client(&clients[i]);
    for (unsigned i = 0; i < ARRAY_LENGTH(servers); i++) stop(servers[i]);
    close(pair[0]);
    close(pair[1]);
}

/* While it retired there was no room to give anything away; when it stops there is, but nobody would take it. */
static void a_server_told_to_stop_while_it_retires_gives_nothing_away(void **state) {
    (void)state;
    int pair[2];
    static const char junk[4096];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    while (send(pair[0], junk, sizeof junk, 0) > 0) continue;
    while (send(pair[0], junk, 1, 0) > 0) continue;
    struct fixture *f = start_beside(DEFAULTS, 1, (const int[2]){pair[0], -1});
    int idle = dial(f), half = dial(f);
    expect_on(idle, GET("/first"), "GET /first  ");
    say(half, SLICE("GET /half HTTP/1.1\r\nHo"));
    expect_on(idle, GET("/next"), "GET /next  ");
    f->retires = true;
    ring(f->stop.fd);
    ring(f->hurry.fd);
    char text[sizeof junk];
    assert_int_equal(recv(idle, text, sizeof text, 0), 0);
    while (recv(pair[1], text, sizeof text, 0) > 0) continue;
    struct slice rest = SLICE("st: a-name-that-takes-its-time\r\n\r\n");
    for (size_t i = 0; i < rest.len; i++) {
        say(half, slice_make(rest.data + i, 1));
        usleep(1000);
    }
    expect_on(half, SLICE(""), "GET /half  ");
    assert_int_equal(recv(pair[1], text, sizeof text, 0), -1);
    close(idle);
    close(half);
    stop(f);
    close(pair[0]);
    close(pair[1]);
}

static void a_request_beyond_the_timeout_is_answered_with_504(void **state) {
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    struct settings settings = DEFAULTS;
    settings.timeout = 50;
    struct fixture *hung = start_beside(settings, 1, pair);
    int slow = dial(hung), other = dial(hung);
    expect_on(other, GET("/first"), "GET /first  ");
    say(slow, GET("/slow"));
    struct buf answer = hear_all(slow);
    assert_int_equal(count(&answer, "HTTP/1.1 504 Gateway Timeout"), 1);
    assert_int_equal(count(&answer, "Connection: close"), 1);
    struct fixture *sibling = start_beside(DEFAULTS, 1, pair);
    expect_on(other, GET("/other"), "GET /other  ");
    assert_int_equal(sibling->served, 1);
    open_gate(hung, 1);
    buf_release(&answer);
    close(slow);
    close(other);
    stop(hung);
    stop(sibling);
    close(pair[0]);
    close(pair[1]);
}

static void draining_answers_what_was_sent_before(void **state) {
    (void)state;
    struct fixture *f = start();
    int idle = dial(f);
    say(idle, SLICE("GET /one HTTP/1.1\r\nHost: x\r\n\r\n"));
    char text[512];
    assert_true(recv(idle, text, sizeof text, 0) > 0);
    int half = dial(f);
    say(half, SLICE("GET /half HTTP/1.1\r\nHo"));
    uint64_t one = 1;
    assert_int_equal(write(f->stop.fd, &one, sizeof one), sizeof one);
    assert_int_equal(recv(idle, text, sizeof text, 0), 0);
    say(half, SLICE("st: x\r\n\r\n"));
    struct buf answer = hear_all(half);
    assert_int_equal(count(&answer, "GET /half"), 1);
    assert_int_equal(count(&answer, "Connection: close"), 1);
    buf_release(&answer);
    close(idle);
    close(half);
    stop(f);
}

/* A listener that refuses passes that on to a connection that was half made, which may be accepted a moment before the
 * worker is told to stop. */
static void draining_lets_the_bytes_of_a_new_connection_through(void **state) {
    (void)state;
    struct fixture *f = start();
    int hops_of_loopback = 64, fewer = 10;
    assert_int_equal(setsockopt(f->listener.fd, IPPROTO_IP, IP_MINTTL, &hops_of_loopback, sizeof(int)), 0);
    int client = dial(f);
    while (!atomic_load(&f->activity->connections)) usleep(100);
    assert_int_equal(setsockopt(client, IPPROTO_IP, IP_TTL, &fewer, sizeof(int)), 0);
    ring(f->stop.fd);
    say(client, GET("/new"));
    expect_on(client, SLICE(""), "GET /new  ");
    close(client);
    stop(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_a_get),
        cmocka_unit_test(pipelined_answers_keep_their_order),
        cmocka_unit_test(every_split_gives_the_same_answer),
        cmocka_unit_test(refuses_what_could_be_read_otherwise),
        cmocka_unit_test(limits_answer_before_the_rest_is_read),
        cmocka_unit_test(large_bodies_go_through_a_file),
        cmocka_unit_test(threads_share_the_loop),
        cmocka_unit_test(a_request_behind_a_slow_one_is_answered_by_a_sibling),
        cmocka_unit_test(a_thread_that_comes_while_the_courier_leads_takes_new_connections),
        cmocka_unit_test(what_came_together_with_a_slow_request_does_not_wait_for_it),
        cmocka_unit_test(retiring_servers_lose_no_connection),
        cmocka_unit_test(many_threads_hang_retire_and_hand_over_at_once),
        cmocka_unit_test(a_server_told_to_stop_while_it_retires_gives_nothing_away),
        cmocka_unit_test(a_request_beyond_the_timeout_is_answered_with_504),
        cmocka_unit_test(draining_answers_what_was_sent_before),
        cmocka_unit_test(draining_lets_the_bytes_of_a_new_connection_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
