/* Development: tells which source files the application's modules come from. The caller holds the GIL. */
#ifndef CSERVE_SRC_WSGI_IMPORTS_H
#define CSERVE_SRC_WSGI_IMPORTS_H

#include "py.h"

bool imports_are_followed(void);
/* Tells whoever called wsgi_follow_imports() the files, if modules have come since the last time. */
void imports_tell(void);

#endif
