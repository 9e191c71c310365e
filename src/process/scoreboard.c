/* The shared region: mapped once, before the first fork, so that it has the same address in every child.
 *
 * Must never be grown or moved; nothing in it points anywhere. */
#include "process/scoreboard.h"

#include "http/server.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x63737633 /* "csv3": changes with the layout */

static struct scoreboard *map(int fd, int flags) {
    void *memory =
        mmap(NULL, sizeof(struct scoreboard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | flags, fd, 0);
    /* cppcheck-suppress memleak */
    return memory == MAP_FAILED ? NULL : memory;
}

struct scoreboard *scoreboard_new(int *fd) {
    struct scoreboard *board = NULL;
    *fd = memfd_create("cserve-scoreboard", MFD_CLOEXEC);
    if (*fd >= 0 && !ftruncate(*fd, sizeof(struct scoreboard))) board = map(*fd, 0);
    if (!board) {
        if (*fd >= 0) close(*fd);
        *fd = -1;
        board = map(-1, MAP_ANONYMOUS);
    }
    if (!board) return NULL;
    board->magic = MAGIC;
    board->row_bytes = sizeof(struct row);
    board->row_count = SCOREBOARD_ROWS;
    return board;
}

struct scoreboard *scoreboard_map(int fd) {
    struct stat file;
    if (fstat(fd, &file)) return NULL;
    if (file.st_size != sizeof(struct scoreboard)) {
        errno = EPROTO;
        return NULL;
    }
    struct scoreboard *board = map(fd, 0);
    if (!board) return NULL;
    if (board->magic == MAGIC && board->row_bytes == sizeof(struct row) && board->row_count == SCOREBOARD_ROWS)
        return board;
    scoreboard_free(board);
    errno = EPROTO;
    return NULL;
}

void scoreboard_free(struct scoreboard *board) {
    if (board) munmap(board, sizeof(*board));
}

void row_reset(struct row *r, unsigned seat, unsigned generation, uint64_t now_ms) {
    /* A row that no worker had yet is zero, and writing to it would cost its pages. */
    if (atomic_load_explicit(&r->generation, memory_order_relaxed)) activity_reset(&r->activity);
    atomic_store(&r->pid, 0);
    atomic_store(&r->seat, seat);
    atomic_store(&r->generation, generation);
    atomic_store(&r->drain_mode, SERVER_DRAIN_RETIRE);
    atomic_store(&r->has_siblings, false);
    atomic_store(&r->spawned_ms, now_ms);
    atomic_store(&r->stage, WORKER_BOOTING);
    atomic_store(&r->wants_recycling, 0);
}
