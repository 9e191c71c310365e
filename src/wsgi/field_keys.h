/* Field names as keys of environ: "User-Agent" is "HTTP_USER_AGENT". The caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_FIELD_KEYS_H
#define CSERVE_SRC_WSGI_FIELD_KEYS_H

#include "py.h"

#include "http/field_names.h"

/* Keys of names that have no number, as they were seen last: bounded, direct-mapped. */
struct name_cache;

/* Makes the keys of all numbered names. -1 with an exception. */
int field_keys_init(void);
/* The key of a numbered name: a borrowed reference. */
PyObject *field_key(enum field_id id);

struct name_cache *name_cache_new(void);
void name_cache_free(struct name_cache *c);
/* The key of any other name: a borrowed reference until the next call. NULL with an exception. */
PyObject *name_cache_key(struct name_cache *c, struct slice name);

#endif
