/* A direct-mapped table: a block's length and a few of its bytes choose its only place, the newcomer wins. Equality is
 * decided by memcmp(3) over the whole block, never by the hash. */
#include "http/head_cache.h"

#include "base/mem.h"

#define PLACES     64
#define BLOCK_MAX  2048
#define FIELDS_MAX 32

struct place {
    uint64_t seen; /* hash of the last block that came by */
    uint32_t length;
    uint32_t serial;
    uint16_t field_count;
    bool keep_alive;
    struct field fields[FIELDS_MAX]; /* offsets count from the block's first byte */
    char block[BLOCK_MAX];
};

struct head_cache {
    uint32_t serial;
    struct place *places[PLACES];
};

struct head_cache *head_cache_new(void) {
    return MEM_NEW(struct head_cache);
}

void head_cache_free(struct head_cache *cache) {
    if (!cache) return;
    for (int i = 0; i < PLACES; i++) mem_free(cache->places[i]);
    mem_free(cache);
}

/* Its end (cookies, the proxy's own fields) differs more often than its beginning. */
static uint64_t hash_of(struct slice block) {
    uint64_t tail, middle;
    if (block.len < 2 * sizeof tail) return block.len;
    memcpy(&tail, block.data + block.len - sizeof tail - 2, sizeof tail);
    memcpy(&middle, block.data + block.len / 2, sizeof middle);
    uint64_t h = (tail ^ (middle << 1 | middle >> 63) ^ block.len) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 32;
}

bool head_cache_find(const struct head_cache *cache, struct request *request, uint32_t capacity) {
    struct slice block = request_span(request, request->block);
    const struct place *p = cache->places[hash_of(block) % PLACES];
    if (!p || p->length != block.len || p->field_count > capacity || memcmp(p->block, block.data, block.len) != 0)
        return false;
    for (uint32_t i = 0; i < p->field_count; i++) {
        struct field f = p->fields[i];
        f.name.offset += request->block.offset;
        f.value.offset += request->block.offset;
        request->fields[i] = f;
    }
    request->field_count = p->field_count;
    request->block_serial = p->serial;
    request->keep_alive = p->keep_alive;
    request->is_chunked = request->has_content_length = request->wants_continue = request->is_https = false;
    request->content_length = 0;
    return true;
}

static bool is_worth_it(const struct request *r) {
    return r->minor_version == 1 && !r->is_chunked && !r->has_content_length && !r->wants_continue &&
           r->block.length <= BLOCK_MAX && r->field_count <= FIELDS_MAX;
}

void head_cache_add(struct head_cache *cache, const struct request *request) {
    if (!is_worth_it(request)) return;
    struct slice block = request_span(request, request->block);
    uint64_t hash = hash_of(block);
    struct place **place = &cache->places[hash % PLACES];
    if (!*place) *place = MEM_NEW(struct place);
    struct place *p = *place;
    if (p->seen != hash) {
        p->seen = hash;
        return;
    }
    memcpy(p->block, block.data, block.len);
    p->length = (uint32_t)block.len;
    p->serial = ++cache->serial;
    p->field_count = (uint16_t)request->field_count;
    p->keep_alive = request->keep_alive;
    for (uint32_t i = 0; i < request->field_count; i++) {
        p->fields[i] = request->fields[i];
        p->fields[i].name.offset -= request->block.offset;
        p->fields[i].value.offset -= request->block.offset;
    }
}
