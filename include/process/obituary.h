/* The access log lines that a dead worker did not write. */
#ifndef CSERVE_PROCESS_OBITUARY_H
#define CSERVE_PROCESS_OBITUARY_H

#include "http/access_log.h"
#include "process/scoreboard.h"

/* One line for each request that the row shows in the application, with `status` (504 for a timeout, 502 else) and no
 * bytes. Field values of the request are not known any more: their atoms say "-". */
void obituary_write(struct access_log *log, struct row *r, unsigned threads, uint16_t status);

#endif
