/* Fuzzes what is made of forwarding fields. Input: lines "name:value", then a control byte for peer and settings. A
 * peer that is not trusted must change nothing but which names with an underscore are left. */
#include "fuzz.h"

#include "base/mem.h"
#include "http/forwarded.h"

#define FIELDS_MAX 64

static struct name_value scheme_items[] = {
    {"X-FORWARDED-PROTOCOL", "ssl"}, {"x-forwarded-proto", "https"}, {"Upgrade", "tls"}};
static char *forwarder_items[] = {"SCRIPT_NAME", "PATH_INFO"};
static char *everything[] = {"*"};

static struct span span_of(const char *head, struct slice s) {
    return (struct span){(uint32_t)(s.data - head), (uint32_t)s.len};
}

/* A name is never empty, as the parser has it. */
static void read_fields(struct request *r, struct slice lines) {
    struct slice line;
    while (r->field_count < FIELDS_MAX && slice_next(&lines, '\n', &line)) {
        size_t colon = slice_find(line, ':');
        if (colon == 0 || colon == line.len) continue;
        struct slice name = slice_make(line.data, colon);
        struct slice value = slice_trim(slice_make(line.data + colon + 1, line.len - colon - 1));
        r->fields[r->field_count++] =
            (struct field){span_of(r->head, name), span_of(r->head, value), field_id_of(name)};
    }
}

static bool has_underscore(const struct request *r, const struct field *f) {
    struct slice name = request_span(r, f->name);
    return slice_find(name, '_') < name.len;
}

static void check_result(const struct request *r, const struct settings *s, bool is_trusted) {
    struct slice path = request_span(r, r->path), prefix = request_span(r, r->script_name);
    if (!is_trusted) MUST(!r->is_https && prefix.len == 0);
    if (prefix.len) {
        MUST(prefix.data[0] == '/' && prefix.data[prefix.len - 1] != '/' && slice_starts_with(path, prefix));
        MUST(path.len == prefix.len || path.data[prefix.len] == '/');
    }
    for (uint32_t i = 0; i < r->field_count; i++) {
        struct slice name = request_span(r, r->fields[i].name);
        MUST(field_id_of(name) == r->fields[i].id);
        if (!has_underscore(r, &r->fields[i])) continue;
        MUST(is_trusted && !slice_equal_nocase(name, SLICE("SCRIPT_NAME")));
        MUST(s->forwarder_headers.items == everything || slice_equal_nocase(name, SLICE("PATH_INFO")));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_make((const char *)data, size);
    uint8_t control = fuzz_take_control(&input);
    bool is_trusted = control & 1;
    struct cidr localhost = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}, 128};
    struct peer peer = {.ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, is_trusted ? 1 : 2}};
    struct settings s = {
        .forwarded_allow_ips = {.blocks = &localhost, .count = 1},
        .secure_scheme_headers = {scheme_items, control & 2 ? 3 : 0},
        .forwarder_headers = {control & 4 ? everything : forwarder_items, control & 4 ? 1 : 2},
        .header_map = control & 8 ? HEADER_MAP_REFUSE : HEADER_MAP_DROP,
    };

    char *head = mem_alloc(input.len);
    if (input.len) memcpy(head, input.data, input.len);
    struct slice rest = slice_make(head, input.len), path;
    slice_next(&rest, '\n', &path);
    struct field fields[FIELDS_MAX];
    struct request r = {.head = head, .path = {0, (uint32_t)path.len}, .fields = fields};
    read_fields(&r, rest);
    uint32_t before = r.field_count;

    const char *fault = forwarded_apply(&r, &s, &peer);
    if (!fault) {
        MUST(r.field_count <= before);
        check_result(&r, &s, is_trusted);
    } else if (!is_trusted) {
        MUST(s.header_map == HEADER_MAP_REFUSE);
    }
    mem_free(head);
    return 0;
}
