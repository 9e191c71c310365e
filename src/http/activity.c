/* What a worker is doing, written for readers in other processes: a sequence counter a task.
 *
 * The writer makes the counter odd, changes the text, makes it even. The reader copies and looks whether the counter
 * stood still and even. The reader must never wait for it: the writer may have been killed at an odd one. Then the
 * application was not running yet. */
#include "http/activity.h"

#define READ_ATTEMPTS 100

/* NUL-terminated unless `size` is used up; cut with "..." at the end. */
static void text_set(char *text, size_t size, struct slice s) {
    if (LIKELY(s.len <= size)) {
        if (s.len) memcpy(text, s.data, s.len);
        if (s.len < size) text[s.len] = '\0';
        return;
    }
    memcpy(text, s.data, size - 3);
    memcpy(text + size - 3, "...", 3);
}

void task_begin(struct task *t, uint64_t now_ms, struct slice method, struct slice target, struct slice protocol,
                struct slice peer) {
    uint32_t sequence = atomic_load_explicit(&t->sequence, memory_order_relaxed);
    atomic_store_explicit(&t->sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);

    text_set(t->method, sizeof t->method, method);
    text_set(t->target, sizeof t->target, target);
    text_set(t->protocol, sizeof t->protocol, protocol);
    text_set(t->peer, sizeof t->peer, peer);
    uint64_t count = atomic_load_explicit(&t->count, memory_order_relaxed);
    atomic_store_explicit(&t->count, count + 1, memory_order_relaxed);
    atomic_store_explicit(&t->bytes_sent, 0, memory_order_relaxed);
    atomic_store_explicit(&t->started_ms, now_ms, memory_order_relaxed);

    atomic_store_explicit(&t->sequence, sequence + 2, memory_order_release);
}

void task_end(struct task *t) {
    atomic_store_explicit(&t->started_ms, 0, memory_order_release);
}

#define TEXT_COPY(to, from)                 \
    do {                                    \
        memcpy((to), (from), sizeof(from)); \
        (to)[sizeof(from)] = '\0';          \
    } while (0)

bool task_read(const struct task *t, struct task_view *view) {
    for (int i = 0; i < READ_ATTEMPTS; i++) {
        uint32_t before = atomic_load_explicit(&t->sequence, memory_order_acquire);
        if (before & 1) continue;
        view->started_ms = atomic_load_explicit(&t->started_ms, memory_order_relaxed);
        if (view->started_ms == 0) return false;
        view->count = atomic_load_explicit(&t->count, memory_order_relaxed);
        view->bytes_sent = atomic_load_explicit(&t->bytes_sent, memory_order_relaxed) != 0;
        TEXT_COPY(view->method, t->method);
        TEXT_COPY(view->peer, t->peer);
        TEXT_COPY(view->protocol, t->protocol);
        TEXT_COPY(view->target, t->target);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&t->sequence, memory_order_relaxed) == before) return true;
    }
    return false;
}

void activity_reset(struct activity *a) {
    atomic_store_explicit(&a->requests, 0, memory_order_relaxed);
    atomic_store_explicit(&a->accepted, 0, memory_order_relaxed);
    atomic_store_explicit(&a->connections, 0, memory_order_relaxed);
    atomic_store_explicit(&a->handed_over, 0, memory_order_relaxed);
    atomic_store_explicit(&a->taken_over, 0, memory_order_relaxed);
    atomic_store_explicit(&a->loop_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&a->access_lines.span, 0, memory_order_relaxed);
    for (size_t i = 0; i < ARRAY_LENGTH(a->tasks); i++) {
        struct task *t = &a->tasks[i];
        atomic_store_explicit(&t->started_ms, 0, memory_order_relaxed);
        atomic_store_explicit(&t->count, 0, memory_order_relaxed);
        atomic_store_explicit(&t->bytes_sent, 0, memory_order_relaxed);
        /* Last, and with release: a reader that sees it even sees the task idle. */
        atomic_store_explicit(&t->sequence, 0, memory_order_release);
    }
}
