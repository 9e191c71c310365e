/* Owns what a reload replaces as a whole. Must never outlive nor be outlived by its workers' slots: those point to its
 * settings. */
#include "process/generation.h"

#include "base/mem.h"

struct generation *generation_new(unsigned id, struct settings *settings, struct sockets *sockets, unsigned patience_ms,
                                  char *error, size_t size) {
    struct socket_set set;
    struct access_log *log = NULL;
    char fault[256];
    /* In a daemon nobody reads standard output, and keeping it open would keep the terminal. */
    bool is_lost = settings->daemon && settings->accesslog && !strcmp(settings->accesslog, "-");
    if (settings->accesslog && !is_lost &&
        !(log = access_log_open(settings->accesslog, settings->access_log_format, fault, sizeof(fault)))) {
        snprintf(error, size, "cannot open the access log: %s", fault);
        return NULL;
    }
    if (sockets_open(sockets, settings, patience_ms, &set, error, size)) {
        if (log) access_log_free(log);
        return NULL;
    }
    struct generation *g = generation_adopt(settings);
    g->id = id;
    g->sockets = set;
    g->access_log = log;
    return g;
}

struct generation *generation_adopt(struct settings *settings) {
    struct generation *g = MEM_NEW(struct generation);
    list_init(&g->link);
    g->settings = settings;
    g->seats = (unsigned)settings->workers;
    template_init(&g->template);
    return g;
}

void generation_free(struct generation *g, struct sockets *sockets, bool unlink_files) {
    if (!g) return;
    list_unlink(&g->link);
    sockets_release(sockets, &g->sockets, unlink_files);
    if (g->access_log) access_log_free(g->access_log);
    settings_free(g->settings);
    mem_free(g);
}

const char *generation_name(const struct generation *g) {
    return g->settings->proc_name ? g->settings->proc_name : g->settings->wsgi_app;
}
