/* The change from the user that started cserve to the one that runs the application. */
#ifndef CSERVE_PROCESS_PRIVILEGES_H
#define CSERVE_PROCESS_PRIVILEGES_H

#include "config/settings.h"

/* Could privileges_drop() work? -1 with a message in `error`. */
int privileges_check(const struct settings *s, char *error, size_t error_size);
/* The group that goes with the settings' user and group. */
gid_t privileges_group(const struct settings *s);
/* Supplementary groups, group, user, in this order and for good. -1 after logging why. */
int privileges_drop(const struct settings *s);
/* Gives the log files to that user, so that workers can open them anew. Failure is no harm yet. */
void privileges_give_logs(const struct settings *s);

#endif
