/* Field blocks that were parsed before. A client or a proxy sends the same fields again and again; a block that is
 * equal to the last byte to one that llhttp and head_check() have accepted needs no second verdict, only a comparison.
 *
 * Holds blocks of requests without a body, in HTTP/1.1, up to a bound; one cache for a worker, guarded by the engine's
 * lock. */
#ifndef CSERVE_HTTP_HEAD_CACHE_H
#define CSERVE_HTTP_HEAD_CACHE_H

#include "http/request.h"

struct head_cache;

struct head_cache *head_cache_new(void);
void head_cache_free(struct head_cache *cache);
/* If `block` (all field lines, each with its CRLF) is known: copies its fields, as they stood before forwarded_apply(),
 * into request->fields, which has room for `capacity`, sets what they mean, and returns true. request->block must be
 * the block's span. */
bool head_cache_find(const struct head_cache *cache, struct request *request, uint32_t capacity);
/* Remembers the block of a complete, accepted request. The second time that a block is seen: many come only once. */
void head_cache_add(struct head_cache *cache, const struct request *request);

#endif
