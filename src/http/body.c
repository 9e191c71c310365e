/* A request body on its way in: a buffer until it would pass the bound, from then on an unlinked file.
 *
 * The file has no name and dies with its descriptor, so a killed worker leaves nothing behind. A failed append leaves
 * the body as long as it was; the caller gives it up. */
#include "http/body.h"

#include "base/fd.h"

#include <errno.h>
#include <unistd.h>

#define KEPT_BYTES (64 * 1024)

void body_init(struct body *b) {
    buf_init(&b->memory);
    b->file_fd = -1;
    b->length = 0;
}

static void memory_release(struct body *b) {
    if (b->memory.cap > KEPT_BYTES) buf_release(&b->memory);
    else buf_reset(&b->memory);
}

void body_release(struct body *b) {
    memory_release(b);
    fd_close(&b->file_fd);
    b->length = 0;
}

static int move_to_file(struct body *b, const char *spool_dir) {
    int fd = fd_open_temporary(spool_dir);
    if (fd == -1) return -1;
    if (fd_write_all(fd, b->memory.data, b->memory.len) == -1) {
        fd_close(&fd);
        return -1;
    }
    b->file_fd = fd;
    memory_release(b);
    return 0;
}

int body_append(struct body *b, const char *data, size_t len, size_t memory_limit, const char *spool_dir) {
    if (b->file_fd == -1) {
        if (b->memory.len <= memory_limit && len <= memory_limit - b->memory.len) {
            buf_append(&b->memory, data, len);
            b->length += len;
            return 0;
        }
        if (move_to_file(b, spool_dir) == -1) return -1;
    }
    if (fd_write_all(b->file_fd, data, len) == -1) return -1;
    b->length += len;
    return 0;
}

static ssize_t file_read(const struct body *b, uint64_t offset, char *data, size_t len) {
    ssize_t n;
    do {
        n = pread(b->file_fd, data, len, (off_t)offset);
    } while (n == -1 && errno == EINTR);
    return n;
}

ssize_t body_read(const struct body *b, uint64_t offset, char *data, size_t len) {
    if (offset >= b->length) return 0;
    uint64_t rest = b->length - offset;
    size_t wanted = rest < len ? (size_t)rest : len;
    if (b->file_fd != -1) return file_read(b, offset, data, wanted);
    memcpy(data, b->memory.data + offset, wanted);
    return (ssize_t)wanted;
}
