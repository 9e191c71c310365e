/* The unsent rest of responses. Pieces leave in the order in which they came; a piece is freed the moment its last byte
 * is in the socket. Never waits. */
#include "http/output.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define COPY_PIECE_BYTES (64 * 1024) /* copies are gathered in pieces of about this size */
#define SENDFILE_MAX     0x7ffff000  /* sendfile(2) */

enum piece_kind { PIECE_COPY, PIECE_KEPT, PIECE_FILE, PIECE_SPOOL };

struct piece {
    struct list link;
    enum piece_kind kind;
    int fd;            /* PIECE_FILE: ours; PIECE_SPOOL: the output's */
    uint64_t offset;   /* of the next byte to send */
    uint64_t end;      /* behind the last one */
    const char *data;  /* PIECE_KEPT */
    void *owner;       /* PIECE_KEPT */
    struct buf copied; /* PIECE_COPY */
};

#define PIECE_OF(node) CONTAINER_OF(node, struct piece, link)

void output_init(struct output *o) {
    list_init(&o->pieces);
    o->memory_bytes = 0;
    o->pending_bytes = 0;
    o->spool_fd = -1;
    o->spool_bytes = 0;
}

static void piece_free(struct piece *p, struct output_release release) {
    list_unlink(&p->link);
    buf_release(&p->copied);
    if (p->kind == PIECE_KEPT) release.release(release.ctx, p->owner);
    if (p->kind == PIECE_FILE) fd_close(&p->fd);
    mem_free(p);
}

static void forget_spool(struct output *o) {
    fd_close(&o->spool_fd);
    o->spool_bytes = 0;
}

void output_clear(struct output *o, struct output_release release) {
    for (struct list *node; (node = list_first(&o->pieces));) piece_free(PIECE_OF(node), release);
    o->memory_bytes = 0;
    o->pending_bytes = 0;
    forget_spool(o);
}

bool output_has_room(const struct output *o, const struct settings *s) {
    return o->memory_bytes < s->response_buffer || o->spool_bytes < s->response_spool;
}

static struct piece *piece_add(struct output *o, enum piece_kind kind, uint64_t offset, uint64_t length) {
    struct piece *p = MEM_NEW(struct piece);
    p->kind = kind;
    p->fd = -1;
    p->offset = offset;
    p->end = offset + length;
    list_append(&o->pieces, &p->link);
    o->pending_bytes += length;
    return p;
}

static struct piece *last_piece(const struct output *o, enum piece_kind kind) {
    if (list_is_empty(&o->pieces)) return NULL;
    struct piece *p = PIECE_OF(o->pieces.prev);
    return p->kind == kind ? p : NULL;
}

static int copy_to_spool(struct output *o, const struct settings *s, const char *data, size_t len) {
    if (o->spool_fd < 0 && (o->spool_fd = fd_open_temporary(s->spool_dir)) < 0) return -1;
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(o->spool_fd, data + done, len - done, (off_t)(o->spool_bytes + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        done += (size_t)n;
    }
    struct piece *p = last_piece(o, PIECE_SPOOL);
    if (p) {
        p->end += len;
        o->pending_bytes += len;
    } else {
        p = piece_add(o, PIECE_SPOOL, o->spool_bytes, len);
        p->fd = o->spool_fd;
    }
    o->spool_bytes += len;
    return 0;
}

int output_copy(struct output *o, const struct settings *s, const char *data, size_t len) {
    if (o->memory_bytes + len > s->response_buffer && s->response_spool) return copy_to_spool(o, s, data, len);
    struct piece *p = last_piece(o, PIECE_COPY);
    if (!p || p->copied.len + len > COPY_PIECE_BYTES) p = piece_add(o, PIECE_COPY, 0, 0);
    buf_append(&p->copied, data, len);
    p->end += len;
    o->pending_bytes += len;
    o->memory_bytes += len;
    return 0;
}

bool output_may_keep(const struct output *o, const struct settings *s, size_t len) {
    return list_is_empty(&o->pieces) || o->memory_bytes + len <= s->response_buffer;
}

void output_keep(struct output *o, const char *data, size_t len, void *owner) {
    struct piece *p = piece_add(o, PIECE_KEPT, 0, len);
    o->memory_bytes += len;
    p->data = data;
    p->owner = owner;
}

void output_file(struct output *o, int fd, uint64_t offset, uint64_t length) {
    piece_add(o, PIECE_FILE, offset, length)->fd = fd;
}

static ssize_t piece_send(struct piece *p, int socket_fd, bool more) {
    size_t left = p->end - p->offset > SENDFILE_MAX ? SENDFILE_MAX : (size_t)(p->end - p->offset);
    if (p->kind == PIECE_FILE || p->kind == PIECE_SPOOL) {
        off_t offset = (off_t)p->offset;
        ssize_t n = sendfile(socket_fd, p->fd, &offset, left);
        if (n == 0) errno = EIO; /* the file is shorter than it was */
        return n == 0 ? -1 : n;
    }
    const char *data = p->kind == PIECE_KEPT ? p->data : p->copied.data;
    return send(socket_fd, data + p->offset, left, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
}

enum output_result output_flush(struct output *o, int socket_fd, struct output_release release) {
    for (struct list *node; (node = list_first(&o->pieces));) {
        struct piece *p = PIECE_OF(node);
        ssize_t n = piece_send(p, socket_fd, p->link.next != &o->pieces);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EAGAIN ? OUTPUT_BLOCKED : OUTPUT_BROKEN;
        p->offset += (uint64_t)n;
        o->pending_bytes -= (uint64_t)n;
        if (p->kind == PIECE_COPY || p->kind == PIECE_KEPT) o->memory_bytes -= (size_t)n;
        if (p->offset == p->end) piece_free(p, release);
    }
    forget_spool(o);
    return OUTPUT_DONE;
}
