/* Keeps listeners over reloads by the canonical text of their address.
 *
 * The arbiter opens, workers use; a child's copy is closed without touching the file. Must never close a socket that a
 * generation still serves. */
#include "process/sockets.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/options.h"
#include "process/privileges.h"

#include <stdlib.h>
#include <unistd.h>

#define FIRST_INHERITED_FD 3 /* SD_LISTEN_FDS_START */
#define STORED_PREFIX      "listener-"

void sockets_init(struct sockets *s) {
    *s = (struct sockets){0};
}

void sockets_forget(struct sockets *s) {
    for (size_t i = 0; i < s->inherited_count; i++) mem_free(s->inherited[i].stored_name);
    mem_free(s->items);
    mem_free(s->inherited);
    sockets_init(s);
}

void sockets_add_inherited(struct sockets *s, int fd, const char *name) {
    bool is_stored = name && !strncmp(name, STORED_PREFIX, strlen(STORED_PREFIX));
    s->inherited = mem_realloc(s->inherited, (s->inherited_count + 1) * sizeof(*s->inherited));
    s->inherited[s->inherited_count++] =
        (struct inherited_socket){.fd = fd, .stored_name = is_stored ? mem_strdup(name) : NULL};
    fd_set_cloexec(fd, true);
}

void sockets_inherit(struct sockets *s) {
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
    uint64_t wanted_pid, n = 0;
    if (pid && count && slice_to_u64(slice_of(pid), &wanted_pid) && wanted_pid == (uint64_t)getpid() &&
        slice_to_u64(slice_of(count), &n) && n <= 1024) {
        struct slice rest = slice_of(names ? names : ""), name;
        for (uint64_t i = 0; i < n; i++) {
            char *copy = slice_next(&rest, ':', &name) ? mem_strndup(name.data, name.len) : NULL;
            sockets_add_inherited(s, FIRST_INHERITED_FD + (int)i, copy);
            mem_free(copy);
        }
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

static struct shared_socket *find_shared(struct sockets *s, const struct address *a) {
    for (size_t i = 0; i < s->count; i++)
        if (!strcmp(s->items[i].listener->address.text, a->text) && listener_admit_again(s->items[i].listener))
            return &s->items[i];
    return NULL;
}

/* The one that is bound to the address; NULL if there is none. */
static struct inherited_socket *find_inherited(const struct sockets *s, const struct address *a) {
    for (size_t i = 0; i < s->inherited_count; i++) {
        int fd = s->inherited[i].fd;
        if (a->kind == ADDRESS_FD ? fd == a->fd : fd >= 0 && listener_is_bound_to(fd, a)) return &s->inherited[i];
    }
    return NULL;
}

static struct shared_socket *add_shared(struct sockets *s, struct listener *l) {
    s->items = mem_realloc(s->items, (s->count + 1) * sizeof(*s->items));
    s->items[s->count] = (struct shared_socket){.listener = l};
    return &s->items[s->count++];
}

static bool has(const struct socket_set *set, const struct listener *l) {
    for (size_t i = 0; set && i < set->count; i++)
        if (set->items[i] == l) return true;
    return false;
}

static void join_set(struct socket_set *set, struct shared_socket *shared) {
    if (has(set, shared->listener)) return; /* named twice */
    shared->users++;
    set->items = mem_realloc(set->items, (set->count + 1) * sizeof(struct listener *));
    set->items[set->count++] = shared->listener;
}

void sockets_add(struct sockets *s, struct listener *l, bool is_stored, struct socket_set *set) {
    struct shared_socket *shared = add_shared(s, l);
    shared->is_stored = is_stored;
    join_set(set, shared);
}

/* Unless they are given, owner and group of socket files are those that workers run as. */
static struct listener_options socket_options(const struct settings *s, unsigned patience_ms) {
    bool has_user = s->user != UID_UNSET && geteuid() == 0,
         has_group = has_user || (s->group != GID_UNSET && geteuid() == 0);
    struct listener_options o = {.backlog = s->backlog,
                                 .socket_mode = s->socket_mode,
                                 .socket_owner = s->socket_owner,
                                 .socket_group = s->socket_group,
                                 .patience_ms = patience_ms};
    if (o.socket_owner == UID_UNSET && has_user) o.socket_owner = s->user;
    if (o.socket_group == GID_UNSET && has_group) o.socket_group = privileges_group(s);
    return o;
}

static int use_address(struct sockets *s, const struct address *a, const struct settings *settings,
                       unsigned patience_ms, struct socket_set *set, char *error, size_t size) {
    const struct listener_options wanted = socket_options(settings, patience_ms);
    struct shared_socket *shared = find_shared(s, a);
    if (!shared) {
        struct inherited_socket *inherited = find_inherited(s, a);
        struct listener *l =
            inherited ? listener_adopt(inherited->fd, a, error, size) : listener_open(a, &wanted, error, size);
        if (inherited) inherited->fd = -1;
        if (!l) return -1;
        shared = add_shared(s, l);
        shared->is_stored = inherited && inherited->stored_name;
    }
    join_set(set, shared);
    return 0;
}

static bool is_default_bind(const struct settings *settings) {
    return !settings_is_explicit(settings, option_find(SLICE("bind")));
}

static bool has_inherited(const struct sockets *s) {
    for (size_t i = 0; i < s->inherited_count; i++)
        if (s->inherited[i].fd >= 0) return true;
    return false;
}

static int use_all_inherited(struct sockets *s, const struct settings *settings, struct socket_set *set, char *error,
                             size_t size) {
    for (size_t i = 0; i < s->inherited_count; i++) {
        struct address a = {.kind = ADDRESS_FD, .fd = s->inherited[i].fd};
        if (a.fd < 0) continue;
        snprintf(a.text, sizeof(a.text), "fd://%d", a.fd);
        if (use_address(s, &a, settings, 0, set, error, size)) return -1;
    }
    return 0;
}

/* Those that an earlier generation took from the service manager, when the settings still name no address. */
static int use_known_inherited(struct sockets *s, const struct settings *settings, struct socket_set *set) {
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].listener->address.kind == ADDRESS_FD)
            use_address(s, &s->items[i].listener->address, settings, 0, set, NULL, 0);
    return set->count > 0 ? 0 : -1;
}

int sockets_open(struct sockets *s, const struct settings *settings, unsigned patience_ms, struct socket_set *set,
                 char *error, size_t size) {
    *set = (struct socket_set){0};
    if (is_default_bind(settings)) {
        if (!use_known_inherited(s, settings, set)) return 0;
        if (has_inherited(s)) {
            if (!use_all_inherited(s, settings, set, error, size)) return 0;
            sockets_release(s, set, true);
            return -1;
        }
    }
    for (size_t i = 0; i < settings->bind.count; i++) {
        struct address a;
        const char *fault = address_parse(settings->bind.items[i], &a);
        if (fault) snprintf(error, size, "cannot bind '%s': %s", settings->bind.items[i], fault);
        if (fault || use_address(s, &a, settings, patience_ms, set, error, size)) {
            sockets_release(s, set, true);
            return -1;
        }
    }
    return 0;
}

/* ---- the service manager's store ---- */

/* A name that the manager accepts: no colon, no slash to be careful. */
static void write_name(const struct listener *l, char *out, size_t size) {
    snprintf(out, size, STORED_PREFIX "%s", l->address.text);
    for (char *p = out; *p; p++)
        if (*p == ':' || *p == '/') *p = '-';
}

void sockets_store(struct sockets *s) {
    char name[160];
    for (size_t i = 0; s->keeper && i < s->count; i++) {
        struct shared_socket *shared = &s->items[i];
        if (shared->is_stored || shared->listener->is_foreign) continue;
        write_name(shared->listener, name, sizeof(name));
        notify_store_fd(s->keeper, shared->listener->fd, name);
        shared->is_stored = true;
        shared->listener->socket_ino = 0;
        shared->listener->is_foreign = true;
    }
}

static void forget_stored(const struct sockets *s, const struct shared_socket *shared) {
    char name[160];
    if (!s->keeper || !shared->is_stored) return;
    write_name(shared->listener, name, sizeof(name));
    notify_send(s->keeper, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

void sockets_give_back(struct sockets *s) {
    for (size_t i = 0; i < s->inherited_count; i++) {
        struct inherited_socket *unused = &s->inherited[i];
        if (unused->fd < 0) continue;
        if (!unused->stored_name) {
            log_warning("nobody answers at the socket that came as descriptor %d: bind does not name its address",
                        unused->fd);
            continue;
        }
        log_info("the stored socket '%s' is given back: bind no longer names its address", unused->stored_name);
        if (s->keeper) notify_send(s->keeper, "FDSTOREREMOVE=1\nFDNAME=%s", unused->stored_name);
        fd_close(&unused->fd);
    }
}

void sockets_release(struct sockets *s, struct socket_set *set, bool unlink_files) {
    for (size_t i = 0; i < set->count; i++) {
        for (size_t j = 0; j < s->count; j++) {
            if (s->items[j].listener != set->items[i] || --s->items[j].users) continue;
            forget_stored(s, &s->items[j]);
            listener_free(s->items[j].listener, unlink_files);
            s->items[j] = s->items[--s->count];
            break;
        }
    }
    mem_free(set->items);
    *set = (struct socket_set){0};
}

void socket_set_refuse_more(const struct socket_set *set, const struct socket_set *kept) {
    for (size_t i = 0; i < set->count; i++)
        if (!has(kept, set->items[i])) listener_refuse_more(set->items[i]);
}

void socket_set_announce(const struct socket_set *set, const struct socket_set *known) {
    for (size_t i = 0; i < set->count; i++) {
        const struct peer *local = &set->items[i]->local;
        bool is_v6 = memchr(local->text, ':', local->text_len);
        if (has(known, set->items[i])) continue;
        if (local->is_unix) log_info("listening at %s", set->items[i]->address.text);
        else
            log_info("listening at http://%s%.*s%s:%u", is_v6 ? "[" : "", local->text_len, local->text,
                     is_v6 ? "]" : "", local->port);
    }
}

bool socket_set_is_within(const struct socket_set *a, const struct socket_set *b) {
    for (size_t i = 0; i < a->count; i++)
        if (!has(b, a->items[i])) return false;
    return true;
}

void sockets_close_others(struct sockets *s, const struct socket_set *set) {
    for (size_t i = 0; i < s->count; i++)
        if (!has(set, s->items[i].listener)) fd_close(&s->items[i].listener->fd);
    for (size_t i = 0; i < s->inherited_count; i++) fd_close(&s->inherited[i].fd);
}
