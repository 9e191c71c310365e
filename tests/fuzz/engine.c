/* Fuzzes the whole engine without Python: the input goes over a socket pair to a server with an echo handler, once in
 * one piece and once cut into pieces. What the handler saw and what came back must not depend on the cuts, and a client
 * that is gone must leave no connection behind.
 *
 * Everything runs in one thread: the client is a source in the server's own loop, one step a turn. */
#include "fuzz.h"

#include "base/fd.h"
#include "base/mem.h"
#include "http/conn.h"
#include "http/server.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECES_MAX   24
#define TURNS_A_STEP 3 /* for the server to read, to serve, to answer */
#define TURNS_MAX    5000
#define BOUNDARY     "\n--\n"

struct run {
    struct loop_source pump; /* always readable */
    struct server *server;
    struct activity *activity;
    int client_fd, server_fd;
    struct slice rest; /* not sent yet */
    size_t piece;
    unsigned turn;
    unsigned idle_turns;
    bool is_started;
    bool is_shut;
    struct buf served;   /* what the handler saw */
    struct buf received; /* what the client got */
};

/* ---- the handler ---- */

static void note(struct buf *out, struct slice s) {
    buf_append_slice(out, s);
    buf_append_char(out, '|');
}

static void note_request(struct buf *out, const struct request *r) {
    note(out, request_span(r, r->method));
    note(out, request_span(r, r->target));
    note(out, request_span(r, r->path));
    note(out, request_span(r, r->query));
    note(out, request_span(r, r->script_name));
    buf_printf(out, "%d %d %d %d %llu|", r->minor_version, r->is_https, r->is_chunked, r->keep_alive,
               (unsigned long long)r->body.length);
    for (uint32_t i = 0; i < r->field_count; i++) {
        note(out, request_span(r, r->fields[i].name));
        note(out, request_span(r, r->fields[i].value));
        MUST(field_id_of(request_span(r, r->fields[i].name)) == r->fields[i].id);
    }
    size_t length = (size_t)r->body.length;
    buf_reserve(out, length);
    MUST(body_read(&r->body, 0, out->data + out->len, length) == (ssize_t)length);
    out->len += length;
    BUF_APPEND_LITERAL(out, BOUNDARY);
}

static void respond_with_file(struct exchange *x, struct slice body) {
    int fd = memfd_create("answer", MFD_CLOEXEC);
    MUST(fd >= 0 && fd_write_all(fd, body.data, body.len) == 0);
    response_file(x, fd, 0, body.len);
    fd_close(&fd);
}

/* More than the socket takes: some is queued, and some goes through a file. */
static void respond_at_length(struct exchange *x, struct slice body) {
    for (size_t sent = 0; sent < 48 * 1024; sent += body.len) response_body(x, body.data, body.len, NULL);
}

static void respond(struct exchange *x, struct slice body) {
    struct slice path = request_span(&x->request, x->request.path);
    if (slice_equal(path, SLICE("/abort"))) {
        response_body(x, body.data, body.len, NULL);
        response_abort(x);
        return;
    }
    if (slice_equal(path, SLICE("/pieces"))) {
        for (size_t at = 0; at < body.len; at += 7)
            response_body(x, body.data + at, body.len - at < 7 ? body.len - at : 7, NULL);
    } else if (slice_equal(path, SLICE("/file"))) {
        respond_with_file(x, body);
    } else if (slice_equal(path, SLICE("/long"))) {
        respond_at_length(x, body);
    } else if (slice_equal(path, SLICE("/short"))) {
        response_set_length(x, body.len - 1);
        response_body(x, body.data, body.len, NULL);
    } else if (!slice_equal(path, SLICE("/empty"))) {
        response_set_length(x, body.len);
        response_body(x, body.data, body.len, NULL);
    }
    response_finish(x);
}

static void serve(void *ctx, struct exchange *x) {
    struct run *run = ctx;
    size_t start = run->served.len;
    note_request(&run->served, &x->request);
    struct slice path = request_span(&x->request, x->request.path);
    struct slice status = slice_equal(path, SLICE("/none")) ? SLICE("204 No Content") : SLICE("200 OK");
    if (slice_equal(path, SLICE("/hints"))) response_early_hints(x, SLICE("Link: </style.css>\r\n"));
    MUST(!response_start(x, status));
    MUST(!response_add(x, SLICE("Content-Type"), SLICE("text/plain")));
    respond(x, slice_make(run->served.data + start, run->served.len - start));
}

/* ---- the client ---- */

static void client_receive(struct run *run) {
    for (;;) {
        buf_reserve(&run->received, 65536);
        ssize_t n = recv(run->client_fd, run->received.data + run->received.len, 65536, MSG_DONTWAIT);
        if (n <= 0) return;
        run->received.len += (size_t)n;
        run->idle_turns = 0;
    }
}

static void client_send(struct run *run) {
    size_t length = run->rest.len < run->piece ? run->rest.len : run->piece;
    ssize_t n = send(run->client_fd, run->rest.data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return;
    /* The server has closed: the rest goes nowhere. */
    if (n < 0) run->rest.len = 0;
    else run->rest = slice_make(run->rest.data + n, run->rest.len - (size_t)n);
    run->idle_turns = 0;
}

static void client_step(struct run *run) {
    client_receive(run);
    if (run->idle_turns++ < TURNS_A_STEP) return;
    if (run->rest.len) {
        client_send(run);
    } else if (!run->is_shut) {
        shutdown(run->client_fd, SHUT_WR);
        run->is_shut = true;
        run->idle_turns = 0;
    } else if (run->client_fd >= 0 && run->idle_turns > 4 * TURNS_A_STEP) {
        fd_close(&run->client_fd);
    }
}

/* Lock held: it is called from the server's loop. */
static void on_turn(struct loop_source *source, uint32_t events UNUSED) {
    struct run *run = CONTAINER_OF(source, struct run, pump);
    static const struct peer local = {.port = 80, .text_len = 9, .text = "127.0.0.1"};
    static const struct peer peer = {.ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1},
                                     .port = 1234,
                                     .text_len = 9,
                                     .text = "127.0.0.1"};
    if (!run->is_started) {
        run->is_started = true;
        conn_start(run->server, run->server_fd, &local, &peer);
    }
    MUST(run->turn++ < TURNS_MAX);
    if (run->client_fd >= 0) client_step(run);
    if (run->activity->connections == 0) server_stop(run->server);
}

/* ---- a run ---- */

static void run_server(struct run *run, const struct settings *settings, struct slice input, size_t piece) {
    const struct handler handler = {.ctx = run, .serve = serve};
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    int little = 4096;
    MUST(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &little, sizeof little) == 0);
    *run = (struct run){.pump = {.fd = eventfd(1, EFD_CLOEXEC), .on_event = on_turn},
                        .activity = aligned_alloc(64, sizeof(struct activity)),
                        .client_fd = ends[0],
                        .server_fd = ends[1],
                        .rest = input,
                        .piece = piece};
    activity_reset(run->activity);
    struct server_config config = {.settings = settings,
                                   .handler = &handler,
                                   .activity = run->activity,
                                   .handover_give_fd = -1,
                                   .handover_take_fd = -1};
    run->server = server_new(&config);
    MUST(run->server && server_watch(run->server, &run->pump, EPOLLIN) == 0);
    server_run(run->server, 0);
    if (run->client_fd >= 0) client_receive(run);
    server_free(run->server);
    fd_close(&run->client_fd);
    fd_close(&run->pump.fd);
    free(run->activity);
}

static void run_release(struct run *run) {
    buf_release(&run->served);
    buf_release(&run->received);
}

/* Two answers agree but for the date and for interim answers, which are sent only if the body has not come yet. */
static struct buf normalise(const struct buf *received) {
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct buf out = BUF_INIT;
    struct slice rest = buf_slice(received), line;
    while (slice_next(&rest, '\n', &line)) {
        if (slice_starts_with(line, SLICE("Date: "))) continue;
        if (slice_starts_with(line, SLICE("HTTP/1.1 100 "))) {
            size_t skipped = sizeof interim - 1 - line.len - 1;
            MUST(rest.len >= skipped);
            rest = slice_make(rest.data + skipped, rest.len - skipped);
            continue;
        }
        buf_append_slice(&out, line);
        if (rest.data) buf_append_char(&out, '\n');
    }
    return out;
}

static struct settings settings_for(uint8_t control) {
    static struct cidr localhost = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}, 128};
    static struct name_value schemes[] = {{"X-Forwarded-Proto", "https"}, {"X-Forwarded-Ssl", "on"}};
    static char *forwarders[] = {"SCRIPT_NAME", "PATH_INFO"};
    bool is_small = control & 1;
    return (struct settings){
        .threads = 1,
        .worker_connections = 10,
        .keepalive = 60000,
        .header_timeout = 60000,
        .body_timeout = 60000,
        .send_timeout = 60000,
        .limit_request_line = is_small ? 64 : 4094,
        .limit_request_fields = is_small ? 4 : 100,
        .limit_request_field_size = is_small ? 64 : 4094,
        .limit_request_body = is_small ? 128 : 65536,
        .body_buffer = is_small ? 16 : 4096,
        .response_buffer = is_small ? 4096 : 1 << 20,
        .response_spool = 1 << 20,
        .spool_dir = "/tmp",
        .server_header = "cserve",
        .forwarded_allow_ips = {.blocks = &localhost, .count = control & 2 ? 1 : 0},
        .secure_scheme_headers = {schemes, 2},
        .forwarder_headers = {forwarders, 2},
        .header_map = control & 4 ? HEADER_MAP_REFUSE : HEADER_MAP_DROP,
        .proxy_protocol = control & 8 ? PROXY_AUTO : PROXY_OFF,
        .proxy_allow_ips = {.blocks = &localhost, .count = 1},
    };
}

static void differ(const char *what, struct slice whole, struct slice split) {
    fprintf(stderr, "%s depends on how the input is cut\n-- whole --\n%.*s\n-- in pieces --\n%.*s\n", what,
            SLICE_ARG(whole), SLICE_ARG(split));
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    log_set_level(LOG_LEVEL_CRITICAL);
    struct slice input = slice_make((const char *)data, size);
    uint8_t control = fuzz_take_control(&input);
    struct settings settings = settings_for(control);
    size_t piece = 1 + (control >> 4) * (control >> 4);
    if (input.len / piece > PIECES_MAX) piece = input.len / PIECES_MAX + 1;

    struct run whole, split;
    run_server(&whole, &settings, input, SIZE_MAX);
    run_server(&split, &settings, input, piece);
    struct buf first = normalise(&whole.received), second = normalise(&split.received);
    if (!slice_equal(buf_slice(&whole.served), buf_slice(&split.served)))
        differ("what the handler sees", buf_slice(&whole.served), buf_slice(&split.served));
    if (!slice_equal(buf_slice(&first), buf_slice(&second)))
        differ("the answer", buf_slice(&first), buf_slice(&second));
    buf_release(&first);
    buf_release(&second);
    run_release(&whole);
    run_release(&split);
    return 0;
}
