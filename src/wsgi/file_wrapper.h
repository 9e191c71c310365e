/* wsgi.file_wrapper (PEP 3333, "Optional Platform-Specific File Handling"). The caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_FILE_WRAPPER_H
#define CSERVE_SRC_WSGI_FILE_WRAPPER_H

#include "reply.h"

/* `use_sendfile`: the setting. -1 with an exception. */
int file_wrapper_init(bool use_sendfile);
/* The type: FileWrapper(filelike, blksize=8192). */
PyObject *file_wrapper_type(void);
/* If `result` is a wrapper around a regular file, sends the file from its present position, as far as Content-Length
 * goes, and returns true. False: iterate over it like over anything else. */
bool file_wrapper_send(struct app_thread *t, PyObject *result, enum reply_result *sent);

#endif
