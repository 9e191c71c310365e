/* The field names that the engine acts on or that most requests carry, as small numbers: an array index for whoever
 * prepares something for each of them (the gateway: an interned environ key). */
#ifndef CSERVE_HTTP_FIELD_NAMES_H
#define CSERVE_HTTP_FIELD_NAMES_H

#include "base/slice.h"

/* id, name as most clients write it */
#define FIELD_NAMES(X)                                        \
    X(ACCEPT, "Accept")                                       \
    X(ACCEPT_CHARSET, "Accept-Charset")                       \
    X(ACCEPT_ENCODING, "Accept-Encoding")                     \
    X(ACCEPT_LANGUAGE, "Accept-Language")                     \
    X(AUTHORIZATION, "Authorization")                         \
    X(CACHE_CONTROL, "Cache-Control")                         \
    X(CONNECTION, "Connection")                               \
    X(CONTENT_ENCODING, "Content-Encoding")                   \
    X(CONTENT_LENGTH, "Content-Length")                       \
    X(CONTENT_TYPE, "Content-Type")                           \
    X(COOKIE, "Cookie")                                       \
    X(DNT, "DNT")                                             \
    X(EXPECT, "Expect")                                       \
    X(FORWARDED, "Forwarded")                                 \
    X(HOST, "Host")                                           \
    X(HTTP2_SETTINGS, "HTTP2-Settings")                       \
    X(IF_MATCH, "If-Match")                                   \
    X(IF_MODIFIED_SINCE, "If-Modified-Since")                 \
    X(IF_NONE_MATCH, "If-None-Match")                         \
    X(IF_RANGE, "If-Range")                                   \
    X(IF_UNMODIFIED_SINCE, "If-Unmodified-Since")             \
    X(KEEP_ALIVE, "Keep-Alive")                               \
    X(MAX_FORWARDS, "Max-Forwards")                           \
    X(ORIGIN, "Origin")                                       \
    X(PRAGMA, "Pragma")                                       \
    X(PRIORITY, "Priority")                                   \
    X(PROXY_AUTHORIZATION, "Proxy-Authorization")             \
    X(PROXY_CONNECTION, "Proxy-Connection")                   \
    X(RANGE, "Range")                                         \
    X(REFERER, "Referer")                                     \
    X(SEC_CH_UA, "Sec-CH-UA")                                 \
    X(SEC_CH_UA_MOBILE, "Sec-CH-UA-Mobile")                   \
    X(SEC_CH_UA_PLATFORM, "Sec-CH-UA-Platform")               \
    X(SEC_FETCH_DEST, "Sec-Fetch-Dest")                       \
    X(SEC_FETCH_MODE, "Sec-Fetch-Mode")                       \
    X(SEC_FETCH_SITE, "Sec-Fetch-Site")                       \
    X(SEC_FETCH_USER, "Sec-Fetch-User")                       \
    X(TE, "TE")                                               \
    X(TRAILER, "Trailer")                                     \
    X(TRANSFER_ENCODING, "Transfer-Encoding")                 \
    X(UPGRADE, "Upgrade")                                     \
    X(UPGRADE_INSECURE_REQUESTS, "Upgrade-Insecure-Requests") \
    X(USER_AGENT, "User-Agent")                               \
    X(VIA, "Via")                                             \
    X(X_CSRF_TOKEN, "X-CSRF-Token")                           \
    X(X_CSRFTOKEN, "X-CSRFToken")                             \
    X(X_FORWARDED_FOR, "X-Forwarded-For")                     \
    X(X_FORWARDED_HOST, "X-Forwarded-Host")                   \
    X(X_FORWARDED_PORT, "X-Forwarded-Port")                   \
    X(X_FORWARDED_PROTO, "X-Forwarded-Proto")                 \
    X(X_REAL_IP, "X-Real-IP")                                 \
    X(X_REQUEST_ID, "X-Request-ID")                           \
    X(X_REQUESTED_WITH, "X-Requested-With")

enum field_id {
    FIELD_OTHER,
#define X(id, name) FIELD_##id,
    FIELD_NAMES(X)
#undef X
        FIELD_COUNT
};

/* Without case. FIELD_OTHER if it is none of them. */
enum field_id field_id_of(struct slice name);
/* The name as in the list; empty for FIELD_OTHER. */
struct slice field_name_of(enum field_id id);
/* May it appear only once in a request (RFC 9110, 5.3, and the fields' own definitions)? */
bool field_is_singleton(enum field_id id);

#endif
