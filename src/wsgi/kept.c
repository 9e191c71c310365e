/* A stack that many push to and that is always taken whole, so that no thread ever follows a pointer another one
 * frees. */
#include "kept.h"

#include "base/mem.h"

#include <stdatomic.h>

struct kept {
    struct kept *next;
    PyObject *object;
};

static struct kept *_Atomic released;

void *kept_new(PyObject *object) {
    struct kept *k = mem_alloc(sizeof(*k));
    *k = (struct kept){NULL, Py_NewRef(object)};
    return k;
}

void kept_free(void *owner) {
    struct kept *k = owner;
    Py_DECREF(k->object);
    mem_free(k);
}

void kept_release(void *ctx UNUSED, void *owner) {
    struct kept *k = owner;
    k->next = atomic_load_explicit(&released, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&released, &k->next, k, memory_order_release, memory_order_relaxed)) {
    }
}

bool kept_is_waiting(void) {
    return atomic_load_explicit(&released, memory_order_relaxed) != NULL;
}

void kept_collect(void) {
    if (LIKELY(!kept_is_waiting())) return;
    struct kept *k = atomic_exchange_explicit(&released, NULL, memory_order_acquire);
    while (k) {
        struct kept *next = k->next;
        kept_free(k);
        k = next;
    }
}
