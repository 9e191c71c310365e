/* Header tuples that an application gives again and again: constants of its code, checked once.
 *
 * A tuple of two str cannot change, so the same tuple means the same line for ever; the cache holds a reference, so
 * that no other object can take its place in memory. One cache for each application thread. With the GIL. */
#ifndef CSERVE_SRC_WSGI_HEADER_LINES_H
#define CSERVE_SRC_WSGI_HEADER_LINES_H

#include "py.h"

#include "http/response.h"

struct header_lines;

struct header_lines *header_lines_new(void);
void header_lines_free(struct header_lines *lines);
/* The line of a tuple that is known, or NULL. */
const struct response_line *header_lines_find(const struct header_lines *lines, PyObject *tuple);
/* The engine has accepted this header: remembers it the second time. Only exact tuples of exact str. */
void header_lines_note(struct header_lines *lines, PyObject *tuple, struct slice name, struct slice value);

#endif
