/* The version that --version, the man page and SERVER_SOFTWARE show. The only place it is written down. */
#ifndef CSERVE_BASE_VERSION_H
#define CSERVE_BASE_VERSION_H

#define CSERVE_VERSION "0.1.0"

#ifndef INIH_VERSION /* the build asks pkg-config: the library itself does not tell */
#define INIH_VERSION "of unknown version"
#endif

#endif
