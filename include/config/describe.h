/* The options table told in other forms: help, the effective configuration, and the files generated from it at build
 * time. */
#ifndef CSERVE_CONFIG_DESCRIBE_H
#define CSERVE_CONFIG_DESCRIBE_H

#include "config/settings.h"

#include <stdio.h>

/* --help: groups in the order of docs/settings.md, width 100. */
void describe_help(FILE *out);
/* --print-config: `key = value`, then the origin of each: default, file:line, variable, command line. */
void describe_settings(const struct settings *s, FILE *out);
/* conf/cserve.ini with every setting commented out at its default; docs/settings.md; the man page cserve(8). */
void describe_ini(FILE *out);
void describe_markdown(FILE *out);
void describe_man(FILE *out);

#endif
