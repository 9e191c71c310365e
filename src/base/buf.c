/* The part of struct buf that is not on the fast path: growth, formatting, release.
 * Must never hand out memory beyond `cap`, nor keep a pointer into `data` over a growth. */
#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdlib.h>

enum { SMALLEST = 64 };

void buf_init(struct buf *b) {
    *b = (struct buf)BUF_INIT;
}

void buf_release(struct buf *b) {
    mem_free(b->data);
    buf_init(b);
}

void buf_grow(struct buf *b, size_t more) {
    if (more > SIZE_MAX / 2 - b->len) abort();
    size_t cap = b->cap ? b->cap * 2 : SMALLEST;
    if (cap < b->len + more) cap = b->len + more;
    b->data = mem_realloc(b->data, cap);
    b->cap = cap;
}

void buf_append_cstr(struct buf *b, const char *text) {
    buf_append(b, text, strlen(text));
}

void buf_append_u64(struct buf *b, uint64_t value) {
    char digits[20];
    size_t start = sizeof(digits);
    do {
        digits[--start] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    buf_append(b, digits + start, sizeof(digits) - start);
}

void buf_printf(struct buf *b, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length > 0) {
        /* vsnprintf(3) wants room for its NUL, which does not count. */
        buf_reserve(b, (size_t)length + 1);
        vsnprintf(b->data + b->len, (size_t)length + 1, format, again);
        b->len += (size_t)length;
    }
    va_end(again);
}

void buf_consume(struct buf *b, size_t len) {
    if (!len) return;
    b->len -= len;
    memmove(b->data, b->data + len, b->len);
}

char *buf_cstr(struct buf *b) {
    buf_reserve(b, 1);
    b->data[b->len] = '\0';
    return b->data;
}
