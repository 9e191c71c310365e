/* Makes an exchange of what the row still knows, just complete enough for the access log. */
#include "process/obituary.h"

static struct span append(char *head, size_t *used, const char *text) {
    struct span s = {(uint32_t)*used, (uint32_t)strlen(text)};
    memcpy(head + *used, text, s.length);
    *used += s.length;
    return s;
}

static void write_line(struct access_log *log, const struct task_view *view, uint16_t status) {
    static const struct handler nobody = {0};
    char head[sizeof(view->method) + sizeof(view->target)];
    size_t used = 0;
    struct peer peer = {.is_unix = !view->peer[0]};
    struct exchange x = {.started_us = view->started_ms * 1000, .response = {.status = status}};
    struct request *r = &x.request;
    peer.text_len = (uint8_t)strnlen(view->peer, sizeof(peer.text));
    memcpy(peer.text, view->peer, peer.text_len);
    r->head = head;
    r->peer = &peer;
    r->method = append(head, &used, view->method);
    r->target = append(head, &used, view->target);
    size_t path = slice_find(request_span(r, r->target), '?');
    r->path = (struct span){r->target.offset, (uint32_t)path};
    if (path < r->target.length)
        r->query = (struct span){r->target.offset + (uint32_t)path + 1, r->target.length - (uint32_t)path - 1};
    r->minor_version = strcmp(view->protocol, "HTTP/1.0") ? 1 : 0;
    access_log_add(log, &x, &nobody);
}

void obituary_write(struct access_log *log, struct row *r, unsigned threads, uint16_t status) {
    struct task_view view;
    access_log_write_rest(log, &r->activity.access_lines);
    for (unsigned i = 0; i < threads && i < ACTIVITY_TASKS; i++)
        if (task_read(&r->activity.tasks[i], &view)) write_line(log, &view, status);
    access_log_flush(log);
}
