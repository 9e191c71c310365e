/* Development mode (--reload): tells when the application's source files change, by inotify(7).
 *
 * Watched are the directories of the application (chdir and pythonpath, all the way down, but not hidden ones, virtual
 * environments and caches) for *.py, and the files that reload_extra_files names. It needs no Python, so it also sees
 * the change that repairs an application which cannot be imported. */
#ifndef CSERVE_PROCESS_SOURCE_WATCH_H
#define CSERVE_PROCESS_SOURCE_WATCH_H

#include "base/clock.h"
#include "config/settings.h"

struct source_watch {
    int fd; /* -1: off; readable when something changed */
    const struct settings *settings;
    uint64_t due_ms; /* when the change counts: editors write in several steps. CLOCK_NEVER: nothing changed */
};

// clang-format off
#define SOURCE_WATCH_INIT {-1, NULL, CLOCK_NEVER}
// clang-format on

/* Begins anew with these settings, which must outlive it; off unless they say `reload`. */
void source_watch_start(struct source_watch *w, const struct settings *s);
/* As source_watch_start(), but what happened since the last look is not forgotten. */
void source_watch_renew(struct source_watch *w, const struct settings *s, uint64_t now_ms);
void source_watch_stop(struct source_watch *w);
/* Reads what happened; sets due_ms if it concerns the application. */
void source_watch_hear(struct source_watch *w, uint64_t now_ms);

#endif
