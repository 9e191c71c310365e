/* What a proxy in front says of the client: scheme, prefix, and names with an underscore.
 *
 * WSGI turns "X-Forwarded-For" and "X_Forwarded_For" into the same key. A proxy that overwrites the first lets a
 * client's second pass, so names with an underscore are dropped or refused, but for those that a trusted proxy sends on
 * purpose (forwarder_headers). Most requests have neither such a name nor a scheme field: one pass that looks at first
 * letters and unlisted names must find that out. It must never believe anything from a peer outside
 * forwarded_allow_ips. */
#include "http/forwarded.h"

struct view {
    struct request *request;
    const struct settings *settings;
    const struct peer *peer;
    bool is_trust_known;
    bool is_trusted;
    bool has_scheme;
    bool has_script_name;
};

static bool is_trusted(struct view *v) {
    if (!v->is_trust_known) {
        v->is_trusted = address_set_has(&v->settings->forwarded_allow_ips, v->peer->is_unix ? NULL : v->peer->ip);
        v->is_trust_known = true;
    }
    return v->is_trusted;
}

/* A bit for each letter that a name in the list begins with: most fields need no other look. */
static uint32_t initials_of(const struct name_value_list *list) {
    uint32_t initials = 0;
    for (size_t i = 0; i < list->count; i++) initials |= UINT32_C(1) << (list->items[i].name[0] & 31);
    return initials;
}

/* The value that makes a field with this name say https, or NULL if it says nothing of the scheme. */
static const char *secure_value_of(const struct name_value_list *list, struct slice name) {
    for (size_t i = 0; i < list->count; i++)
        if (slice_equal_nocase(slice_of(list->items[i].name), name)) return list->items[i].value;
    return NULL;
}

static const char *scheme_apply(struct view *v, struct slice name, struct slice value) {
    const char *secure = secure_value_of(&v->settings->secure_scheme_headers, name);
    if (!secure || !is_trusted(v)) return NULL;
    bool is_https = slice_equal(value, slice_of(secure));
    if (v->has_scheme && v->request->is_https != is_https) return "contradictory scheme headers";
    v->has_scheme = true;
    v->request->is_https = is_https;
    return NULL;
}

static bool is_forwarder_name(const struct settings *s, struct slice name) {
    for (size_t i = 0; i < s->forwarder_headers.count; i++) {
        struct slice listed = slice_of(s->forwarder_headers.items[i]);
        if (slice_equal(listed, SLICE("*")) || slice_equal_nocase(listed, name)) return true;
    }
    return false;
}

/* Becomes the part of the path that the application is mounted under, so it must be one: whole segments from the
 * start. */
static const char *script_name_apply(struct view *v, struct span value) {
    struct request *r = v->request;
    if (v->has_script_name) return "repeated SCRIPT_NAME";
    v->has_script_name = true;
    while (value.length && r->head[value.offset + value.length - 1] == '/') value.length--;
    struct slice prefix = request_span(r, value), path = request_span(r, r->path);
    if (prefix.len == 0) return NULL;
    if (prefix.data[0] != '/' || !slice_starts_with(path, prefix)) return "SCRIPT_NAME is no prefix of the path";
    if (path.len > prefix.len && path.data[prefix.len] != '/') return "SCRIPT_NAME is no prefix of the path";
    r->script_name = value;
    return NULL;
}

/* A field with an underscore in its name. *keep says whether it stays in the request. */
static const char *underscore_apply(struct view *v, const struct field *f, struct slice name, bool *keep) {
    *keep = false;
    if (is_forwarder_name(v->settings, name) && is_trusted(v)) {
        if (slice_equal_nocase(name, SLICE("SCRIPT_NAME"))) return script_name_apply(v, f->value);
        *keep = true;
        return NULL;
    }
    return v->settings->header_map == HEADER_MAP_REFUSE ? "field name with an underscore" : NULL;
}

static COLD const char *field_apply(struct view *v, const struct field *f, bool *keep) {
    struct slice name = request_span(v->request, f->name);
    if (f->id == FIELD_OTHER && memchr(name.data, '_', name.len)) {
        const char *fault = underscore_apply(v, f, name, keep);
        if (fault || !*keep) return fault;
    }
    return scheme_apply(v, name, request_span(v->request, f->value));
}

const char *forwarded_apply(struct request *r, const struct settings *s, const struct peer *peer) {
    struct view v = {.request = r, .settings = s, .peer = peer};
    uint32_t initials = initials_of(&s->secure_scheme_headers), kept = 0;
    r->is_https = false;
    r->script_name = (struct span){0, 0};

    for (uint32_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        bool keep = true;
        if (f->id == FIELD_OTHER || initials >> (r->head[f->name.offset] & 31) & 1) {
            const char *fault = field_apply(&v, f, &keep);
            if (fault) return fault;
        }
        if (!keep) continue;
        if (kept != i) r->fields[kept] = *f;
        kept++;
    }
    r->field_count = kept;
    return NULL;
}
