/* A growing run of bytes. Invariants: len <= cap; data is NULL exactly when cap is 0; no terminator is kept.
 *
 * A pointer into data lives until the next call that may grow or release the buffer. Memory: base/mem.h. */
#ifndef CSERVE_BASE_BUF_H
#define CSERVE_BASE_BUF_H

#include "base/compiler.h"
#include "base/slice.h"

struct buf {
    char *data;
    size_t len;
    size_t cap;
};

// clang-format off
#define BUF_INIT {NULL, 0, 0}
// clang-format on

void buf_init(struct buf *b);
/* Frees the memory and leaves an empty buffer that can be used again. */
void buf_release(struct buf *b);
/* Makes room for `more` bytes behind len; at least doubles when it grows. */
void buf_grow(struct buf *b, size_t more);

static inline void buf_reserve(struct buf *b, size_t more) {
    if (UNLIKELY(b->cap - b->len < more)) buf_grow(b, more);
}

static inline void buf_append(struct buf *b, const void *data, size_t len) {
    buf_reserve(b, len);
    if (len) memcpy(b->data + b->len, data, len);
    b->len += len;
}

static inline void buf_append_slice(struct buf *b, struct slice s) {
    buf_append(b, s.data, s.len);
}

static inline void buf_append_char(struct buf *b, char c) {
    buf_reserve(b, 1);
    b->data[b->len++] = c;
}

#define BUF_APPEND_LITERAL(b, literal) buf_append((b), "" literal, sizeof(literal) - 1)

void buf_append_cstr(struct buf *b, const char *text);
void buf_append_u64(struct buf *b, uint64_t value);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
/* Drops the first `len` bytes and moves the rest to the front. */
void buf_consume(struct buf *b, size_t len);
/* A NUL behind the last byte that does not count in len; returns data. */
char *buf_cstr(struct buf *b);

static inline struct slice buf_slice(const struct buf *b) {
    return slice_make(b->data, b->len);
}

static inline void buf_reset(struct buf *b) {
    b->len = 0;
}

#endif
