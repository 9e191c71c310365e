/* Which python this process is to be: the virtual environment's, or the one the build chose. */
#ifndef CSERVE_SRC_WSGI_VENV_H
#define CSERVE_SRC_WSGI_VENV_H

#include "config/settings.h"

/* Path of the interpreter whose sys.prefix and site-packages are to be ours. NULL after logging why: the environment
 * does not exist, or is of another version than the one this binary embeds. Caller frees. */
char *venv_find_python(const struct settings *s);

#endif
