/* Looking things up in a parsed request. Linear: a head has a dozen fields, and the hot path walks them once by
 * itself. */
#include "http/request.h"

const struct field *request_find(const struct request *r, enum field_id id) {
    for (uint32_t i = 0; i < r->field_count; i++)
        if (r->fields[i].id == id) return &r->fields[i];
    return NULL;
}

const struct field *request_find_name(const struct request *r, struct slice name) {
    for (uint32_t i = 0; i < r->field_count; i++)
        if (slice_equal_nocase(request_span(r, r->fields[i].name), name)) return &r->fields[i];
    return NULL;
}

struct span request_host(const struct request *r) {
    const struct field *host = request_find(r, FIELD_HOST);
    return r->authority.length || !host ? r->authority : host->value;
}
