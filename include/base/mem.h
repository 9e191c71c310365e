/* Memory that is there or the process is not: every function aborts with one line on stderr when memory is exhausted.
 *
 * A worker may abort, it is supervised. The arbiter allocates only while it starts and reloads, never per event. */
#ifndef CSERVE_BASE_MEM_H
#define CSERVE_BASE_MEM_H

#include <stddef.h>

/* Uninitialised memory of at least one byte. Ends in mem_free(). */
void *mem_alloc(size_t bytes);
/* Zeroed memory for `count` objects; an overflowing product counts as exhaustion. */
void *mem_zalloc(size_t count, size_t bytes);
void *mem_realloc(void *pointer, size_t bytes);
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t length);
/* A NUL-terminated printf-formatted string. */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* NULL is allowed. */
void mem_free(void *pointer);

/* Unmaps the pages of program text that have been read in: what runs next comes back from the page cache, what ran for
 * the start alone stays out of this process' resident memory. For a process that seldom does anything. */
void mem_drop_text(void);

#define MEM_NEW(type) ((type *)mem_zalloc(1, sizeof(type)))

#endif
