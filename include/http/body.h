/* A request body on its way in: in memory up to a bound, then in an unlinked temporary file. */
#ifndef CSERVE_HTTP_BODY_H
#define CSERVE_HTTP_BODY_H

#include "base/buf.h"

#include <sys/types.h>

struct body {
    struct buf memory; /* all of it while file_fd is -1, else empty */
    int file_fd;       /* -1, or a file of `length` bytes, offset undefined: read with pread(2) */
    uint64_t length;
};

void body_init(struct body *b);
/* Frees memory and file; ready for the next body. Memory up to a small bound is kept for reuse. */
void body_release(struct body *b);
/* Appends; moves everything to a file in `spool_dir` once memory would pass `memory_limit`. -1 with errno (ENOSPC,
 * EMFILE, ...). */
int body_append(struct body *b, const char *data, size_t len, size_t memory_limit, const char *spool_dir);
/* Copies up to `len` bytes from `offset`; the number copied, 0 at the end, -1 with errno. */
ssize_t body_read(const struct body *b, uint64_t offset, char *data, size_t len);

#endif
