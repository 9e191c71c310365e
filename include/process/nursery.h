/* The template process, seen from inside; the arbiter's side is process/template.h. */
#ifndef CSERVE_PROCESS_NURSERY_H
#define CSERVE_PROCESS_NURSERY_H

#include "process/template.h"

/* Imports the application, then answers requests on `fd` until the arbiter closes it or dies. `prototype` is what all
 * of its workers have in common, `rows` the scoreboard's, `mask` that from before the fork. */
noreturn void nursery_main(const struct worker *prototype, struct row *rows, int fd, const sigset_t *mask);

#endif
