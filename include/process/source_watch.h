/* Development mode (--reload): tells when the application's source files change, by inotify(7).
 *
 * Watched are, for *.py, the directories of the application (chdir and pythonpath, all the way down, but not hidden
 * ones, virtual environments and caches), those of every module that a worker has imported, and the files that
 * reload_extra_files names. The first need no Python, so they also tell of the change that repairs an application which
 * cannot be imported. Children inherit the descriptor and watch by it what they import; the arbiter alone reads. */
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

/* Goes by these settings from now on, which must outlive it; off unless they say `reload`. What is watched already
 * stays so, and directories that are new come to it. */
void source_watch_follow(struct source_watch *w, const struct settings *s);
/* Watches the directory of `path` as well. Also for children. */
void source_watch_add(const struct source_watch *w, const char *path);
void source_watch_stop(struct source_watch *w);
/* Reads what happened; sets due_ms if it concerns the application. */
void source_watch_hear(struct source_watch *w, uint64_t now_ms);

#endif
