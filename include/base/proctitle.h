/* The process title that ps(1) shows: "cserve: worker 1 [wsgi:app]". Overwrites argv's and environ's memory, as
 * PostgreSQL and nginx do; also sets the thread's comm (PR_SET_NAME) so that `ps aux | grep cserve` and top agree. */
#ifndef CSERVE_BASE_PROCTITLE_H
#define CSERVE_BASE_PROCTITLE_H

#include "base/compiler.h"

/* Once, first thing in main, before anybody keeps pointers into argv or environ: moves both elsewhere; argv[i] then
 * point to copies. */
void proctitle_init(int argc, char **argv);
void proctitle_set(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
