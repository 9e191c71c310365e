/* The Date field's text (RFC 9110, 5.6.7 and 6.6.1), formatted once a second by whoever needs it. */
#ifndef CSERVE_HTTP_DATE_H
#define CSERVE_HTTP_DATE_H

#include "base/slice.h"

struct http_date {
    uint64_t second; /* since the epoch; of `text` */
    char text[80];   /* "Tue, 24 Nov 2026 10:06:39 GMT"; room for what the compiler fears of int */
};

/* The present date. `cached` belongs to the caller, zeroed at first, and may serve any number of responses, one thread
 * at a time. */
struct slice http_date_now(struct http_date *cached);

#endif
