/* Intrusive doubly linked list. The node is a member of the object; the list owns nothing.
 * A node that is in no list points to itself, so unlinking twice is harmless. */
#ifndef CSERVE_BASE_LIST_H
#define CSERVE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *l) {
    l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *l) {
    return l->next == l;
}

static inline void list_unlink(struct list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* `node` must be in no list. */
static inline void list_append(struct list *l, struct list *node) {
    node->prev = l->prev;
    node->next = l;
    l->prev->next = node;
    l->prev = node;
}

static inline void list_prepend(struct list *l, struct list *node) {
    list_append(l->next, node);
}

/* From wherever it is, or is not, to the end of `l`. */
static inline void list_move_to_end(struct list *l, struct list *node) {
    list_unlink(node);
    list_append(l, node);
}

/* The first node, or NULL. */
static inline struct list *list_first(const struct list *l) {
    return l->next == l ? NULL : l->next;
}

#endif
