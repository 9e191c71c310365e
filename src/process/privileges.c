/* Drops from root to the configured user in the one order that works: groups first, the user last.
 *
 * Must never leave a process half way: every failure ends it. */
#include "process/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

/* The group that goes with the user when none is given: running as somebody else with root's group helps nobody. */
gid_t privileges_group(const struct settings *s) {
    if (s->group != GID_UNSET) return s->group;
    if (s->user == UID_UNSET || s->user == geteuid()) return getegid();
    const struct passwd *entry = getpwuid(s->user);
    return entry ? entry->pw_gid : getegid();
}

static bool is_change_needed(const struct settings *s) {
    bool other_user = s->user != UID_UNSET && s->user != geteuid();
    return other_user || privileges_group(s) != getegid();
}

int privileges_check(const struct settings *s, char *error, size_t size) {
    if (!is_change_needed(s) || geteuid() == 0) return 0;
    snprintf(error, size,
             "cannot change to user %ld and group %ld: only root may; start as root or leave out user and group",
             s->user == UID_UNSET ? (long)geteuid() : (long)s->user, (long)privileges_group(s));
    return -1;
}

static int set_groups(const struct settings *s, gid_t group) {
    if (s->user_name && s->initgroups) return initgroups(s->user_name, group);
    return setgroups(1, &group);
}

int privileges_drop(const struct settings *s) {
    gid_t group = privileges_group(s);
    uid_t user = s->user == UID_UNSET ? geteuid() : s->user;
    bool is_asked = s->user != UID_UNSET || s->group != GID_UNSET;
    if (!is_asked || (!is_change_needed(s) && geteuid() != 0)) return 0;
    const char *step = "the groups";
    if (!set_groups(s, group)) {
        step = "the group";
        if (!setresgid(group, group, group)) {
            step = "the user";
            if (!setresuid(user, user, user)) return 0;
        }
    }
    log_error("cannot change %s to those of uid %ld, gid %ld: %s; the worker gives up", step, (long)user, (long)group,
              strerror(errno));
    return -1;
}

static void give(const char *path, uid_t user, gid_t group) {
    if (!path || !strcmp(path, "-") || !strncmp(path, "syslog:", 7)) return;
    if (lchown(path, user, group))
        log_warning("cannot give '%s' to uid %ld: %s; workers may not be able to reopen it", path, (long)user,
                    strerror(errno));
}

void privileges_give_logs(const struct settings *s) {
    if (geteuid() != 0 || !is_change_needed(s)) return;
    uid_t user = s->user == UID_UNSET ? geteuid() : s->user;
    give(s->errorlog, user, privileges_group(s));
    give(s->accesslog, user, privileges_group(s));
}
