/* Who sits where. Everything is derived from the slots anew on every turn, so no event can be missed and none is
 * counted twice.
 *
 * A seat is taken by an active slot that is not a mere replacement. Must never wait: what cannot be done now is found
 * again next time. */
#include "process/arbiter.h"

#include <errno.h>
#include <signal.h>

#define EVERY_SLOT(a, s) for (struct slot *s = (a)->slots; s < (a)->slots + (a)->slots_used; s++)

unsigned seating_count(const struct arbiter *a, const struct generation *g, enum slot_state state) {
    unsigned count = 0;
    for (unsigned i = 0; i < a->slots_used; i++) count += a->slots[i].generation == g && a->slots[i].state == state;
    return count;
}

unsigned seating_count_alive(const struct arbiter *a, const struct generation *g) {
    unsigned count = 0;
    for (unsigned i = 0; i < a->slots_used; i++)
        count += (!g || a->slots[i].generation == g) && slot_is_alive(&a->slots[i]);
    return count;
}

static struct slot *find_free(struct arbiter *a) {
    EVERY_SLOT(a, s) if (s->state == SLOT_EMPTY) return s;
    return a->slots_used < SCOREBOARD_ROWS ? &a->slots[a->slots_used++] : NULL;
}

struct slot *seating_assign(struct arbiter *a, struct generation *g, unsigned seat) {
    struct slot *s = find_free(a);
    if (!s) return NULL;
    s->seat = seat;
    s->generation = g;
    s->settings = g->settings;
    slot_handle(s, SLOT_ON_SEATED, a->now_ms);
    return s;
}

void seating_clear(struct arbiter *a, struct generation *g, enum slot_event how) {
    EVERY_SLOT(a, s) if (s->generation == g) slot_handle(s, how, a->now_ms);
}

static unsigned wanted_seats(const struct generation *g) {
    switch (g->phase) {
    case GENERATION_CANARY: return 1;
    case GENERATION_FILLING:
    case GENERATION_SERVING: return g->seats;
    default: return 0;
    }
}

static void fill(struct arbiter *a, struct generation *g, unsigned wanted) {
    bool is_taken[SCOREBOARD_SEATS + 1] = {false};
    EVERY_SLOT(a, s) {
        if (s->generation != g || !slot_is_active(s)) continue;
        if (s->seat > wanted) slot_handle(s, SLOT_ON_RETIRE, a->now_ms);
        else if (!s->is_replacement) is_taken[s->seat] = true;
    }
    for (unsigned seat = 1; seat <= wanted; seat++)
        if (!is_taken[seat] && !seating_assign(a, g, seat)) return;
}

/* ---- recycling: the replacement first ---- */

static const char *recycling_reason(const struct slot *s) {
    switch (s->recycling) {
    case SLOT_RECYCLE_REQUESTS: return "it has served max_requests";
    case SLOT_RECYCLE_AGE: return "it has reached max_worker_age";
    case SLOT_RECYCLE_MEMORY: return "it has grown beyond max_worker_memory";
    case SLOT_RECYCLE_HUNG: return "one of its threads hangs";
    case SLOT_KEEP: break;
    }
    return "it was asked to";
}

static void take_over(struct arbiter *a, struct slot *old, struct slot *fresh) {
    log_info("worker %u (pid %d) retires: %s; pid %d takes its seat", old->seat, old->pid, recycling_reason(old),
             fresh->pid);
    fresh->is_replacement = false;
    slot_handle(old, SLOT_ON_RETIRE, a->now_ms);
}

/* One step for a slot that has a replacement under way. */
static void replace(struct arbiter *a, struct slot *old) {
    struct slot *fresh = &a->slots[old->replacement - 1];
    if (fresh->state == SLOT_READY) {
        take_over(a, old, fresh);
    } else if (old->state == SLOT_WAITING) {
        /* It died meanwhile: the seat belongs to the replacement already. */
        fresh->is_replacement = false;
        slot_handle(old, SLOT_ON_RETIRE, a->now_ms);
    }
}

/* The one that has served longest: where all want it faster than one can be replaced, everybody gets a turn. */
static struct slot *next_to_recycle(struct arbiter *a, const struct generation *g) {
    struct slot *next = NULL;
    EVERY_SLOT(a, s) {
        bool wants = s->generation == g && s->state == SLOT_READY && s->recycling && !s->replacement;
        if (wants && (!next || s->ready_ms < next->ready_ms)) next = s;
    }
    return next;
}

static void recycle(struct arbiter *a, struct generation *g) {
    unsigned under_way = 0, most = g->seats / 4 ? g->seats / 4 : 1;
    EVERY_SLOT(a, s)
    under_way += s->generation == g && (s->is_replacement || (s->recycling && s->state == SLOT_RETIRING));
    EVERY_SLOT(a, s)
    if (s->generation == g && slot_is_active(s) && s->replacement) replace(a, s);
    for (struct slot *s; under_way < most && (s = next_to_recycle(a, g)); under_way++) {
        struct slot *fresh = seating_assign(a, g, s->seat);
        if (!fresh) return;
        fresh->is_replacement = true;
        s->replacement = fresh->index + 1;
    }
}

/* ---- spawning ---- */

static bool can_spawn(struct arbiter *a, struct generation *g) {
    struct template *t = &g->template;
    if (!g->settings->preload_app || t->is_ready) return true;
    if (t->pid == 0 && t->fd < 0 && a->now_ms >= t->due_ms && g->phase >= GENERATION_LOADING &&
        g->phase < GENERATION_LEAVING) {
        spawn_template(a, g);
        if (t->pid == 0) reload_note_failed_fork(a, g, NULL, t->failures);
    }
    return false;
}

static void spawn_due(struct arbiter *a, struct generation *g) {
    EVERY_SLOT(a, s) {
        if (s->generation != g || s->state != SLOT_WAITING || s->due_ms > a->now_ms) continue;
        spawn_worker(a, s);
        if (s->state != SLOT_WAITING) continue;
        reload_note_failed_fork(a, g, s, s->failures);
        if (g->phase == GENERATION_LEAVING) return;
    }
}

static void settle(struct arbiter *a, struct generation *g) {
    unsigned wanted = wanted_seats(g);
    fill(a, g, wanted);
    if (g->phase == GENERATION_SERVING) recycle(a, g);
    if (can_spawn(a, g)) spawn_due(a, g);
}

void seating_settle(struct arbiter *a) {
    if (a->ending) return;
    if (a->candidate) settle(a, a->candidate);
    if (!a->ending && a->current) settle(a, a->current);
}
