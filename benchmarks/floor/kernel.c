/* The kernel's floor: one receive and one send for each request, no parsing, a prepared response. No HTTP server costs
 * less with these system calls. kernel -p PORT [-b BYTES of body] [-c: close each connection] [-k CHUNKS: that many
 * writes] [-f FILE: by sendfile] [-w WORKERS] */
#include "net.h"
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

static char *response;
static size_t head_size, body_size = 13;
static int chunks, file = -1;
static bool is_closing;

static int send_chunks(int fd) {
    char size_line[24];
    size_t piece = body_size / chunks;
    int length = snprintf(size_line, sizeof size_line, "%zx\r\n", piece);
    for (int i = 0; i < chunks; i++) {
        struct iovec parts[4] = {
            {response, head_size}, {size_line, length}, {response + head_size, piece}, {"\r\n", 2}};
        if (net_write_all(fd, parts + (i > 0), i ? 3 : 4)) return -1;
    }
    return net_write_all(fd, &(struct iovec){"0\r\n\r\n", 5}, 1);
}

static int serve(int fd, char *request, size_t size) {
    if (!memmem(request, size, "\r\n\r\n", 4)) return -1; /* none of these benchmarks sends a head in pieces */
    int failed;
    if (chunks) failed = send_chunks(fd);
    else if (file >= 0)
        failed = send(fd, response, head_size, MSG_MORE | MSG_NOSIGNAL) < 0 || net_send_file(fd, file, body_size);
    else failed = net_write_all(fd, &(struct iovec){response, head_size + body_size}, 1);
    return failed || is_closing;
}

static void prepare_response(void) {
    response = malloc(body_size + 1024);
    if (!response) exit(1);
    size_t n = snprintf(response, 512,
                        "HTTP/1.1 200 OK\r\nServer: floor\r\nDate: Mon, 23 Nov 2026 09:00:00 GMT\r\n%s"
                        "Content-Type: text/plain; charset=utf-8\r\n",
                        is_closing ? "Connection: close\r\n" : "");
    if (chunks) n += snprintf(response + n, 512, "Transfer-Encoding: chunked\r\n\r\n");
    else n += snprintf(response + n, 512, "Content-Length: %zu\r\n\r\n", body_size);
    head_size = n;
    memset(response + n, 'x', body_size);
    if (body_size == 13) memcpy(response + n, "Hello, World!", 13);
}

int main(int argc, char **argv) {
    int port = 0, workers = 1;
    for (int c; (c = getopt(argc, argv, "p:b:ck:f:w:")) != -1;) {
        switch (c) {
        case 'p': port = atoi(optarg); break;
        case 'b': body_size = strtoul(optarg, 0, 10); break;
        case 'c': is_closing = true; break;
        case 'k': chunks = atoi(optarg); break;
        case 'f': file = open(optarg, O_RDONLY | O_CLOEXEC); break;
        case 'w': workers = atoi(optarg); break;
        default: return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    prepare_response();
    int listener = net_listen(port);
    net_fork_workers(workers);
    net_loop(net_watch(listener, workers), listener, serve);
}
