/* Fuzzes the PROXY protocol's parser: each prefix of an accepted header is unfinished, what is refused stays refused,
 * and the client is touched by a whole header only. */
#include "fuzz.h"

#include "base/mem.h"
#include "http/proxy_protocol.h"

/* A copy of exactly that size: a byte read too far is seen. */
static ssize_t parse(const uint8_t *data, size_t size, enum proxy_protocol allowed, struct peer *client) {
    char *copy = mem_alloc(size);
    if (size) memcpy(copy, data, size);
    ssize_t result = proxy_protocol_parse(slice_make(copy, size), allowed, client);
    mem_free(copy);
    return result;
}

static void check(const uint8_t *data, size_t size, enum proxy_protocol allowed) {
    static const struct peer nobody = {.port = 7, .text_len = 3, .text = "???"};
    struct peer client = nobody;
    ssize_t whole = parse(data, size, allowed, &client);
    MUST(whole >= -1 && whole <= (ssize_t)size && whole <= PROXY_V2_MAX);
    if (whole <= 0) MUST(memcmp(&client, &nobody, sizeof client) == 0);

    ssize_t longest = size < 300 ? (ssize_t)size : 300;
    bool was_refused = false;
    for (ssize_t length = 0; length <= longest; length++) {
        struct peer other = nobody;
        ssize_t part = parse(data, (size_t)length, allowed, &other);
        if (whole > 0) MUST(part == (length < whole ? 0 : whole));
        if (was_refused) MUST(part == -1);
        if (part > 0) MUST(memcmp(&client, &other, sizeof client) == 0);
        was_refused = part == -1;
    }
    if (was_refused) MUST(whole == -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check(data, size, PROXY_V1);
    check(data, size, PROXY_V2);
    check(data, size, PROXY_AUTO);
    return 0;
}
