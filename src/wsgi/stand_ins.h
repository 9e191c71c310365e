/* What hooks are given in the places where Gunicorn passes its own objects: the attributes that such functions use. New
 * references, NULL with an exception; the caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_STAND_INS_H
#define CSERVE_SRC_WSGI_STAND_INS_H

#include "py.h"

#include "config/settings.h"
#include "http/handler.h"

/* -1 with an exception. */
int stand_ins_init(void);
/* .cfg: settings under their keys; .log; .pid of the arbiter. */
PyObject *stand_in_server(const struct settings *s);
/* .pid, .ppid, .age, .worker_id (the seat), .cfg, .log. */
PyObject *stand_in_worker(const struct settings *s, unsigned seat, uint64_t age);
/* .method, .uri, .path, .query, .version, .headers: [("HOST", "...")]. */
PyObject *stand_in_request(const struct request *r);
/* .status, .status_code, .sent. */
PyObject *stand_in_response(const struct response *r);

#endif
