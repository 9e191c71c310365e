/* What a socket has not taken yet, in order: copied bytes, bytes kept by reference, ranges of files.
 *
 * Memory is bounded by response_buffer: copies beyond it go to one unlinked spool file, bounded by response_spool.
 * Guarded by the engine's lock. */
#ifndef CSERVE_HTTP_OUTPUT_H
#define CSERVE_HTTP_OUTPUT_H

#include "base/buf.h"
#include "base/list.h"
#include "config/settings.h"

#include <sys/uio.h>

struct output {
    struct list pieces;
    size_t memory_bytes;    /* copied or kept, and not sent */
    uint64_t pending_bytes; /* all that is not sent */
    int spool_fd;           /* -1 until needed */
    uint64_t spool_bytes;   /* written to the spool file since it was opened */
};

enum output_result { OUTPUT_DONE, OUTPUT_BLOCKED, OUTPUT_BROKEN };

/* Told of every owner that is no longer needed. */
struct output_release {
    void (*release)(void *ctx, void *owner);
    void *ctx;
};

void output_init(struct output *o);
/* Throws away what is left. */
void output_clear(struct output *o, struct output_release release);

static inline bool output_is_empty(const struct output *o) {
    return o->pending_bytes == 0;
}

/* May more be added, or must the producer wait? */
bool output_has_room(const struct output *o, const struct settings *s);
/* Copies, to memory or to the spool file. -1 with errno when the spool file does not take it: nothing was added. */
int output_copy(struct output *o, const struct settings *s, const char *data, size_t len);
/* A reference costs no copy, but its memory counts as well: one piece of any size, or as many as response_buffer
 * allows. */
bool output_may_keep(const struct output *o, const struct settings *s, size_t len);
/* Keeps a reference until the bytes are sent. */
void output_keep(struct output *o, const char *data, size_t len, void *owner);
/* A range of a file; the descriptor is the output's from now on. */
void output_file(struct output *o, int fd, uint64_t offset, uint64_t length);
/* Sends until all is sent or the socket blocks. */
enum output_result output_flush(struct output *o, int socket_fd, struct output_release release);

#endif
