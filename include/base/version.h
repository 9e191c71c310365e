/* The version that --version, the man page and SERVER_SOFTWARE show. The only place it is written down. */
#ifndef CSERVE_BASE_VERSION_H
#define CSERVE_BASE_VERSION_H

#define CSERVE_VERSION "0.1.0"

#endif
