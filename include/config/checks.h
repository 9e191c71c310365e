/* What no row of the table can check by itself: settings against each other and against the system. */
#ifndef CSERVE_CONFIG_CHECKS_H
#define CSERVE_CONFIG_CHECKS_H

#include "config/settings.h"

/* One line for each fault in `errors`, one for each oddity in `notes`. Changes nothing. */
void settings_check(const struct settings *s, struct buf *errors, struct buf *notes);

#endif
