/* The status lines that the engine itself sends. */
#ifndef CSERVE_HTTP_STATUS_CODES_H
#define CSERVE_HTTP_STATUS_CODES_H

#include "base/slice.h"

/* "404 Not Found" for 404 (RFC 9110, 15); "500 Internal Server Error" for numbers that are not registered. */
struct slice status_line(unsigned status);
/* May a response with this status, to GET, carry a body (RFC 9110, 6.4.1)? */
bool status_has_body(unsigned status);

#endif
