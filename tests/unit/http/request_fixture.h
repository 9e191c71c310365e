/* A parsed request put together without the parser, for tests of what comes behind it. */
#ifndef CSERVE_TESTS_REQUEST_FIXTURE_H
#define CSERVE_TESTS_REQUEST_FIXTURE_H

#include "http/request.h"

#include <arpa/inet.h>

struct request_fixture {
    struct buf head;
    struct field fields[32];
    struct peer peer;
    struct request request;
};

static inline struct span fixture_append(struct request_fixture *f, struct slice s) {
    struct span span = {(uint32_t)f->head.len, (uint32_t)s.len};
    buf_append_slice(&f->head, s);
    f->request.head = f->head.data;
    return span;
}

/* `ip` is NULL for a unix-socket peer. */
static inline void fixture_init(struct request_fixture *f, const char *method, const char *target, const char *ip) {
    memset(f, 0, sizeof *f);
    struct request *r = &f->request;
    r->method = fixture_append(f, slice_of(method));
    r->target = fixture_append(f, slice_of(target));
    size_t mark = slice_find(slice_of(target), '?');
    r->path = (struct span){r->target.offset, (uint32_t)mark};
    if (mark < r->target.length)
        r->query = (struct span){r->target.offset + (uint32_t)mark + 1, r->target.length - (uint32_t)mark - 1};
    r->minor_version = 1;
    r->fields = f->fields;
    body_init(&r->body);
    r->peer = &f->peer;

    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    } name = {.un = {.sun_family = AF_UNIX}};
    socklen_t length = sizeof(sa_family_t);
    if (ip && inet_pton(AF_INET, ip, &name.v4.sin_addr) == 1) {
        name.v4.sin_family = AF_INET;
        length = sizeof name.v4;
    } else if (ip && inet_pton(AF_INET6, ip, &name.v6.sin6_addr) == 1) {
        name.v6.sin6_family = AF_INET6;
        length = sizeof name.v6;
    }
    peer_from_sockaddr(&f->peer, &name.any, length);
}

static inline void fixture_add(struct request_fixture *f, const char *name, const char *value) {
    struct field *field = &f->fields[f->request.field_count++];
    field->name = fixture_append(f, slice_of(name));
    field->value = fixture_append(f, slice_of(value));
    field->id = field_id_of(slice_of(name));
}

static inline void fixture_release(struct request_fixture *f) {
    body_release(&f->request.body);
    buf_release(&f->request.body.memory);
    buf_release(&f->head);
}

#endif
