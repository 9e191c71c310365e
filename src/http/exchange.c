/* Exchanges come from a free list, so that a request costs no allocation; each keeps its buffers, within bounds, for
 * the next one. */
#include "http/engine.h"

#include "base/mem.h"
#include "http/parser.h"

struct exchange_memory {
    struct exchange exchange;
    struct parser parser;
};

static struct exchange *exchange_new(void) {
    struct exchange_memory *m = MEM_NEW(struct exchange_memory);
    m->exchange.parser = &m->parser;
    body_init(&m->exchange.request.body);
    m->parser.request = &m->exchange.request;
    return &m->exchange;
}

static void exchange_free(struct exchange *x) {
    parser_release(x->parser);
    buf_release(&x->input);
    buf_release(&x->response.out);
    mem_free(CONTAINER_OF(x, struct exchange_memory, exchange));
}

struct exchange *exchange_take(struct server *s, struct conn *c) {
    struct exchange *x = s->free_exchanges;
    if (x) {
        s->free_exchanges = x->next_free;
        s->free_exchange_count--;
    } else x = exchange_new();
    x->server = s;
    x->conn = c;
    x->handler_data = NULL;
    x->started_us = 0;
    x->request.peer = &c->client;
    x->request.local = c->local;
    x->parser->cache = s->head_cache;
    parser_start(x->parser, &x->request, s->settings, &c->peer);
    return x;
}

void exchange_give_back(struct server *s, struct exchange *x) {
    if (s->free_exchange_count >= FREE_EXCHANGES) {
        exchange_free(x);
        return;
    }
    body_release(&x->request.body);
    buf_reset(&x->input);
    if (x->response.out.cap > KEPT_RESPONSE_BYTES) buf_release(&x->response.out);
    x->next_free = s->free_exchanges;
    s->free_exchanges = x;
    s->free_exchange_count++;
}

void exchange_free_all(struct server *s) {
    while (s->free_exchanges) {
        struct exchange *x = s->free_exchanges;
        s->free_exchanges = x->next_free;
        exchange_free(x);
    }
    s->free_exchange_count = 0;
}

bool exchange_is_client_gone(struct exchange *x) {
    return x->response.is_aborted || conn_is_cut(x->conn);
}
