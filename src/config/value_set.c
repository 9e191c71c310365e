/* Values that name something else: accounts, networks, header fields. Must never ask the network: no name of a host is
 * resolved. */
#include "config/value.h"

#include "base/mem.h"
#include "config/options.h"

#include <arpa/inet.h>
#include <grp.h>
#include <pwd.h>

/* --- accounts --- */

/* A number that is no account is allowed: containers run as users that have no name. All ones is what chown(2) takes
 * for "leave". */
static bool read_id(const char *text, unsigned *id) {
    uint64_t number;
    if (!slice_to_u64(slice_of(text), &number) || number >= UINT32_MAX) return false;
    *id = (unsigned)number;
    return true;
}

static char *user_parse(const struct option *o UNUSED, void *field, const char *text) {
    uid_t *uid = field;
    const struct passwd *entry;
    if (!*text) *uid = UID_UNSET;
    else if ((entry = getpwnam(text))) *uid = entry->pw_uid;
    else if (!read_id(text, uid)) return mem_printf("there is no user '%s'", text);
    return NULL;
}

static void user_format(const struct option *o UNUSED, const void *field, struct buf *out) {
    uid_t uid = *(const uid_t *)field;
    if (uid == UID_UNSET) return;
    const struct passwd *entry = getpwuid(uid);
    if (entry) buf_append_cstr(out, entry->pw_name);
    else buf_append_u64(out, uid);
}

const struct value_type value_user = {.metavar = "USER", .parse = user_parse, .format = user_format};

static char *group_parse(const struct option *o UNUSED, void *field, const char *text) {
    gid_t *gid = field;
    const struct group *entry;
    if (!*text) *gid = GID_UNSET;
    else if ((entry = getgrnam(text))) *gid = entry->gr_gid;
    else if (!read_id(text, gid)) return mem_printf("there is no group '%s'", text);
    return NULL;
}

static void group_format(const struct option *o UNUSED, const void *field, struct buf *out) {
    gid_t gid = *(const gid_t *)field;
    if (gid == GID_UNSET) return;
    const struct group *entry = getgrgid(gid);
    if (entry) buf_append_cstr(out, entry->gr_name);
    else buf_append_u64(out, gid);
}

const struct value_type value_group = {.metavar = "GROUP", .parse = group_parse, .format = group_format};

/* --- networks --- */

static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool read_address(const char *text, struct cidr *block, unsigned *bits) {
    memcpy(block->address, mapped, sizeof(mapped));
    *bits = 32;
    if (inet_pton(AF_INET, text, block->address + sizeof(mapped)) == 1) return true;
    *bits = 128;
    return inet_pton(AF_INET6, text, block->address) == 1;
}

/* "10.0.0.0/8", "::1": the prefix counts within the address's own family. */
static bool read_block(struct slice item, struct cidr *block) {
    char text[INET6_ADDRSTRLEN];
    size_t slash = slice_find(item, '/');
    if (slash >= sizeof(text)) return false;
    memcpy(text, item.data, slash);
    text[slash] = '\0';
    unsigned bits;
    if (!read_address(text, block, &bits)) return false;
    uint64_t prefix = bits;
    if (slash < item.len) {
        struct slice digits = slice_make(item.data + slash + 1, item.len - slash - 1);
        if (!slice_to_u64(digits, &prefix) || prefix > bits) return false;
    }
    block->prefix = 128 - bits + (unsigned)prefix;
    return true;
}

static char *address_add(void *field, struct slice item) {
    struct address_set *set = field;
    struct cidr block;
    if (slice_equal(item, SLICE("*"))) {
        set->everyone = true;
        return NULL;
    }
    if (!read_block(item, &block))
        return mem_printf("'%.*s' is not an address, a block as 10.0.0.0/8, or '*'", SLICE_ARG(item));
    set->blocks = mem_realloc(set->blocks, (set->count + 1) * sizeof(*set->blocks));
    set->blocks[set->count++] = block;
    return NULL;
}

static char *addresses_parse(const struct option *o UNUSED, void *field, const char *text) {
    return value_each_item(text, address_add, field);
}

static void append_block(const struct cidr *block, struct buf *out) {
    char text[INET6_ADDRSTRLEN];
    bool is_v4 = block->prefix >= 96 && memcmp(block->address, mapped, sizeof(mapped)) == 0;
    inet_ntop(is_v4 ? AF_INET : AF_INET6, block->address + (is_v4 ? sizeof(mapped) : 0), text, sizeof(text));
    buf_append_cstr(out, text);
    if (block->prefix < 128) buf_printf(out, "/%u", block->prefix - (is_v4 ? 96 : 0));
}

static void addresses_format(const struct option *o UNUSED, const void *field, struct buf *out) {
    const struct address_set *set = field;
    if (set->everyone) BUF_APPEND_LITERAL(out, "*");
    for (size_t i = 0; i < set->count; i++) {
        if (i || set->everyone) BUF_APPEND_LITERAL(out, ", ");
        append_block(&set->blocks[i], out);
    }
}

static void addresses_release(void *field) {
    struct address_set *set = field;
    mem_free(set->blocks);
    *set = (struct address_set){NULL, 0, false};
}

const struct value_type value_addresses = {.metavar = "ADDRESS",
                                           .is_list = true,
                                           .parse = addresses_parse,
                                           .format = addresses_format,
                                           .release = addresses_release};

static bool block_has(const struct cidr *block, const unsigned char peer[16]) {
    unsigned bytes = block->prefix / 8, bits = block->prefix % 8;
    if (memcmp(block->address, peer, bytes) != 0) return false;
    return !bits || (block->address[bytes] ^ peer[bytes]) >> (8 - bits) == 0;
}

bool address_set_has(const struct address_set *set, const unsigned char peer[16]) {
    if (set->everyone) return true;
    if (!peer) return set->count > 0;
    for (size_t i = 0; i < set->count; i++)
        if (block_has(&set->blocks[i], peer)) return true;
    return false;
}

/* --- header fields --- */

/* RFC 9110, 5.6.2. */
static bool is_token(struct slice s) {
    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower(s.data[i]);
        bool is_alphanumeric = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!is_alphanumeric && (!c || !strchr("!#$%&'*+-.^_`|~", c))) return false;
    }
    return s.len > 0;
}

static char *name_value_add(void *field, struct slice item) {
    struct name_value_list *list = field;
    size_t colon = slice_find(item, ':');
    struct slice name = slice_trim(slice_make(item.data, colon)), value = slice_make(NULL, 0);
    if (colon < item.len) value = slice_trim(slice_make(item.data + colon + 1, item.len - colon - 1));
    if (!is_token(name) || !value.len) return mem_printf("'%.*s' is not NAME:VALUE", SLICE_ARG(item));
    list->items = mem_realloc(list->items, (list->count + 1) * sizeof(*list->items));
    list->items[list->count++] =
        (struct name_value){mem_strndup(name.data, name.len), mem_strndup(value.data, value.len)};
    return NULL;
}

static char *name_values_parse(const struct option *o UNUSED, void *field, const char *text) {
    return value_each_item(text, name_value_add, field);
}

static void name_values_format(const struct option *o UNUSED, const void *field, struct buf *out) {
    const struct name_value_list *list = field;
    for (size_t i = 0; i < list->count; i++)
        buf_printf(out, "%s%s:%s", i ? ", " : "", list->items[i].name, list->items[i].value);
}

static void name_values_release(void *field) {
    struct name_value_list *list = field;
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->items[i].name);
        mem_free(list->items[i].value);
    }
    mem_free(list->items);
    *list = (struct name_value_list){NULL, 0};
}

const struct value_type value_name_values = {.metavar = "NAME:VALUE",
                                             .is_list = true,
                                             .parse = name_values_parse,
                                             .format = name_values_format,
                                             .release = name_values_release};
