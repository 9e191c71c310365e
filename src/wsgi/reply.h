/* From what the application returned to the engine's response functions. The caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_REPLY_H
#define CSERVE_SRC_WSGI_REPLY_H

#include "app_thread.h"

enum reply_result {
    REPLY_DONE,
    REPLY_GONE,  /* the client is gone, or the response aborted: nobody waits for more */
    REPLY_RAISED /* an exception is set */
};

/* -1 with an exception. */
int reply_init(void);
/* Sends everything that `result` yields and finishes the response. */
enum reply_result reply_send(struct app_thread *t, PyObject *result);
/* Sends one piece; `bytes` must be of that type. The caller has locked `c` (PY_LOCK). */
enum reply_result reply_send_piece(struct call *c, PyObject *bytes);
/* Calls result's close(), if it has one: exactly once, whatever became of the response. -1 with an exception. */
int reply_close(PyObject *result);

#endif
