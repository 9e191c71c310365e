/* Header fields in environ: "User-Agent: x" is HTTP_USER_AGENT = "x". The caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_FIELDS_H
#define CSERVE_SRC_WSGI_FIELDS_H

#include "py.h"

#include "http/request.h"

/* Keys and values that an application thread has seen, to be shared by the environs that it makes. */
struct fields;

/* Makes the keys of all numbered names. -1 with an exception. */
int fields_init(void);

struct fields *fields_new(void);
void fields_free(struct fields *f);
/* Sets all fields of the request, which is to be the first that sets any, and CONTENT_LENGTH. Repeated fields are
 * joined. -1 with an exception. */
int fields_add(struct fields *f, PyObject *environ, const struct request *r);

#endif
